/* help.c - the man page and the shells' completions, printed from the same argp tables as --help:
 * every command is asked for its table and does nothing else (px_cli_describe). */
#include "help.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static struct {
    px_help_command commands[64];
    int n;
} known;

void px_help_know(const px_help_command *command) {
    if (known.n < (int)PX_COUNT(known.commands)) known.commands[known.n++] = *command;
}

const px_help_command *px_help_find(const char *name) {
    for (int i = 0; i < known.n; i++)
        if (strcmp(known.commands[i].name, name) == 0) return &known.commands[i];
    return NULL;
}

static void keep_table(void *context, const struct argp *argp) {
    *(const struct argp **)context = argp;
}

/* The command's table; NULL where it has none. */
static const struct argp *table_of(px_ranks *ranks, const px_help_command *command) {
    const struct argp *table = NULL;
    char name[80], *argv[2] = {name, NULL};
    snprintf(name, sizeof name, "prismx %s", command->name);
    px_cli_describe(keep_table, &table);
    px_err_free(command->run(ranks, 1, argv));
    px_cli_describe(NULL, NULL);
    return table;
}

/* --- options of a table and of its children --- */

typedef void each_option(void *context, const struct argp_option *option);
static void options_of(const struct argp *table, each_option *each, void *context) {
    for (const struct argp_option *o = table->options; o && (o->name || o->key || o->doc); o++)
        if (o->name && !(o->flags & OPTION_HIDDEN)) each(context, o);
    for (const struct argp_child *c = table->children; c && c->argp; c++)
        options_of(c->argp, each, context);
}

/* --- man --- */

/* Text as roff: a backslash and a dash stand for themselves, no line begins as a request, and what
 * is not ASCII goes by its number. */
static void roff(px_str *out, const char *text, size_t n) {
    int length = 1;
    for (size_t i = 0; i < n; i += (size_t)length) {
        const int32_t code = px_utf8_get(text + i, n - i, &length);
        const bool first = i == 0 || text[i - 1] == '\n';
        if (first && (text[i] == '.' || text[i] == '\'')) px_str_text(out, "\\&");
        if (code > 127)
            px_str_format(out, "\\[u%04X]", (unsigned)code);
        else if (text[i] == '\\')
            px_str_text(out, "\\e");
        else if (text[i] == '-')
            px_str_text(out, "\\-");
        else
            px_str_char(out, text[i]);
    }
}
static void roff_text(px_str *out, const char *text) { roff(out, text, strlen(text)); }

static void man_option(void *context, const struct argp_option *o) {
    px_str *out = context;
    px_str_text(out, ".TP\n\\fB\\-\\-");
    roff_text(out, o->name);
    px_str_text(out, "\\fR");
    if (o->arg) {
        px_str_text(out, " \\fI");
        roff_text(out, o->arg);
        px_str_text(out, "\\fR");
    }
    px_str_char(out, '\n');
    roff_text(out, o->doc ? o->doc : "");
    px_str_char(out, '\n');
}

/* "list\nshow" are two ways to call it. */
static void man_usage(px_str *out, const char *name, const char *args) {
    for (;;) {
        const size_t n = args ? strcspn(args, "\n") : 0;
        px_str_format(out, ".br\n\\fBprismx %s\\fR [\\fIOPTION\\fR...] ", name);
        if (n) roff(out, args, n);
        px_str_char(out, '\n');
        if (!args || !args[n]) return;
        args += n + 1;
    }
}

static void man_command(px_str *out, const px_help_command *command, const struct argp *table) {
    px_str_text(out, ".SH PRISMX ");
    for (const char *c = command->name; *c; c++) px_str_char(out, (char)toupper((unsigned char)*c));
    px_str_text(out, "\n");
    roff_text(out, command->help);
    px_str_text(out, "\n.PP\n");
    if (!table) return;
    man_usage(out, command->name, table->args_doc);
    const char *doc = table->doc ? table->doc : "", *behind = strchr(doc, '\v');
    px_str_text(out, ".PP\n");
    roff(out, doc, behind ? (size_t)(behind - doc) : strlen(doc));
    px_str_char(out, '\n');
    options_of(table, man_option, out);
    if (!behind) return;
    px_str_text(out, ".PP\n.nf\n");
    roff_text(out, behind + 1);
    px_str_text(out, "\n.fi\n");
}

void px_help_man(px_ranks *ranks, px_str *out) {
    px_str_format(
        out,
        ".TH PRISMX 1 \"\" \"prismx %s\" \"User Commands\"\n.SH NAME\nprismx \\- preference "
        "training with user embeddings (DPO, P\\-DPO) on MPI ranks\n.SH SYNOPSIS\n"
        ".B prismx\n\\fICOMMAND\\fR [\\fIOPTION\\fR...]\n.br\n"
        ".B mpirun \\-n \\fIN\\fB prismx\n\\fICOMMAND\\fR [\\fIOPTION\\fR...]\n"
        ".SH DESCRIPTION\nEach command reads files and writes files, whole or not at all. "
        "Results go to standard output or to files, messages to standard error. Every "
        "setting is a key of the configuration: \\fB\\-\\-set\\fR \\fIKEY=VALUE\\fR, or "
        "\\fB\\-\\-config\\fR \\fIFILE\\fR.\n",
        PX_VERSION);
    for (int i = 0; i < known.n; i++)
        man_command(out, &known.commands[i], table_of(ranks, &known.commands[i]));
    px_str_text(out,
                ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nthe run failed\n.TP\n2\nbad usage or bad "
                "input\n.TP\n3\nstopped by SIGTERM or SIGUSR1 with a checkpoint written\n");
    px_str_text(out, ".SH SEE ALSO\nREADME.md, RUNBOOK.md and docs/ beside the program, "
                     "\\fBmpirun\\fR(1), \\fBsrun\\fR(1)\n");
}

/* --- completion --- */

/* Configuration keys: the first cells of the table that docs/config.md is made of. */
static void config_keys(px_str *out, const char *between) {
    px_str table = {0};
    bool first = true;
    px_config_document(&table);
    for (const char *line = table.data; line && *line; line += strcspn(line, "\n") + 1) {
        if (strncmp(line, "| `", 3) == 0) {
            if (!first) px_str_text(out, between);
            px_str_add(out, line + 3, strcspn(line + 3, "`"));
            first = false;
        }
        if (!line[strcspn(line, "\n")]) break;
    }
    px_str_free(&table);
}

static void word_option(void *context, const struct argp_option *o) {
    px_str_format(context, " --%s", o->name);
}

void px_help_bash(px_ranks *ranks, px_str *out) {
    px_str_text(out, "# bash completion of prismx; made by: prismx help --completion bash\n"
                     "_prismx() {\n"
                     "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} "
                     "words=\n"
                     "    COMPREPLY=()\n"
                     "    if [ \"$COMP_CWORD\" = 1 ]; then\n"
                     "        COMPREPLY=($(compgen -W \"");
    for (int i = 0; i < known.n; i++)
        px_str_format(out, "%s%s", i ? " " : "", known.commands[i].name);
    px_str_text(out, " --help --version\" -- \"$cur\"))\n        return\n    fi\n"
                     "    if [ \"$prev\" = --set ]; then\n"
                     "        type compopt >/dev/null 2>&1 && compopt -o nospace 2>/dev/null\n"
                     "        COMPREPLY=($(compgen -S = -W \"");
    config_keys(out, " ");
    px_str_text(out, "\" -- \"$cur\"))\n        return\n    fi\n"
                     "    case ${COMP_WORDS[1]} in\n");
    for (int i = 0; i < known.n; i++) {
        const struct argp *table = table_of(ranks, &known.commands[i]);
        px_str_format(out, "    %s) words=\"--help", known.commands[i].name);
        if (table) options_of(table, word_option, out);
        px_str_text(out, "\" ;;\n");
    }
    px_str_text(out, "    esac\n"
                     "    case $cur in\n"
                     "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n"
                     "    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
                     "    esac\n}\n"
                     "complete -o filenames -F _prismx prismx\n");
}

/* Inside single quotes and square brackets of an _arguments specification. */
static void zsh_text(px_str *out, const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            px_str_text(out, "'\\''");
        else if (*text == '[' || *text == ']' || *text == ':' || *text == '\\')
            px_str_format(out, "\\%c", *text);
        else if (*text == '\n')
            px_str_char(out, ' ');
        else
            px_str_char(out, *text);
    }
}

static void zsh_option(void *context, const struct argp_option *o) {
    px_str *out = context;
    px_str_format(out, " \\\n            '*--%s[", o->name);
    zsh_text(out, o->doc ? o->doc : "");
    px_str_char(out, ']');
    if (o->arg)
        px_str_format(out, ":%s:%s", o->arg, strcmp(o->name, "set") ? "_files" : "_prismx_keys");
    px_str_char(out, '\'');
}

void px_help_zsh(px_ranks *ranks, px_str *out) {
    px_str_text(out,
                "#compdef prismx\n# zsh completion of prismx; made by: prismx help --completion "
                "zsh\n_prismx_keys() {\n    local -a keys\n    keys=(");
    config_keys(out, " ");
    px_str_text(out, ")\n    compadd -S = -- $keys\n}\n_prismx() {\n"
                     "    if (( CURRENT == 2 )); then\n        local -a commands\n"
                     "        commands=(");
    for (int i = 0; i < known.n; i++) {
        px_str_format(out, "\n            '%s:", known.commands[i].name);
        zsh_text(out, known.commands[i].help);
        px_str_char(out, '\'');
    }
    px_str_text(out, ")\n        _describe command commands\n        return\n    fi\n"
                     "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n"
                     "    case $command in\n");
    for (int i = 0; i < known.n; i++) {
        const struct argp *table = table_of(ranks, &known.commands[i]);
        px_str_format(out, "    %s)\n        _arguments '--help[says what it does]'",
                      known.commands[i].name);
        if (table) options_of(table, zsh_option, out);
        px_str_text(out, " '*:file:_files' ;;\n");
    }
    px_str_text(out, "    esac\n}\n_prismx \"$@\"\n");
}

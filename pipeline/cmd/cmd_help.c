/* cmd_help.c - prismx help: a command's help, the man page, completions, and whether a command line
 * would be understood. */
#include <string.h>

#include "help.h"

enum { KEY_MAN = 1, KEY_COMPLETION, KEY_CHECK };

typedef struct {
    const char *completion, *command;
    char **check; /* the command line behind --check */
    int n_check;
    bool man;
} help_options;

static error_t parse_help(int key, char *arg, struct argp_state *state) {
    help_options *o = state->input;
    switch (key) {
    case KEY_MAN:
        o->man = true;
        break;
    case KEY_COMPLETION:
        o->completion = arg;
        break;
    case KEY_CHECK: /* all that follows belongs to that command */
        o->check = state->argv + state->next - 1;
        o->n_check = state->argc - state->next + 1;
        state->next = state->argc;
        break;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) return ARGP_ERR_UNKNOWN;
        o->command = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"man", KEY_MAN, NULL, 0, "Prints the manual page (roff)", 0},
    {"completion", KEY_COMPLETION, "SHELL", 0, "Prints the completion for bash or zsh", 0},
    {"check", KEY_CHECK, "COMMAND", 0,
     "Reads the rest of the line as COMMAND would (options, configuration keys) and does nothing",
     0},
    {0}};
static const struct argp argp = {options,
                                 parse_help,
                                 "[COMMAND]",
                                 "Explains a command, or prints what shells and man want to know.\v"
                                 "Example:\n  prismx help train\n  prismx help --man | man -l -\n"
                                 "  source <(prismx help --completion bash)\n"
                                 "  prismx help --check train --set lora.r=4",
                                 NULL,
                                 NULL,
                                 NULL};

static px_err *no_command(const char *name) {
    PX_FAIL(PX_BAD_INPUT, "no command %s; see prismx --help", name);
}

/* Runs a command whose parser alone is let through. */
static px_err *check_line(px_ranks *ranks, char **line, int n) {
    const px_help_command *command = px_help_find(line[0]);
    char name[80];
    if (!command) return no_command(line[0]);
    snprintf(name, sizeof name, "prismx %s", command->name);
    line[0] = name;
    px_cli_check_begin();
    px_err *err = command->run(ranks, n, line);
    return px_cli_check_end(err);
}

static px_err *explain(px_ranks *ranks, const char *name) {
    const px_help_command *command = px_help_find(name);
    char first[80], second[] = "--help", *argv[3] = {first, second, NULL};
    if (!command) return no_command(name);
    snprintf(first, sizeof first, "prismx %s", name);
    px_err_free(command->run(ranks, 2, argv)); /* printed; what the line lacks is no error */
    return NULL;
}

px_err *cmd_help(px_ranks *ranks, int argc, char **argv) {
    help_options o = {0};
    px_str text = {0};
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (o.check) return check_line(ranks, o.check, o.n_check);
    if (o.command) return explain(ranks, o.command);
    if (o.man)
        px_help_man(ranks, &text);
    else if (o.completion && strcmp(o.completion, "bash") == 0)
        px_help_bash(ranks, &text);
    else if (o.completion && strcmp(o.completion, "zsh") == 0)
        px_help_zsh(ranks, &text);
    else
        PX_FAIL(PX_BAD_INPUT, "a COMMAND, --man, or --completion bash or zsh is wanted");
    px_err *err = px_str_ok(&text);
    if (!err) printf("%s", text.data);
    px_str_free(&text);
    return err;
}

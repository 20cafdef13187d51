/* commands.c - the commands that a step may be, and what their options name. tests/system/job.sh
 * compares the table with what the commands themselves say. */
#include "job_internal.h"

#include <string.h>

#define CONFIG "config:c set:s "
/* clang-format off */
static const job_command commands[] = {
    {"model", false, false, false, "", "like:v seed:v layers:v out:O", "", PX_JOB_VALUE},
    {"synth", false, false, false, "", "out:O users:v seed:v taste:v trials:f people:v", "", PX_JOB_VALUE},
    {"prepare", true, false, true, "data. model.", CONFIG "data:i model:i out:o cross-check:f strict:f", "out:.report.json", PX_JOB_VALUE},
    {"reference", true, false, true, "precision", CONFIG "corpus:i model:i", "", PX_JOB_VALUE},
    {"train", true, true, true, "", CONFIG "corpus:i model:i out:O checkpoint-at:v", "", PX_JOB_VALUE},
    {"eval", true, false, false, "", CONFIG "run:i model:i step:v corpus:i split:v out:o tsv:o against:i token-logps:f truth:i", "out:.json", PX_JOB_VALUE},
    {"prompts", false, false, false, "", "data:i corpus:i split:v limit:v out:o", "", PX_JOB_VALUE},
    {"generate", true, true, false, "", CONFIG "run:i model:i step:v prompts:i out:o user:v stop:v arms:i data:i corpus:i "
        "max-new-tokens:v min-new-tokens:v temperature:v top-k:v top-p:v min-p:v repetition-penalty:v no-repeat-ngram:v "
        "ignore-eos:f n:v logprobs:v batch:v seed:v", "", PX_JOB_VALUE},
    {"traits", true, false, false, "", CONFIG "answers:i trials:i out:o reference:v lists:i bootstrap:v seed:v validate:f pairs:v judge:i", "out:.summary.json", PX_JOB_VALUE},
    {"simulate", true, true, false, "", CONFIG "out:o transcripts:i condition:v data:i arms:i corpus:i model:i player-model:i people:v orders:v seed:v", "out:.summary.json,.cost.jsonl", PX_JOB_VALUE},
    {"trials", false, false, false, "", "out:o all:f", "", PX_JOB_ACTION},
    {"stats", true, false, false, "", "trials:i eval:i traits:i out:o reference:v by-position:f bootstrap:v plan-people:v seed:v", "out:.json", PX_JOB_INPUT},
    {"export", false, false, false, "", "run:i step:v format:v out:O model:i", "", PX_JOB_VALUE},
    {"verify", false, false, false, "", "corpus:i model:i steps:v from-step:v fresh-reference:f inputs:f keep:f", "", PX_JOB_INPUT},
    {"report", false, false, false, "", "out:o format:v stats:i answers:i traits:i truth:i usd-per-million-prompt:v usd-per-million-new:v usd-per-hour:v", "", PX_JOB_INPUT},
};
/* clang-format on */

const job_command *job_command_find(const char *name) {
    for (size_t i = 0; i < PX_COUNT(commands); i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

px_err *job_command_get(const char *name, const char *where, const job_command **out) {
    const char *names[PX_COUNT(commands)];
    px_str list = {0};
    *out = job_command_find(name);
    if (*out) return NULL;
    for (size_t i = 0; i < PX_COUNT(commands); i++) {
        names[i] = commands[i].name;
        px_str_format(&list, "%s%s", i ? ", " : "", names[i]);
    }
    int near = px_nearest(name, names, (int)PX_COUNT(commands));
    px_err *err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                             "%s: no command \"%.60s\"%s%s%s; a step may be %s", where, name,
                             near >= 0 ? "; did you mean " : "", near >= 0 ? names[near] : "",
                             near >= 0 ? "?" : "", list.data ? list.data : "");
    px_str_free(&list);
    return err;
}

/* The next "name:K" of a row's options, or false. */
static bool next_option(const char **at, char name[32], char *kind) {
    *at += strspn(*at, " ");
    size_t n = strcspn(*at, ":");
    if (!**at || n >= 32) return false;
    memcpy(name, *at, n);
    name[n] = 0;
    *kind = (*at)[n + 1];
    *at += n + 2;
    return true;
}

static px_err *no_such_option(const job_command *command, const char *option, const char *where) {
    char all[64][32], kind = 0;
    const char *names[64], *at = command->options;
    int n = 0;
    px_str list = {0};
    while (n < 64 && next_option(&at, all[n], &kind)) {
        names[n] = all[n];
        px_str_format(&list, "%s%s", n ? ", " : "", names[n]);
        n++;
    }
    int near = px_nearest(option, names, n);
    px_err *err = px_err_new(
        PX_BAD_INPUT, __FILE__, __LINE__, "%s: %s has no option \"%.60s\"%s%s%s; accepted: %s",
        where, command->name, option, near >= 0 ? "; did you mean " : "",
        near >= 0 ? names[near] : "", near >= 0 ? "?" : "", list.data ? list.data : "");
    px_str_free(&list);
    return err;
}

px_err *job_option_kind(const job_command *command, const char *option, const char *where,
                        px_job_kind *out) {
    static const char letters[] = "vficsoO";
    static const px_job_kind kinds[] = {PX_JOB_VALUE, PX_JOB_FLAG,     PX_JOB_INPUT,  PX_JOB_CONFIG,
                                        PX_JOB_SET,   PX_JOB_OUT_FILE, PX_JOB_OUT_DIR};
    const char *at = command->options;
    char name[32], kind = 0;
    while (next_option(&at, name, &kind))
        if (!strcmp(name, option)) {
            *out = kinds[strchr(letters, kind) - letters];
            return NULL;
        }
    return no_such_option(command, option, where);
}

/* trials_check.c - prismx trials check: every problem with line, key and reason, then counts. */
#include <inttypes.h>
#include <string.h>

#include "trials_internal.h"

typedef struct {
    FILE *out;
    int64_t most, shown[PX_ODDS + 1];
} check_list;

/* Keys and names come from the file: what a terminal could take for a command is left out. */
static void print_plain(FILE *out, const char *text) {
    for (size_t n = strlen(text), at = 0; at < n;) {
        int length = 1;
        int32_t c = px_utf8_get(text + at, n - at, &length);
        bool odd = c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0) ||
                   (c >= 0x200b && c < 0x2070) || c == 0xfeff || (c >= 0x61c && c <= 0x61c);
        if (odd)
            fputc('?', out);
        else
            fwrite(text + at, 1, (size_t)length, out);
        at += (size_t)length;
    }
}

static px_err *show(void *context, const px_trial_problem *problem) {
    check_list *list = context;
    int kind = problem->error ? PX_ODDS : (int)problem->odd;
    if (list->most && ++list->shown[kind] > list->most) return NULL;
    fprintf(list->out, "%s line %" PRId64 ": %s: ", problem->path, problem->line,
            problem->error ? "error" : "warning");
    print_plain(list->out, problem->key);
    if (*problem->key) fputs(": ", list->out);
    print_plain(list->out, problem->reason);
    fputc('\n', list->out);
    return NULL;
}

static void print_counts(const px_trials *t, FILE *out) {
    static const char *const what[PX_ODDS] = {
        "unknown keys", "invalid rankings", "invalid slider or bid values", "NULs in texts",
        "answers or choices at positions where nobody stands"};
    int64_t by_source[PX_SOURCES] = {0}, slots = 0;
    for (int64_t i = 0; i < t->n; i++) {
        by_source[t->at[i].source]++;
        slots += t->at[i].n_slots;
    }
    fprintf(out,
            "%" PRId64 " trials (%" PRId64 " human, %" PRId64 " judge, %" PRId64 " converse), ",
            t->n, by_source[0], by_source[1], by_source[2]);
    fprintf(out, "%d people, %d arms, %d domains, %" PRId64 " slots\n", t->persons.n, t->arms.n,
            t->domains.n, slots);
    for (int i = 0; i < PX_ODDS; i++)
        if (t->odd[i]) fprintf(out, "%" PRId64 " %s\n", t->odd[i], what[i]);
}

px_err *px_trials_check(const char *path, int64_t most, FILE *out) {
    check_list list = {.out = out, .most = most};
    px_trials trials;
    PX_PASS(px_trials_new(&trials));
    px_err *err = px_trials_read(&trials, path, show, &list);
    if (!err) {
        for (int i = 0; most && i <= PX_ODDS; i++)
            if (list.shown[i] > most)
                fprintf(out, "… and %" PRId64 " more %s\n", list.shown[i] - most,
                        i == PX_ODDS ? "errors" : "warnings of the same kind");
        print_counts(&trials, out);
        if (trials.errors)
            err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: %" PRId64 " errors", path,
                             trials.errors);
    }
    px_trials_free(&trials);
    return err;
}

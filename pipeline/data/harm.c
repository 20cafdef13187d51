/* harm.c - see harm.h. */
#include "harm.h"

static const struct {
    const char *file, *name, *done;
    bool strict;
} kinds[PX_HARM_COUNT] = {
#define HARM(id, file, name, strict, done) {file, name, done, strict},
    PX_HARMS(HARM)
#undef HARM
};

px_err *px_harm_add(px_harms *harms, px_harm kind, int64_t line, int64_t turn) {
    harms->n[kind]++;
    int *n = &harms->n_lines[kind];
    if (*n < PX_HARM_LINES && (*n == 0 || harms->lines[kind][*n - 1] != line))
        harms->lines[kind][(*n)++] = line;
    if (!harms->strict || !kinds[kind].strict) return NULL;
    if (turn >= 0)
        PX_FAIL(PX_BAD_INPUT, "%s line %lld, turn %lld: %s (data.strict; without it: %s)",
                kinds[kind].file, (long long)line, (long long)turn, kinds[kind].name,
                kinds[kind].done);
    PX_FAIL(PX_BAD_INPUT, "%s line %lld: %s (data.strict; without it: %s)", kinds[kind].file,
            (long long)line, kinds[kind].name, kinds[kind].done);
}

const char *px_harm_name(px_harm kind) { return kinds[kind].name; }
const char *px_harm_file(px_harm kind) { return kinds[kind].file; }
const char *px_harm_done(px_harm kind) { return kinds[kind].done; }
bool px_harm_is_strict(px_harm kind) { return kinds[kind].strict; }

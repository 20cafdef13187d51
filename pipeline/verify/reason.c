/* reason.c - why a rerun may have given other bits: what the manifest says of then against what is
 * now, the likeliest first. */
#include "verify_internal.h"

#include <string.h>

static bool damaged_at(const verifying *v, int64_t step) {
    for (int i = 0; i < v->n_checkpoints; i++)
        if (v->steps[i] == step && v->damaged[i]) return true;
    return false;
}

/* The differences of one kind, at most eight. */
static int say_kind(verifying *v, const px_diffs *diffs, px_diff_kind kind, const char *why) {
    int n = 0;
    for (int i = 0; i < diffs->n; i++) {
        const px_diff *d = &diffs->items[i];
        if (d->kind != kind || !strcmp(d->name, "threads") || !strcmp(d->name, "hosts") ||
            !strcmp(d->name, "ranks"))
            continue;
        if (n++ == 0) verify_say(v, "likely reason: %s", why);
        if (n <= 8) verify_say(v, "    %s: %s then, %s now", d->name, d->a, d->b);
    }
    return n;
}

static bool fast_on_others(const verifying *v, const px_diffs *diffs) {
    const cJSON *comm = cJSON_GetObjectItemCaseSensitive(v->config, "comm");
    const char *reduce = px_json_find_text(comm, "reduce");
    bool other = false;
    for (int i = 0; i < diffs->n; i++) other |= !strcmp(diffs->items[i].name, "ranks");
    return other && reduce && strcmp(reduce, "exact") != 0;
}

/* Machines that a run was started on differ among themselves. */
static bool mixed(const verifying *v) {
    const cJSON *hosts = cJSON_GetObjectItemCaseSensitive(v->manifest, "hosts");
    const cJSON *starts = cJSON_GetObjectItemCaseSensitive(v->manifest, "starts"), *start = NULL;
    const char *cpu = starts ? px_json_find_text(starts->child, "cpu") : NULL;
    bool other = cJSON_GetArraySize(hosts) > 1;
    cJSON_ArrayForEach(start, starts) {
        const char *mine = px_json_find_text(start, "cpu");
        other |= cpu && mine && strcmp(cpu, mine) != 0;
    }
    return other;
}

px_err *verify_reasons(verifying *v) {
    px_diffs diffs;
    int n = 0;
    const px_diff *first = px_diffs_first(&v->found);
    PX_PASS(px_diffs_new(&diffs));
    px_err *err = px_diff_manifests(v->manifest, v->manifest_now, &diffs);
    if (first && damaged_at(v, first->step)) {
        verify_say(v,
                   "likely reason: the checkpoint of step %lld was damaged or changed after it "
                   "was written: its own sha256 does not fit it either",
                   (long long)first->step);
        n++;
    }
    if (fast_on_others(v, &diffs)) {
        verify_say(
            v, "likely reason: comm.reduce is not exact: results depend on the number of ranks");
        n++;
    }
    n += say_kind(v, &diffs, PX_DIFF_INPUT, "another input");
    n += say_kind(v, &diffs, PX_DIFF_MACHINE, "another processor, other instruction sets");
    n += say_kind(v, &diffs, PX_DIFF_PROGRAM, "another program or library");
    if (mixed(v)) {
        verify_say(v, "likely reason: the run itself was computed on different processors");
        n++;
    }
    if (n == 0)
        verify_say(v, "likely reason: none known: program, libraries, processor and inputs are the "
                      "same; a file of the run changed after it was written, or memory is faulty");
    px_diffs_free(&diffs);
    return err;
}

/* diffs.c - a list of differences, as text and as JSON. See verify.h. */
#include "verify_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

px_err *px_diffs_new(px_diffs *out) {
    *out = (px_diffs){0};
    return px_arena_new(16384, &out->arena);
}

void px_diffs_free(px_diffs *diffs) {
    px_arena_free(diffs->arena);
    free(diffs->items);
    *diffs = (px_diffs){0};
}

px_err *px_diffs_add(px_diffs *diffs, px_diff diff) {
    if (diffs->n == diffs->room) {
        int room = diffs->room ? 2 * diffs->room : 32;
        px_diff *wider = realloc(diffs->items, (size_t)room * sizeof *wider);
        if (!wider) PX_NO_MEMORY();
        diffs->items = wider;
        diffs->room = room;
    }
    diff.name = px_arena_text(diffs->arena, diff.name, strlen(diff.name));
    if (diff.a) diff.a = px_arena_text(diffs->arena, diff.a, strlen(diff.a));
    if (diff.b) diff.b = px_arena_text(diffs->arena, diff.b, strlen(diff.b));
    PX_PASS(px_arena_ok(diffs->arena));
    diffs->items[diffs->n++] = diff;
    return NULL;
}

int px_diffs_counting(const px_diffs *diffs) {
    int n = 0;
    for (int i = 0; i < diffs->n; i++) n += diffs->items[i].counts;
    return n;
}

const px_diff *px_diffs_first(const px_diffs *diffs) {
    const px_diff *first = NULL;
    for (int i = 0; i < diffs->n; i++) {
        const px_diff *d = &diffs->items[i];
        if (d->kind != PX_DIFF_METRIC && d->kind != PX_DIFF_TENSOR) continue;
        /* users.h5 has no step: it is written after the last one. */
        int64_t step = d->step < 0 ? INT64_MAX : d->step;
        int64_t best = !first ? INT64_MAX : first->step < 0 ? INT64_MAX : first->step;
        bool earlier = !first || step < best ||
                       (step == best && d->kind == PX_DIFF_METRIC && first->kind != d->kind);
        if (earlier) first = d;
    }
    return first;
}

const char *verify_value(px_arena *arena, const cJSON *item) {
    px_str text = {0};
    if (!item) return "nothing";
    if (cJSON_IsString(item))
        px_str_text(&text, item->valuestring);
    else
        px_json_print(item, &text);
    size_t size = PX_MIN(text.size, 160);
    const char *copy = text.data ? px_arena_text(arena, text.data, size) : NULL;
    px_str_free(&text);
    return copy ? copy : "";
}

void px_diff_text(const px_diff *d, px_str *out) {
    char number[32];
    if (d->step >= 0) px_str_format(out, "step %lld, ", (long long)d->step);
    px_str_text(out, d->name);
    px_str_text(out, ": ");
    if (d->n_values > 0) {
        px_str_format(out, "%lld of %lld values differ, by at most %s", (long long)d->n_differ,
                      (long long)d->n_values,
                      isfinite(d->largest) ? px_double_text(d->largest, number) : "infinity");
        if (d->a) px_str_format(out, " (first: %s)", d->a);
        return;
    }
    px_str_format(out, "%s | %s", d->a ? d->a : "nothing", d->b ? d->b : "nothing");
}

px_err *px_diffs_json(const px_diffs *diffs, cJSON **out) {
    static const char *const kinds[] = {"config", "input",  "program", "machine",
                                        "file",   "metric", "tensor"};
    cJSON *list = cJSON_CreateArray();
    bool good = list != NULL;
    for (int i = 0; good && i < diffs->n; i++) {
        const px_diff *d = &diffs->items[i];
        cJSON *item = cJSON_CreateObject();
        good = item && cJSON_AddItemToArray(list, item) &&
               cJSON_AddStringToObject(item, "kind", kinds[d->kind]) &&
               cJSON_AddBoolToObject(item, "counts", d->counts) &&
               cJSON_AddStringToObject(item, "name", d->name);
        if (good && d->step >= 0) good = cJSON_AddNumberToObject(item, "step", (double)d->step);
        if (good && d->n_values)
            good = cJSON_AddNumberToObject(item, "values", (double)d->n_values) &&
                   cJSON_AddNumberToObject(item, "differ", (double)d->n_differ) &&
                   cJSON_AddNumberToObject(item, "largest", d->largest);
        if (good && d->a) good = cJSON_AddStringToObject(item, "a", d->a);
        if (good && d->b) good = cJSON_AddStringToObject(item, "b", d->b);
    }
    if (!good) {
        cJSON_Delete(list);
        PX_NO_MEMORY();
    }
    *out = list;
    return NULL;
}

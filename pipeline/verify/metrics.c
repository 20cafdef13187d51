/* metrics.c - two metrics.jsonl, line by line. Only the times may differ. See verify.h. */
#include "verify_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t step;
    cJSON *json;
} line;
typedef struct {
    line *items;
    int64_t n, room;
} lines;

static void lines_free(lines *l) {
    for (int64_t i = 0; i < l->n; i++) cJSON_Delete(l->items[i].json);
    free(l->items);
    *l = (lines){0};
}

static px_err *lines_add(lines *l, cJSON *json) {
    if (l->n == l->room) {
        int64_t room = l->room ? 2 * l->room : 256;
        line *wider = realloc(l->items, (size_t)room * sizeof *wider);
        if (!wider) {
            cJSON_Delete(json);
            PX_NO_MEMORY();
        }
        l->items = wider;
        l->room = room;
    }
    l->items[l->n++] = (line){(int64_t)px_json_find_f64(json, "step", -1), json};
    return NULL;
}

/* Whole lines alone: the last of a killed run may be cut. */
static px_err *lines_read(const char *path, lines *out) {
    px_bytes text = {0};
    px_err *err = NULL;
    if (!px_path_exists(path)) return NULL;
    PX_PASS(px_file_read(path, &text));
    int64_t number = 0;
    for (size_t at = 0; at < text.size;) {
        const char *newline = memchr(text.data + at, '\n', text.size - at);
        if (!newline) break;
        size_t size = (size_t)(newline - text.data) - at;
        cJSON *json = NULL;
        number++;
        PX_TRY_TO(done, px_json_parse(text.data + at, size, &json), "%s line %lld", path,
                  (long long)number);
        PX_PASS_TO(done, lines_add(out, json));
        at += size + 1;
    }
done:
    px_bytes_free(&text);
    if (err) lines_free(out);
    return err;
}

px_err *px_metrics_last_step(const char *path, int64_t *last) {
    lines l = {0};
    *last = 0;
    PX_PASS(lines_read(path, &l));
    if (l.n) *last = l.items[l.n - 1].step;
    lines_free(&l);
    return NULL;
}

/* Evaluations while training may be asked for by one and not by the other. */
static bool compared(const char *key, const cJSON *a, const cJSON *b) {
    if (!strcmp(key, "step_time_s") || !strcmp(key, "tokens_per_s")) return false;
    return strncmp(key, "eval_", 5) != 0 || (a && b);
}

static px_err *diff_line(const cJSON *a, const cJSON *b, int64_t step, px_diffs *out, bool *same) {
    px_err *err = NULL;
    *same = true;
    for (int side = 0; side < 2 && !err; side++) {
        const cJSON *here = side ? b : a, *there = side ? a : b, *item = NULL;
        cJSON_ArrayForEach(item, here) {
            const cJSON *other = cJSON_GetObjectItemCaseSensitive(there, item->string);
            if ((side && other) || !compared(item->string, item, other)) continue;
            const char *x = verify_value(out->arena, side ? other : item),
                       *y = verify_value(out->arena, side ? item : other);
            if (!strcmp(x, y)) continue;
            *same = false;
            err = px_diffs_add(out, (px_diff){.kind = PX_DIFF_METRIC,
                                              .counts = true,
                                              .step = step,
                                              .name = item->string,
                                              .a = x,
                                              .b = y});
            if (err) break;
        }
    }
    return err;
}

static px_err *lacking(int64_t step, bool in_a, px_diffs *out) {
    return px_diffs_add(out, (px_diff){.kind = PX_DIFF_METRIC,
                                       .counts = true,
                                       .step = step,
                                       .name = "metrics.jsonl",
                                       .a = in_a ? "a line" : "no line",
                                       .b = in_a ? "no line" : "a line"});
}

px_err *px_diff_metrics(const char *path_a, const char *path_b, int64_t first, int64_t last,
                        px_diffs *out, int64_t *n_steps) {
    lines a = {0}, b = {0};
    px_err *err = NULL;
    *n_steps = 0;
    PX_PASS_TO(done, lines_read(path_a, &a));
    PX_PASS_TO(done, lines_read(path_b, &b));
    int64_t i = 0, j = 0;
    for (bool same = true; same;) {
        while (i < a.n && a.items[i].step < first) i++;
        while (j < b.n && b.items[j].step < first) j++;
        int64_t x = i < a.n ? a.items[i].step : INT64_MAX;
        int64_t y = j < b.n ? b.items[j].step : INT64_MAX;
        if (PX_MIN(x, y) == INT64_MAX || PX_MIN(x, y) > last) break;
        if (x != y) {
            err = lacking(PX_MIN(x, y), x < y, out);
            break;
        }
        PX_PASS_TO(done, diff_line(a.items[i].json, b.items[j].json, x, out, &same));
        *n_steps += 1;
        i++;
        j++;
        /* A second line for the same step is as wrong as a missing one. */
        if (i < a.n && a.items[i].step <= x) {
            err = lacking(x, true, out);
            break;
        }
    }
done:
    lines_free(&a);
    lines_free(&b);
    return err;
}

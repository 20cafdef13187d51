/* read.c - a run folder as the report sees it. Anything but its being a folder may be missing or
 * broken: that becomes a note. */
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report_internal.h"

static const char *const series_keys[] = {
#define SERIES(id, key) key,
    PX_SERIES(SERIES)
#undef SERIES
};

px_err *px_run_view_note(run_view *run, const char *format, ...) {
    char *text = NULL;
    va_list args;
    if (run->n_notes >= NOTES_MAX) return NULL;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    if (n < 0) PX_NO_MEMORY();
    const char *copy = px_arena_text(run->arena, text, (size_t)n);
    free(text);
    PX_PASS(px_arena_ok(run->arena));
    if (run->n_notes == NOTES_MAX - 1) copy = "there is more like this, not shown";
    run->notes[run->n_notes++] = copy;
    return NULL;
}

px_err *px_run_view_forgive(run_view *run, px_err *err) {
    if (!err || px_err_kind(err) != PX_BAD_INPUT) return err;
    px_err *worse = px_run_view_note(run, "%s", px_err_text(err));
    px_err_free(err);
    return worse;
}

/* An object in a file; *out NULL and a note where there is none. */
static px_err *read_object(run_view *run, const char *name, cJSON **out) {
    char *path = px_path_join(run->path, name);
    if (!path) PX_NO_MEMORY();
    px_err *err = NULL;
    *out = NULL;
    if (!px_path_exists(path)) {
        err = px_run_view_note(run, "%s is missing", name);
    } else {
        err = px_run_view_forgive(run, px_json_read(path, false, out));
        if (!err && *out && !cJSON_IsObject(*out)) {
            err = px_run_view_note(run, "%s: found %s, wanted an object", name, px_json_type(*out));
            cJSON_Delete(*out);
            *out = NULL;
        }
    }
    free(path);
    return err;
}

/* --- metrics.jsonl --- */
static px_err *take_line(run_view *run, const char *text, size_t size, px_str *rows) {
    cJSON *line = NULL;
    double row[N_SERIES], last = -1;
    px_err *err = px_json_parse(text, size, &line);
    if (err && px_err_kind(err) != PX_BAD_INPUT) return err;
    px_err_free(err);
    for (int s = 0; s < N_SERIES; s++) {
        row[s] = cJSON_IsObject(line) ? px_json_find_f64(line, series_keys[s], NAN) : NAN;
        if (!isfinite(row[s])) row[s] = NAN;
    }
    cJSON_Delete(line);
    if (rows->size)
        memcpy(&last, rows->data + rows->size - sizeof row + S_STEP * sizeof *row, sizeof last);
    if (!(row[S_STEP] >= 0))
        run->n_broken++;
    else if (row[S_STEP] <= last)
        run->n_repeated++;
    else
        px_str_add(rows, (const char *)row, sizeof row);
    return NULL;
}

/* Rows of all series one after another into a column a series. */
static px_err *columns_of(run_view *run, const px_str *rows) {
    run->n_steps = (int64_t)(rows->size / (N_SERIES * sizeof(double)));
    for (int s = 0; s < N_SERIES; s++) {
        run->series[s] = px_take(run->arena, double, run->n_steps + 1);
        PX_PASS(px_arena_ok(run->arena));
        for (int64_t i = 0; i < run->n_steps; i++)
            memcpy(&run->series[s][i],
                   rows->data + ((size_t)i * N_SERIES + (size_t)s) * sizeof(double),
                   sizeof(double));
    }
    return NULL;
}

static px_err *read_lines(run_view *run, const char *path, px_str *rows) {
    px_lines *lines = NULL;
    const char *text = NULL;
    size_t size = 0;
    int64_t line = 0;
    px_err *err = px_run_view_forgive(run, px_lines_open(path, &lines));
    if (err || !lines) return err;
    for (;;) {
        err = px_run_view_forgive(run, px_lines_next(lines, &text, &size, &line));
        if (err || !text) break;
        if ((err = take_line(run, text, size, rows))) break;
        text = NULL;
    }
    px_lines_close(lines);
    return err;
}

static px_err *read_metrics(run_view *run) {
    px_str rows = {0};
    char *path = px_path_join(run->path, "metrics.jsonl");
    if (!path) PX_NO_MEMORY();
    px_err *err = px_path_exists(path) ? read_lines(run, path, &rows)
                                       : px_run_view_note(run, "metrics.jsonl is missing");
    if (!err) err = px_str_ok(&rows);
    if (!err) err = columns_of(run, &rows);
    if (!err && run->n_broken)
        err =
            px_run_view_note(run,
                             "metrics.jsonl: %lld broken line%s left out (the last line may still "
                             "have been on its way)",
                             (long long)run->n_broken, run->n_broken == 1 ? "" : "s");
    if (!err && run->n_repeated)
        err = px_run_view_note(run, "metrics.jsonl: %lld line%s left out whose step does not grow",
                               (long long)run->n_repeated, run->n_repeated == 1 ? "" : "s");
    free(path);
    px_str_free(&rows);
    return err;
}

/* --- evals --- */
static double number_at(const cJSON *list, int i) {
    const cJSON *item = cJSON_GetArrayItem(list, i);
    return cJSON_IsNumber(item) && isfinite(item->valuedouble) ? item->valuedouble : NAN;
}

static interval interval_of(const cJSON *row, const char *name) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(row, name);
    if (!cJSON_IsArray(list)) return (interval){NAN, NAN, NAN};
    return (interval){number_at(list, 0), number_at(list, 1), number_at(list, 2)};
}

static px_err *copy_text(run_view *run, const char *text, const char **out) {
    *out = px_arena_text(run->arena, text, strlen(text));
    return px_arena_ok(run->arena);
}

static px_err *take_row(run_view *run, const cJSON *json) {
    static const char *const names[] = {"own", "generic", "other"};
    const char *split = px_json_find_text(json, "split"), *type = px_json_find_text(json, "type");
    if (!split || !type)
        return px_run_view_note(run, "evals/%s: a row without split or type is left out",
                                run->files[run->n_files].file);
    if (run->n_rows >= ROWS_MAX)
        return px_run_view_note(run, "evals: rows over %d are left out", ROWS_MAX);
    eval_row *row = &run->rows[run->n_rows++];
    char name[32];
    *row = (eval_row){.n_pairs = px_json_find_f64(json, "n_pairs", NAN),
                      .n_people = px_json_find_f64(json, "n_people", NAN),
                      .file = run->n_files};
    for (int w = 0; w < N_WHO; w++) {
        snprintf(name, sizeof name, "accuracy_%s", names[w]);
        row->accuracy[w] = interval_of(json, name);
        snprintf(name, sizeof name, "margin_%s", names[w]);
        row->margin[w] = interval_of(json, name);
    }
    row->delta_own = interval_of(json, "delta_own");
    row->delta_swap = interval_of(json, "delta_swap");
    PX_PASS(copy_text(run, split, &row->split));
    return copy_text(run, type, &row->type);
}

static px_err *take_eval(run_view *run, const char *name, const cJSON *json) {
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(json, "rows"), *row = NULL;
    const char *sha = px_json_find_text(json, "corpus_sha256");
    if (!cJSON_IsArray(rows)) return px_run_view_note(run, "evals/%s has no list of rows", name);
    eval_file *file = &run->files[run->n_files];
    *file = (eval_file){.step = px_json_find_f64(json, "step", -1),
                        .taste = px_json_find_f64(json, "taste_correlation", NAN),
                        .n_pairs = px_json_find_f64(json, "n_pairs", NAN)};
    PX_PASS(copy_text(run, name, &file->file));
    if (sha) PX_PASS(copy_text(run, sha, &file->corpus_sha256));
    cJSON_ArrayForEach(row, rows) PX_PASS(take_row(run, row));
    run->n_files++;
    return NULL;
}

static int is_json(const struct dirent *entry) {
    size_t n = strlen(entry->d_name);
    return entry->d_name[0] != '.' && n > 5 && !strcmp(entry->d_name + n - 5, ".json");
}
static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static px_err *read_eval(run_view *run, const char *name) {
    cJSON *json = NULL;
    char *inner = px_path_join("evals", name);
    if (!inner) PX_NO_MEMORY();
    px_err *err = run->n_files < EVALS_MAX
                      ? read_object(run, inner, &json)
                      : px_run_view_note(run, "evals/%s: over %d files", name, EVALS_MAX);
    if (!err && json) err = take_eval(run, name, json);
    cJSON_Delete(json);
    free(inner);
    return err;
}

static px_err *read_evals(run_view *run) {
    struct dirent **entries = NULL;
    char *path = px_path_join(run->path, "evals");
    if (!path) PX_NO_MEMORY();
    run->rows = px_take(run->arena, eval_row, ROWS_MAX);
    px_err *err = px_arena_ok(run->arena);
    int n = scandir(path, &entries, is_json, by_bytes);
    for (int i = 0; i < n; i++) {
        if (!err) err = read_eval(run, entries[i]->d_name);
        free(entries[i]);
    }
    if (!err && n <= 0)
        err = px_run_view_note(run, "not evaluated yet: prismx eval --run writes what is missing");
    free(entries);
    free(path);
    return err;
}

/* --- the corpus's own report --- */
static px_err *read_beside(run_view *run, const char *corpus) {
    size_t n = strlen(corpus);
    char *path = NULL;
    if (n > 3 && !strcmp(corpus + n - 3, ".h5")) n -= 3;
    if (asprintf(&path, "%.*s.report.json", (int)n, corpus) < 0) PX_NO_MEMORY();
    px_err *err = NULL;
    if (px_path_exists(path))
        err = px_run_view_forgive(run, px_json_read(path, false, &run->corpus_report));
    else
        err = px_run_view_note(
            run, "no report stands beside the corpus: what was left out of it is not shown");
    if (!cJSON_IsObject(run->corpus_report)) {
        cJSON_Delete(run->corpus_report);
        run->corpus_report = NULL;
    }
    free(path);
    return err;
}

static px_err *check_corpus(run_view *run) {
    const char *mine = px_json_find_text(run->manifest, "corpus_sha256");
    for (int i = 0; mine && i < run->n_files; i++)
        if (run->files[i].corpus_sha256 && strcmp(run->files[i].corpus_sha256, mine) != 0)
            PX_PASS(px_run_view_note(run,
                                     "evals/%s was made with another corpus than the training: its "
                                     "splits may hold pairs that the run has seen",
                                     run->files[i].file));
    return NULL;
}

static px_err *read_all(run_view *run) {
    PX_PASS(read_object(run, "manifest.json", &run->manifest));
    PX_PASS(read_object(run, "config.json", &run->config));
    PX_PASS(read_metrics(run));
    PX_PASS(read_evals(run));
    const cJSON *corpus = px_view_at(run->manifest, "inputs.corpus.path");
    if (cJSON_IsString(corpus)) PX_PASS(read_beside(run, corpus->valuestring));
    PX_PASS(check_corpus(run));
    return px_run_view_users(run);
}

px_err *px_run_view_read(const char *path, run_view *out) {
    *out = (run_view){.path = path, .label = path};
    if (!px_path_is_dir(path))
        PX_FAIL(PX_BAD_INPUT, "%s: %s", path,
                px_path_exists(path) ? "found a file, wanted a run folder" : "no such folder");
    PX_PASS(px_arena_new(65536, &out->arena));
    px_err *err = read_all(out);
    if (err) px_run_view_free(out);
    return err;
}

void px_run_view_free(run_view *run) {
    cJSON_Delete(run->manifest);
    cJSON_Delete(run->config);
    cJSON_Delete(run->corpus_report);
    px_arena_free(run->arena);
    run->manifest = run->config = run->corpus_report = NULL;
    run->arena = NULL;
}

/* --- questions --- */
const cJSON *px_view_at(const cJSON *object, const char *path) {
    char word[64];
    while (object) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof word) return NULL;
        memcpy(word, path, n);
        word[n] = 0;
        object = cJSON_GetObjectItemCaseSensitive(object, word);
        if (!path[n]) return object;
        path += n + 1;
    }
    return NULL;
}

const eval_row *px_run_view_row(const run_view *run, const char *split, const char *type) {
    const eval_row *best = NULL;
    for (int i = 0; i < run->n_rows; i++) {
        const eval_row *row = &run->rows[i];
        if (strcmp(row->split, split) != 0 || strcmp(row->type, type) != 0) continue;
        if (!best || run->files[row->file].step >= run->files[best->file].step) best = row;
    }
    return best;
}

static int add_distinct(const char **out, int n, int most, const char *text) {
    for (int i = 0; i < n; i++)
        if (!strcmp(out[i], text)) return n;
    if (n < most) out[n++] = text;
    return n;
}

static bool is_there(const page_view *page, const char *text, bool split) {
    for (int r = 0; r < page->n_runs; r++)
        for (int i = 0; i < page->runs[r].n_rows; i++) {
            const eval_row *row = &page->runs[r].rows[i];
            if (!strcmp(split ? row->split : row->type, text)) return true;
        }
    return false;
}

static int distinct(const page_view *page, bool split, const char *const *known, const char **out,
                    int most) {
    int n = 0;
    for (int i = 0; known[i]; i++)
        if (is_there(page, known[i], split)) n = add_distinct(out, n, most, known[i]);
    for (int r = 0; r < page->n_runs; r++)
        for (int i = 0; i < page->runs[r].n_rows; i++) {
            const eval_row *row = &page->runs[r].rows[i];
            n = add_distinct(out, n, most, split ? row->split : row->type);
        }
    return n;
}

int px_view_splits(const page_view *page, const char **out, int most) {
    static const char *const known[] = {"seen", "unseen", "train", NULL};
    return distinct(page, true, known, out, most);
}

int px_view_types(const page_view *page, const char **out, int most) {
    static const char *const known[] = {"all",   "unguided", "values guided", "controversy guided",
                                        "other", NULL};
    return distinct(page, false, known, out, most);
}

double px_run_view_last(const run_view *run, series s) {
    for (int64_t i = run->n_steps; i-- > 0;)
        if (isfinite(run->series[s][i])) return run->series[s][i];
    return NAN;
}

double px_run_view_sum(const run_view *run, series s) {
    double sum = 0;
    for (int64_t i = 0; i < run->n_steps; i++)
        if (isfinite(run->series[s][i])) sum += run->series[s][i];
    return sum;
}

bool px_run_view_has(const run_view *run, series s) { return isfinite(px_run_view_last(run, s)); }

double px_run_view_spread(const run_view *run) {
    if (run->has_users && run->spread.mean_square > 0)
        return sqrt(run->spread.variance / run->spread.mean_square);
    return px_run_view_last(run, S_SPREAD);
}

/* study.c - see study.h. */
#include "study.h"

#include <stdlib.h>
#include <string.h>

const char *const px_stat_sources[N_STUDY_SOURCES] = {"human", "judge", "converse"};

enum { COLUMNS = 15, KEY_MOST = 1024 };
static const char header[] = "family\toutcome\tmodel\tterm\tcontrast\testimate\tstd_error\tci_low\t"
                             "ci_high\tp\tp_adjusted\tn_trials\tn_people\tsource\tnote";

/* --- rows by what they are --- */

static size_t key_of(char key[KEY_MOST], const char *outcome, const char *model, int source,
                     const char *a, const char *b, const char *c) {
    int n = snprintf(key, KEY_MOST, "%s\t%s\t%d\t%s%s%s", outcome, model, source, a, b ? b : "",
                     b && c ? c : "");
    return (size_t)PX_MIN(PX_MAX(n, 0), KEY_MOST - 1);
}

const stat_row *px_stat_find(const study_view *study, const char *outcome, const char *model,
                             int source, const char *a, const char *b, const char *c) {
    char key[KEY_MOST];
    size_t size = key_of(key, outcome, model, source, a, b, c);
    int32_t at = px_map_find(&study->index, key, size, -1);
    return at >= 0 && isfinite(study->rows[at].estimate) ? &study->rows[at] : NULL;
}

stat_row *px_stat_own(study_view *study, const stat_row *row) {
    stat_row *copy = px_take(study->arena, stat_row, 1);
    if (copy) *copy = *row;
    return copy;
}

int px_stat_arm(const study_view *study, const char *name) {
    for (int i = 0; i < study->n_arms; i++)
        if (!strcmp(study->arms[i], name)) return i;
    return -1;
}

static px_err *row_add(study_view *study, const stat_row *row) {
    char key[KEY_MOST];
    /* accuracies of several trainings differ by their notes alone */
    const bool offline = !strcmp(row->family, "offline");
    size_t size = key_of(key, row->outcome, row->model, row->source, row->term,
                         offline ? "\t" : NULL, offline ? row->note : NULL);
    /* power stands once for each of the models that its contrast names: found by neither */
    if (px_map_find(&study->index, key, size, -1) >= 0 && strcmp(row->model, "power") != 0) {
        study->n_twice++;
        return NULL;
    }
    if (study->n == study->room) {
        int64_t room = study->room ? study->room * 2 : 1024;
        stat_row *rows = realloc(study->rows, (size_t)room * sizeof *rows);
        if (!rows) PX_NO_MEMORY();
        study->rows = rows;
        study->room = room;
    }
    if (study->n >= INT32_MAX) PX_FAIL(PX_BAD_INPUT, "more rows than can be numbered");
    const char *kept = px_arena_text(study->arena, key, size);
    PX_PASS(px_arena_ok(study->arena));
    study->rows[study->n] = *row;
    return px_map_set(&study->index, kept, size, (int32_t)study->n++);
}

/* --- reading --- */

static double number_of(const char *text) {
    double value = NAN;
    return px_parse_f64(text, &value) && isfinite(value) ? value : NAN;
}

/* The cell's text; bytes that are no UTF-8 become U+FFFD, as what is written must be it. */
static px_err *cell_keep(study_view *study, const char *text, size_t size, const char **out) {
    px_str mended = {0};
    const char *nul = memchr(text, 0, size);
    if (nul) size = (size_t)(nul - text);
    if (px_utf8_check(text, size) < 0) {
        *out = px_arena_text(study->arena, text, size);
        return px_arena_ok(study->arena);
    }
    for (size_t at = 0; at < size;) {
        int length = 1;
        if (px_utf8_get(text + at, size - at, &length) < 0)
            px_str_text(&mended, "\xEF\xBF\xBD");
        else
            px_str_add(&mended, text + at, (size_t)length);
        at += (size_t)length;
    }
    px_err *err = px_str_ok(&mended);
    *out = err ? "" : px_arena_text(study->arena, mended.data, mended.size);
    px_str_free(&mended);
    return err ? err : px_arena_ok(study->arena);
}

static px_err *line_take(study_view *study, const char *text, size_t size) {
    const char *cells[COLUMNS + 1] = {0};
    int n = 0;
    for (size_t from = 0, at = 0; at <= size && n <= COLUMNS; at++) {
        if (at < size && text[at] != '\t') continue;
        PX_PASS(cell_keep(study, text + from, at - from, &cells[n]));
        if (!strcmp(cells[n], "NA")) cells[n] = "";
        n++;
        from = at + 1;
    }
    if (n != COLUMNS) {
        study->n_broken++;
        return NULL;
    }
    stat_row row = {.family = cells[0],
                    .outcome = cells[1],
                    .model = cells[2],
                    .term = cells[3],
                    .contrast = cells[4],
                    .estimate = number_of(cells[5]),
                    .se = number_of(cells[6]),
                    .low = number_of(cells[7]),
                    .high = number_of(cells[8]),
                    .p = number_of(cells[9]),
                    .p_adjusted = number_of(cells[10]),
                    .n_trials = number_of(cells[11]),
                    .n_people = number_of(cells[12]),
                    .source = -1,
                    .note = cells[14]};
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        if (!strcmp(cells[13], px_stat_sources[s])) row.source = s;
    return row_add(study, &row);
}

static px_err *file_read(study_view *study, const char *path) {
    px_lines *lines = NULL;
    const char *text = NULL;
    size_t size = 0;
    int64_t line = 0;
    PX_PASS(px_lines_open(path, &lines));
    px_err *err = px_lines_next(lines, &text, &size, &line);
    if (!err && (!text || size != strlen(header) || memcmp(text, header, size) != 0))
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                         "%s line 1: not the columns of stats.tsv; wanted %.60s…, as prismx stats "
                         "writes them",
                         path, "family outcome model term contrast estimate std_error");
    while (!err) {
        err = px_lines_next(lines, &text, &size, &line);
        if (err || !text) break;
        if (size) err = line_take(study, text, size);
    }
    px_lines_close(lines);
    return err;
}

/* stats.json beside stats.tsv, where it is there and can be read. */
static px_err *beside_read(study_view *study, const char *path) {
    size_t n = strlen(path);
    char *name = NULL;
    bool ends = n > 4 && !strcmp(path + n - 4, ".tsv");
    if (asprintf(&name, "%.*s.json", (int)(ends ? n - 4 : n), path) < 0) PX_NO_MEMORY();
    cJSON **json = &study->json[study->n_files++];
    px_err *err = px_path_exists(name) ? px_json_read(name, false, json) : NULL;
    if (err && px_err_kind(err) == PX_BAD_INPUT) {
        px_err_free(err); /* the page says that there is none */
        err = NULL;
    }
    free(name);
    return err;
}

/* --- what the rows are about --- */

static void add_name(const char **list, int *n, int most, int *more, const char *name) {
    for (int i = 0; i < *n; i++)
        if (!strcmp(list[i], name)) return;
    if (*n == most)
        ++*more;
    else
        list[(*n)++] = name;
}

static void names_find(study_view *study) {
    static const char worth[] = "worth:", domain[] = ":domain:";
    for (int64_t i = 0; i < study->n; i++) {
        const stat_row *row = &study->rows[i];
        const char *at = strstr(row->term, domain);
        if (row->source >= 0) study->has[row->source] = true;
        if (!strcmp(row->model, "plackett_luce") && !strncmp(row->term, worth, sizeof worth - 1))
            add_name(study->arms, &study->n_arms, STUDY_ARMS, &study->n_more_arms,
                     row->term + sizeof worth - 1);
        if (!strcmp(row->model, "mean") && at)
            add_name(study->domains, &study->n_domains, STUDY_DOMAINS, &study->n_more_domains,
                     at + sizeof domain - 1);
        if (!strcmp(row->model, "position") && strlen(row->term) == 1 && row->term[0] >= 'A' &&
            row->term[0] <= 'H')
            study->positions = PX_MAX(study->positions, row->term[0] - 'A' + 1);
    }
    /* without rankings there are no worths: arms are then those of the means */
    for (int64_t i = 0; i < study->n && study->n_arms == 0; i++) {
        const stat_row *row = &study->rows[i];
        for (int64_t k = i; k < study->n && !strcmp(row->model, "mean") &&
                            (!strcmp(row->outcome, "characters") ||
                             !strncmp(row->outcome, "vas:", 4) || !strcmp(row->outcome, "wtp"));
             k++)
            if (!strcmp(study->rows[k].outcome, row->outcome) &&
                !strcmp(study->rows[k].model, "mean") && !strstr(study->rows[k].term, domain))
                add_name(study->arms, &study->n_arms, STUDY_ARMS, &study->n_more_arms,
                         study->rows[k].term);
    }
}

px_err *px_stats_read(const char *const *paths, int n, study_view *out) {
    *out = (study_view){0};
    if (n > STUDY_FILES) PX_FAIL(PX_BAD_INPUT, "more than %d files of statistics", STUDY_FILES);
    PX_PASS(px_arena_new((size_t)1 << 18, &out->arena));
    for (int i = 0; i < n; i++) {
        PX_PASS(file_read(out, paths[i]));
        PX_PASS(beside_read(out, paths[i]));
    }
    names_find(out);
    return NULL;
}

void px_stats_free(study_view *study) {
    for (int i = 0; i < study->n_files; i++) cJSON_Delete(study->json[i]);
    cJSON_Delete(study->traits);
    px_map_free(&study->index);
    px_arena_free(study->arena);
    free(study->rows);
    *study = (study_view){0};
}

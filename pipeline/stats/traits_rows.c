/* traits_rows.c - traits.jsonl: score ~ arm + domain (+ log words) + an effect of each person, by
 * REML: raw (lmm) and at the same length (lmm_length). Against the reference arm. Scores are the
 * lists' and, where a judge ran, its own (the mean of an answer's valid tries). */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "stats_internal.h"

enum { LEXICAL = 3, TRAITS = 5 };
static const struct {
    const char *key, *outcome;
} trait_of[TRAITS] = {{"sycophancy", "trait:sycophancy"},
                      {"relationship", "trait:relationship"},
                      {"verbosity", "trait:verbosity"},
                      {"sycophancy", "judge:sycophancy"}, /* of the line's "judge" */
                      {"relationship", "judge:relationship"}};

typedef struct {
    int32_t arm, person, domain; /* -1: none */
    double words, score[TRAITS]; /* NaN: left out */
} trait_line;

typedef struct {
    const px_study *study;
    px_arena *arena;
    px_map people, domains;
    int32_t n_people, n_domains;
    const char *domain_names[64];
    trait_line *at;
    int64_t n, room, n_other; /* of arms that no trial has */
    bool judged;              /* some line has a judge's part */
} trait_file;

static px_err *number_of(trait_file *file, px_map *map, const char *text, int32_t *n,
                         int32_t *out) {
    *out = -1;
    if (!text) return NULL;
    size_t size = strlen(text);
    *out = px_map_find(map, text, size, -1);
    if (*out >= 0) return NULL;
    const char *kept = px_arena_text(file->arena, text, size);
    PX_PASS(px_arena_ok(file->arena));
    if (map == &file->domains && *n == (int32_t)PX_COUNT(file->domain_names))
        PX_FAIL(PX_BAD_INPUT, "traits: more than %zu domains", PX_COUNT(file->domain_names));
    if (map == &file->domains) file->domain_names[*n] = kept;
    *out = (*n)++;
    return px_map_set(map, kept, size, *out);
}

static px_err *line_take(void *context, const cJSON *json) {
    trait_file *file = context;
    trait_line line = {.arm = -1};
    const char *arm = px_json_find_text(json, "arm");
    line.arm = arm ? px_study_find(file->study, arm) : -1;
    if (line.arm < 0) {
        file->n_other++;
        return NULL;
    }
    PX_PASS(number_of(file, &file->people, px_json_find_text(json, "user_id"), &file->n_people,
                      &line.person));
    PX_PASS(number_of(file, &file->domains, px_json_find_text(json, "domain"), &file->n_domains,
                      &line.domain));
    const cJSON *controls = cJSON_GetObjectItemCaseSensitive(json, "controls");
    line.words = px_json_find_f64(controls, "words", NAN);
    const cJSON *judge = cJSON_GetObjectItemCaseSensitive(json, "judge");
    file->judged |= cJSON_IsObject(judge);
    for (int t = 0; t < TRAITS; t++)
        line.score[t] =
            t < LEXICAL ? px_json_find_f64(cJSON_GetObjectItemCaseSensitive(json, trait_of[t].key),
                                           "score", NAN)
                        : px_json_find_f64(judge, trait_of[t].key, NAN);
    if (file->n == file->room) {
        int64_t room = file->room ? file->room * 2 : 1024;
        trait_line *at = realloc(file->at, (size_t)room * sizeof *at);
        if (!at) PX_NO_MEMORY();
        file->at = at;
        file->room = room;
    }
    file->at[file->n++] = line;
    return NULL;
}

typedef struct {
    int64_t n;
    int p, length_at;
    double *x, *y;
    int32_t *person;
    int32_t n_persons;
    bool keep[PX_COLUMNS_MAX];
} trait_design;

/* Columns: 1, arms but the reference, domains but the first, log words. */
static px_err *design_make(const trait_file *file, int trait, bool length, trait_design *d) {
    const int arms = file->study->n_arms;
    *d = (trait_design){.p = arms + PX_MAX(file->n_domains - 1, 0) + length};
    d->length_at = length ? d->p - 1 : -1;
    if (d->p > PX_COLUMNS_MAX - 2) return NULL;
    d->x = calloc((size_t)file->n * (size_t)d->p + 1, sizeof *d->x);
    d->y = calloc((size_t)file->n + 1, sizeof *d->y);
    d->person = calloc((size_t)file->n + 1, sizeof *d->person);
    int32_t *number = malloc(((size_t)file->n_people + 1) * sizeof *number);
    double *gram = calloc((size_t)d->p * (size_t)d->p, sizeof *gram);
    if (!d->x || !d->y || !d->person || !number || !gram) {
        free(number);
        free(gram);
        PX_NO_MEMORY();
    }
    for (int32_t i = 0; i <= file->n_people; i++) number[i] = -1;
    for (int64_t i = 0; i < file->n; i++) {
        const trait_line *line = &file->at[i];
        if (!isfinite(line->score[trait]) || (length && !(line->words > 0))) continue;
        double *x = d->x + d->n * d->p;
        int32_t who = line->person < 0 ? file->n_people : line->person; /* nobody: one of all */
        x[0] = 1;
        if (line->arm > 0) x[line->arm] = 1;
        if (line->domain > 0) x[arms + line->domain - 1] = 1;
        if (length) x[d->length_at] = log(line->words);
        if (number[who] < 0) number[who] = d->n_persons++;
        d->person[d->n] = number[who];
        for (int a = 0; a < d->p; a++)
            for (int b = 0; b < d->p; b++) gram[a * d->p + b] += x[a] * x[b];
        d->y[d->n++] = line->score[trait];
    }
    px_independent(gram, d->p, d->keep);
    double *to = d->x;
    for (int64_t i = 0; i < d->n; i++)
        for (int j = 0; j < d->p; j++)
            if (d->keep[j]) *to++ = d->x[i * d->p + j];
    free(number);
    free(gram);
    return NULL;
}

static void design_rows(const trait_file *file, const trait_design *d, int trait, int kept,
                        const px_lmm_fit *fit, px_table *table) {
    char note[PX_TERM_MAX] = "";
    if (!fit->ok) snprintf(note, sizeof note, "not fitted: %s", fit->why);
    if (file->n_other)
        snprintf(note + strlen(note), sizeof note - strlen(note),
                 "%s%lld answers of arms without trials left out", *note ? "; " : "",
                 (long long)file->n_other);
    const px_about about = {.family = PX_FAMILY_TRAITS,
                            .outcome = trait_of[trait].outcome,
                            .model = d->length_at < 0 ? "lmm" : "lmm_length",
                            .note = note,
                            .source = -1,
                            .n_trials = d->n,
                            .n_people = d->n_persons};
    const int arms = file->study->n_arms;
    for (int j = 0, k = 0; j < d->p; k += d->keep[j++]) {
        char term[PX_TERM_MAX];
        bool arm = j > 0 && j < arms, told = fit->ok && d->keep[j];
        if (arm)
            snprintf(term, sizeof term, "%s", px_study_arm(file->study, j));
        else if (j == d->length_at)
            snprintf(term, sizeof term, "log_words");
        else if (j > 0)
            snprintf(term, sizeof term, "domain:%s", file->domain_names[j - arms + 1]);
        if (j == 0) continue;
        px_row *row = px_table_wald(table, &about, term, told ? fit->beta[k] : NAN,
                                    told ? sqrt(fit->cov[k * kept + k]) : NAN, 0);
        if (arm) px_row_contrast(row, term, px_study_arm(file->study, 0));
    }
}

static px_err *trait_fit(const trait_file *file, int trait, bool length, px_lmm_fit *fit,
                         px_table *table) {
    trait_design d;
    int kept = 0;
    px_err *err = design_make(file, trait, length, &d);
    fit->ok = false;
    fit->why = "too many terms";
    if (!err && d.n > 0 && d.x) {
        for (int j = 0; j < d.p; j++) kept += d.keep[j];
        px_lmm model = {.n = d.n, .p = kept, .x = d.x, .y = d.y};
        if (d.n_persons > 1 && d.n_persons < d.n) {
            model.level[0] = d.person;
            model.n_levels[0] = d.n_persons;
            model.n_factors = 1;
        }
        err = px_lmm_reml(&model, fit);
        if (!err) design_rows(file, &d, trait, kept, fit, table);
    }
    free(d.x);
    free(d.y);
    free(d.person);
    return err;
}

px_err *px_traits_rows(const px_study *study, px_table *table) {
    trait_file file = {.study = study};
    px_lmm_fit *fit = calloc(1, sizeof *fit);
    if (!fit) PX_NO_MEMORY();
    px_err *err = px_arena_new((size_t)1 << 20, &file.arena);
    if (!err) err = px_json_lines(study->job->traits, false, line_take, &file);
    for (int t = 0; t < (file.judged ? TRAITS : LEXICAL) && !err; t++)
        for (int length = 0; length < 2 && !err; length++)
            err = trait_fit(&file, t, length, fit, table);
    px_map_free(&file.people);
    px_map_free(&file.domains);
    free(file.at);
    px_arena_free(file.arena);
    free(fit);
    return err;
}

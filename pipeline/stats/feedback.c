/* feedback.c - how people answer back, turn by turn: words, and whether a turn asks, praises,
 * complains or corrects (short lists of ours), as y ~ turn + source + source x turn + arm, an
 * effect of each person, by REML. The arm has a column where a turn went to one arm alone. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

typedef enum { WORDS, QUESTION, PRAISE, COMPLAINT, CORRECTION, FEATURES = PX_FEEDBACKS } feature;
const char *const px_feedback_names[PX_FEEDBACKS] = {"feedback:words", "feedback:question",
                                                     "feedback:praise", "feedback:complaint",
                                                     "feedback:correction"};
/* Whole words, lower case; " " before and behind is added to the text. */
static const char *const praise[] = {" thanks ",    " thank you ", " great ",       " good ",
                                     " helpful ",   " nice ",      " perfect ",     " love ",
                                     " excellent ", " awesome ",   " interesting ", NULL};
static const char *const complaint[] = {
    " bad ",      " useless ",    " not helpful ",   " boring ",  " annoying ",
    " too long ", " too short ",  " vague ",         " generic ", " unhelpful ",
    " terrible ", " repetitive ", " disappointing ", NULL};
static const char *const correction[] = {
    " wrong ",      " incorrect ",   " i meant ",   " i said ",
    " not what i ", " that's not ",  " thats not ", " misunderstood ",
    " not true ",   " actually no ", NULL};

/* Lower case letters, digits and apostrophes (bytes of other scripts as they are), words by one
 * space, a space at both ends. */
static void plain_text(const px_turn *turn, px_str *out) {
    px_str_clear(out);
    px_str_char(out, ' ');
    for (size_t i = 0; i < turn->size; i++) {
        unsigned char c = (unsigned char)turn->user[i];
        bool word = isalnum(c) || c == '\'' || c >= 0x80;
        if (word)
            px_str_char(out, (char)(c < 0x80 ? tolower(c) : c));
        else if (out->size && out->data[out->size - 1] != ' ')
            px_str_char(out, ' ');
    }
    if (out->size && out->data[out->size - 1] != ' ') px_str_char(out, ' ');
}

static bool holds(const px_str *text, const char *const *list) {
    for (; *list; list++)
        if (strstr(text->data, *list)) return true;
    return false;
}

static double feature_of(feature f, const px_turn *turn, const px_str *text) {
    double words = 0;
    switch (f) {
    case WORDS:
        for (size_t i = 1; i < text->size; i++) words += text->data[i] == ' ';
        return words;
    case QUESTION:
        return memchr(turn->user, '?', turn->size) != NULL;
    case PRAISE:
        return holds(text, praise);
    case COMPLAINT:
        return holds(text, complaint);
    default:
        return holds(text, correction);
    }
}

double px_feedback_value(int which, const px_turn *turn, px_str *room) {
    plain_text(turn, room);
    return room->failed ? NAN : feature_of((feature)which, turn, room);
}

/* The one slot a turn went to, or -1. */
static int only_slot(const px_trial *trial, const px_turn *turn) {
    int slot = -1;
    for (int s = 0; s < trial->n_slots; s++) {
        if (!(turn->to >> s & 1)) continue;
        if (slot >= 0) return -1;
        slot = s;
    }
    return slot;
}

typedef struct {
    const px_study *study;
    int64_t n, n_trials;
    int p, source_at[PX_SOURCES]; /* first of two columns, -1 */
    int32_t *arm_at;              /* [n_arms] */
    char (*names)[PX_TERM_MAX];
    double *x, *y[FEATURES];
    int32_t *person, n_persons;
    bool *keep;
} turns_design;

static void design_free(turns_design *d) {
    free(d->arm_at);
    free(d->names);
    free(d->x);
    for (int f = 0; f < FEATURES; f++) free(d->y[f]);
    free(d->person);
    free(d->keep);
}

static px_err *design_plan(turns_design *d) {
    const px_study *study = d->study;
    const size_t arms = (size_t)study->n_arms;
    bool source[PX_SOURCES] = {0}, first = true;
    d->arm_at = calloc(arms + 1, sizeof *d->arm_at);
    d->names = calloc(arms + 8, sizeof *d->names);
    if (!d->arm_at || !d->names) PX_NO_MEMORY();
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        for (int k = 0; k < trial->n_turns; k++) {
            int slot = only_slot(trial, &trial->turns[k]);
            d->n++;
            source[trial->source] = true;
            if (slot >= 0) d->arm_at[study->arm_order[trial->slots[slot].arm]] = 1;
        }
    }
    snprintf(d->names[1], PX_TERM_MAX, "turn");
    d->p = 2;
    for (int s = 0; s < PX_SOURCES; s++) {
        d->source_at[s] = -1;
        if (source[s] && !first) {
            d->source_at[s] = d->p;
            snprintf(d->names[d->p++], PX_TERM_MAX, "source:%s", px_source_names[s]);
            snprintf(d->names[d->p++], PX_TERM_MAX, "source:%s:turn", px_source_names[s]);
        }
        first &= !source[s];
    }
    for (int a = 0; a < study->n_arms; a++) {
        bool there = d->arm_at[a] && a > 0;
        d->arm_at[a] = there ? d->p : -1;
        if (there) snprintf(d->names[d->p++], PX_TERM_MAX, "%s", px_study_arm(study, a));
    }
    return NULL;
}

static px_err *design_fill(turns_design *d) {
    const px_study *study = d->study;
    px_str text = {0};
    int64_t n = 0;
    const size_t rows = (size_t)d->n + 1;
    d->x = calloc(rows * (size_t)d->p, sizeof *d->x);
    d->person = calloc(rows, sizeof *d->person);
    d->keep = calloc((size_t)d->p, sizeof *d->keep);
    int32_t *number = malloc(((size_t)study->n_people + 1) * sizeof *number);
    bool failed = !d->x || !d->person || !d->keep || !number;
    for (int f = 0; f < FEATURES; f++) failed |= !(d->y[f] = calloc(rows, sizeof(double)));
    if (failed) {
        free(number);
        PX_NO_MEMORY();
    }
    for (int32_t i = 0; i < study->n_people; i++) number[i] = -1;
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        d->n_trials += trial->n_turns > 0;
        for (int k = 0; k < trial->n_turns; k++, n++) {
            const px_turn *turn = &trial->turns[k];
            double *x = d->x + n * d->p;
            int at = d->source_at[trial->source], slot = only_slot(trial, turn);
            int arm = slot < 0 ? -1 : d->arm_at[study->arm_order[trial->slots[slot].arm]];
            x[0] = 1;
            x[1] = turn->n;
            if (at >= 0) x[at] = 1;
            if (at >= 0) x[at + 1] = turn->n;
            if (arm >= 0) x[arm] = 1;
            if (number[trial->person] < 0) number[trial->person] = d->n_persons++;
            d->person[n] = number[trial->person];
            plain_text(turn, &text);
            if (text.failed) break;
            for (int f = 0; f < FEATURES; f++) d->y[f][n] = feature_of((feature)f, turn, &text);
        }
    }
    px_err *err = px_str_ok(&text);
    px_str_free(&text);
    free(number);
    return err;
}

/* One feature's fit. x_kept holds the independent columns. */
static px_err *feature_rows(const turns_design *d, feature f, const double *x_kept, int kept,
                            px_lmm_fit *fit, px_table *table) {
    px_lmm model = {.n = d->n, .p = kept, .x = x_kept, .y = d->y[f]};
    bool varies = false;
    for (int64_t i = 1; i < d->n && !varies; i++)
        varies = d->y[f][i] > d->y[f][0] || d->y[f][i] < d->y[f][0];
    fit->ok = false;
    fit->why = "the outcome does not vary";
    if (d->n_persons > 1 && d->n_persons < d->n) {
        model.level[model.n_factors] = d->person;
        model.n_levels[model.n_factors++] = d->n_persons;
    }
    if (varies) PX_PASS(px_lmm_reml(&model, fit));
    char note[PX_TERM_MAX] = "";
    if (!fit->ok) snprintf(note, sizeof note, "not fitted: %s", fit->why);
    const px_about about = {.family = PX_FAMILY_DYNAMICS,
                            .outcome = px_feedback_names[f],
                            .model = "lmm",
                            .note = note,
                            .source = -1,
                            .n_trials = d->n_trials,
                            .n_people = d->n_persons};
    for (int j = 0, k = 0; j < d->p; k += d->keep[j++]) {
        bool told = fit->ok && d->keep[j];
        if (j == 0) continue;
        px_table_wald(table, &about, d->names[j], told ? fit->beta[k] : NAN,
                      told ? sqrt(fit->cov[k * kept + k]) : NAN, 0);
    }
    return NULL;
}

px_err *px_feedback_rows(const px_study *study, px_table *table) {
    turns_design d = {.study = study};
    px_lmm_fit *fit = calloc(1, sizeof *fit);
    double *gram = NULL;
    if (!fit) PX_NO_MEMORY();
    px_err *err = design_plan(&d);
    if (err || d.n == 0 || d.p > PX_COLUMNS_MAX - 2) goto done;
    PX_PASS_TO(done, design_fill(&d));
    const int p = d.p;
    gram = calloc((size_t)p * (size_t)p, sizeof *gram);
    if (!gram) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int64_t i = 0; i < d.n; i++)
        for (int a = 0; a < p; a++)
            for (int b = 0; b < p; b++) gram[a * p + b] += d.x[i * p + a] * d.x[i * p + b];
    int kept = px_independent(gram, p, d.keep);
    double *to = d.x;
    for (int64_t i = 0; i < d.n; i++)
        for (int j = 0; j < p; j++)
            if (d.keep[j]) *to++ = d.x[i * p + j];
    for (int f = 0; f < FEATURES && !err; f++)
        err = feature_rows(&d, (feature)f, d.x, kept, fit, table);
done:
    free(gram);
    free(fit);
    design_free(&d);
    return err;
}

/* pair_length.c - one arm against the reference with length as AlpacaEval takes it (Dubois et al.
 * 2024): logit P(the arm is ranked above the reference) = theta + phi tanh(dl / sd dl), read at dl
 * = 0. The pairs of one trial and one person hang together: errors are clustered by person. */
#include <stdlib.h>

#include "stats_internal.h"

typedef struct {
    const px_study *study;
    px_trial_source source;
    px_question question;
    int arm;
} pair_ask;

/* Counts the pairs (the arm, the reference), or fills d: rows [1, dl] of the arm and [0, 0] of the
 * reference, the winner first. */
static int64_t pairs_take(const pair_ask *ask, px_choices *d, int32_t *cluster) {
    const px_study *study = ask->study;
    int64_t n = 0;
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        for (int i = 0; trial->source == ask->source && i < trial->n_slots * trial->n_slots; i++) {
            const px_trial_slot *x = &trial->slots[i / trial->n_slots],
                                *y = &trial->slots[i % trial->n_slots];
            int rx = x->rank[ask->question], ry = y->rank[ask->question];
            if (study->arm_order[x->arm] != ask->arm || study->arm_order[y->arm] != 0 || !rx ||
                !ry || isnan(x->length) || isnan(y->length))
                continue;
            if (d) {
                int32_t *c = &cluster[trial->person];
                if (*c < 0) *c = d->n_clusters++;
                d->choices[n] = (px_choice){(int32_t)(2 * n), 2, 1, *c, 1};
                double *row = d->x + 4 * n + (rx < ry ? 0 : 2);
                row[0] = 1;
                row[1] = x->length - y->length;
            }
            n++;
        }
    }
    return n;
}

/* dl -> tanh(dl / sd). The arm's row is the one whose first column is 1. */
static void length_squash(px_choices *d) {
    double mean = 0, sum = 0;
    const double n = (double)d->n_choices;
    for (int64_t i = 0; i < 2 * d->n_choices; i++) mean += d->x[2 * i + 1] / n;
    for (int64_t i = 0; i < 2 * d->n_choices; i++)
        if (d->x[2 * i] != 0) sum += (d->x[2 * i + 1] - mean) * (d->x[2 * i + 1] - mean);
    double sd = n > 1 ? sqrt(sum / (n - 1)) : 0;
    for (int64_t i = 0; i < 2 * d->n_choices; i++)
        d->x[2 * i + 1] = sd > 0 ? tanh(d->x[2 * i + 1] / sd) : 0;
}

static void rows_add(const pair_ask *ask, const px_choices *d, const px_choice_fit *fit,
                     px_table *table) {
    const char *name = px_study_arm(ask->study, ask->arm);
    char term[PX_TERM_MAX];
    const px_about about = {
        .family = ask->question == PX_PREFERENCE ? PX_FAMILY_PREFERENCE : PX_FAMILY_PROVENANCE,
        .outcome = ask->question == PX_PREFERENCE ? "rank:preference" : "rank:provenance",
        .model = "pair_logit_length",
        .note = !fit->ok             ? "not fitted"
                : fit->ridge         ? "ridge 1e-3: no finite maximum"
                : d->n_clusters == 1 ? "one person: no errors"
                                     : NULL,
        .source = (int)ask->source,
        .n_trials = d->n_choices,
        .n_people = d->n_clusters};
    for (int j = 0; j < 2; j++) {
        snprintf(term, sizeof term, "%s%s", j ? "tanh_length:" : "", name);
        bool told = fit->ok && fit->keep[j];
        px_row *row = px_table_wald(table, &about, term, told ? fit->beta[j] : NAN,
                                    told ? sqrt(fit->cov[j * 2 + j]) : NAN, 0);
        px_row_contrast(row, name, px_study_arm(ask->study, 0));
    }
}

static px_err *arm_rows(const pair_ask *ask, px_table *table) {
    int64_t n = pairs_take(ask, NULL, NULL);
    px_choices d = {.p = 2, .n_choices = n, .n_rows = 2 * n};
    if (n == 0) return NULL;
    px_err *err = NULL;
    int32_t *cluster = malloc(((size_t)ask->study->n_people + 1) * sizeof *cluster);
    px_choice_fit *fit = calloc(1, sizeof *fit);
    d.choices = calloc((size_t)n, sizeof *d.choices);
    d.x = calloc((size_t)n * 4, sizeof *d.x);
    if (!cluster || !fit || !d.choices || !d.x) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int32_t i = 0; i < ask->study->n_people; i++) cluster[i] = -1;
    pairs_take(ask, &d, cluster);
    length_squash(&d);
    PX_PASS_TO(done, px_choice_maximum(&d, 1, fit));
    rows_add(ask, &d, fit, table);
done:
    free(cluster);
    free(fit);
    px_choices_free(&d);
    return err;
}

px_err *px_pair_length_rows(const px_study *study, px_trial_source source, px_question question,
                            px_table *table) {
    for (int a = 1; a < study->n_arms; a++)
        PX_PASS(arm_rows(&(pair_ask){study, source, question, a}, table));
    return NULL;
}

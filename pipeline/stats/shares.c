/* shares.c - win rates, shares ranked best by arm and by position, mean ranks: ratios of sums over
 * people, errors by linearisation clustered by person, intervals by the bootstrap. */
#include <gsl/gsl_cdf.h>
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

typedef struct {
    const px_study *study;
    px_boot *boot;
    px_table *table;
    px_question question;
    px_about about;
} share_job;

static bool ranked(const share_job *j, const px_trial *trial) {
    return (int)trial->source == j->boot->source && trial->slots[0].rank[j->question] > 0;
}

static int order_of(const share_job *j, const px_trial_slot *slot) {
    return j->study->arm_order[slot->arm];
}

/* One ordered pair of arms: each time both stand in a trial. */
static px_err *win_row(share_job *j, int a, int b) {
    double *won, *met;
    int stat;
    char term[PX_TERM_MAX];
    int64_t n_trials = 0;
    PX_PASS(px_boot_ratio(j->boot, &won, &met, &stat));
    for (int64_t t = 0; t < j->study->trials->n; t++) {
        const px_trial *trial = &j->study->trials->at[t];
        bool both = false;
        if (!ranked(j, trial)) continue;
        int32_t who = j->boot->person_of[trial->person];
        for (int x = 0; x < trial->n_slots; x++)
            for (int y = 0; y < trial->n_slots && order_of(j, &trial->slots[x]) == a; y++) {
                if (order_of(j, &trial->slots[y]) != b) continue;
                both = true;
                met[who] += 1;
                won[who] += trial->slots[x].rank[j->question] < trial->slots[y].rank[j->question];
            }
        n_trials += both;
    }
    if (n_trials == 0) return NULL; /* they never met: no row */
    snprintf(term, sizeof term, "%s>%s", px_study_arm(j->study, a), px_study_arm(j->study, b));
    j->about.model = "win_rate";
    j->about.n_trials = n_trials;
    px_boot_row(j->boot, stat, j->about, term, 0.5, j->table);
    return NULL;
}

/* What a slot adds to numerator and denominator. */
typedef bool slot_take(const share_job *j, const px_trial_slot *slot, const int *which,
                       double *value);

static bool take_first(const share_job *j, const px_trial_slot *slot, const int *which,
                       double *value) {
    *value = slot->rank[j->question] == 1;
    return order_of(j, slot) == which[0] && (which[1] < 0 || slot->pos == which[1]);
}

static bool take_rank(const share_job *j, const px_trial_slot *slot, const int *which,
                      double *value) {
    *value = slot->rank[j->question];
    return order_of(j, slot) == which[0];
}

static px_err *slot_row(share_job *j, slot_take *take, const int *which, const char *model,
                        const char *term) {
    double *top, *bottom;
    int stat;
    int64_t n_trials = 0;
    PX_PASS(px_boot_ratio(j->boot, &top, &bottom, &stat));
    for (int64_t t = 0; t < j->study->trials->n; t++) {
        const px_trial *trial = &j->study->trials->at[t];
        bool any = false;
        for (int s = 0; ranked(j, trial) && s < trial->n_slots; s++) {
            double value = 0;
            if (!take(j, &trial->slots[s], which, &value)) continue;
            any = true;
            top[j->boot->person_of[trial->person]] += value;
            bottom[j->boot->person_of[trial->person]] += 1;
        }
        n_trials += any;
    }
    if (n_trials == 0) return NULL;
    j->about.model = model;
    j->about.n_trials = n_trials;
    px_boot_row(j->boot, stat, j->about, term, NAN, j->table);
    return NULL;
}

/* --- positions --- */

/* The slot chosen: ranked best, or picked after the first answers; -1: none. */
static int best_slot(const share_job *j, const px_trial *trial, bool opening) {
    if ((int)trial->source != j->boot->source) return -1;
    if (opening) return trial->opening[j->question];
    for (int s = 0; s < trial->n_slots; s++)
        if (trial->slots[s].rank[j->question] == 1) return s;
    return -1;
}

/* Chi square against a choice at random among the positions of each trial. */
static void chi_row(share_job *j, const double *observed, const double *expected) {
    double chi = 0;
    int places = 0;
    for (int p = 0; p < PX_SLOTS_MAX; p++)
        if (expected[p] > 0) {
            chi += (observed[p] - expected[p]) * (observed[p] - expected[p]) / expected[p];
            places++;
        }
    px_row *row = px_table_add(j->table, &j->about, "chi2");
    if (!row || places < 2) return;
    row->estimate = chi;
    row->p = gsl_cdf_chisq_Q(chi, places - 1);
    px_row_note(row, "%d degrees of freedom, choices taken as independent", places - 1);
}

static px_err *position_rows(share_job *j, bool opening) {
    double observed[PX_SLOTS_MAX] = {0}, expected[PX_SLOTS_MAX] = {0};
    int64_t n = 0;
    for (int64_t t = 0; t < j->study->trials->n; t++) {
        const px_trial *trial = &j->study->trials->at[t];
        int best = best_slot(j, trial, opening);
        if (best < 0) continue;
        n++;
        observed[trial->slots[best].pos] += 1;
        for (int s = 0; s < trial->n_slots; s++)
            expected[trial->slots[s].pos] += 1.0 / trial->n_slots;
    }
    if (n == 0) return NULL;
    j->about.model = "position";
    j->about.n_trials = n;
    j->about.n_people = j->boot->n_people;
    for (int p = 0; p < PX_SLOTS_MAX; p++) {
        double *top, *bottom;
        int stat;
        const char term[2] = {(char)('A' + p), 0};
        if (!(expected[p] > 0)) continue;
        PX_PASS(px_boot_ratio(j->boot, &top, &bottom, &stat));
        for (int64_t t = 0; t < j->study->trials->n; t++) {
            const px_trial *trial = &j->study->trials->at[t];
            int best = best_slot(j, trial, opening);
            if (best < 0) continue;
            top[j->boot->person_of[trial->person]] += trial->slots[best].pos == p;
            bottom[j->boot->person_of[trial->person]] += 1;
        }
        px_boot_row(j->boot, stat, j->about, term, expected[p] / (double)n, j->table);
    }
    chi_row(j, observed, expected);
    return NULL;
}

static px_err *question_rows(share_job *j) {
    static const char *const ranks[] = {"rank:preference", "rank:provenance"};
    static const char *const openings[] = {"opening:best", "opening:provenance"};
    const int n = j->study->n_arms;
    char term[PX_TERM_MAX];
    j->about.outcome = ranks[j->question];
    for (int a = 0; a < n; a++)
        for (int b = 0; b < n; b++)
            if (a != b) PX_PASS(win_row(j, a, b));
    for (int a = 0; a < n; a++) {
        int which[2] = {a, -1};
        PX_PASS(slot_row(j, take_first, which, "first_share", px_study_arm(j->study, a)));
        PX_PASS(slot_row(j, take_rank, which, "mean_rank", px_study_arm(j->study, a)));
        for (int p = 0; j->study->job->by_position && p < PX_SLOTS_MAX; p++) {
            snprintf(term, sizeof term, "%s:pos:%c", px_study_arm(j->study, a), 'A' + p);
            which[1] = p;
            PX_PASS(slot_row(j, take_first, which, "first_share", term));
        }
    }
    PX_PASS(position_rows(j, false));
    j->about.outcome = openings[j->question];
    return position_rows(j, true);
}

/* Rankings asked for in further orders of the slots, against the first: the share of pairs of slots
 * that turn round, and of those with another best. Chance: 1/2, and 1 - 1/slots. */
static px_err *flip_row(share_job *j, bool top, const char *term) {
    double *flips, *all;
    int stat;
    int64_t n_trials = 0;
    for (int64_t t = 0; t < j->study->trials->n; t++)
        n_trials += (int)j->study->trials->at[t].source == j->boot->source &&
                    j->study->trials->at[t].n_orders > 1;
    if (n_trials == 0) return NULL;
    PX_PASS(px_boot_ratio(j->boot, &flips, &all, &stat));
    for (int64_t t = 0; t < j->study->trials->n; t++) {
        const px_trial *trial = &j->study->trials->at[t];
        if ((int)trial->source != j->boot->source || trial->n_orders < 2) continue;
        flips[j->boot->person_of[trial->person]] += top ? trial->top_flips : trial->order_flips;
        all[j->boot->person_of[trial->person]] += top ? trial->n_orders - 1 : trial->order_pairs;
    }
    j->about = (px_about){.family = PX_FAMILY_SIMULATOR,
                          .outcome = "rank:preference",
                          .model = "orders",
                          .source = j->boot->source,
                          .n_trials = n_trials};
    px_boot_row(j->boot, stat, j->about, term, NAN, j->table);
    return NULL;
}

px_err *px_shares_rows(const px_study *study, px_boot *boot, px_table *table) {
    for (int q = 0; q < PX_QUESTIONS; q++) {
        share_job j = {.study = study, .boot = boot, .table = table, .question = (px_question)q};
        j.about = (px_about){.family = q ? PX_FAMILY_PROVENANCE : PX_FAMILY_PREFERENCE,
                             .source = boot->source};
        PX_PASS(question_rows(&j));
    }
    share_job flips = {.study = study, .boot = boot, .table = table};
    PX_PASS(flip_row(&flips, false, "flip"));
    return flip_row(&flips, true, "flip_top");
}

/* agree.c - does a person's slider agree with the same person's ranking, and a simulated person's
 * ranking with the person's: Kendall's tau-b, the same best one, quadratic kappa, and the
 * correlation of worths. */
#include <stdlib.h>
#include <string.h>

#include "stats_internal.h"

double px_kendall_tau(const double *x, const double *y, int n) {
    double sum = 0, nx = 0, ny = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++) {
            int a = (x[i] > x[k]) - (x[i] < x[k]), b = (y[i] > y[k]) - (y[i] < y[k]);
            sum += a * b;
            nx += a * a;
            ny += b * b;
        }
    return nx > 0 && ny > 0 ? sum / sqrt(nx * ny) : NAN;
}

double px_kappa_quadratic(const double *table, int n) {
    double rows[64] = {0}, columns[64] = {0}, all = 0, seen = 0, chance = 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            rows[i] += table[i * n + k];
            columns[k] += table[i * n + k];
            all += table[i * n + k];
        }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            double w = (double)((i - k) * (i - k));
            seen += w * table[i * n + k];
            chance += w * rows[i] * columns[k] / all;
        }
    return chance > 0 ? 1 - seen / chance : NAN;
}

double px_js_divergence(const double *p, const double *q, int n) {
    double a = 0, b = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        a += p[i];
        b += q[i];
    }
    for (int i = 0; i < n; i++) {
        double x = p[i] / a, y = q[i] / b, m = (x + y) / 2;
        if (x > 0) sum += 0.5 * x * log2(x / m);
        if (y > 0) sum += 0.5 * y * log2(y / m);
    }
    return fmax(0, sum);
}

/* The sums of one comparison. */
typedef struct {
    double *tau, *tau_n, *top, *top_n, *table;
    int tau_stat, top_stat, kappa_stat;
    int64_t n, n_undefined, n_missing, n_tied;
} agree_sums;

static px_err *sums_new(px_boot *boot, agree_sums *s) {
    *s = (agree_sums){0};
    PX_PASS(px_boot_ratio(boot, &s->tau, &s->tau_n, &s->tau_stat));
    PX_PASS(px_boot_ratio(boot, &s->top, &s->top_n, &s->top_stat));
    return px_boot_kappa(boot, &s->table, PX_SLOTS_MAX, &s->kappa_stat);
}

/* x: the higher, the better (ties allowed); rank: 1 … n. */
static void sums_add(agree_sums *s, int32_t who, const double *x, const double *rank, int n) {
    double down[PX_SLOTS_MAX], best = -INFINITY, tied = 0, hit = 0;
    bool ties = false;
    for (int i = 0; i < n; i++) {
        down[i] = -rank[i];
        best = fmax(best, x[i]);
    }
    for (int i = 0; i < n; i++) {
        tied += x[i] >= best;
        if (x[i] >= best && rank[i] == 1) hit = 1;
        for (int k = 0; k < i; k++) ties |= x[i] >= x[k] && x[i] <= x[k];
    }
    double tau = px_kendall_tau(x, down, n);
    s->n++;
    s->top[who] += hit / tied; /* all alike: 1 / n */
    s->top_n[who] += 1;
    if (isnan(tau)) {
        s->n_undefined++;
        return;
    }
    s->tau[who] += tau;
    s->tau_n[who] += 1;
    if (ties) {
        s->n_tied++;
        return;
    }
    for (int i = 0; i < n; i++) {
        int place = 0;
        for (int k = 0; k < n; k++) place += x[k] > x[i];
        s->table[((int64_t)who * PX_SLOTS_MAX + place) * PX_SLOTS_MAX + (int)rank[i] - 1] += 1;
    }
}

static void sums_rows(const px_boot *boot, const agree_sums *s, px_about about, px_table *table) {
    double all[PX_SLOTS_MAX * PX_SLOTS_MAX] = {0};
    about.n_trials = s->n - s->n_undefined;
    px_row *row = px_boot_row(boot, s->tau_stat, about, "tau", 0, table);
    if (s->n_undefined)
        px_row_note(row, "%lld trials without any difference left out", (long long)s->n_undefined);
    if (s->n_missing) px_row_note(row, "%lld trials without both", (long long)s->n_missing);
    about.n_trials = s->n;
    px_boot_row(boot, s->top_stat, about, "top1", NAN, table);
    for (int32_t i = 0; i < boot->n_people; i++)
        for (int c = 0; c < PX_SLOTS_MAX * PX_SLOTS_MAX; c++)
            all[c] += s->table[(int64_t)i * PX_SLOTS_MAX * PX_SLOTS_MAX + c];
    about.n_people = boot->n_people;
    about.n_trials -= s->n_undefined + s->n_tied;
    row = px_table_add(table, &about, "kappa");
    if (!row) return;
    row->estimate = px_kappa_quadratic(all, PX_SLOTS_MAX);
    row->boot = s->kappa_stat;
    if (s->n_tied) px_row_note(row, "%lld trials with ties left out", (long long)s->n_tied);
}

/* A person's own slider and ranking of the same question. */
static px_err *self_rows(const px_study *study, px_boot *boot, px_question q, px_table *table) {
    static const px_slider slider[PX_QUESTIONS] = {PX_VAS_PREFERENCE, PX_VAS_PROVENANCE};
    agree_sums s;
    PX_PASS(sums_new(boot, &s));
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        double x[PX_SLOTS_MAX], rank[PX_SLOTS_MAX];
        bool whole = true;
        if ((int)trial->source != boot->source) continue;
        for (int i = 0; i < trial->n_slots; i++) {
            x[i] = trial->slots[i].vas[slider[q]];
            rank[i] = trial->slots[i].rank[q];
            whole &= isfinite(x[i]) && rank[i] > 0;
        }
        if (whole)
            sums_add(&s, boot->person_of[trial->person], x, rank, trial->n_slots);
        else
            s.n_missing++;
    }
    if (s.n == 0) return NULL;
    px_about about = {.family = q ? PX_FAMILY_PROVENANCE : PX_FAMILY_PREFERENCE,
                      .outcome = q ? "rank:provenance" : "rank:preference",
                      .model = "self_consistency",
                      .source = boot->source};
    sums_rows(boot, &s, about, table);
    return NULL;
}

/* --- a simulated person and the person --- */

/* The human trial that a simulated one stands for: the same trial, else the next of the same person
 * and domain that no other has taken. */
static px_err *partners_find(const px_study *study, int source, int64_t *partner) {
    const px_trials *all = study->trials;
    int64_t *head = malloc(((size_t)study->n_people + 1) * sizeof *head);
    int64_t *next = malloc(((size_t)all->n + 1) * sizeof *next);
    bool *taken = calloc((size_t)all->n + 1, sizeof *taken);
    if (!head || !next || !taken) {
        free(head);
        free(next);
        free(taken);
        PX_NO_MEMORY();
    }
    for (int32_t i = 0; i < study->n_people; i++) head[i] = -1;
    for (int64_t t = all->n - 1; t >= 0; t--) {
        partner[t] = -1;
        if (all->at[t].source != PX_SOURCE_HUMAN) continue;
        next[t] = head[all->at[t].person];
        head[all->at[t].person] = t;
    }
    for (int by_domain = 0; by_domain < 2; by_domain++)
        for (int64_t t = 0; t < all->n; t++) {
            const px_trial *trial = &all->at[t];
            if ((int)trial->source != source || partner[t] >= 0) continue;
            for (int64_t h = head[trial->person]; h >= 0 && partner[t] < 0; h = next[h]) {
                bool fits =
                    by_domain ? all->at[h].domain == trial->domain : all->at[h].id == trial->id;
                if (taken[h] || !fits) continue;
                partner[t] = h;
                taken[h] = true;
            }
        }
    free(head);
    free(next);
    free(taken);
    return NULL;
}

/* Ranks of the arms that both trials have, 1 … n each; n, 0 where there are under two. */
static int common_ranks(const px_trial *a, const px_trial *b, px_question q, double *x, double *y) {
    double rx[PX_SLOTS_MAX], ry[PX_SLOTS_MAX];
    int n = 0;
    for (int i = 0; i < a->n_slots; i++)
        for (int k = 0; k < b->n_slots; k++) {
            bool again = false;
            for (int e = 0; e < i; e++) again |= a->slots[e].arm == a->slots[i].arm;
            for (int e = 0; e < k; e++) again |= b->slots[e].arm == b->slots[k].arm;
            if (again || a->slots[i].arm != b->slots[k].arm) continue;
            if (!a->slots[i].rank[q] || !b->slots[k].rank[q]) return 0;
            rx[n] = a->slots[i].rank[q];
            ry[n++] = b->slots[k].rank[q];
        }
    for (int i = 0; i < n; i++) {
        x[i] = y[i] = 1;
        for (int k = 0; k < n; k++) {
            x[i] += rx[k] < rx[i];
            y[i] += ry[k] < ry[i];
        }
    }
    return n > 1 ? n : 0;
}

static const px_row *row_find(const px_table *table, const char *model, const char *outcome,
                              const char *term, int source) {
    for (int64_t i = 0; i < table->n; i++) {
        const px_row *row = &table->at[i];
        if (row->source == source && !strcmp(row->model, model) && !strcmp(row->outcome, outcome) &&
            !strcmp(row->term, term))
            return row;
    }
    return NULL;
}

/* Pearson's r of the arms' theta, the reference's 0 among them, and whether their orders agree. */
static void worth_rows(const px_study *study, px_about about, px_table *table) {
    double sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;
    int n = 0, inversions = 0;
    double *x = malloc(((size_t)study->n_arms + 1) * 2 * sizeof *x), *y = x + study->n_arms + 1;
    for (int a = 0; x && a < study->n_arms; a++) {
        const char *arm = px_study_arm(study, a);
        const px_row *p = row_find(table, "plackett_luce", about.outcome, arm, about.source),
                     *h = row_find(table, "plackett_luce", about.outcome, arm, PX_SOURCE_HUMAN);
        if (a > 0 && (!p || !h || isnan(p->estimate) || isnan(h->estimate))) continue;
        x[n] = a ? h->estimate : 0;
        y[n] = a ? p->estimate : 0;
        for (int k = 0; k < n; k++) inversions += (x[k] - x[n]) * (y[k] - y[n]) < 0;
        n++;
    }
    for (int i = 0; i < n; i++) {
        sx += x[i] / n;
        sy += y[i] / n;
    }
    for (int i = 0; i < n; i++) {
        xx += (x[i] - sx) * (x[i] - sx);
        yy += (y[i] - sy) * (y[i] - sy);
        xy += (x[i] - sx) * (y[i] - sy);
    }
    free(x);
    if (n < 2) return;
    px_row *row = px_table_add(table, &about, "worth_r");
    if (row) row->estimate = xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
    px_row_note(row, "over %d arms", n);
    row = px_table_add(table, &about, "worth_order");
    if (row) row->estimate = inversions == 0;
    px_row_note(row, "1: the arms stand in the same order; %d inversions", inversions);
}

static px_err *simulator_rows(const px_study *study, px_boot *boot, px_question q,
                              const int64_t *partner, px_table *table) {
    agree_sums s;
    PX_PASS(sums_new(boot, &s));
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        double x[PX_SLOTS_MAX], rank[PX_SLOTS_MAX], up[PX_SLOTS_MAX];
        if ((int)trial->source != boot->source || !trial->slots[0].rank[q]) continue;
        int n =
            partner[t] < 0 ? 0 : common_ranks(trial, &study->trials->at[partner[t]], q, x, rank);
        for (int i = 0; i < n; i++) up[i] = -x[i];
        if (n)
            sums_add(&s, boot->person_of[trial->person], up, rank, n);
        else
            s.n_missing++;
    }
    px_about about = {.family = PX_FAMILY_SIMULATOR,
                      .outcome = q ? "rank:provenance" : "rank:preference",
                      .model = "agreement",
                      .source = boot->source};
    if (s.n == 0) return NULL;
    sums_rows(boot, &s, about, table);
    about.n_trials = s.n;
    about.n_people = boot->n_people;
    const px_row *self = row_find(table, "self_consistency", about.outcome, "tau", PX_SOURCE_HUMAN);
    const px_row *mine = row_find(table, "agreement", about.outcome, "tau", about.source);
    double ratio = self && mine ? mine->estimate / self->estimate : NAN;
    px_row *row = px_table_add(table, &about, "tau_ratio");
    if (row && isfinite(ratio)) row->estimate = ratio;
    px_row_note(row, "to the people's own consistency of slider and ranking");
    worth_rows(study, about, table);
    return NULL;
}

px_err *px_agree_rows(const px_study *study, px_boot *boot, px_table *table) {
    px_err *err = NULL;
    for (int q = 0; q < PX_QUESTIONS; q++) PX_PASS(self_rows(study, boot, (px_question)q, table));
    if (boot->source == PX_SOURCE_HUMAN) return NULL;
    int64_t *partner = malloc(((size_t)study->trials->n + 1) * sizeof *partner);
    if (!partner) PX_NO_MEMORY();
    err = partners_find(study, boot->source, partner);
    for (int q = 0; q < PX_QUESTIONS && !err; q++)
        err = simulator_rows(study, boot, (px_question)q, partner, table);
    free(partner);
    return err;
}

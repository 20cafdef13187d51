/* judge_table.c - what became of the judge's replies: a line an answer, a table per arm. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "judge_internal.h"

/* --- one answer --- */

/* Up to JUDGE_TRIES tasks of a kind, NULL where not asked. */
static void tasks_of(const judge_result *r, int32_t answer, int trait, bool pair,
                     const judge_task *out[JUDGE_TRIES]) {
    for (int i = 0; i < JUDGE_TRIES; i++) out[i] = NULL;
    for (int32_t i = r->first[answer]; i < r->first[answer + 1]; i++) {
        const judge_task *t = &r->tasks[i];
        if (t->trait == trait && t->pair == pair) out[t->round] = t;
    }
}

static bool is_good(const judge_task *t) { return t && t->state == TASK_GOOD; }

/* Mean of the valid scores, NaN where there is none. */
static double score_of(const judge_task *const t[JUDGE_TRIES]) {
    double sum = 0;
    int n = 0;
    for (int i = 0; i < JUDGE_TRIES; i++)
        if (is_good(t[i])) sum += t[i]->value, n++;
    return n ? sum / n : NAN;
}

double result_score(const judge_result *r, int32_t answer, int trait) {
    const judge_task *t[JUDGE_TRIES];
    tasks_of(r, answer, trait, false, t);
    return score_of(t);
}

/* 1: more than the reference, 0: less, 1/2: a tie or the two orders disagree; NaN: one is not
 * valid. */
static double win_of(const judge_task *const t[JUDGE_TRIES]) {
    if (!is_good(t[0]) || !is_good(t[1])) return NAN;
    return t[0]->value == t[1]->value ? 0.5 + 0.5 * t[0]->value : 0.5;
}

static void line_tries(const judge_result *r, int32_t answer, px_str *out) {
    const judge_task *t[JUDGE_TRIES];
    bool comma = false;
    px_str_text(out, ",\"tries\":{");
    for (int trait = 0; trait < JUDGE_TRAITS; trait++) {
        if (!(r->setup->traits & 1u << trait)) continue;
        tasks_of(r, answer, trait, false, t);
        px_str_format(out, "%s\"%s\":[", comma ? "," : "", judge_trait_names[trait]);
        for (int i = 0; i < JUDGE_TRIES; i++) {
            if (i) px_str_char(out, ',');
            px_str_double(out, is_good(t[i]) ? (double)t[i]->value : NAN);
        }
        px_str_char(out, ']');
        comma = true;
    }
    px_str_char(out, '}');
}

static void line_flags(const judge_result *r, int32_t answer, px_str *out) {
    const judge_task *t[JUDGE_TRIES];
    if (!(r->setup->traits & 1u << JUDGE_SYCOPHANCY)) return;
    tasks_of(r, answer, JUDGE_SYCOPHANCY, false, t);
    px_str_text(out, ",\"flags\":{");
    for (int f = 0; f < JUDGE_FLAGS; f++) {
        px_str_format(out, "%s\"%s\":[", f ? "," : "", judge_flag_names[f]);
        for (int i = 0; i < JUDGE_TRIES; i++) {
            if (i) px_str_char(out, ',');
            px_str_double(out, is_good(t[i]) ? (double)(t[i]->flags >> f & 1) : NAN);
        }
        px_str_char(out, ']');
    }
    px_str_char(out, '}');
}

void result_line(const judge_result *r, int32_t answer, px_str *out) {
    const judged *a = &r->answers->items[answer];
    const char *arm = r->answers->arms[a->arm];
    const judge_task *t[JUDGE_TRIES];
    int n[4] = {0}, n_repaired = 0;
    px_str_text(out, "{\"id\":");
    px_str_json(out, a->id, strlen(a->id));
    px_str_text(out, ",\"arm\":");
    if (*arm)
        px_str_json(out, arm, strlen(arm));
    else
        px_str_text(out, "null");
    if (a->sample >= 0) px_str_format(out, ",\"sample\":%d", (int)a->sample);
    for (int32_t i = r->first[answer]; i < r->first[answer + 1]; i++) {
        n[r->tasks[i].state]++;
        n_repaired += r->tasks[i].repaired && r->tasks[i].state == TASK_GOOD;
    }
    for (int trait = 0; trait < JUDGE_TRAITS; trait++) {
        if (!(r->setup->traits & 1u << trait)) continue;
        tasks_of(r, answer, trait, false, t);
        px_str_format(out, ",\"%s\":", judge_trait_names[trait]);
        px_str_double(out, score_of(t));
    }
    line_tries(r, answer, out);
    line_flags(r, answer, out);
    for (int trait = 0; r->setup->pairwise && trait < JUDGE_TRAITS; trait++) {
        if (!(r->setup->traits & 1u << trait)) continue;
        tasks_of(r, answer, trait, true, t);
        px_str_format(out, ",\"%s_win\":", judge_trait_names[trait]);
        px_str_double(out, win_of(t));
    }
    px_str_format(out, ",\"repaired\":%d,\"invalid\":%d,\"errors\":%d}\n", n_repaired,
                  n[TASK_INVALID], n[TASK_ERROR]);
}

/* --- all of them --- */

double judge_kappa(const int8_t *x, const int8_t *y, int64_t n) {
    double counts[2][JUDGE_MOST + 1] = {{0}}, seen = 0, chance = 0;
    for (int64_t i = 0; i < n; i++) {
        const double d = x[i] - y[i];
        seen += d * d;
        counts[0][x[i]]++;
        counts[1][y[i]]++;
    }
    for (int a = JUDGE_LEAST; a <= JUDGE_MOST; a++)
        for (int b = JUDGE_LEAST; b <= JUDGE_MOST; b++)
            chance += counts[0][a] * counts[1][b] * (a - b) * (a - b);
    return chance > 0 ? 1 - seen * (double)n / chance : NAN; /* 1 - Σ w observed / Σ w expected */
}

static const char *arm_name(const judge_result *r, int arm) {
    if (arm < 0) return "all";
    return *r->answers->arms[arm] ? r->answers->arms[arm] : "(none)";
}

/* A number, or "-" where there is none. */
static const char *text_of(double value, const char *format, char out[32]) {
    if (isnan(value)) return "-";
    snprintf(out, 32, format, value); /* NOLINT(clang-diagnostic-format-nonliteral) */
    return out;
}

typedef struct {
    int8_t *x, *y; /* of answers with both tries */
    int64_t n_both, n, n_invalid, n_errors;
    int64_t n_flags[JUDGE_FLAGS], n_tries;
    double sum, apart;
} tally;

static void tally_answer(const judge_result *r, int32_t answer, int trait, tally *s) {
    const judge_task *t[JUDGE_TRIES];
    tasks_of(r, answer, trait, false, t);
    for (int i = 0; i < JUDGE_TRIES; i++) {
        if (!t[i]) return;
        s->n_invalid += t[i]->state == TASK_INVALID;
        s->n_errors += t[i]->state == TASK_ERROR;
        if (!is_good(t[i])) continue;
        s->n_tries++;
        for (int f = 0; f < JUDGE_FLAGS; f++) s->n_flags[f] += t[i]->flags >> f & 1;
    }
    const double score = score_of(t);
    if (isnan(score)) return;
    s->sum += score;
    s->n++;
    if (!is_good(t[0]) || !is_good(t[1])) return;
    s->apart += fabs((double)t[0]->value - t[1]->value);
    s->x[s->n_both] = t[0]->value;
    s->y[s->n_both++] = t[1]->value;
}

/* Of one arm's answers, or of all where arm < 0. */
static void tally_arm(const judge_result *r, int arm, int trait, tally *s) {
    *s = (tally){.x = s->x, .y = s->y};
    for (int32_t i = 0; i < r->answers->n; i++)
        if (arm < 0 || r->answers->items[i].arm == arm) tally_answer(r, i, trait, s);
}

static void score_row(const judge_result *r, int arm, int trait, tally *s, px_str *out) {
    char texts[5][32];
    const int row = arm < 0 ? r->answers->n_arms : arm;
    const judge_mean *m = &r->means[row * JUDGE_TRAITS + trait];
    tally_arm(r, arm, trait, s);
    const double n = (double)s->n, both = (double)s->n_both;
    px_str_format(out, "%-16s %-12s %7s %8lld %8lld %7lld %8s %8s %7s %7s\n", arm_name(r, arm),
                  judge_trait_names[trait], text_of(s->n ? s->sum / n : NAN, "%.3f", texts[0]),
                  (long long)s->n, (long long)s->n_invalid, (long long)s->n_errors,
                  text_of(s->n_both ? s->apart / both : NAN, "%.3f", texts[1]),
                  text_of(judge_kappa(s->x, s->y, s->n_both), "%.3f", texts[2]),
                  text_of(m->low, "%.3f", texts[3]), text_of(m->high, "%.3f", texts[4]));
}

static void flags_table(const judge_result *r, tally *s, px_str *out) {
    px_str_format(out, "\n%-16s", "flags (share)");
    for (int f = 0; f < JUDGE_FLAGS; f++) px_str_format(out, " %20s", judge_flag_names[f]);
    px_str_char(out, '\n');
    for (int arm = 0; arm < r->answers->n_arms; arm++) {
        tally_arm(r, arm, JUDGE_SYCOPHANCY, s);
        px_str_format(out, "%-16s", arm_name(r, arm));
        for (int f = 0; f < JUDGE_FLAGS; f++) {
            char text[32];
            const double share = (double)s->n_flags[f] / (double)s->n_tries;
            px_str_format(out, " %20s", text_of(s->n_tries ? share : NAN, "%.3f", text));
        }
        px_str_char(out, '\n');
    }
}

/* Of an arm's pairs against the reference. */
typedef struct {
    int64_t n[3], n_split, n_not; /* n: less, tie, more */
    double rate;                  /* NaN where no pair is valid */
} pair_tally;

static pair_tally tally_pairs(const judge_result *r, int arm, int trait) {
    const judge_task *t[JUDGE_TRIES];
    pair_tally s = {{0}, 0, 0, NAN};
    for (int32_t i = 0; i < r->answers->n; i++) {
        if (r->answers->items[i].arm != arm) continue;
        tasks_of(r, i, trait, true, t);
        if (!t[0] || !t[1]) continue;
        const double win = win_of(t);
        s.n_not += isnan(win);
        if (isnan(win)) continue;
        s.n[(int)(2 * win)]++;
        s.n_split += t[0]->value != t[1]->value;
    }
    const double all = (double)(s.n[0] + s.n[1] + s.n[2]);
    if (all > 0) s.rate = ((double)s.n[2] + 0.5 * (double)s.n[1]) / all;
    return s;
}

static void pair_row(const judge_result *r, int arm, int trait, px_str *out) {
    const pair_tally s = tally_pairs(r, arm, trait);
    char text[32];
    px_str_format(out, "%-16s %-12s %8s %7lld %7lld %7lld %8lld %9lld\n", arm_name(r, arm),
                  judge_trait_names[trait], text_of(s.rate, "%.3f", text), (long long)s.n[2],
                  (long long)s.n[1], (long long)s.n[0], (long long)s.n_split, (long long)s.n_not);
}

static void pair_table(const judge_result *r, px_str *out) {
    px_str_format(out, "\n%-16s %-12s %8s %7s %7s %7s %8s %9s\n", "against arm", "trait",
                  "win rate", "more", "tie", "less", "split", "not valid");
    for (int arm = 0; arm < r->answers->n_arms; arm++)
        for (int trait = 0; trait < JUDGE_TRAITS; trait++)
            if (strcmp(r->answers->arms[arm], r->reference) != 0 && r->setup->traits & 1u << trait)
                pair_row(r, arm, trait, out);
    px_str_format(out,
                  "(against %s on the same prompt, in both orders; win rate: the share that shows "
                  "more of it, ties a half;\nsplit: the orders disagreed, counted as ties)\n",
                  r->reference);
}

px_err *result_table(const judge_result *r, px_str *out) {
    const int n_arms = r->answers->n_arms;
    tally s = {.x = calloc((size_t)r->answers->n + 1, 1),
               .y = calloc((size_t)r->answers->n + 1, 1)};
    int64_t n_left_out = 0, n_repaired = 0;
    px_digest rubric;
    px_err *err = NULL;
    if (!s.x || !s.y) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, rubric_sha256(&rubric));
    for (int32_t i = 0; i < r->answers->n; i++) n_left_out += !r->answers->items[i].text;
    for (int32_t i = 0; i < r->n_tasks; i++)
        n_repaired += r->tasks[i].repaired && r->tasks[i].state == TASK_GOOD;
    px_str_format(out,
                  "\njudge %s, rubric sha256 %.16s: %d answers, %lld without text not judged, %lld "
                  "replies good after a repair\n",
                  r->name, rubric.hex, (int)r->answers->n, (long long)n_left_out,
                  (long long)n_repaired);
    px_str_format(out, "%-16s %-12s %7s %8s %8s %7s %8s %8s %7s %7s\n", "judge, arm", "trait",
                  "mean", "n", "invalid", "errors", "apart", "kappa", "low", "high");
    for (int trait = 0; trait < JUDGE_TRAITS; trait++)
        for (int arm = 0; r->setup->traits & 1u << trait && arm <= n_arms; arm++)
            if (arm < n_arms || n_arms > 1) score_row(r, arm < n_arms ? arm : -1, trait, &s, out);
    px_str_text(out, "(1 to 10, mean of two tries under two worked pairs; n: answers with a score; "
                     "invalid, errors: tries without one;\napart: mean distance of the two tries, "
                     "kappa: theirs with quadratic weights; ");
    px_str_format(out, "low, high: of the mean, 95%%, bootstrap over %s, %lld samples)\n",
                  r->answers->people ? "people" : "prompts", (long long)r->samples);
    if (r->setup->traits & 1u << JUDGE_SYCOPHANCY) flags_table(r, &s, out);
    if (r->setup->pairwise) pair_table(r, out);
    err = px_str_ok(out);
done:
    free(s.x);
    free(s.y);
    return err;
}

/* --- the same as JSON --- */

static void add_value(px_str *out, const char *key, double value) {
    px_str_format(out, ",\"%s\":", key);
    px_str_double(out, value);
}

static void json_trait(const judge_result *r, int arm, int trait, tally *s, px_str *out) {
    tally_arm(r, arm, trait, s);
    px_str_format(out, ",\"%s\":{\"n\":%lld,\"invalid\":%lld,\"errors\":%lld",
                  judge_trait_names[trait], (long long)s->n, (long long)s->n_invalid,
                  (long long)s->n_errors);
    add_value(out, "mean", s->n ? s->sum / (double)s->n : NAN);
    add_value(out, "apart", s->n_both ? s->apart / (double)s->n_both : NAN);
    add_value(out, "kappa", judge_kappa(s->x, s->y, s->n_both));
    add_value(out, "low", r->means[arm * JUDGE_TRAITS + trait].low);
    add_value(out, "high", r->means[arm * JUDGE_TRAITS + trait].high);
    for (int f = 0; trait == JUDGE_SYCOPHANCY && f < JUDGE_FLAGS; f++)
        add_value(out, judge_flag_names[f],
                  s->n_tries ? (double)s->n_flags[f] / (double)s->n_tries : NAN);
    if (r->setup->pairwise && strcmp(r->answers->arms[arm], r->reference) != 0) {
        const pair_tally p = tally_pairs(r, arm, trait);
        add_value(out, "win_rate", p.rate);
        px_str_format(out, ",\"more\":%lld,\"tie\":%lld,\"less\":%lld,\"split\":%lld",
                      (long long)p.n[2], (long long)p.n[1], (long long)p.n[0],
                      (long long)p.n_split);
    }
    px_str_char(out, '}');
}

px_err *result_json(const judge_result *r, px_str *out) {
    tally s = {.x = calloc((size_t)r->answers->n + 1, 1),
               .y = calloc((size_t)r->answers->n + 1, 1)};
    px_digest rubric;
    px_err *err = NULL;
    if (!s.x || !s.y) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, rubric_sha256(&rubric));
    px_str_text(out, "{\"name\":");
    px_str_json(out, r->name, strlen(r->name));
    px_str_format(out,
                  ",\"rubric_sha256\":\"%s\",\"units\":\"%s\",\"n_units\":%d,\"bootstrap\":%lld,"
                  "\"arms\":[",
                  rubric.hex, r->answers->people ? "people" : "prompts", (int)r->answers->n_units,
                  (long long)r->samples);
    for (int arm = 0; arm < r->answers->n_arms; arm++) {
        px_str_text(out, arm ? ",\n{\"arm\":" : "\n{\"arm\":");
        px_str_json(out, r->answers->arms[arm], strlen(r->answers->arms[arm]));
        for (int trait = 0; trait < JUDGE_TRAITS; trait++)
            if (r->setup->traits & 1u << trait) json_trait(r, arm, trait, &s, out);
        px_str_char(out, '}');
    }
    px_str_text(out, "]}");
    err = px_str_ok(out);
done:
    free(s.x);
    free(s.y);
    return err;
}

/* sim_summary.c - counts of everything, for people and for trials.summary.json. */
#include <math.h>
#include <string.h>

#include "simulate_internal.h"

/* Of further orders against the first valid one: pairs that turned round, tops that changed. */
static void flips_count(const sim_trial *trial, int orders, sim_totals *out) {
    int base = 0;
    while (base < orders && !trial->orders[base].good) base++;
    const int32_t *first = trial->orders[PX_MIN(base, orders - 1)].rank[PX_PREFERENCE];
    for (int k = base + 1; k < orders; k++) {
        const int32_t *other = trial->orders[k].rank[PX_PREFERENCE];
        if (!trial->orders[k].good) continue;
        out->n_tops++;
        for (int i = 0; i < trial->n_slots; i++) {
            out->n_tops_flipped += first[i] == 1 && other[i] != 1;
            for (int j = 0; j < i; j++) {
                out->n_pairs++;
                out->n_flipped += (first[i] < first[j]) != (other[i] < other[j]);
            }
        }
    }
}

sim_totals totals_of(const simulation *s) {
    sim_totals out = {0};
    for (int32_t t = 0; t < s->trials.n; t++) {
        const sim_trial *trial = &s->trials.items[t];
        out.n_lost += trial->lost;
        out.n_done += !trial->lost;
        if (trial->lost) continue;
        out.n_ranked += trial->mean.good;
        flips_count(trial, s->orders, &out);
    }
    return out;
}

static void counts_put(const call_counts *c, px_str *out) {
    const int64_t wanted = c->asked + c->from_memo;
    px_str_format(out,
                  "{\"wanted\": %lld, \"repairs\": %lld, \"invalid\": %lld, \"refused\": %lld, "
                  "\"failed\": %lld}",
                  (long long)wanted, (long long)c->repairs, (long long)c->invalid,
                  (long long)c->refused, (long long)c->failed);
}

/* Calls that came to a good reply, of those that were answered. */
static void valid_of(const simulation *s, int64_t *good, int64_t *all) {
    *good = *all = 0;
    for (int i = 0; i < CALLS; i++) {
        const call_counts *c = &s->counts[i];
        const int64_t first = c->asked + c->from_memo - c->repairs; /* repairs are asked too */
        *all += first - c->failed;
        *good += first - c->failed - c->invalid - c->refused;
    }
}

static void share_put(px_str *out, const char *key, int64_t part, int64_t all) {
    px_str_format(out, ",\n\"%s\": ", key);
    px_str_double(out, all ? (double)part / (double)all : NAN);
}

px_err *summary_write(const simulation *s, const char *path) {
    const sim_totals t = totals_of(s);
    int64_t good = 0, all = 0;
    px_str out = {0};
    valid_of(s, &good, &all);
    px_str_format(&out,
                  "{\n\"version\": \"" PX_VERSION "\",\n\"trials\": %lld,\n\"unfinished\": %lld,\n"
                  "\"ranked\": %lld,\n\"people\": %d,\n\"people_without_profile\": %lld,\n"
                  "\"left_out_survey_only\": %lld,\n\"calls\": {",
                  (long long)t.n_done, (long long)t.n_lost, (long long)t.n_ranked, (int)s->people.n,
                  (long long)s->people.n_without, (long long)s->people.n_survey_only);
    for (int i = 0; i < CALLS; i++) {
        px_str_format(&out, "%s\n  \"%s\": ", i ? "," : "", call_names[i]);
        counts_put(&s->counts[i], &out);
    }
    px_str_text(&out, ",\n  \"answer\": ");
    counts_put(&s->answers, &out);
    px_str_text(&out, "},\n\"answer_errors\": {");
    for (int i = SLOT_LENGTH; i <= SLOT_HTTP; i++)
        px_str_format(&out, "%s\"%s\": %lld", i > SLOT_LENGTH ? ", " : "", slot_errors[i],
                      (long long)s->errors[i]);
    px_str_char(&out, '}');
    share_put(&out, "valid_share", good, all);
    px_str_format(&out, ",\n\"orders\": %d", s->orders);
    share_put(&out, "flip_rate", t.n_flipped, t.n_pairs);
    share_put(&out, "top_flip_rate", t.n_tops_flipped, t.n_tops);
    px_str_text(&out, ",\n\"usd\": ");
    px_str_double(&out, memo_usd(s->memo));
    px_str_format(&out, ",\n\"job\": %s,\n\"config\": ", s->job_text.data);
    px_config_print(s->config, &out);
    px_str_text(&out, "}\n");
    px_err *err = px_str_ok(&out);
    if (!err) err = px_file_write(path, out.data, out.size);
    px_str_free(&out);
    return err;
}

void summary_print(const simulation *s, FILE *out) {
    const sim_totals t = totals_of(s);
    int64_t good = 0, all = 0, asked = s->answers.asked;
    valid_of(s, &good, &all);
    for (int i = 0; i < CALLS; i++) asked += s->counts[i].asked;
    fprintf(out, "%lld trials of %d people, %lld with a ranking", (long long)t.n_done,
            (int)s->people.n, (long long)t.n_ranked);
    if (t.n_lost) fprintf(out, "; %lld not finished", (long long)t.n_lost);
    fprintf(out, "\n%lld requests made in %.0f s, $%.4f spent in all\n", (long long)asked,
            px_now_s() - s->began_s, memo_usd(s->memo));
    fprintf(out, "%-8s %8s %8s %8s %8s %8s\n", "call", "wanted", "repairs", "invalid", "refused",
            "failed");
    for (int i = 0; i <= CALLS; i++) {
        const call_counts *c = i < CALLS ? &s->counts[i] : &s->answers;
        const int64_t wanted = c->asked + c->from_memo;
        if (wanted == 0) continue;
        fprintf(out, "%-8s %8lld %8lld %8lld %8lld %8lld\n", i < CALLS ? call_names[i] : "answer",
                (long long)wanted, (long long)c->repairs, (long long)c->invalid,
                (long long)c->refused, (long long)c->failed);
    }
    if (all)
        fprintf(out, "valid replies: %.2f%% of %lld calls\n", 100.0 * (double)good / (double)all,
                (long long)all);
    if (!s->judge)
        fprintf(out,
                "answers cut at their longest or out of context %lld, repeating %lld, empty %lld, "
                "not given %lld\n",
                (long long)s->errors[SLOT_LENGTH], (long long)s->errors[SLOT_REPEAT],
                (long long)s->errors[SLOT_EMPTY], (long long)s->errors[SLOT_HTTP]);
    if (t.n_pairs)
        fprintf(out,
                "%d orders: %.1f%% of pairs and %.1f%% of first places differ from the first\n",
                s->orders, 100.0 * (double)t.n_flipped / (double)t.n_pairs,
                100.0 * (double)t.n_tops_flipped / (double)t.n_tops);
    if (s->people.n_without)
        fprintf(out, "%lld people without a profile: the survey says nothing of them\n",
                (long long)s->people.n_without);
    if (*s->first_refused) fprintf(out, "the first refused: %s\n", s->first_refused);
}

/* price.c - what personalisation costs, beside what it is worth: tokens, seconds, energy, money,
 * storage, training. A cost that nobody recorded is said to be unknown, never put at 0. */
#include <string.h>

#include "figure.h"

static const char rank[] = "rank:preference";

/* The run whose parameters answered for the arm, by the hash in stats.json. */
static const run_view *run_by_hash(const exp_view *exp, const char *arm) {
    for (int f = 0; f < exp->study->n_files; f++) {
        const cJSON *known = cJSON_GetObjectItemCaseSensitive(exp->study->json[f], "runs");
        const cJSON *item = NULL;
        cJSON_ArrayForEach(item, known) {
            const char *of = px_json_find_text(item, "arm");
            const char *sha = px_json_find_text(item, "sha256");
            for (int r = 0; of && sha && !strcmp(of, arm) && r < exp->page->n_runs; r++) {
                const run_view *run = &exp->page->runs[r];
                const char *mine = px_json_find_text(run->manifest, "params_sha256");
                if (mine && !strcmp(mine, sha)) return run;
            }
        }
    }
    return NULL;
}

/* Else the run that is called as the arm is. */
static const run_view *run_of(const exp_view *exp, const char *arm) {
    const run_view *run = run_by_hash(exp, arm);
    if (run) return run;
    for (int r = 0; r < exp->page->n_runs; r++)
        if (!strcmp(exp->page->runs[r].label, arm)) return &exp->page->runs[r];
    return NULL;
}

/* The first source that knows this of the arm. */
static const stat_row *cost_row(const exp_view *exp, const char *outcome, const char *arm) {
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        const stat_row *row = px_stat_find(exp->study, outcome, "mean", s, arm, NULL, NULL);
        if (row) return row;
    }
    return NULL;
}

static const stat_row *first_of(const exp_view *exp, const char *prefix, const char *arm) {
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        const stat_row *row = px_stat_find(exp->study, rank, "plackett_luce", s, prefix, arm, NULL);
        if (row) return row;
    }
    return NULL;
}

static double value_of(const stat_row *row) { return row ? row->estimate : NAN; }

static bool priced_by(const px_report_prices *p) {
    return p->usd_per_million_prompt > 0 || p->usd_per_million_new > 0;
}

static double dollars(const exp_view *exp, double prompt, double written) {
    const px_report_prices *p = &exp->page->job->prices;
    if (!priced_by(p)) return NAN;
    return (p->usd_per_million_prompt * prompt + p->usd_per_million_new * written) / 1e6;
}

static void rough_cell(px_str *out, double value) {
    px_str_text(out, "<td class=\"n\">");
    px_html_rough(out, value);
    px_str_text(out, "</td>");
}

static void answers_row(const exp_view *exp, const char *arm) {
    px_str *out = exp->page->out;
    const double prompt = value_of(cost_row(exp, "tokens:prompt", arm));
    const double written = value_of(cost_row(exp, "tokens:new", arm));
    const double priced = dollars(exp, prompt, written);
    const double paid = value_of(cost_row(exp, "usd:conversation", arm));
    px_str_text(out, "<tr><th scope=\"row\">");
    px_html_name(out, arm);
    px_str_text(out, "</th><td class=\"n\">");
    px_html_interval(out, px_row_interval(first_of(exp, "worth:", arm)), 1, 2);
    px_str_text(out, "</td>");
    px_html_cell(out, value_of(cost_row(exp, "tokens:context", arm)), 1);
    px_html_cell(out, prompt, 1);
    px_html_cell(out, written, 1);
    px_html_cell(out, value_of(cost_row(exp, "characters", arm)), 0);
    px_str_text(out, "<td class=\"n\">");
    px_html_fixed(out, 100 * value_of(cost_row(exp, "error", arm)), 1);
    px_str_text(out, "</td>");
    rough_cell(out, value_of(cost_row(exp, "seconds:answer", arm)));
    rough_cell(out, 1000 * (isfinite(priced) ? priced : paid));
    px_str_text(out, "</tr>\n");
}

static void answers_table(const exp_view *exp) {
    static const char *const heads[] = {"arm",
                                        "worth",
                                        "context tokens",
                                        "prompt tokens",
                                        "new tokens",
                                        "characters",
                                        "errors, %",
                                        "seconds of an answer",
                                        "$ per 1,000 conversations"};
    px_html_table(exp->page->out,
                  "What a conversation costs, beside the arm’s worth: means over trials", heads,
                  (int)PX_COUNT(heads));
    for (int a = 0; a < exp->study->n_arms; a++) answers_row(exp, exp->study->arms[a]);
    px_html_table_end(exp->page->out);
}

/* Profiles that a model wrote of people for an arm to tell: not part of any conversation. */
static void tell_profiles(const exp_view *exp) {
    px_str *out = exp->page->out;
    for (int a = 0; a < exp->study->n_arms; a++) {
        const char *arm = exp->study->arms[a];
        const double prompt = value_of(cost_row(exp, "profile:prompt", arm));
        const double written = value_of(cost_row(exp, "profile:new", arm));
        const double seconds = value_of(cost_row(exp, "profile:seconds", arm));
        const double priced = dollars(exp, prompt, written);
        const double paid = value_of(cost_row(exp, "profile:usd", arm));
        if (!isfinite(prompt) && !isfinite(written) && !isfinite(seconds)) continue;
        px_str_text(out, "<p>Before its conversations, <em>");
        px_html_name(out, arm);
        px_str_text(out, "</em> had a profile of each person written, once: ");
        px_html_fixed(out, prompt, 0);
        px_str_text(out, " prompt tokens and ");
        px_html_fixed(out, written, 0);
        px_str_text(out, " new ones a person on average, ");
        px_html_duration(out, seconds);
        px_str_text(out, ", $");
        px_html_rough(out, isfinite(priced) ? priced : paid);
        px_str_text(out, ". The table does not hold this.</p>\n");
    }
}

static double hours_usd(const exp_view *exp, double seconds) {
    const double price = exp->page->job->prices.usd_per_hour;
    return price > 0 ? price * seconds / 3600 : NAN;
}

/* Training as a whole, for one person, and for one unit of log-worth over the reference, where that
 * is clear of 0. */
static void training_row(const exp_view *exp, const char *arm, const run_view *run) {
    px_str *out = exp->page->out;
    const double seconds = px_run_view_sum(run, S_TIME);
    const stat_row *gain = first_of(exp, "", arm);
    const bool gained = gain && gain->low > 0;
    const double energy = px_json_find_f64(run->manifest, "energy_j", NAN);
    px_str_text(out, "<tr><th scope=\"row\">");
    px_html_name(out, arm);
    px_str_text(out, "</th><td class=\"n\">");
    px_html_duration(out, seconds);
    px_str_text(out, "</td>");
    rough_cell(out, energy / 3600);
    rough_cell(out, hours_usd(exp, seconds));
    px_html_cell(out, run->n_people > 0 ? (double)run->n_people : NAN, 0);
    px_str_text(out, "<td class=\"n\">");
    px_html_duration(out, run->n_people > 0 ? seconds / (double)run->n_people : NAN);
    px_str_text(out, "</td><td class=\"n\">");
    px_html_interval(out, px_row_interval(gain), 1, 2);
    px_str_text(out, "</td><td class=\"n\">");
    px_html_duration(out, gained ? seconds / gain->estimate : NAN);
    px_str_text(out, "</td>");
    rough_cell(out, gained ? hours_usd(exp, seconds) / gain->estimate : NAN);
    px_str_text(out, "<td class=\"n\">");
    px_html_bytes(out, run->person_bytes > 0 ? run->person_bytes : NAN);
    px_str_text(out, "</td><td class=\"n\">");
    px_html_bytes(out, run->shared_bytes > 0 ? run->shared_bytes : NAN);
    px_str_text(out, "</td></tr>\n");
}

static int training_table(const exp_view *exp) {
    static const char *const heads[] = {"arm",
                                        "time of steps",
                                        "energy, Wh",
                                        "money, $",
                                        "people",
                                        "time a person",
                                        "log-worth gained",
                                        "time per unit gained",
                                        "$ per unit gained",
                                        "storage a person",
                                        "storage, shared"};
    int n = 0;
    for (int a = 0; a < exp->study->n_arms; a++) {
        const run_view *run = run_of(exp, exp->study->arms[a]);
        if (!run) continue;
        if (n++ == 0)
            px_html_table(exp->page->out,
                          "What training cost: the run whose parameters answered, else that of the "
                          "arm’s name",
                          heads, (int)PX_COUNT(heads));
        training_row(exp, exp->study->arms[a], run);
    }
    if (n) px_html_table_end(exp->page->out);
    return n;
}

static void tell_trials(const exp_view *exp) {
    px_str *out = exp->page->out;
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        const stat_row *seconds =
            px_stat_find(exp->study, "seconds", "mean", s, "trial", NULL, NULL);
        const stat_row *usd = px_stat_find(exp->study, "usd", "mean", s, "trial", NULL, NULL);
        if (!seconds && !usd) continue;
        px_str_format(out, "<p>A trial of %s", px_source_titles[s]);
        if (seconds) {
            px_str_text(out, " took ");
            px_html_duration(out, seconds->estimate);
            px_str_text(out, " on average");
        }
        if (usd) {
            px_str_text(out, seconds ? " and cost $" : " cost $");
            px_html_rough(out, usd->estimate);
        }
        px_str_text(out, ", player and all arms together: no part of it is one arm’s.</p>\n");
    }
}

void px_page_price(const exp_view *exp) {
    px_str *out = exp->page->out;
    const px_report_prices *prices = &exp->page->job->prices;
    bool energy = false, timed = false, paid = false;
    for (int a = 0; a < exp->study->n_arms; a++) {
        timed |= cost_row(exp, "seconds:answer", exp->study->arms[a]) != NULL;
        paid |= cost_row(exp, "usd:conversation", exp->study->arms[a]) != NULL;
    }
    px_str_text(out,
                "<section id=\"price\"><h2>The price of personalisation</h2>\n<p>Tokens of "
                "context stem from the user: text before the prompt, or soft tokens. Tokens are "
                "those of an arm’s whole conversation in a trial, as its slot records them. Worth "
                "is people’s where there are any, else the first simulation’s.</p>\n");
    answers_table(exp);
    tell_profiles(exp);
    tell_trials(exp);
    const int n = training_table(exp);
    for (int r = 0; r < exp->page->n_runs; r++)
        energy |= isfinite(px_json_find_f64(exp->page->runs[r].manifest, "energy_j", NAN));
    px_str_text(out, "<ul class=\"notes\">");
    if (paid && !priced_by(prices))
        px_str_text(out, "<li>Money for tokens: what endpoints asked for, as their prices were "
                         "given to prismx simulate.</li>\n");
    else if (!priced_by(prices))
        px_str_text(out, "<li>Money for tokens: no price was given (--usd-per-million-prompt, "
                         "--usd-per-million-new).</li>\n");
    if (n == 0)
        px_str_text(out, "<li>Training and storage: no run folder has the parameters that "
                         "answered or is called as an arm is, so nothing is known of them.</li>\n");
    if (n && !(prices->usd_per_hour > 0))
        px_str_text(out, "<li>Money for training: no price was given (--usd-per-hour).</li>\n");
    if (n && !energy)
        px_str_text(out, "<li>Energy: the machine’s counters (RAPL) could not be read, or the runs "
                         "are older than their recording.</li>\n");
    if (n && energy)
        px_str_text(out, "<li>Energy: of the processors of the first rank’s machine (RAPL), with "
                         "all else that ran there, since the run’s last start.</li>\n");
    if (n)
        px_str_text(out, "<li>Time and money per unit of log-worth stand only where the whole "
                         "interval of the gain lies above 0. Storage a person: what a person adds "
                         "to users.h5; shared: the bank of all people. The adapter is not "
                         "counted.</li>\n");
    px_str_format(
        out,
        "<li>Errors of generation: %.1f&nbsp;%% over all arms are published of PRISM-X.</li>"
        "\n",
        100 * px_published(exp, PUBLISHED_ERRORS, HUMAN));
    px_str_text(out, timed
                         ? "<li>Seconds of an answer: what it took of its engine, which is shared "
                           "out among the answers under way, or from an endpoint’s first try to "
                           "its answer. They depend on the machine.</li>\n"
                         : "<li>Seconds of an answer: no file of costs stood beside the trials; "
                           "prismx simulate writes one.</li>\n");
    px_str_text(out, "</ul></section>\n");
}

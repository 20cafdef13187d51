/* story.c - the experiment's findings in words. Every judgement is read off an interval: what an
 * interval leaves open is said to be open. Tests of many comparisons are corrected in the tables,
 * not here, and the page says so. */
#include <string.h>

#include "figure.h"

static const char rank[] = "rank:preference";

/* --- numbers in words --- */

static void ends(px_str *out, interval e, double scale, int decimals) {
    if (!interval_ends(e)) return;
    px_str_text(out, " [");
    px_html_fixed(out, scale * e.low, decimals);
    px_str_text(out, ", ");
    px_html_fixed(out, scale * e.high, decimals);
    px_str_char(out, ']');
}

static void estimate(px_str *out, interval e, double scale, int decimals, const char *unit) {
    px_html_fixed(out, scale * e.value, decimals);
    px_str_text(out, unit);
    ends(out, e, scale, decimals);
}

static void percent(px_str *out, const stat_row *row) {
    estimate(out, px_row_interval(row), 100, 1, "&nbsp;%");
}

static void arm_name(px_str *out, const char *name) {
    px_str_text(out, "<bdi>");
    px_html_short(out, name, 48);
    px_str_text(out, "</bdi>");
}

/* " (published 0.22, chance 25)", as far as there is something to say. */
static void beside(px_str *out, double published, double chance, int decimals, const char *unit) {
    if (!isfinite(published) && !isfinite(chance)) return;
    px_str_text(out, " (");
    if (isfinite(published)) {
        px_str_text(out, "published ");
        px_html_fixed(out, published, decimals);
        px_str_text(out, unit);
    }
    if (isfinite(chance)) {
        px_str_text(out, isfinite(published) ? ", chance " : "chance ");
        px_html_rough(out, chance);
        px_str_text(out, unit);
    }
    px_str_char(out, ')');
}

/* -1 the interval lies below x, 1 above, 0 it holds x, -2 there is none. */
static int side(const stat_row *row, double x) {
    if (!row || !isfinite(row->low) || !isfinite(row->high)) return -2;
    return row->low > x ? 1 : row->high < x ? -1 : 0;
}

/* Whom the story is of: people where there are any, else the first simulation. */
static int main_source(const exp_view *exp) {
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        for (int a = 0; a < exp->study->n_arms; a++)
            if (px_stat_find(exp->study, rank, "plackett_luce", s, "worth:", exp->study->arms[a],
                             NULL))
                return s;
    return -1;
}

/* Arms by falling worth; returns how many have one. */
static int by_worth(const exp_view *exp, int source, int order[STUDY_ARMS],
                    const stat_row *worth[STUDY_ARMS]) {
    int n = 0;
    for (int a = 0; a < exp->study->n_arms; a++) {
        worth[a] = px_stat_find(exp->study, rank, "plackett_luce", source,
                                "worth:", exp->study->arms[a], NULL);
        if (!worth[a]) continue;
        int at = n++;
        for (; at > 0 && worth[order[at - 1]]->estimate < worth[a]->estimate; at--)
            order[at] = order[at - 1];
        order[at] = a;
    }
    return n;
}

/* --- the lead --- */

static void tell_first(const exp_view *exp, int source) {
    const char *const *arms = exp->study->arms;
    const stat_row *worth[STUDY_ARMS];
    int order[STUDY_ARMS];
    px_str *out = exp->page->out;
    const int n = by_worth(exp, source, order, worth);
    static const char *const whom[] = {"people", "people played by a model that read transcripts",
                                       "people played by a model in conversations of its own"};
    if (n == 0) return;
    px_html_whole(out, worth[order[0]]->n_people);
    px_str_format(out, " %s ranked ", whom[source]);
    px_html_whole(out, n);
    px_str_text(out, " arms in ");
    px_html_whole(out, worth[order[0]]->n_trials);
    px_str_text(out, " trials. The largest share of worth has <strong>");
    arm_name(out, arms[order[0]]);
    px_str_text(out, "</strong> with ");
    estimate(out, px_row_interval(worth[order[0]]), 1, 2, "");
    if (n > 1) {
        px_str_text(out, ", then ");
        arm_name(out, arms[order[1]]);
        px_str_text(out, " with ");
        estimate(out, px_row_interval(worth[order[1]]), 1, 2, "");
        const stat_row *win =
            px_stat_find(exp->study, rank, "win_rate", source, arms[order[0]], ">", arms[order[1]]);
        if (win) {
            px_str_text(out, "; the first is ranked above the second in ");
            percent(out, win);
            static const char *const words[] = {
                " of trials, without an interval to judge by",
                " of trials, <strong>less than half</strong>, whatever the worths say",
                " of trials, <strong>which does not tell them apart</strong>",
                " of trials, <strong>more than half</strong>"};
            px_str_text(out, words[side(win, 0.5) + 2]);
        }
    }
    px_str_text(out, ". ");
}

/* Each arm against the reference, and which of them that leaves open. */
static void tell_reference(const exp_view *exp, int source) {
    const char *const *arms = exp->study->arms;
    px_str *out = exp->page->out, open = {0};
    int n = 0, n_open = 0;
    for (int a = 1; a < exp->study->n_arms && n < 8; a++) {
        const stat_row *win =
            px_stat_find(exp->study, rank, "win_rate", source, arms[a], ">", arms[0]);
        if (!win) continue;
        if (n == 0) {
            px_str_text(out, "Ranked above ");
            arm_name(out, arms[0]);
            px_str_text(out, ": ");
        }
        px_str_text(out, n++ ? ", " : "");
        arm_name(out, arms[a]);
        px_str_text(out, " in ");
        percent(out, win);
        if (side(win, 0.5) == 1) continue;
        px_str_text(&open, n_open++ ? ", " : "");
        arm_name(&open, arms[a]);
        px_str_text(&open, side(win, 0.5) == -1 ? " (less than half)" : " (open)");
    }
    if (n && n_open) {
        px_str_text(out, "; not more than half: ");
        px_str_text(out, open.data);
    }
    px_str_text(out, n == 0 ? "" : n_open ? ". " : n > 1 ? "; each more than half. " : ". ");
    px_str_free(&open);
}

/* --- what else was found, a line each --- */

static void begin(px_str *out, const char *what) {
    px_str_format(out, "<li><strong>%s.</strong> ", what);
}

static void tell_length(const exp_view *exp, int source) {
    px_str *out = exp->page->out;
    const stat_row *odds =
        px_stat_find(exp->study, rank, "rank_logit_length", source, "odds:length/100", NULL, NULL);
    const double published = px_published(exp, PUBLISHED_LENGTH, HUMAN);
    if (!odds) return;
    begin(out, "Length");
    px_str_text(out, "100 more characters multiply the odds of being chosen by ");
    estimate(out, px_row_interval(odds), 1, 2, "");
    px_str_format(out, " (published of people: %.2f)", published);
    px_str_text(out, side(odds, 1) == 1    ? ": longer answers are preferred"
                     : side(odds, 1) == -1 ? ": shorter answers are preferred"
                                           : ", which leaves open whether length matters");
    px_str_text(out, ". With length, position and errors held:");
    for (int a = 1, n = 0; a < exp->study->n_arms && n < 8; a++) {
        const char *arm = exp->study->arms[a];
        const stat_row *raw =
            px_stat_find(exp->study, rank, "plackett_luce", source, arm, NULL, NULL);
        const stat_row *held =
            px_stat_find(exp->study, rank, "rank_logit_length", source, arm, NULL, NULL);
        if (!raw || !held) continue;
        px_str_text(out, n++ ? "; " : " log-worth over the reference of ");
        arm_name(out, arm);
        px_str_text(out, " from ");
        px_html_fixed(out, raw->estimate, 2);
        px_str_text(out, " to ");
        estimate(out, px_row_interval(held), 1, 2, "");
        px_str_text(out, side(held, 0) == 0 ? " (open)" : "");
    }
    px_str_text(out, ".</li>\n");
}

/* " −$0.50 [−1.80, 0.80]": the sign before the currency. */
static void money(px_str *out, interval e) {
    px_str_text(out, e.value < 0 ? " −$" : " +$");
    px_html_fixed(out, fabs(e.value), 2);
    ends(out, e, 1, 2);
}

static void tell_bids(const exp_view *exp, int source) {
    px_str *out = exp->page->out;
    int n = 0;
    for (int a = 1; a < exp->study->n_arms && n < 8; a++) {
        const char *arm = exp->study->arms[a];
        const stat_row *mean = px_stat_find(exp->study, "wtp", "mean", source, arm, NULL, NULL);
        const stat_row *off = px_stat_find(exp->study, "wtp", "lmm", source, arm, NULL, NULL);
        if (!off) continue;
        if (n++ == 0)
            begin(out, source == HUMAN ? "What people would pay a week" : "Simulated bids a week");
        else
            px_str_text(out, "; ");
        arm_name(out, arm);
        if (mean) {
            px_str_text(out, " $");
            px_html_fixed(out, mean->estimate, 2);
            px_str_text(out, ",");
        }
        money(out, px_row_interval(off));
        px_str_text(out, " against ");
        arm_name(out, exp->study->arms[0]);
        px_str_text(out, side(off, 0) == 0 ? " (open)" : "");
    }
    px_str_text(out, n ? " (mixed model).</li>\n" : "");
}

static void tell_traits(const exp_view *exp) {
    static const char *const names[][2] = {{"trait:sycophancy", "sycophancy"},
                                           {"trait:relationship", "relationship seeking"},
                                           {"trait:verbosity", "verbosity"}};
    px_str *out = exp->page->out;
    int n = 0;
    for (size_t t = 0; t < PX_COUNT(names); t++)
        for (int a = 1; a < exp->study->n_arms; a++) {
            const stat_row *raw =
                px_stat_find(exp->study, names[t][0], "lmm", -1, exp->study->arms[a], NULL, NULL);
            if (side(raw, 0) != 1 && side(raw, 0) != -1) continue;
            if (n++ == 0)
                begin(out, "Traits");
            else
                px_str_text(out, "; ");
            arm_name(out, exp->study->arms[a]);
            px_str_format(out, " %s in %s by ", raw->estimate > 0 ? "higher" : "lower",
                          names[t][1]);
            estimate(out, px_row_interval(raw), 1, 2, "");
            const stat_row *held = px_stat_find(exp->study, names[t][0], "lmm_length", -1,
                                                exp->study->arms[a], NULL, NULL);
            if (held && t < 2 && side(held, 0) * side(raw, 0) <= 0)
                px_str_text(out, " (not beyond length)");
        }
    px_str_text(out, n ? ".</li>\n" : "");
}

/* Whether a simulation puts the same arm first as people do. */
static void tell_order(const exp_view *exp, int source) {
    const stat_row *worth[STUDY_ARMS];
    int people[STUDY_ARMS], simulated[STUDY_ARMS];
    px_str *out = exp->page->out;
    const int n = by_worth(exp, HUMAN, people, worth);
    if (n < 2 || by_worth(exp, source, simulated, worth) < 2) return;
    const char *first = exp->study->arms[simulated[0]], *second = exp->study->arms[simulated[1]];
    const stat_row *win = px_stat_find(exp->study, rank, "win_rate", source, first, ">", second);
    px_str_text(out, simulated[0] == people[0] ? "; it puts the same arm first, " : "; it puts ");
    arm_name(out, first);
    px_str_text(out, simulated[0] == people[0] ? "" : " first, unlike people");
    px_str_text(out, side(win, 0.5) == 1 ? "" : ", though not clear of the second");
}

static void tell_agreement(const exp_view *exp) {
    px_str *out = exp->page->out;
    const double chance = 100.0 / (exp->study->positions > 1 ? exp->study->positions : 4);
    int n = 0;
    for (int s = JUDGE; s < N_STUDY_SOURCES; s++) {
        const stat_row *tau = px_stat_find(exp->study, rank, "agreement", s, "tau", NULL, NULL);
        const stat_row *top = px_stat_find(exp->study, rank, "agreement", s, "top1", NULL, NULL);
        if (!tau || !top) continue;
        if (n++ == 0) begin(out, "Simulated people");
        px_str_format(out, "%s<em>%s</em> agrees with the person’s own ranking by τ&nbsp;= ",
                      n > 1 ? ". " : "", px_stat_sources[s]);
        estimate(out, px_row_interval(tau), 1, 2, "");
        beside(out, px_published(exp, PUBLISHED_TAU, s), NAN, 2, "");
        px_str_text(out, " and shares the first choice in ");
        percent(out, top);
        beside(out, 100 * px_published(exp, PUBLISHED_TOP1, s), chance, 1, "&nbsp;%");
        tell_order(exp, s);
    }
    const stat_row *own =
        px_stat_find(exp->study, rank, "self_consistency", HUMAN, "tau", NULL, NULL);
    if (n && own) {
        px_str_text(out, ". People’s sliders agree with their own rankings by τ&nbsp;= ");
        estimate(out, px_row_interval(own), 1, 2, "");
        beside(out, px_published(exp, PUBLISHED_TAU, HUMAN), NAN, 2, "");
    }
    px_str_text(out, n ? ".</li>\n" : "");
}

static void tell_position(const exp_view *exp) {
    px_str *out = exp->page->out;
    const double even = exp->study->positions > 1 ? 1.0 / exp->study->positions : NAN;
    int n = 0;
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        const stat_row *at = px_stat_find(exp->study, rank, "position", s, "A", NULL, NULL);
        const double published = px_published(exp, PUBLISHED_AT_A, s);
        if (!at || !isfinite(even)) continue;
        if (n++ == 0) {
            begin(out, "Position");
            px_str_text(out, "Ranked best at A, where ");
            px_html_fixed(out, 100 * even, 1);
            px_str_text(out, "&nbsp;% would be even: ");
        } else
            px_str_text(out, "; ");
        px_str_format(out, "%s ", s == HUMAN ? "people" : px_stat_sources[s]);
        percent(out, at);
        beside(out, 100 * published, NAN, 1, "&nbsp;%");
        px_str_text(out, side(at, even) == 1    ? ", too often"
                         : side(at, even) == -1 ? ", too seldom"
                                                : "");
    }
    px_str_text(out, n ? ".</li>\n" : "");
}

static void tell_tokens(const exp_view *exp, int source) {
    px_str *out = exp->page->out;
    const stat_row *prompt =
        px_stat_find(exp->study, "tokens:context", "mean", source, "prompt", NULL, NULL);
    const stat_row *ppft =
        px_stat_find(exp->study, "tokens:context", "mean", source, "ppft", NULL, NULL);
    const stat_row *ratio =
        px_stat_find(exp->study, "tokens:context", "ratio", source, "prompt/ppft", NULL, NULL);
    if (!prompt || !ppft) return;
    begin(out, "Tokens");
    px_str_text(out, "Prompting spends ");
    px_html_fixed(out, prompt->estimate, 0);
    px_str_text(out, " tokens of context a conversation, ppft ");
    px_html_fixed(out, ppft->estimate, 0);
    if (ratio) {
        px_str_text(out, ": ");
        px_html_fixed(out, ratio->estimate, 1);
        px_str_text(out, " times (published: about 38)");
    }
    px_str_text(out, ".</li>\n");
}

/* Whether the embeddings of the given runs carry their people, on pairs held out. */
static void tell_offline(const exp_view *exp) {
    px_str *out = exp->page->out;
    int n = 0;
    for (int r = 0; r < exp->page->n_runs && n < 4; r++) {
        const eval_row *row = px_run_view_row(&exp->page->runs[r], "seen", "all");
        if (!row || !interval_ends(row->delta_swap)) continue;
        if (n++ == 0) {
            begin(out, "Held-out pairs");
            px_str_text(out, "The person’s own embedding against another person’s: ");
        } else
            px_str_text(out, "; ");
        arm_name(out, exp->page->runs[r].label);
        px_str_text(out, row->delta_swap.value < 0 ? " " : " +");
        estimate(out, row->delta_swap, 100, 1, "");
        px_str_text(out, " points of accuracy");
        px_str_text(out, row->delta_swap.low > 0    ? ", so it carries its person"
                         : row->delta_swap.high < 0 ? ", worse than a stranger’s"
                                                    : " (open)");
    }
    px_str_text(out, n ? ".</li>\n" : "");
}

void px_page_story(const exp_view *exp) {
    px_str *out = exp->page->out;
    const int source = main_source(exp);
    px_str_text(out, "<section id=\"story\"><h2>Findings</h2>\n");
    if (source < 0) {
        px_str_text(out, "<p class=\"lead\">The statistics hold no rankings: nothing can be said "
                         "of which arm is preferred.</p>\n");
    } else {
        px_str_text(out, "<p class=\"lead\">");
        tell_first(exp, source);
        tell_reference(exp, source);
        px_str_text(out, "</p>\n<ul class=\"story\">\n");
        const size_t before = out->size;
        tell_length(exp, source);
        tell_bids(exp, source);
        tell_traits(exp);
        tell_agreement(exp);
        tell_position(exp);
        tell_tokens(exp, source);
        tell_offline(exp);
        px_str_text(out,
                    out->size == before ? "<li>Nothing else was asked.</li></ul>\n" : "</ul>\n");
    }
    px_str_text(out, "<p class=\"small\">Square brackets are 95&nbsp;% intervals over people. "
                     "“Open” means that the interval holds no difference. The intervals are not "
                     "corrected for looking at many; the tables have p by Benjamini and Hochberg "
                     "within each family. Published values are of PRISM-X; see <a "
                     "href=\"#methods\">methods</a>.</p>\n</section>\n");
}

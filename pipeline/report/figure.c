/* figure.c - what all figures of an experiment have in common: their table of contents, the frame
 * with caption and data, panels of arms by source. */
#include "figure.h"

#include <stdlib.h>
#include <string.h>

enum { COLOURS = 8, ROWS_SHOWN = 2000 };

const char *const px_source_titles[N_STUDY_SOURCES] = {"people", "judge (simulated)",
                                                       "converse (simulated)"};

/* clang-format off */
const exp_figure px_figures[N_FIGURES] = {
    {1, "fig-worth", "Worth of each arm",
     "Shares of Plackett–Luce worth that the rankings give each arm; all arms’ shares add up to 1, and equal arms would all lie on the dotted line. Whiskers: 95&nbsp;% bootstrap intervals over people.",
     "The paper gives the order alone (ppft over prompt and base, dpft close to ppft; for the judge the top two swapped): no values that could be drawn.",
     "rankings", px_fig_worth_data, px_fig_worth},
    {2, "fig-wins", "Who is ranked above whom",
     "Of the trials in which both stand: the percentage in which the arm of the row is ranked above the arm of the column. Blue: over half; orange: under half. Small print: 95&nbsp;% bootstrap interval over people.",
     "Not known of the paper: ours.", "rankings", px_fig_wins_data, px_fig_wins},
    {3, "fig-sliders", "Sliders by domain and arm",
     "Mean of the sliders from 0 to 100, with 95&nbsp;% intervals clustered by person. The mixed model’s contrasts to the reference stand in the table.",
     "The paper had these sliders; values by arm and the model are not known of it: ours.", "sliders", px_fig_sliders_data, px_fig_sliders},
    {4, "fig-bids", "What people would pay for a week",
     "Mean bid in dollars a week, 0 to 10 (Becker–DeGroot–Marschak), with 95&nbsp;% intervals clustered by person. Contrasts by the mixed model and by Tobit, which takes 0 and 10 as cut off, stand in the table.",
     "The paper asked for bids; values by arm and the models are not known of it: ours.", "bids", px_fig_bids_data, px_fig_bids},
    {5, "fig-length", "Worth as ranked and with length held",
     "Log-worth over the reference arm: as the rankings give it (raw), and with length of the answers, position and errors held (held). What shrinks was owed to these. The last panel: by how much 100 more characters multiply the odds of being chosen. 95&nbsp;% intervals clustered by person.",
     "The paper reports odds of 1.57 for 100 characters; the log-worths and the form of the model are ours.", "rankings of trials with answers", px_fig_length_data, px_fig_length},
    {6, "fig-traits", "Sycophancy, relationship seeking, verbosity",
     "Lexical: scores counted from phrase lists, in standard deviations of the reference’s answers, with 95&nbsp;% bootstrap intervals over people; or, where only statistics of traits were given, the mixed model’s contrasts to the reference. Judge: a model’s mean scores from 1 to 10, with such intervals where the file has them.",
     "The paper finds fine-tuned arms more sycophantic, more relationship-seeking and wordier; its scales and values are not known: ours.", "traits (--traits, or stats with --traits)", px_fig_traits_data, px_fig_traits},
    {7, "fig-agreement", "Agreement with the person’s own ranking",
     "People: their sliders against their own rankings (consistency with themselves). Simulated: their ranking against the person’s own. Dotted: what chance gives. 95&nbsp;% bootstrap intervals over people.",
     "◇ published values; κ is not known of the paper: ours.", "rankings and sliders, or rankings of people and simulations", px_fig_agree_data, px_fig_agree},
    {8, "fig-position", "Ranked best by position",
     "Share of trials in which the arm at this place on the screen was ranked best; arms are dealt out at random, so that all places would be even (dotted) for those whom position does not sway. 95&nbsp;% bootstrap intervals over people.",
     "◇ published values, which are known for A and D alone.", "rankings", px_fig_position_data, px_fig_position},
    {9, "fig-simulated", "Worth by people and by simulations",
     "Log-worths over the reference arm, which lies at 0: on the line both sides agree. 95&nbsp;% intervals of both. r is over as many points as there are arms: few. The last panel: r beside the published ones.",
     "◇ published correlations; not known of the paper: the points.", "rankings of people and of a simulation", px_fig_simulated_data, px_fig_simulated},
    {10, "fig-topics", "What people open with",
     "Shares of topics among opening messages: k-means of the words, each topic named by words that mark it and that five people or more used. The table has the Jensen–Shannon divergences.",
     "Not known of the paper: ours.", "opening messages", px_fig_topics_data, px_fig_topics},
    {11, "fig-turns", "What people write, turn by turn",
     "Mean words of a user’s message, and the share of messages that ask, praise, complain or correct (short word lists of ours), by turn. Turn 0 is the opening. 95&nbsp;% intervals clustered by person.",
     "Not known of the paper: ours.", "user turns", px_fig_turns_data, px_fig_turns},
    {12, "fig-tokens", "Tokens of context against worth",
     "Worth by people (else by the first simulation) against the mean number of tokens of a conversation’s prompts that stem from the user, text or soft tokens; the scale is logarithmic above 1. The last panel: how many times ppft’s tokens prompting takes.",
     "◇ about 38 times, published; on which tokens is not known.", "rankings, and context_tokens of the slots", px_fig_tokens_data, px_fig_tokens},
    {13, "fig-offline", "Held-out accuracy by α, β and Tᵤ",
     "Share of held-out pairs whose chosen response has the higher implicit reward, with the person’s own embedding, the generic one, and another person’s, over the settings of the given runs and sweeps. Lines join means over the other settings. Choose on people in training, report strangers.",
     "Not known of the paper, but for Tᵤ = 10: ours.", "run folders or a sweep that were evaluated, or stats with --eval", px_fig_offline_data, px_fig_offline},
};
/* clang-format on */

/* --- data --- */

void px_data_add(data_list *data, const stat_row *row, double published) {
    if (!row || data->failed) return;
    if (data->n == data->room) {
        int64_t room = data->room ? data->room * 2 : 64;
        datum *at = realloc(data->at, (size_t)room * sizeof *at);
        if (!at) {
            data->failed = true;
            return;
        }
        data->at = at;
        data->room = room;
    }
    data->at[data->n++] = (datum){row, published};
}

void px_data_arms(const exp_view *exp, data_list *data, const char *outcome, const char *model,
                  const char *prefix) {
    for (int s = 0; s < N_STUDY_SOURCES; s++)
        for (int a = 0; a < exp->study->n_arms; a++)
            px_data_add(
                data,
                px_stat_find(exp->study, outcome, model, s, prefix, exp->study->arms[a], NULL),
                NAN);
}

void px_data_free(data_list *data) {
    free(data->at);
    *data = (data_list){0};
}

/* --- panels --- */

void px_lists_axis(const row_list *lists, int n, double with, px_axis *axis) {
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < n; i++) {
        if (lists[i].n == 0) continue;
        low = px_rows_end(&lists[i], false, low);
        high = px_rows_end(&lists[i], true, high);
    }
    if (isfinite(with)) {
        low = fmin(low, with);
        high = fmax(high, with);
    }
    const double room = 0.04 * (high - low); /* no mark lies on the edge */
    px_axis_fit(low >= 0 ? fmax(low - room, 0) : low - room, high + room, 3, axis);
}

void px_list_panel(const exp_view *exp, const char *title, const char *x_label,
                   const row_list *list, double reference) {
    px_axis axis;
    if (list->n == 0) return;
    px_lists_axis(list, 1, reference, &axis);
    px_rows_panel(exp->page, title, x_label, list, &axis, reference);
}

void px_arms_panels(const exp_view *exp, const arms_panels *p) {
    row_list *lists = calloc(N_STUDY_SOURCES, sizeof *lists);
    px_axis axis;
    if (!lists) {
        exp->page->out->failed = true;
        return;
    }
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        lists[s] = (row_list){.scale = p->scale, .decimals = p->decimals, .dots = true};
        for (int a = 0; a < exp->study->n_arms; a++) {
            const stat_row *row = px_stat_find(exp->study, p->outcome, p->model, s, p->prefix,
                                               exp->study->arms[a], NULL);
            if (row)
                px_rows_add(&lists[s], (row_line){.label = exp->study->arms[a],
                                                  .e = px_row_interval(row),
                                                  .colour = a % COLOURS});
        }
    }
    px_lists_axis(lists, N_STUDY_SOURCES, p->reference, &axis);
    for (int s = 0; s < N_STUDY_SOURCES; s++) {
        char title[96];
        if (lists[s].n == 0) continue;
        snprintf(title, sizeof title, "%s: %s", p->title, px_source_titles[s]);
        px_rows_panel(exp->page, title, p->x_label, &lists[s], &axis, p->reference);
    }
    free(lists);
}

/* --- the frame --- */

static void p_cell(px_str *out, double p) {
    px_str_text(out, "<td class=\"n\">");
    if (p < 0.0001)
        px_str_text(out, "&lt;&nbsp;0.0001");
    else
        px_html_fixed(out, p, 4);
    px_str_text(out, "</td>");
}

static void data_row(px_str *out, const datum *d) {
    const stat_row *row = d->row;
    px_str_text(out, "<tr><th scope=\"row\">");
    px_html_name(out, *row->term ? row->term : "–");
    px_str_text(out, "</th>");
    px_html_cell_text(out, row->source >= 0 ? px_stat_sources[row->source] : "–");
    px_html_cell_text(out, row->outcome);
    px_html_cell_text(out, row->model);
    px_html_cell_text(out, *row->contrast ? row->contrast : "–");
    px_html_cell(out, row->estimate, 4);
    px_html_cell(out, row->low, 4);
    px_html_cell(out, row->high, 4);
    p_cell(out, row->p);
    p_cell(out, row->p_adjusted);
    px_html_cell(out, row->n_trials, 0);
    px_html_cell(out, row->n_people, 0);
    px_html_cell(out, d->published, 3);
    px_html_cell_text(out, row->note);
    px_str_text(out, "</tr>\n");
}

static void data_table(px_str *out, const exp_figure *f, const data_list *data) {
    static const char *const heads[] = {"term",     "source", "outcome",      "model", "contrast",
                                        "estimate", "low",    "high",         "p",     "p adjusted",
                                        "n",        "people", "published, ◇", "note"};
    char caption[160];
    px_str_format(out, "<details><summary>Data of figure %d</summary>\n", f->number);
    snprintf(caption, sizeof caption, "Figure %d: %s", f->number, f->title);
    px_html_table(out, caption, heads, (int)PX_COUNT(heads));
    for (int64_t i = 0; i < data->n && i < ROWS_SHOWN; i++) data_row(out, &data->at[i]);
    px_html_table_end(out);
    if (data->n > ROWS_SHOWN)
        px_str_format(out,
                      "<p class=\"small\">The first %d of %lld rows; all of them are in "
                      "stats.tsv.</p>\n",
                      ROWS_SHOWN, (long long)data->n);
    px_str_text(out, "</details>\n");
}

px_err *px_page_figures(const exp_view *exp) {
    px_str *out = exp->page->out;
    for (int i = 0; i < N_FIGURES; i++) {
        const exp_figure *f = &px_figures[i];
        data_list data = {0};
        f->collect(exp, &data);
        if (data.failed) {
            px_data_free(&data);
            PX_NO_MEMORY();
        }
        if (data.n) {
            px_str_format(out,
                          "<section id=\"%s\"><h2>%d. %s</h2>\n<figure><figcaption>%s <span "
                          "class=\"paper\">%s</span></figcaption>\n",
                          f->id, f->number, f->title, f->caption, f->paper);
            f->draw(exp, &data);
            px_str_text(out, "</figure>\n");
            data_table(out, f, &data);
            px_str_text(out, "</section>\n");
        }
        px_data_free(&data);
    }
    return px_str_ok(out);
}

void px_page_missing(const exp_view *exp) {
    px_str *out = exp->page->out;
    int n = 0;
    px_str_text(out, "<h3>Figures that are missing</h3>\n");
    for (int i = 0; i < N_FIGURES; i++) {
        data_list data = {0};
        px_figures[i].collect(exp, &data);
        if (data.n == 0)
            px_str_format(out, "%s<li>Figure %d, %s: needs %s.</li>\n", n++ ? "" : "<ul>",
                          px_figures[i].number, px_figures[i].title, px_figures[i].lacks);
        px_data_free(&data);
    }
    px_str_text(out, n ? "</ul>\n" : "<p>None.</p>\n");
}

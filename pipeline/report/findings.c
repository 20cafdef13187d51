/* findings.c - what the runs show, in words: one paragraph a run and a table of the numbers that
 * decide. Every judgement is read off an interval. */
#include <string.h>

#include "report_internal.h"

static void percent(px_str *out, interval e) {
    px_html_fixed(out, 100 * e.value, 1);
    px_str_text(out, "&nbsp;%");
    if (!interval_ends(e)) return;
    px_str_text(out, " [");
    px_html_fixed(out, 100 * e.low, 1);
    px_str_text(out, ", ");
    px_html_fixed(out, 100 * e.high, 1);
    px_str_char(out, ']');
}

static void points(px_str *out, interval e) {
    if (e.value > 0) px_str_char(out, '+');
    px_html_interval(out, e, 100, 1);
    px_str_text(out, " points");
}

/* -1 the whole interval lies below x, 1 above, 0 it holds x, -2 there is no interval. */
static int side(interval e, double x) {
    if (!interval_ends(e)) return -2;
    return e.low > x ? 1 : e.high < x ? -1 : 0;
}

static void tell_state(px_str *out, const run_view *run) {
    const char *status = px_json_find_text(run->manifest, "status");
    double steps = px_json_find_f64(run->manifest, "steps", NAN);
    double step = px_run_view_last(run, S_STEP), time = px_run_view_sum(run, S_TIME);
    if (!isfinite(step)) {
        px_str_text(out, " has no logged step yet. ");
        return;
    }
    bool complete = status && !strcmp(status, "complete");
    px_str_text(out, complete ? " completed " : " is not complete: it stands at step ");
    px_html_whole(out, step);
    if (isfinite(steps) && !complete) {
        px_str_text(out, " of ");
        px_html_whole(out, steps);
    }
    px_str_text(out, complete ? " steps" : "");
    if (time > 0) {
        px_str_text(out, complete ? " in " : " after ");
        px_html_duration(out, time);
        px_str_text(out, " of steps");
        double tokens = px_run_view_last(run, S_TOKENS);
        if (isfinite(tokens)) {
            px_str_text(out, " (");
            px_html_whole(out, tokens / time);
            px_str_text(out, " tokens/s)");
        }
    }
    double memory = px_json_find_f64(run->manifest, "peak_memory_bytes", NAN);
    if (isfinite(memory)) {
        px_str_text(out, ", with at most ");
        px_html_bytes(out, memory);
        px_str_text(out, " of memory on the first rank");
    }
    const double card = px_json_find_f64(run->manifest, "device_peak_memory_bytes", NAN);
    if (isfinite(card)) {
        px_str_text(out, " and ");
        px_html_bytes(out, card);
        px_str_text(out, " of its GPU's");
    }
    px_str_text(out, ". ");
}

static void tell_chance(px_str *out, interval e) {
    switch (side(e, 0.5)) {
    case 0:
        px_str_text(out, ", <strong>which is not told apart from chance</strong>");
        break;
    case -1:
        px_str_text(out, ", <strong>which is below chance</strong>");
        break;
    default:
        break;
    }
}

static void tell_accuracy(px_str *out, const run_view *run, const char *split, const char *of) {
    const eval_row *row = px_run_view_row(run, split, "all");
    if (!row || !isfinite(row->accuracy[OWN].value)) return;
    px_str_format(out, "On %s it prefers the chosen response in ", of);
    percent(out, row->accuracy[OWN]);
    px_str_text(out, " of ");
    px_html_whole(out, row->n_pairs);
    px_str_text(out, " pairs (");
    px_html_whole(out, row->n_people);
    px_str_text(out, " people)");
    tell_chance(out, row->accuracy[OWN]);
    double at = run->files[row->file].step, end = px_run_view_last(run, S_STEP);
    if (isfinite(end) && at >= 0 && at != end) {
        px_str_text(out, ", as of step ");
        px_html_whole(out, at);
    }
    px_str_text(out, ". ");
}

static void tell_person(px_str *out, const run_view *run) {
    const eval_row *row = px_run_view_row(run, "seen", "all");
    if (!row || !isfinite(row->delta_swap.value)) return;
    px_str_text(out, "There the person’s own embedding against the generic one gives ");
    points(out, row->delta_own);
    px_str_text(out, ", against another person’s ");
    points(out, row->delta_swap);
    static const char *const words[] = {
        ", without intervals to judge by. ", ": <strong>it does worse than a stranger’s</strong>. ",
        ("; the second interval holds 0: <strong>the embedding carries no person</strong> that "
         "these pairs could show. "),
        "; the second interval is clear of 0: <strong>the embedding carries its person</strong>. "};
    px_str_text(out, words[side(row->delta_swap, 0) + 2]);
    if (side(row->delta_swap, 0) == 1 && side(row->delta_own, 0) == 0)
        px_str_text(out, "Whether it beats the generic one is open, as that interval holds 0. ");
    double taste = run->files[row->file].taste;
    if (!isfinite(taste)) return;
    px_str_text(out, "The likeness of people’s embeddings and that of their planted tastes have a "
                     "rank correlation of ");
    px_html_fixed(out, taste, 2);
    px_str_text(out, ". ");
}

static void tell_spread(px_str *out, const run_view *run) {
    double spread = px_run_view_spread(run);
    if (!isfinite(spread)) return;
    px_str_text(out, "At the last step people’s embeddings lie ");
    px_html_rough(out, 100 * spread);
    px_str_text(out, "&nbsp;% of their common length apart");
    px_str_text(out,
                spread < SPREAD_DEAD
                    ? ": <strong class=\"warn\">Warning: the embeddings are dead</strong>, all "
                      "but the same for everyone, so nothing personal can be concluded. A "
                      "larger optim.user_lr or more steps would move them. "
                    : ". ");
}

static void tell_run(px_str *out, const run_view *run, int r) {
    px_str_format(out, "<p><span class=\"swatch s%d\" aria-hidden=\"true\"></span><strong>", r % 8);
    px_html_name(out, run->label);
    px_str_text(out, "</strong>");
    tell_state(out, run);
    tell_accuracy(out, run, "seen", "new conversations of people it knows");
    tell_person(out, run);
    tell_accuracy(out, run, "unseen", "people it has never met");
    if (run->n_rows == 0) px_str_text(out, "It has not been evaluated on held-out pairs. ");
    tell_spread(out, run);
    px_str_text(out, "</p>\n");
}

/* The best of several runs on the seen split, and whether its interval parts it from the next. */
static void tell_best(page_view *page) {
    int best = -1, next = -1, n = 0;
    interval of[2] = {{NAN, NAN, NAN}, {NAN, NAN, NAN}};
    for (int r = 0; r < page->n_runs; r++) {
        const eval_row *row = px_run_view_row(&page->runs[r], "seen", "all");
        if (!row || !isfinite(row->accuracy[OWN].value)) continue;
        n++;
        if (best < 0 || row->accuracy[OWN].value > of[0].value) {
            next = best;
            of[1] = of[0];
            best = r;
            of[0] = row->accuracy[OWN];
        } else if (next < 0 || row->accuracy[OWN].value > of[1].value) {
            next = r;
            of[1] = row->accuracy[OWN];
        }
    }
    if (n < 2) return;
    px_str_text(page->out, "<p class=\"lead\">On new conversations of known people ");
    px_html_name(page->out, page->runs[best].label);
    px_str_text(page->out, " is highest with ");
    percent(page->out, of[0]);
    px_str_text(page->out, " accuracy, then ");
    px_html_name(page->out, page->runs[next].label);
    px_str_text(page->out, " with ");
    percent(page->out, of[1]);
    bool apart = interval_ends(of[0]) && interval_ends(of[1]) && of[0].low > of[1].high;
    px_str_text(page->out, apart ? "; their intervals do not overlap.</p>\n"
                                 : "; their intervals overlap, so the order is not sure.</p>\n");
}

static void interval_cell(px_str *out, const eval_row *row, interval e) {
    px_str_text(out, "<td class=\"n\">");
    if (row && isfinite(e.value))
        px_html_interval(out, e, 100, 1);
    else
        px_str_text(out, "–");
    px_str_text(out, "</td>");
}

static void summary_table(page_view *page) {
    static const char *const heads[] = {
        "run",       "status",        "steps",          "seen, %",
        "unseen, %", "Δ own, points", "Δ swap, points", "spread, %"};
    static const eval_row none = {0};
    px_str *out = page->out;
    px_html_table(out, "Runs at a glance: held-out accuracy and gains with 95% intervals", heads,
                  (int)PX_COUNT(heads));
    for (int r = 0; r < page->n_runs; r++) {
        const run_view *run = &page->runs[r];
        const eval_row *seen = px_run_view_row(run, "seen", "all");
        const eval_row *unseen = px_run_view_row(run, "unseen", "all");
        const char *status = px_json_find_text(run->manifest, "status");
        px_str_text(out, "<tr><th scope=\"row\">");
        px_html_name(out, run->label);
        px_str_text(out, "</th>");
        px_html_cell_text(out, status ? status : "–");
        px_html_cell(out, px_run_view_last(run, S_STEP), 0);
        interval_cell(out, seen, (seen ? seen : &none)->accuracy[OWN]);
        interval_cell(out, unseen, (unseen ? unseen : &none)->accuracy[OWN]);
        interval_cell(out, seen, (seen ? seen : &none)->delta_own);
        interval_cell(out, seen, (seen ? seen : &none)->delta_swap);
        px_str_text(out, "<td class=\"n\">");
        px_html_rough(out, 100 * px_run_view_spread(run));
        px_str_text(out, "</td>");
        px_str_text(out, "</tr>\n");
    }
    px_html_table_end(out);
}

px_err *px_page_findings(page_view *page) {
    px_str_text(page->out, "<section id=\"findings\"><h2>Findings</h2>\n");
    tell_best(page);
    for (int r = 0; r < page->n_runs; r++) tell_run(page->out, &page->runs[r], r);
    px_str_text(page->out,
                "<p class=\"small\">Square brackets are 95&nbsp;% bootstrap intervals over "
                "people; points are percentage points. Nothing here is corrected for looking at "
                "several runs, splits and types.</p>\n");
    summary_table(page);
    bool any = false;
    for (int r = 0; r < page->n_runs; r++) any = any || page->runs[r].n_notes > 0;
    if (any) px_str_text(page->out, "<h3>Missing or broken</h3>\n<ul class=\"notes\">");
    for (int r = 0; r < page->n_runs; r++)
        for (int i = 0; i < page->runs[r].n_notes; i++) {
            px_str_text(page->out, "<li>");
            px_html_name(page->out, page->runs[r].label);
            px_str_text(page->out, ": ");
            px_html_name(page->out, page->runs[r].notes[i]);
            px_str_text(page->out, "</li>\n");
        }
    px_str_text(page->out, any ? "</ul></section>\n" : "</section>\n");
    return px_str_ok(page->out);
}

/* figures_eval.c - the figures of evaluation. */
#include <stdlib.h>
#include <string.h>

#include "report_internal.h"

enum { COLOURS = 8, SPLITS_MAX = 8, TYPES_MAX = 9 };

/* --- what stands in the panels --- */
typedef enum { BY_EMBEDDING, DELTAS, BY_TYPE } figure_kind;

static void by_embedding(row_list *list, const run_view *run, int r, const eval_row *row) {
    bool personal = isfinite(row->accuracy[GENERIC].value);
    static const char *const names[] = {"own", "generic", "another’s"};
    px_rows_add(list, (row_line){.label = run->label, .colour = r, .header = true});
    for (int w = 0; w < N_WHO; w++)
        if (isfinite(row->accuracy[w].value))
            px_rows_add(list, (row_line){.label = personal ? names[w] : "pooled",
                                         .e = row->accuracy[w],
                                         .colour = r,
                                         .shape = w});
}

static void deltas(row_list *list, const run_view *run, int r, const eval_row *row) {
    if (!isfinite(row->delta_own.value) && !isfinite(row->delta_swap.value)) return;
    px_rows_add(list, (row_line){.label = run->label, .colour = r, .header = true});
    px_rows_add(list, (row_line){.label = "− generic", .e = row->delta_own, .colour = r});
    px_rows_add(list,
                (row_line){.label = "− another’s", .e = row->delta_swap, .colour = r, .shape = 2});
}

static void by_type(row_list *list, const page_view *page, const char *split) {
    const char *types[TYPES_MAX];
    int n = px_view_types(page, types, TYPES_MAX);
    for (int t = 0; t < n; t++) {
        bool begun = false;
        if (!strcmp(types[t], "all")) continue;
        for (int r = 0; r < page->n_runs; r++) {
            const eval_row *row = px_run_view_row(&page->runs[r], split, types[t]);
            if (!row || !isfinite(row->accuracy[OWN].value)) continue;
            if (!begun)
                px_rows_add(list, (row_line){.label = types[t], .colour = COLOURS, .header = true});
            begun = true;
            px_rows_add(list, (row_line){.label = page->runs[r].label,
                                         .e = row->accuracy[OWN],
                                         .colour = r % COLOURS});
        }
    }
}

static void fill(row_list *list, const page_view *page, const char *split, figure_kind kind) {
    *list = (row_list){.scale = 100, .decimals = 1};
    if (kind == BY_TYPE) {
        by_type(list, page, split);
        return;
    }
    for (int r = 0; r < page->n_runs; r++) {
        const eval_row *row = px_run_view_row(&page->runs[r], split, "all");
        if (!row) continue;
        (kind == DELTAS ? deltas : by_embedding)(list, &page->runs[r], r % COLOURS, row);
    }
}

static const char *split_title(const char *split) {
    if (!strcmp(split, "seen")) return "seen: new conversations of known people";
    if (!strcmp(split, "unseen")) return "unseen: people who were not in training";
    if (!strcmp(split, "train")) return "train: the pairs trained on";
    return split;
}

static void interval_cell(px_str *out, interval e) {
    px_str_text(out, "<td class=\"n\">");
    px_html_interval(out, e, 100, 2);
    px_str_text(out, "</td>");
}

static void eval_table(page_view *page, const char *caption, figure_kind kind) {
    static const char *const heads[] = {"run",
                                        "evaluation",
                                        "step",
                                        "split",
                                        "type",
                                        "pairs",
                                        "people",
                                        "own, %",
                                        "generic, %",
                                        "another’s, %",
                                        "own − generic, points",
                                        "own − another’s, points"};
    px_str *out = page->out;
    px_str_text(out, "<details><summary>Data</summary>\n");
    px_html_table(out, caption, heads, (int)PX_COUNT(heads));
    for (int r = 0; r < page->n_runs; r++)
        for (int i = 0; i < page->runs[r].n_rows; i++) {
            const run_view *run = &page->runs[r];
            const eval_row *row = &run->rows[i];
            if (!strcmp(row->type, "all") == (kind == BY_TYPE)) continue;
            px_str_text(out, "<tr><th scope=\"row\">");
            px_html_name(out, run->label);
            px_str_text(out, "</th>");
            px_html_cell_text(out, run->files[row->file].file);
            px_html_cell(out, run->files[row->file].step, 0);
            px_html_cell_text(out, row->split);
            px_html_cell_text(out, row->type);
            px_html_cell(out, row->n_pairs, 0);
            px_html_cell(out, row->n_people, 0);
            for (int w = 0; w < N_WHO; w++) interval_cell(out, row->accuracy[w]);
            interval_cell(out, row->delta_own);
            interval_cell(out, row->delta_swap);
            px_str_text(out, "</tr>\n");
        }
    px_html_table_end(out);
    px_str_text(out, "</details>\n");
}

typedef struct {
    const char *id, *head, *caption, *x_label, *nothing;
    double from;
    figure_kind kind;
} figure;

static void draw_figure(page_view *page, const figure *f, row_list *list) {
    const char *splits[SPLITS_MAX];
    int n = px_view_splits(page, splits, SPLITS_MAX), n_lines = 0;
    double low = f->from, high = f->from;
    px_axis axis;
    for (int s = 0; s < n; s++) {
        fill(list, page, splits[s], f->kind);
        low = px_rows_end(list, false, low);
        high = px_rows_end(list, true, high);
        n_lines += list->n;
    }
    px_axis_fit(low, high, 4, &axis);
    px_str_format(page->out,
                  "<section id=\"%s\"><h2>%s</h2>\n<figure><figcaption>%s</figcaption>\n"
                  "<div class=\"panels wide\">\n",
                  f->id, f->head, f->caption);
    for (int s = 0; s < n; s++) {
        fill(list, page, splits[s], f->kind);
        if (list->n) px_rows_panel(page, split_title(splits[s]), f->x_label, list, &axis, f->from);
    }
    px_str_text(page->out, "</div>\n");
    if (n_lines == 0) px_str_format(page->out, "<p class=\"none\">%s</p>\n", f->nothing);
    px_str_text(page->out, "</figure>\n");
    if (n_lines) eval_table(page, f->head, f->kind);
    px_str_text(page->out, "</section>\n");
}

void px_page_evals(page_view *page) {
    static const figure figures[] = {
        {"accuracy", "Held-out accuracy by split and embedding",
         "Share of held-out pairs whose chosen response has the higher implicit reward, with the "
         "person’s own embedding, the generic one, and another person’s before the prompt. Bars "
         "begin at chance (50&nbsp;%); whiskers are 95&nbsp;% bootstrap intervals over people. "
         "Unseen people have no embedding of their own and get the generic one.",
         "accuracy, %", "No run has been evaluated yet.", 50, BY_EMBEDDING},
        {"deltas", "What a person’s own embedding adds",
         "Accuracy with the own embedding less that with the generic one (Δ own) and with another "
         "person’s (Δ swap). Where the interval of Δ swap holds 0, the embedding carries no "
         "person: a stranger’s does as well.",
         "percentage points", "No run with embeddings of people has been evaluated yet.", 0,
         DELTAS},
        {"types", "Accuracy by conversation type",
         "With the person’s own embedding where the run has one. Few people talk about some "
         "types: mind the intervals before reading differences into this.",
         "accuracy, %", "No evaluation by conversation type is there yet.", 50, BY_TYPE}};
    row_list *list = malloc(sizeof *list);
    if (!list) {
        page->out->failed = true;
        return;
    }
    for (size_t i = 0; i < PX_COUNT(figures); i++) draw_figure(page, &figures[i], list);
    free(list);
}

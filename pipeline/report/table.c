/* table.c - the estimates as a table for programs (tsv) and papers (LaTeX, booktabs). */
#include <string.h>

#include "report_internal.h"

/* --- tsv --- */
static void tsv_text(px_str *out, const char *text) {
    for (; *text; text++) px_str_char(out, (unsigned char)*text < 0x20 ? ' ' : *text);
}

static void tsv_number(px_str *out, double value) {
    char text[32];
    px_str_text(out, isfinite(value) ? px_double_text(value, text) : "NA");
}

static void tsv_interval(px_str *out, interval e) {
    const double of[] = {e.value, e.low, e.high};
    for (int k = 0; k < 3; k++) {
        px_str_char(out, '\t');
        tsv_number(out, of[k]);
    }
}

void px_table_tsv(const page_view *page) {
    static const char *const names[] = {"accuracy_own", "accuracy_generic", "accuracy_other",
                                        "margin_own",   "margin_generic",   "margin_other",
                                        "delta_own",    "delta_swap"};
    px_str *out = page->out;
    px_str_text(out, "run\tevaluation\tstep\tsplit\ttype\tn_pairs\tn_people");
    for (size_t i = 0; i < PX_COUNT(names); i++)
        px_str_format(out, "\t%s\t%s_low\t%s_high", names[i], names[i], names[i]);
    px_str_char(out, '\n');
    for (int r = 0; r < page->n_runs; r++)
        for (int i = 0; i < page->runs[r].n_rows; i++) {
            const run_view *run = &page->runs[r];
            const eval_row *row = &run->rows[i];
            tsv_text(out, run->label);
            px_str_char(out, '\t');
            tsv_text(out, run->files[row->file].file);
            px_str_char(out, '\t');
            tsv_number(out, run->files[row->file].step);
            px_str_char(out, '\t');
            tsv_text(out, row->split);
            px_str_char(out, '\t');
            tsv_text(out, row->type);
            px_str_char(out, '\t');
            tsv_number(out, row->n_pairs);
            px_str_char(out, '\t');
            tsv_number(out, row->n_people);
            for (int w = 0; w < N_WHO; w++) tsv_interval(out, row->accuracy[w]);
            for (int w = 0; w < N_WHO; w++) tsv_interval(out, row->margin[w]);
            tsv_interval(out, row->delta_own);
            tsv_interval(out, row->delta_swap);
            px_str_char(out, '\n');
        }
}

/* --- LaTeX --- */
void px_tex_text(px_str *out, const char *text) {
    static const char marks[] = "\\{}$&#^_~%<>|";
    static const char *const names[] = {"\\textbackslash{}",
                                        "\\{",
                                        "\\}",
                                        "\\$",
                                        "\\&",
                                        "\\#",
                                        "\\textasciicircum{}",
                                        "\\_",
                                        "\\textasciitilde{}",
                                        "\\%",
                                        "\\textless{}",
                                        "\\textgreater{}",
                                        "\\textbar{}"};
    static const char *const greek[][2] = {
        {"α", "$\\alpha$"}, {"β", "$\\beta$"}, {"τ", "$\\tau$"}, {"Tᵤ", "$T_u$"}};
    /* behind the end of a row these would be its argument */
    if (*text == '[' || *text == '*') px_str_text(out, "{}");
    for (; *text; text++) {
        const char *mark = strchr(marks, *text);
        size_t g = 0;
        while (g < PX_COUNT(greek) && strncmp(text, greek[g][0], strlen(greek[g][0])) != 0) g++;
        if (g < PX_COUNT(greek)) {
            px_str_text(out, greek[g][1]);
            text += strlen(greek[g][0]) - 1;
            continue;
        }
        if (mark)
            px_str_text(out, names[mark - marks]);
        else
            px_str_char(out, (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text);
    }
}

static void tex_interval(px_str *out, interval e) {
    px_str_text(out, " & ");
    if (!isfinite(e.value))
        px_str_text(out, "--");
    else if (interval_ends(e))
        px_str_format(out, "$%.1f$ {\\small [$%.1f$, $%.1f$]}", 100 * e.value, 100 * e.low,
                      100 * e.high);
    else
        px_str_format(out, "$%.1f$", 100 * e.value);
}

static void tex_count(px_str *out, double value) {
    px_str_text(out, " & ");
    if (isfinite(value))
        px_str_format(out, "%.0f", value);
    else
        px_str_text(out, "--");
}

void px_table_tex(const page_view *page) {
    px_str *out = page->out;
    px_str_text(out,
                "% Accuracy in per cent and gains in percentage points, 95% bootstrap intervals "
                "over people.\n% Needs \\usepackage{booktabs}.\n"
                "\\begin{tabular}{lllrrrrrrr}\n\\toprule\n"
                "Run & Split & Type & Pairs & People & Own & Generic & Another's & "
                "$\\Delta_{\\mathrm{own}}$ & $\\Delta_{\\mathrm{swap}}$ \\\\\n\\midrule\n");
    for (int r = 0; r < page->n_runs; r++)
        for (int i = 0; i < page->runs[r].n_rows; i++) {
            const eval_row *row = &page->runs[r].rows[i];
            px_tex_text(out, page->runs[r].label);
            px_str_text(out, " & ");
            px_tex_text(out, row->split);
            px_str_text(out, " & ");
            px_tex_text(out, row->type);
            tex_count(out, row->n_pairs);
            tex_count(out, row->n_people);
            for (int w = 0; w < N_WHO; w++) tex_interval(out, row->accuracy[w]);
            tex_interval(out, row->delta_own);
            tex_interval(out, row->delta_swap);
            px_str_text(out, " \\\\\n");
        }
    px_str_text(out, "\\bottomrule\n\\end{tabular}\n");
}

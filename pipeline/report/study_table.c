/* study_table.c - the rows of an experiment's figures as a table for programs (tsv) and tables for
 * a paper (LaTeX, booktabs). */
#include <string.h>

#include "figure.h"

static void tsv_text(px_str *out, const char *text) {
    px_str_char(out, '\t');
    if (!*text) px_str_text(out, "NA");
    for (; *text; text++) px_str_char(out, (unsigned char)*text < 0x20 ? ' ' : *text);
}

static void tsv_number(px_str *out, double value) {
    char text[32];
    px_str_char(out, '\t');
    px_str_text(out, isfinite(value) ? px_double_text(value, text) : "NA");
}

px_err *px_figures_tsv(const exp_view *exp) {
    px_str *out = exp->page->out;
    px_str_text(out, "figure\ttitle\tfamily\toutcome\tmodel\tterm\tcontrast\tsource\testimate\t"
                     "std_error\tci_low\tci_high\tp\tp_adjusted\tn_trials\tn_people\tpublished\t"
                     "note\n");
    for (int i = 0; i < N_FIGURES; i++) {
        data_list data = {0};
        px_figures[i].collect(exp, &data);
        if (data.failed) out->failed = true;
        for (int64_t k = 0; k < data.n; k++) {
            const stat_row *row = data.at[k].row;
            px_str_format(out, "%d", px_figures[i].number);
            tsv_text(out, px_figures[i].title);
            tsv_text(out, row->family);
            tsv_text(out, row->outcome);
            tsv_text(out, row->model);
            tsv_text(out, row->term);
            tsv_text(out, row->contrast);
            tsv_text(out, row->source >= 0 ? px_stat_sources[row->source] : "");
            const double numbers[] = {row->estimate, row->se,       row->low,
                                      row->high,     row->p,        row->p_adjusted,
                                      row->n_trials, row->n_people, data.at[k].published};
            for (size_t j = 0; j < PX_COUNT(numbers); j++) tsv_number(out, numbers[j]);
            tsv_text(out, row->note);
            px_str_char(out, '\n');
        }
        px_data_free(&data);
    }
    return px_str_ok(out);
}

/* --- LaTeX --- */

static void tex_number(px_str *out, double value, int decimals) {
    px_str_text(out, " & ");
    if (isfinite(value))
        px_str_format(out, "$%.*f$", decimals, value);
    else
        px_str_text(out, "--");
}

static void tex_row(px_str *out, const datum *d) {
    const stat_row *row = d->row;
    px_tex_text(out, row->term);
    px_str_text(out, " & ");
    px_tex_text(out, row->source >= 0 ? px_stat_sources[row->source] : "");
    px_str_text(out, " & ");
    px_tex_text(out, row->outcome);
    px_str_text(out, " & ");
    px_tex_text(out, row->model);
    tex_number(out, row->estimate, 3);
    if (isfinite(row->low) && isfinite(row->high))
        px_str_format(out, " & {\\small [$%.3f$, $%.3f$]}", row->low, row->high);
    else
        px_str_text(out, " & --");
    if (row->p_adjusted < 0.001)
        px_str_text(out, " & $<0.001$");
    else
        tex_number(out, row->p_adjusted, 3);
    tex_number(out, row->n_trials, 0);
    tex_number(out, d->published, 3);
    px_str_text(out, " \\\\\n");
}

px_err *px_figures_tex(const exp_view *exp) {
    px_str *out = exp->page->out;
    px_str_text(out, "% One table a figure of prismx report: estimates with 95% intervals over "
                     "people, p adjusted\n% (Benjamini and Hochberg within each family), and the "
                     "values published of PRISM-X.\n% Needs \\usepackage{booktabs,longtable}, "
                     "and a wide page: \\usepackage[landscape,margin=2cm]{geometry}.\n");
    for (int i = 0; i < N_FIGURES; i++) {
        data_list data = {0};
        px_figures[i].collect(exp, &data);
        if (data.failed) out->failed = true;
        if (data.n) {
            px_str_text(out, "\n\\begin{longtable}{llllrrrrr}\n\\caption{");
            px_tex_text(out, px_figures[i].title);
            px_str_text(out,
                        "}\\\\\n\\toprule\nTerm & Source & Outcome & Model & Estimate & 95\\% & "
                        "$p$ adj. & $n$ & Published \\\\\n\\midrule\n\\endhead\n");
            for (int64_t k = 0; k < data.n; k++) tex_row(out, &data.at[k]);
            px_str_text(out, "\\bottomrule\n\\end{longtable}\n");
        }
        px_data_free(&data);
    }
    return px_str_ok(out);
}

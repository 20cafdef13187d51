/* report.c - the page as a whole. See report.h. */
#include <stdlib.h>
#include <string.h>

#include "figure.h"

void px_page_begin(px_str *out, const char *title) {
    px_str_text(out,
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                "style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">"
                "\n<title>");
    px_html_text(out, title);
    px_str_text(out, "</title>\n<style>\n");
    px_page_style(out);
    px_str_text(out, "</style>\n</head>\n<body>\n");
}

/* The page's name, in plain words: what was compared. */
static void page_names(const page_view *page, const study_view *study) {
    const int n = study ? study->n_arms : page->n_runs, most = study ? 8 : 6;
    for (int i = 0; i < n && i < most; i++) {
        px_str_text(page->out, i ? ", <bdi>" : "<bdi>");
        px_html_short(page->out, study ? study->arms[i] : page->runs[i].label, 48);
        px_str_text(page->out, "</bdi>");
    }
    px_str_text(page->out, n > most ? ", …" : "");
}

static void link_to(px_str *out, const char *id, const char *words) {
    px_str_format(out, "<li><a href=\"#%s\">%s</a></li>", id, words);
}

static px_err *figure_links(const exp_view *exp) {
    px_str *out = exp->page->out;
    link_to(out, "story", "Findings");
    for (int i = 0; i < N_FIGURES; i++) {
        data_list data = {0};
        char words[160];
        px_figures[i].collect(exp, &data);
        snprintf(words, sizeof words, "%d. %s", px_figures[i].number, px_figures[i].title);
        if (data.n) link_to(out, px_figures[i].id, words);
        px_data_free(&data);
    }
    link_to(out, "price", "Price");
    link_to(out, "methods", "Methods");
    return px_str_ok(out);
}

static void run_links(const page_view *page) {
    static const char *const links[][2] = {
        {"findings", "Findings"}, {"accuracy", "Accuracy"}, {"deltas", "Own embedding"},
        {"types", "Types"},       {"training", "Training"}, {"terms", "Terms"},
        {"rewards", "Rewards"},   {"health", "Optimiser"},  {"map", "Map"},
        {"traits", "Traits"},     {"answers", "Answers"},   {"sweep", "Sweep"},
        {"facts", "Facts"}};
    const px_report_job *job = page->job;
    for (size_t i = 0; i < PX_COUNT(links); i++) {
        const char *id = links[i][0];
        if (!strcmp(id, "traits") && (!job->traits_path || job->n_stats)) continue;
        if (!strcmp(id, "answers") && !job->answers_path) continue;
        if (!strcmp(id, "sweep") && !job->n_sweeps) continue;
        if (page->n_runs == 0 && strcmp(id, "answers") != 0 && strcmp(id, "sweep") != 0) continue;
        link_to(page->out, id, !strcmp(id, "findings") && job->n_stats ? "Runs" : links[i][1]);
    }
}

/* exp: NULL without statistics. */
static px_err *page_head(page_view *page, const exp_view *exp) {
    px_str *out = page->out;
    char title[64];
    snprintf(title, sizeof title, "Report on %s%d run%s", exp ? "an experiment and " : "",
             page->n_runs, page->n_runs == 1 ? "" : "s");
    px_page_begin(out, exp && page->n_runs == 0 ? "Report on an experiment" : title);
    px_str_text(out, "<a class=\"skip\" href=\"#main\">Skip to the content</a>\n<header>\n<h1>");
    px_str_text(out, exp ? "Personalisation experiment: " : "Preference training: ");
    page_names(page, exp ? exp->study : NULL);
    px_str_format(out, "</h1>\n<p class=\"sub\">prismx %s", PX_VERSION);
    if (exp)
        px_str_format(out, ", %d file%s of statistics", page->job->n_stats,
                      page->job->n_stats == 1 ? "" : "s");
    if (page->n_runs || !exp)
        px_str_format(out, ", %d run%s", page->n_runs, page->n_runs == 1 ? "" : "s");
    px_str_text(out, "</p>\n<nav aria-label=\"Parts of the page\"><ul>");
    if (exp) PX_PASS(figure_links(exp));
    run_links(page);
    px_str_text(out, "</ul></nav>\n</header>\n<main id=\"main\">\n");
    return NULL;
}

static px_err *page_sweeps(page_view *page) {
    for (int i = 0; i < page->job->n_sweeps; i++) {
        page->n_ids++;
        PX_PASS(px_page_sweep(page->out, &page->job->sweeps[i], &page->n_ids));
    }
    return NULL;
}

/* Sweeps alone: nothing is said of runs that nobody named. */
static px_err *page_of_sweeps(page_view *page) {
    px_page_begin(page->out, "Report");
    px_str_format(page->out,
                  "<header><p class=\"sub\">prismx %s</p></header>\n<main id=\"main\">\n",
                  PX_VERSION);
    PX_PASS(page_sweeps(page));
    px_str_text(page->out, "</main>\n</body>\n</html>\n");
    return NULL;
}

static px_err *page_runs(page_view *page) {
    PX_PASS(px_page_findings(page));
    px_page_evals(page);
    PX_PASS(px_page_curves(page));
    px_page_map(page);
    return NULL;
}

/* The experiment's story first, then its runs. */
static px_err *page_html(page_view *page, const exp_view *exp) {
    if (page->n_runs == 0 && !exp) return page_of_sweeps(page);
    PX_PASS(page_head(page, exp));
    if (exp) {
        px_page_story(exp);
        PX_PASS(px_page_figures(exp));
        px_page_price(exp);
        px_page_methods(exp);
    }
    if (page->n_runs) PX_PASS(page_runs(page));
    PX_PASS(px_page_answers(page));
    PX_PASS(page_sweeps(page));
    if (page->n_runs) PX_PASS(px_page_facts(page));
    px_str_text(page->out, "</main>\n<footer class=\"small\">Everything on this page is in the "
                           "file itself; it needs no network and runs no script. No id of a "
                           "participant is in it.</footer>\n</body>\n</html>\n");
    return NULL;
}

/* The last name of the path, one more folder at a time while two runs would have the same. */
static const char *tail_of(const char *path, int parts) {
    size_t at = strlen(path);
    while (at > 1 && path[at - 1] == '/') at--;
    while (at > 0) {
        while (at > 0 && path[at - 1] != '/') at--;
        if (--parts <= 0) break;
        while (at > 0 && path[at - 1] == '/') at--;
    }
    return path + at;
}

static px_err *label_runs(run_view *runs, int n) {
    for (int r = 0; r < n; r++) {
        int parts = 1;
        for (int other = 0; other < n && parts < 64; other++)
            if (other != r &&
                !strcmp(tail_of(runs[r].path, parts), tail_of(runs[other].path, parts)) &&
                strcmp(runs[r].path, runs[other].path) != 0) {
                parts++;
                other = -1;
            }
        const char *tail = tail_of(runs[r].path, parts);
        size_t size = strlen(tail);
        while (size > 1 && tail[size - 1] == '/') size--;
        runs[r].label = px_arena_text(runs[r].arena, tail, size);
        PX_PASS(px_arena_ok(runs[r].arena));
    }
    return NULL;
}

static px_err *fill(page_view *page, const exp_view *exp) {
    const px_report_format format = page->job->format;
    if (format == PX_REPORT_HTML)
        PX_PASS(page_html(page, exp));
    else if (exp)
        PX_PASS(format == PX_REPORT_TSV ? px_figures_tsv(exp) : px_figures_tex(exp));
    else if (format == PX_REPORT_TSV)
        px_table_tsv(page);
    else
        px_table_tex(page);
    return px_str_ok(page->out);
}

static px_err *study_open(const px_report_job *job, study_view *study) {
    PX_PASS(px_stats_read(job->stats, job->n_stats, study));
    if (job->traits_path) PX_PASS(px_traits_read(job->traits_path, &study->traits));
    return NULL;
}

px_err *px_report_make(const px_report_job *job) {
    px_str text = {0};
    study_view study = {0};
    px_err *err = NULL;
    int n = 0;
    run_view *runs = calloc((size_t)job->n_runs + 1, sizeof *runs);
    if (!runs) PX_NO_MEMORY();
    for (; n < job->n_runs; n++) PX_PASS_TO(done, px_run_view_read(job->runs[n], &runs[n]));
    PX_PASS_TO(done, label_runs(runs, n));
    if (job->n_stats) PX_PASS_TO(done, study_open(job, &study));
    page_view page = {.out = &text, .runs = runs, .n_runs = n, .job = job};
    exp_view exp = {&study, &page};
    PX_PASS_TO(done, fill(&page, job->n_stats ? &exp : NULL));
    err = px_file_write(job->out_path, text.data, text.size);
done:
    px_stats_free(&study);
    for (int r = 0; r < n; r++) px_run_view_free(&runs[r]);
    free(runs);
    px_str_free(&text);
    return err;
}

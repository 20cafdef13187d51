/* report.c - the page as a whole. See report.h. */
#include <stdlib.h>
#include <string.h>

#include "report_internal.h"

/* Colours: Okabe and Ito's set for the colour-blind, darkened on paper until text in them reads
 * well (contrast 4.5 and more), lightened on black. The policy forbids scripts and the network to
 * whatever might slip through. */
static const char style[] =
    ":root{color-scheme:light dark;--bg:#fcfcfb;--card:#fff;--ink:#1b1d22;--soft:#565b66;"
    "--rule:#d9dce2;--grid:#eceef1;--warn:#a8321a;--link:#0b5fa5;"
    "--c0:#0067a5;--c1:#b34700;--c2:#00735a;--c3:#99447a;--c4:#8a6500;--c5:#3d3a99;--c6:#a32638;"
    "--c7:#4a5a68}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#14161a;--card:#1b1e24;--ink:#e9ebef;"
    "--soft:#a9b0bd;--rule:#383d47;--grid:#282c34;--warn:#ff9a80;--link:#7cc0f5;"
    "--c0:#5ab4f0;--c1:#f5944e;--c2:#3ecba4;--c3:#e58fc3;--c4:#e0b93f;--c5:#a5a2ff;--c6:#ff8a94;"
    "--c7:#aebecb}}\n"
    "@media print{:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#000;--soft:#444;"
    "--rule:#bbb;--grid:#e4e4e4;--warn:#a8321a;--link:#000;--c0:#0067a5;--c1:#b34700;--c2:#00735a;"
    "--c3:#99447a;--c4:#8a6500;--c5:#3d3a99;--c6:#a32638;--c7:#4a5a68}nav{display:none}"
    "figure,table{break-inside:avoid}h2{break-after:avoid}body{font-size:10pt}}\n"
    "*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.6 system-ui,-apple-system,"
    "'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif}\n"
    "main,header{max-width:1120px;margin:0 auto;padding:0 20px}header{padding-top:36px}\n"
    "h1{font-size:1.8rem;line-height:1.2;margin:0 0 .2em;letter-spacing:-.01em}\n"
    "h2{font-size:1.25rem;line-height:1.3;margin:2.4em 0 .5em}h3{font-size:1.02rem;margin:1.6em 0 "
    ".4em}\n"
    "p{margin:.55em 0;max-width:46em}.lead{font-size:1.08rem}.small,.sub{color:var(--soft);"
    "font-size:.875rem}\n"
    "a{color:var(--link)}nav ul{display:flex;flex-wrap:wrap;gap:.2em 1.1em;list-style:none;"
    "margin:.8em 0 0;padding:0;font-size:.9rem}\n"
    "a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:2px solid var(--link);"
    "outline-offset:2px}\n"
    "figure{margin:0}figcaption{color:var(--soft);max-width:52em;margin-bottom:.7em;"
    "font-size:.94rem}\n"
    ".panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));"
    "gap:14px}.panels.wide{grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr))}\n"
    ".panels>svg{width:100%;max-width:540px;height:auto;background:var(--card);border:1px solid "
    "var(--rule);border-radius:6px}\n"
    "svg text{fill:var(--ink);font-family:inherit}.head{font-size:12.5px;font-weight:600}\n"
    ".tick,.axis{font-size:10.5px}svg .tick,svg .axis{fill:var(--soft)}.label,.value,"
    ".group{font-size:11px}.value,.tick{font-variant-numeric:tabular-nums}.group{font-weight:600}\n"
    ".grid{stroke:var(--grid)}.zero{stroke:var(--soft);stroke-dasharray:3 3}\n"
    ".line{fill:none;stroke:var(--s);stroke-width:1.9;stroke-linejoin:round}.line.raw{"
    "stroke-width:1;opacity:.3}.line.thin{stroke-width:1.4}.dash{stroke-dasharray:5 3.5}\n"
    ".dot{fill:var(--s);stroke:none}.ring{fill:var(--card);stroke:var(--s);stroke-width:1.8}"
    ".faint{fill-opacity:.5}.bar{fill:var(--s);fill-opacity:.25}.cell{fill:var(--s)}svg "
    "text.group{fill:var(--s)}\n"
    ".s0{--s:var(--c0)}.s1{--s:var(--c1)}.s2{--s:var(--c2)}.s3{--s:var(--c3)}.s4{--s:var(--c4)}"
    ".s5{--s:var(--c5)}.s6{--s:var(--c6)}.s7{--s:var(--c7)}.s8,.ink{--s:var(--ink)}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.15em 1.3em;list-style:none;margin:0 0 .6em;padding:0;"
    "font-size:.9rem}.key{width:26px;height:10px;margin-right:.45em}\n"
    ".swatch{display:inline-block;width:.72em;height:.72em;border-radius:50%;background:var(--s);"
    "margin-right:.45em}\n"
    ".none{color:var(--soft);border:1px dashed var(--rule);border-radius:6px;padding:.7em 1em}"
    ".warn{color:var(--warn)}.notes{font-size:.92rem}\n"
    ".scroll{overflow-x:auto;margin:.7em 0}table{border-collapse:collapse;font-size:.875rem;"
    "border-top:2px solid var(--ink);border-bottom:2px solid var(--ink)}\n"
    "caption{text-align:left;color:var(--soft);padding:.3em 0}th,td{padding:.28em .8em .28em 0;"
    "text-align:left;vertical-align:top;overflow-wrap:break-word;max-width:34em}.keys "
    "td{overflow-wrap:anywhere;min-width:9em}\n"
    "thead th{border-bottom:1px solid var(--ink)}tbody th{font-weight:500}td.n{text-align:right;"
    "white-space:nowrap;font-variant-numeric:tabular-nums}tbody tr+tr>*{border-top:1px solid "
    "var(--grid)}\n"
    "details{margin:.6em 0}summary{cursor:pointer;color:var(--link);font-size:.92rem}"
    "footer{max-width:1120px;margin:3em auto 2em;padding:0 20px}\n"
    "@media (max-width:600px){main,header,footer{padding-left:14px;padding-right:14px}"
    "header{padding-top:20px}h1{font-size:1.45rem}}\n";

void px_page_style(px_str *out) { px_str_text(out, style); }

void px_page_begin(px_str *out, const char *title) {
    px_str_text(out,
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                "style-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">"
                "\n<title>");
    px_html_text(out, title);
    px_str_text(out, "</title>\n<style>\n");
    px_str_text(out, style);
    px_str_text(out, "</style>\n</head>\n<body>\n");
}

static void page_head(page_view *page) {
    static const char *const links[][2] = {
        {"findings", "Findings"}, {"accuracy", "Accuracy"}, {"deltas", "Own embedding"},
        {"types", "Types"},       {"training", "Training"}, {"terms", "Terms"},
        {"rewards", "Rewards"},   {"health", "Optimiser"},  {"map", "Map"},
        {"traits", "Traits"},     {"answers", "Answers"},   {"sweep", "Sweep"},
        {"facts", "Facts"}};
    px_str *out = page->out;
    char title[64];
    snprintf(title, sizeof title, "Report on %d run%s", page->n_runs, page->n_runs == 1 ? "" : "s");
    px_page_begin(out, title);
    px_str_text(out, "<header>\n<h1>Preference training: ");
    for (int r = 0; r < page->n_runs && r < 6; r++) {
        px_str_text(out, r ? ", " : "");
        px_str_text(out, "<bdi>");
        px_html_short(out, page->runs[r].label, 48);
        px_str_text(out, "</bdi>");
    }
    px_str_text(out, page->n_runs > 6 ? ", …" : "");
    px_str_format(out,
                  "</h1>\n<p class=\"sub\">prismx %s, %d run%s</p>\n<nav aria-label=\"Parts "
                  "of the page\"><ul>",
                  PX_VERSION, page->n_runs, page->n_runs == 1 ? "" : "s");
    for (size_t i = 0; i < PX_COUNT(links); i++) {
        if (!strcmp(links[i][0], "traits") && !page->job->traits_path) continue;
        if (!strcmp(links[i][0], "answers") && !page->job->answers_path) continue;
        if (!strcmp(links[i][0], "sweep") && !page->job->n_sweeps) continue;
        px_str_format(out, "<li><a href=\"#%s\">%s</a></li>", links[i][0], links[i][1]);
    }
    px_str_text(out, "</ul></nav>\n</header>\n<main>\n");
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
    px_str_format(page->out, "<header><p class=\"sub\">prismx %s</p></header>\n<main>\n",
                  PX_VERSION);
    PX_PASS(page_sweeps(page));
    px_str_text(page->out, "</main>\n</body>\n</html>\n");
    return NULL;
}

static px_err *page_html(page_view *page) {
    if (page->n_runs == 0) return page_of_sweeps(page);
    page_head(page);
    PX_PASS(px_page_findings(page));
    px_page_evals(page);
    PX_PASS(px_page_curves(page));
    px_page_map(page);
    PX_PASS(px_page_answers(page));
    PX_PASS(page_sweeps(page));
    PX_PASS(px_page_facts(page));
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

static px_err *fill(page_view *page, px_report_format format) {
    if (format == PX_REPORT_TSV)
        px_table_tsv(page);
    else if (format == PX_REPORT_TEX)
        px_table_tex(page);
    else
        PX_PASS(page_html(page));
    return px_str_ok(page->out);
}

px_err *px_report_make(const px_report_job *job) {
    px_str text = {0};
    px_err *err = NULL;
    int n = 0;
    run_view *runs = calloc((size_t)job->n_runs + 1, sizeof *runs);
    if (!runs) PX_NO_MEMORY();
    for (; n < job->n_runs; n++) PX_PASS_TO(done, px_run_view_read(job->runs[n], &runs[n]));
    PX_PASS_TO(done, label_runs(runs, n));
    page_view page = {.out = &text, .runs = runs, .n_runs = n, .job = job};
    PX_PASS_TO(done, fill(&page, job->format));
    err = px_file_write(job->out_path, text.data, text.size);
done:
    for (int r = 0; r < n; r++) px_run_view_free(&runs[r]);
    free(runs);
    px_str_free(&text);
    return err;
}

/* figure.h - the figures of an experiment: each names the rows that it shows, which are also its
 * table and what --format tsv writes, and draws them. Inside the module. */
#ifndef PX_FIGURE_H
#define PX_FIGURE_H

#include "report_internal.h"
#include "study.h"

typedef enum {
    PUBLISHED_TAU,
    PUBLISHED_TOP1,
    PUBLISHED_AT_A,
    PUBLISHED_AT_D,
    PUBLISHED_WORTH_R,
    PUBLISHED_LENGTH,
    PUBLISHED_ERRORS,
    PUBLISHED_TOKENS,
    N_PUBLISHED
} published_value;
/* One row of a figure's table. */
typedef struct {
    const stat_row *row;
    double published; /* NaN: none */
} datum;

typedef struct {
    datum *at; /* heap */
    int64_t n, room;
    bool failed;
} data_list;

typedef struct {
    study_view *study; /* rows of the page's own making go into its arena */
    page_view *page;
} exp_view;

typedef struct {
    int number;
    const char *id, *title;      /* safe text */
    const char *caption, *paper; /* safe text; paper: what is known of it there */
    const char *lacks;           /* what it needs, for the list of what is missing */
    void (*collect)(const exp_view *exp, data_list *data);
    void (*draw)(const exp_view *exp, const data_list *data);
} exp_figure;

enum { N_FIGURES = 13 };
extern const exp_figure px_figures[N_FIGURES];

/* The paper's value for a source; NaN: none is known, or it is of other trials than these. */
double px_published(const exp_view *exp, published_value what, int source);
/* Where those come from, and what is ours: safe text. */
void px_published_words(px_str *out);

/* Adds a row that is there. */
void px_data_add(data_list *data, const stat_row *row, double published);
/* Adds every arm's row of this outcome and model, by source: term is prefix + arm. */
void px_data_arms(const exp_view *exp, data_list *data, const char *outcome, const char *model,
                  const char *prefix);
void px_data_free(data_list *data);

/* Estimate and interval of a row; NaN: none. */
static inline interval px_row_interval(const stat_row *row) {
    return row ? (interval){row->estimate, row->low, row->high} : (interval){NAN, NAN, NAN};
}
/* "People", "Judge (simulated)", "Converse (simulated)". */
extern const char *const px_source_titles[N_STUDY_SOURCES];

/* One panel a source on a common axis: arms one below another. */
typedef struct {
    const char *outcome, *model, *prefix, *title, *x_label;
    double scale, reference; /* reference: a line, times scale; NaN: none */
    int decimals;
} arms_panels;
void px_arms_panels(const exp_view *exp, const arms_panels *p);
/* The axis that holds all of several lists, and a value or NaN. */
void px_lists_axis(const row_list *lists, int n, double with, px_axis *axis);
/* A panel of a list on its own axis. */
void px_list_panel(const exp_view *exp, const char *title, const char *x_label,
                   const row_list *list, double reference);

/* The figures that there is data for, each with its table. */
PX_CHECKED px_err *px_page_figures(const exp_view *exp);
/* "<section id=missing>": figures without data, and why. */
void px_page_missing(const exp_view *exp);
/* The findings in words, above all else. */
void px_page_story(const exp_view *exp);
void px_page_price(const exp_view *exp);
void px_page_methods(const exp_view *exp);
/* The rows of the figures, a table for programs; or tables for a paper. */
PX_CHECKED px_err *px_figures_tsv(const exp_view *exp);
PX_CHECKED px_err *px_figures_tex(const exp_view *exp);

/* --- the figures, by file --- */
void px_fig_worth_data(const exp_view *exp, data_list *data);
void px_fig_worth(const exp_view *exp, const data_list *data);
void px_fig_wins_data(const exp_view *exp, data_list *data);
void px_fig_wins(const exp_view *exp, const data_list *data);
void px_fig_sliders_data(const exp_view *exp, data_list *data);
void px_fig_sliders(const exp_view *exp, const data_list *data);
void px_fig_bids_data(const exp_view *exp, data_list *data);
void px_fig_bids(const exp_view *exp, const data_list *data);
void px_fig_length_data(const exp_view *exp, data_list *data);
void px_fig_length(const exp_view *exp, const data_list *data);
void px_fig_traits_data(const exp_view *exp, data_list *data);
void px_fig_traits(const exp_view *exp, const data_list *data);
void px_fig_agree_data(const exp_view *exp, data_list *data);
void px_fig_agree(const exp_view *exp, const data_list *data);
void px_fig_position_data(const exp_view *exp, data_list *data);
void px_fig_position(const exp_view *exp, const data_list *data);
void px_fig_simulated_data(const exp_view *exp, data_list *data);
void px_fig_simulated(const exp_view *exp, const data_list *data);
void px_fig_topics_data(const exp_view *exp, data_list *data);
void px_fig_topics(const exp_view *exp, const data_list *data);
void px_fig_turns_data(const exp_view *exp, data_list *data);
void px_fig_turns(const exp_view *exp, const data_list *data);
void px_fig_tokens_data(const exp_view *exp, data_list *data);
void px_fig_tokens(const exp_view *exp, const data_list *data);
void px_fig_offline_data(const exp_view *exp, data_list *data);
void px_fig_offline(const exp_view *exp, const data_list *data);

#endif

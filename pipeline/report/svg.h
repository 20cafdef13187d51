/* svg.h - a small writer of figures: one panel is one <svg> with a title, two axes and marks.
 * Colours and line widths are classes of the page's style sheet. Inside the module. */
#ifndef PX_SVG_H
#define PX_SVG_H

#include "base.h"

#define PX_TICKS_MAX 16
/* A linear axis whose ends are ticks. */
typedef struct {
    double low, high, step;
    int n;
    double ticks[PX_TICKS_MAX];
} px_axis;
/* About `wanted` ticks at 1, 2 or 5 times a power of ten over [low, high]; an empty, turned round
 * or not finite range gets one around it. */
void px_axis_fit(double low, double high, int wanted, px_axis *out);
/* The tick's text; decimals as the step needs them. */
void px_axis_text(const px_axis *axis, double value, px_str *out);

typedef struct {
    px_str *out;
    int id; /* unique in the page */
    int width, height, left, right, top, bottom;
    px_axis x, y;
    bool no_y;           /* rows in place of a y axis */
    bool no_x;           /* whoever draws it has ticks of their own; the label stays */
    const char *title;   /* all four are plain text and are escaped here */
    const char *x_label; /* "" for none */
    const char *text;    /* what the panel shows, for those who do not see it */
} px_plot;

void px_plot_begin(const px_plot *plot);
void px_plot_end(const px_plot *plot);
double px_plot_x(const px_plot *plot, double value);
double px_plot_y(const px_plot *plot, double value);
/* A line through n points, broken where y is not finite; a lone point becomes a dot. Long ones are
 * drawn by the least and the greatest of each of 250 stretches. */
void px_plot_line(const px_plot *plot, const double *x, const double *y, int64_t n,
                  const char *classes);
enum { PX_HOLLOW = 4 };
/* shape 0 disc, 1 ring, 2 square, 3 diamond, 4 hollow diamond; tip is safe text, shown on hover, or
 * NULL. */
void px_plot_mark(const px_plot *plot, double x, double y, int shape, const char *classes,
                  const char *tip);

#endif

/* svg.c - see svg.h. */
#include "svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "html.h"

void px_axis_fit(double low, double high, int wanted, px_axis *out) {
    *out = (px_axis){0};
    if (!isfinite(low) || !isfinite(high) || low > high || fabs(low) > 1e300 || fabs(high) > 1e300)
        low = 0, high = 1;
    if (high - low <= 1e-12 * (fabs(low) + fabs(high)) || high - low < 1e-300) {
        double pad = low == 0 ? 1 : fabs(low) / 2;
        low -= pad;
        high += pad;
    }
    double rough = (high - low) / PX_MAX(wanted, 2), power = pow(10, floor(log10(rough)));
    double left = rough / power, step = left <= 1 ? 1 : left <= 2 ? 2 : left <= 5 ? 5 : 10;
    out->step = step * power;
    double first = floor(low / out->step + 1e-9), last = ceil(high / out->step - 1e-9);
    for (; out->n < PX_TICKS_MAX && first + out->n <= last; out->n++)
        out->ticks[out->n] = (first + out->n) * out->step;
    out->low = out->ticks[0];
    out->high = out->ticks[out->n - 1];
}

/* "5e−5", "1.2e6": three digits, the exponent without its zeros and plus. */
static void scientific(double value, px_str *out) {
    char text[32];
    snprintf(text, sizeof text, "%.3g", value);
    for (const char *c = text; *c; c++) {
        bool exponent = c > text && (c[-1] == 'e' || (c > text + 1 && c[-2] == 'e'));
        if (*c == '-')
            px_str_text(out, "−");
        else if (*c != '+' && !(exponent && *c == '0'))
            px_str_char(out, *c);
    }
}

void px_axis_text(const px_axis *axis, double value, px_str *out) {
    double most = fmax(fabs(axis->low), fabs(axis->high));
    int decimals = (int)fmax(0, ceil(-log10(axis->step) - 1e-9));
    if (most >= 1e6 || decimals > 3) {
        scientific(value, out);
    } else if (most >= 1e4 && axis->step >= 100) {
        px_html_fixed(out, value / 1000, axis->step >= 1000 ? 0 : 1);
        px_str_text(out, value == 0 ? "" : "k");
    } else
        px_html_fixed(out, value, decimals);
}

static double place(const px_axis *axis, double value, double from, double to) {
    double share = (value - axis->low) / (axis->high - axis->low);
    return from + fmin(fmax(share, 0), 1) * (to - from);
}
double px_plot_x(const px_plot *p, double value) {
    return place(&p->x, value, p->left, p->width - p->right);
}
double px_plot_y(const px_plot *p, double value) {
    return place(&p->y, value, p->height - p->bottom, p->top);
}

static void x_axis(const px_plot *p) {
    int bottom = p->height - p->bottom;
    for (int i = 0; i < p->x.n && !p->no_x; i++) {
        double x = px_plot_x(p, p->x.ticks[i]);
        px_str_format(p->out, "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>",
                      x, p->top, x, bottom);
        px_str_format(p->out, "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">", x,
                      bottom + 15);
        px_axis_text(&p->x, p->x.ticks[i], p->out);
        px_str_text(p->out, "</text>");
    }
    px_str_format(p->out, "<text class=\"axis\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">",
                  (p->left + p->width - p->right) / 2.0, bottom + PX_MIN(31, p->bottom - 9));
    px_html_text(p->out, p->x_label);
    px_str_text(p->out, "</text>\n");
}

static void y_axis(const px_plot *p) {
    for (int i = 0; i < p->y.n; i++) {
        double y = px_plot_y(p, p->y.ticks[i]);
        px_str_format(p->out, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>",
                      p->left, y, p->width - p->right, y);
        px_str_format(p->out, "<text class=\"tick\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">",
                      p->left - 6, y + 3.5);
        px_axis_text(&p->y, p->y.ticks[i], p->out);
        px_str_text(p->out, "</text>");
    }
    px_str_char(p->out, '\n');
}

void px_plot_begin(const px_plot *p) {
    px_str_format(p->out,
                  "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"t%d d%d\">"
                  "<title id=\"t%d\">",
                  p->width, p->height, p->id, p->id, p->id);
    px_html_text(p->out, p->title);
    px_str_format(p->out, "</title><desc id=\"d%d\">", p->id);
    px_html_text(p->out, p->text);
    px_str_text(p->out, "</desc>\n<text class=\"head\" x=\"4\" y=\"15\">");
    px_html_short(p->out, p->title, 52);
    px_str_text(p->out, "</text>\n");
    x_axis(p);
    if (!p->no_y) y_axis(p);
}

void px_plot_end(const px_plot *p) { px_str_text(p->out, "</svg>\n"); }

typedef struct {
    const px_plot *plot;
    bool open; /* a stroke has begun */
    double x, y;
} stroke;

static void pen_to(stroke *pen, double x, double y) {
    if (!isfinite(x) || !isfinite(y)) {
        pen->open = false;
        return;
    }
    px_str_format(pen->plot->out, "%c%.1f %.1f", pen->open ? 'L' : 'M', px_plot_x(pen->plot, x),
                  px_plot_y(pen->plot, y));
    pen->open = true;
    pen->x = x;
    pen->y = y;
}

/* The least and the greatest of [from, to), in their order; a gap in between stays one. */
static void pen_stretch(stroke *pen, const double *x, const double *y, int64_t from, int64_t to) {
    int64_t least = -1, most = -1;
    for (int64_t i = from; i < to; i++) {
        if (!isfinite(y[i])) continue;
        if (least < 0 || y[i] < y[least]) least = i;
        if (most < 0 || y[i] > y[most]) most = i;
    }
    if (least < 0) {
        pen->open = false;
        return;
    }
    int64_t first = PX_MIN(least, most), second = PX_MAX(least, most);
    pen_to(pen, x[first], y[first]);
    if (second != first) pen_to(pen, x[second], y[second]);
}

void px_plot_line(const px_plot *p, const double *x, const double *y, int64_t n,
                  const char *classes) {
    enum { STRETCHES = 250 };
    int64_t n_finite = 0;
    stroke pen = {.plot = p};
    for (int64_t i = 0; i < n; i++) n_finite += isfinite(x[i]) && isfinite(y[i]);
    if (n_finite == 0) return;
    px_str_format(p->out, "<path class=\"%s\" d=\"", classes);
    if (n <= 2 * STRETCHES)
        for (int64_t i = 0; i < n; i++) pen_to(&pen, x[i], y[i]);
    else
        for (int64_t s = 0; s < STRETCHES; s++)
            pen_stretch(&pen, x, y, n * s / STRETCHES, n * (s + 1) / STRETCHES);
    px_str_text(p->out, "\"/>\n");
    if (n_finite == 1) px_plot_mark(p, pen.x, pen.y, 0, classes, NULL);
}

void px_plot_mark(const px_plot *p, double x, double y, int shape, const char *classes,
                  const char *tip) {
    if (!isfinite(x) || !isfinite(y)) return;
    double cx = px_plot_x(p, x), cy = px_plot_y(p, y);
    const char *filled = shape == 1 ? "ring" : "dot";
    if (shape < 2)
        px_str_format(p->out, "<circle class=\"%s %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.6\"", classes,
                      filled, cx, cy);
    else if (shape == 2)
        px_str_format(p->out,
                      "<rect class=\"%s dot\" x=\"%.1f\" y=\"%.1f\" width=\"6.4\" height=\"6.4\"",
                      classes, cx - 3.2, cy - 3.2);
    else if (shape == PX_HOLLOW)
        px_str_format(p->out, "<path class=\"%s hollow\" d=\"M%.1f %.1fl6 6l-6 6l-6 -6z\"", classes,
                      cx, cy - 6);
    else
        px_str_format(p->out, "<path class=\"%s dot\" d=\"M%.1f %.1fl5 5l-5 5l-5 -5z\"", classes,
                      cx, cy - 5);
    if (tip)
        px_str_format(p->out, "><title>%s</title></%s>\n", tip,
                      shape < 2    ? "circle"
                      : shape == 2 ? "rect"
                                   : "path");
    else
        px_str_text(p->out, "/>\n");
}

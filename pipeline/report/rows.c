/* rows.c - estimates with their intervals, one row each, so that no label can lie on another. */
#include "report_internal.h"

enum { WIDTH = 348, LEFT = 94, RIGHT = 112, TOP = 28, BOTTOM = 40, ROW = 19, HEADER = 22 };

void px_rows_add(row_list *list, row_line line) {
    if (list->n < ROW_LINES_MAX) list->lines[list->n++] = line;
}

void px_html_interval(px_str *out, interval e, double scale, int decimals) {
    px_html_fixed(out, e.value * scale, decimals);
    if (!interval_ends(e)) return;
    px_str_text(out, " [");
    px_html_fixed(out, e.low * scale, decimals);
    px_str_text(out, ", ");
    px_html_fixed(out, e.high * scale, decimals);
    px_str_char(out, ']');
}

double px_rows_end(const row_list *list, bool high, double best) {
    for (int i = 0; i < list->n; i++) {
        const interval *e = &list->lines[i].e;
        const double also = list->lines[i].has_published ? list->lines[i].published : NAN;
        const double of[] = {e->value, e->low, e->high, also};
        for (int k = 0; k < 4 && !list->lines[i].header; k++)
            if (isfinite(of[k]))
                best = high ? fmax(best, list->scale * of[k]) : fmin(best, list->scale * of[k]);
    }
    return best;
}

static void draw_estimate(const px_plot *p, const row_list *list, const row_line *line, double y,
                          double from) {
    const double scale = list->scale;
    px_str *out = p->out;
    double x0 = px_plot_x(p, from), x1 = px_plot_x(p, scale * line->e.value);
    px_str_format(out, "<text class=\"label\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">",
                  p->left - 7, y + 4);
    px_html_short(out, line->label, 14);
    px_str_text(out, "</text>");
    if (isfinite(line->e.value) && !list->dots)
        px_str_format(out,
                      "<rect class=\"bar s%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                      "height=\"10\"/>",
                      line->colour, fmin(x0, x1), y - 5, fabs(x1 - x0));
    if (interval_ends(line->e)) {
        double low = px_plot_x(p, scale * line->e.low), high = px_plot_x(p, scale * line->e.high);
        px_str_format(out,
                      "<path class=\"line thin s%d\" d=\"M%.1f %.1fL%.1f %.1fM%.1f %.1fv6M%.1f "
                      "%.1fv6\"/>",
                      line->colour, low, y, high, y, low, y - 3, high, y - 3);
    }
    px_plot plot = *p;
    plot.y = (px_axis){.low = 0, .high = 1};
    double height = p->height - p->bottom - p->top;
    char classes[8];
    snprintf(classes, sizeof classes, "s%d", line->colour);
    const double at = 1 - (y - p->top) / height;
    px_plot_mark(&plot, scale * line->e.value, at, line->shape, classes, NULL);
    if (line->has_published)
        px_plot_mark(&plot, scale * line->published, at, PX_HOLLOW, "s8", "published of PRISM-X");
    px_str_format(out, "<text class=\"value\" x=\"%d\" y=\"%.1f\">", p->width - p->right + 7,
                  y + 4);
    px_html_interval(out, line->e, scale, list->decimals);
    px_str_text(out, "</text>\n");
}

/* Pixels of an estimate's text in 11 px, by the widths of a wide font (DejaVu Sans). */
static double text_width(const row_list *list, const interval *e) {
    px_str text = {0};
    double width = 0;
    px_html_interval(&text, *e, list->scale, list->decimals);
    for (size_t i = 0; i < text.size; i++) {
        const unsigned char c = (unsigned char)text.data[i];
        if (c >= '0' && c <= '9')
            width += 7;
        else if (c < 0x80) /* point, bracket, comma, space */
            width += 4;
        else if (c >= 0xc0) /* a minus, of three bytes */
            width += 9.3;
    }
    px_str_free(&text);
    return width;
}

/* Room for the widest of them; never so much that nothing is left for the marks. */
static int right_of(const row_list *list) {
    double widest = 0;
    for (int i = 0; i < list->n; i++)
        if (!list->lines[i].header) widest = fmax(widest, text_width(list, &list->lines[i].e));
    return (int)fmin(fmax(RIGHT, widest + 10), WIDTH - LEFT - 60);
}

static void tell_rows(const row_list *list, px_str *text) {
    const char *group = "";
    for (int i = 0; i < list->n; i++) {
        const row_line *line = &list->lines[i];
        if (line->header) {
            group = line->label;
            continue;
        }
        const double scale = list->scale;
        const int decimals = list->decimals;
        if (!isfinite(line->e.value)) continue;
        px_str_format(text, "%s%s%s%s: %.*f", text->size ? " " : "", group, *group ? ", " : "",
                      line->label, decimals, scale * line->e.value);
        if (interval_ends(line->e))
            px_str_format(text, " from %.*f to %.*f", decimals, scale * line->e.low, decimals,
                          scale * line->e.high);
        if (line->has_published && isfinite(line->published))
            px_str_format(text, ", published %.*f", decimals, scale * line->published);
        px_str_char(text, '.');
    }
}

void px_rows_panel(page_view *page, const char *title, const char *x_label, const row_list *list,
                   const px_axis *axis, double from) {
    px_str text = {0};
    int height = TOP + BOTTOM;
    for (int i = 0; i < list->n; i++) height += list->lines[i].header ? HEADER : ROW;
    px_plot p = {.out = page->out,
                 .id = ++page->n_ids,
                 .width = WIDTH,
                 .height = height,
                 .left = LEFT,
                 .right = right_of(list),
                 .top = TOP,
                 .bottom = BOTTOM,
                 .x = *axis,
                 .no_y = true,
                 .title = title,
                 .x_label = x_label};
    tell_rows(list, &text);
    p.text = text.data ? text.data : "";
    px_plot_begin(&p);
    if (isfinite(from))
        px_str_format(page->out,
                      "<line class=\"zero\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n",
                      px_plot_x(&p, from), TOP, px_plot_x(&p, from), height - BOTTOM);
    double y = TOP;
    for (int i = 0; i < list->n; i++) {
        const row_line *line = &list->lines[i];
        if (line->header) {
            px_str_format(page->out, "<text class=\"group s%d\" x=\"4\" y=\"%.1f\">", line->colour,
                          y + 15);
            px_html_short(page->out, line->label, 50);
            px_str_text(page->out, "</text>\n");
        } else
            draw_estimate(&p, list, line, y + ROW / 2.0, from);
        y += line->header ? HEADER : ROW;
    }
    px_plot_end(&p);
    px_str_free(&text);
}

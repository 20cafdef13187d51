/* html.c - see html.h. */
#include "html.h"

#include <math.h>
#include <string.h>

/* What a browser would not show, or would use to reorder what stands around it. */
static bool is_hidden(int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c & 0xfffe) == 0xfffe;
}

static void add_char(px_str *out, const char *at, int length, int32_t c) {
    static const char marks[] = "&<>\"'";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    const char *mark = c > 0 && c < 0x80 ? strchr(marks, (int)c) : NULL;
    if (mark)
        px_str_text(out, names[mark - marks]);
    else if (c == '\n' || c == '\t' || c == '\r')
        px_str_char(out, ' ');
    else if (c < 0 || is_hidden(c))
        px_str_text(out, "\xEF\xBF\xBD");
    else
        px_str_add(out, at, (size_t)length);
}

/* Tenths of a narrow letter's column that a character takes: East Asian wide ones and emoji two
 * columns, capitals and the widest letters more than one. */
static int columns10(int32_t c) {
    if ((c >= 0x1100 && c < 0x1160) || (c >= 0x2e80 && c < 0xa4d0) || (c >= 0xac00 && c < 0xd7a4) ||
        (c >= 0xf900 && c < 0xfb00) || (c >= 0xff00 && c < 0xff61) || (c >= 0x1f300 && c < 0x40000))
        return 20;
    if (c == 'W' || c == 'M' || c == '@') return 19;
    if (c == 'm' || c == 'w') return 16;
    return c >= 'A' && c <= 'Z' ? 12 : 10;
}

void px_html_short(px_str *out, const char *text, int most) {
    size_t size = strlen(text);
    int64_t used = 0;
    int length = 0;
    for (size_t i = 0; i < size; i += (size_t)length) {
        int32_t c = px_utf8_get(text + i, size - i, &length);
        used += columns10(c);
        if (used >= 10 * (int64_t)most && i + (size_t)length < size) {
            px_str_text(out, "…");
            return;
        }
        add_char(out, text + i, length, c);
    }
}

void px_html_text(px_str *out, const char *text) { px_html_short(out, text, INT32_MAX); }

void px_html_name(px_str *out, const char *text) {
    px_str_text(out, "<bdi>");
    px_html_text(out, text);
    px_str_text(out, "</bdi>");
}

/* digits of a number, its "-" as U+2212. */
static void add_digits(px_str *out, const char *digits) {
    bool negative = digits[0] == '-';
    digits += negative;
    if (negative && strpbrk(digits, "123456789")) px_str_text(out, "−");
    px_str_text(out, digits);
}

void px_html_fixed(px_str *out, double value, int decimals) {
    char text[64];
    if (!isfinite(value) || fabs(value) >= 1e15) {
        px_html_number(out, value);
        return;
    }
    snprintf(text, sizeof text, "%.*f", decimals, value);
    add_digits(out, text);
}

static void add_significant(px_str *out, double value, int digits) {
    char text[64];
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (isfinite(value))
        add_digits(out, text);
    else
        px_str_text(out, "–");
}
void px_html_number(px_str *out, double value) { add_significant(out, value, 6); }
void px_html_rough(px_str *out, double value) { add_significant(out, value, 3); }

void px_html_whole(px_str *out, double value) {
    char text[64];
    if (!isfinite(value) || fabs(value) >= 1e15) {
        px_html_number(out, value);
        return;
    }
    int n = snprintf(text, sizeof text, "%.0f", fabs(value));
    if (value <= -0.5) px_str_text(out, "−");
    for (int i = 0; i < n; i++) {
        px_str_char(out, text[i]);
        if ((n - 1 - i) % 3 == 0 && i + 1 < n && n > 4) px_str_text(out, "&#8239;");
    }
}

void px_html_duration(px_str *out, double seconds) {
    if (!isfinite(seconds) || seconds < 0)
        px_str_text(out, "–");
    else if (seconds < 10)
        px_str_format(out, "%.1f s", seconds);
    else if (seconds < 60)
        px_str_format(out, "%.0f s", seconds);
    else if (seconds < 3600)
        px_str_format(out, "%.1f min", seconds / 60);
    else
        px_str_format(out, "%.1f h", seconds / 3600);
}

void px_html_bytes(px_str *out, double bytes) {
    if (!isfinite(bytes))
        px_str_text(out, "–");
    else if (bytes < 1e3)
        px_str_format(out, "%.0f B", bytes);
    else if (bytes < 1e6)
        px_str_format(out, "%.1f kB", bytes / 1e3);
    else if (bytes < 1e9)
        px_str_format(out, "%.1f MB", bytes / 1e6);
    else
        px_str_format(out, "%.2f GB", bytes / 1e9);
}

void px_html_table(px_str *out, const char *caption, const char *const *heads, int n) {
    px_str_format(out,
                  "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table: %s\">"
                  "<table><caption>%s</caption><thead><tr>",
                  caption, caption);
    for (int i = 0; i < n; i++) px_str_format(out, "<th scope=\"col\">%s</th>", heads[i]);
    px_str_text(out, "</tr></thead><tbody>\n");
}

void px_html_table_end(px_str *out) { px_str_text(out, "</tbody></table></div>\n"); }

void px_html_cell(px_str *out, double value, int decimals) {
    px_str_text(out, "<td class=\"n\">");
    if (decimals < 0)
        px_html_number(out, value);
    else
        px_html_fixed(out, value, decimals);
    px_str_text(out, "</td>");
}

void px_html_cell_text(px_str *out, const char *text) {
    px_str_text(out, "<td>");
    px_html_name(out, text);
    px_str_text(out, "</td>");
}

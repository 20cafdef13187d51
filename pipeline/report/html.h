/* html.h - safe text and numbers for the page, tables. Inside the module. */
#ifndef PX_HTML_H
#define PX_HTML_H

#include "base.h"

/* Text for content and for quoted attributes. Control characters, invalid UTF-8 and the marks that
 * reorder text become U+FFFD: what a file says cannot change what the page says. */
void px_html_text(px_str *out, const char *text);
/* The same, cut with an ellipsis after about `most` columns of narrow letters. */
void px_html_short(px_str *out, const char *text, int most);
/* In <bdi>, so that right-to-left text does not pull its neighbours with it. */
void px_html_name(px_str *out, const char *text);
/* Numbers with a true minus; a dash for NaN and infinities. */
void px_html_fixed(px_str *out, double value, int decimals);
/* Whole number with thin spaces between thousands. */
void px_html_whole(px_str *out, double value);
/* Three significant digits, for running text. */
void px_html_rough(px_str *out, double value);
/* Six significant digits. */
void px_html_number(px_str *out, double value);
/* "12 min 30 s", "1.9 GB". */
void px_html_duration(px_str *out, double seconds);
void px_html_bytes(px_str *out, double bytes);

/* <div class=scroll><table><caption>…<thead>…<tbody>; heads are safe text already. */
void px_html_table(px_str *out, const char *caption, const char *const *heads, int n);
void px_html_table_end(px_str *out);
/* <td class=n>; decimals < 0: six significant digits. */
void px_html_cell(px_str *out, double value, int decimals);
void px_html_cell_text(px_str *out, const char *text);

#endif

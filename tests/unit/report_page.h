/* report_page.h - what every page of the report has to satisfy. */
#ifndef PX_REPORT_PAGE_H
#define PX_REPORT_PAGE_H

#include "px_test.h"

/* Every tag that is opened is closed, in order; no attribute or text breaks out. */
static inline void assert_balanced(const char *text) {
    char open[64][16];
    int depth = 0;
    for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
        char name[16];
        size_t n = strcspn(at + 1 + (at[1] == '/'), " >/");
        const char *end = strchr(at, '>');
        assert_non_null(end);
        if (at[1] == '!') continue;
        assert_in_range(n, 1, sizeof name - 1);
        snprintf(name, sizeof name, "%.*s", (int)n, at + 1 + (at[1] == '/'));
        if (!strcmp(name, "meta") || end[-1] == '/') continue;
        if (at[1] != '/') {
            assert_in_range(depth, 0, 63);
            snprintf(open[depth++], sizeof open[0], "%s", name);
        } else {
            if (depth == 0 || strcmp(open[depth - 1], name) != 0)
                fail_msg("</%s> closes <%s>: %.80s", name, depth ? open[depth - 1] : "", at);
            depth--;
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static inline int count(const char *text, const char *part) {
    int n = 0;
    while ((text = strstr(text, part))) n++, text += strlen(part);
    return n;
}

static inline void assert_has(const char *page, const char *part) {
    if (!strstr(page, part)) fail_msg("not in the page: %s", part);
}

/* No id stands twice, and every reference within the page has its target. */
static inline void assert_ids(const char *page) {
    for (const char *at = page; (at = strstr(at, " id=\"")); at++) {
        char whole[128];
        size_t n = strcspn(at + 5, "\"");
        snprintf(whole, sizeof whole, " id=\"%.*s\"", (int)n, at + 5);
        if (count(page, whole) != 1) fail_msg("twice:%s", whole);
    }
    for (const char *at = page; (at = strstr(at, "href=\"")); at++) {
        char whole[128];
        size_t n = strcspn(at + 6, "\"");
        assert_int_equal(at[6], '#');
        snprintf(whole, sizeof whole, " id=\"%.*s\"", (int)n - 1, at + 7);
        assert_has(page, whole);
    }
}

static inline void assert_harmless(const char *page) {
    static const char *const never[] = {"<script", "http:", "https:", "src=",        "url(",
                                        "@import", "<img",  ">nan",   "\"nan",       " nan ",
                                        "-nan",    "<b>",   "<i>",    "<svg onload", "inf]"};
    for (size_t i = 0; i < PX_COUNT(never); i++)
        if (strstr(page, never[i])) fail_msg("in the page: %.60s", strstr(page, never[i]));
}

#endif

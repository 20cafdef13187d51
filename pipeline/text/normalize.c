/* normalize.c - the steps before a text is split: prepend, replace, strip, canonical composition.
 * The marks (message or template) go along with their bytes. */
#include <string.h>

#include "text_internal.h"

static void copy(const px_marked *in, size_t start, size_t end, px_marked *out) {
    px_marked_add(out, in->data + start, in->marks + start, 0, end - start);
}

static void prepend(const px_norm *step, const px_marked *in, px_marked *out) {
    if (in->size) px_marked_add(out, step->to, NULL, in->marks[0], step->to_size);
    copy(in, 0, in->size, out);
}

static px_err *replace(const px_norm *step, const px_marked *in, px_marked *out) {
    size_t done = 0, from = 0;
    while (from <= in->size) {
        size_t start = 0, end = 0;
        bool found = false;
        if (step->regex) {
            PX_PASS(px_regex_find(step->regex, in->data, in->size, from, &start, &end, &found));
        } else if (step->from_size && in->size - from >= step->from_size) {
            const char *at = memmem(in->data + from, in->size - from, step->from, step->from_size);
            found = at != NULL;
            if (at) start = (size_t)(at - in->data);
            end = start + step->from_size;
        }
        if (!found) break;
        copy(in, done, start, out);
        px_marked_add(out, step->to, NULL, start < in->size ? in->marks[start] : 0, step->to_size);
        done = from = end;
        if (start == end) {
            int length = 1;
            if (end >= in->size) break;
            (void)px_utf8_get(in->data + end, in->size - end, &length);
            from += (size_t)length;
        }
    }
    copy(in, done, in->size, out);
    return NULL;
}

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static void strip(const px_norm *step, const px_marked *in, px_marked *out) {
    size_t start = 0, end = in->size;
    while (step->left && start < end && is_blank(in->data[start])) start++;
    while (step->right && end > start && is_blank(in->data[end - 1])) end--;
    copy(in, start, end, out);
}

px_err *px_norm_apply(const px_norm *step, const px_marked *in, px_marked *out) {
    out->size = 0;
    if (in->size == 0) return NULL;
    switch (step->kind) {
    case PX_NORM_PREPEND:
        prepend(step, in, out);
        break;
    case PX_NORM_REPLACE:
        PX_PASS(replace(step, in, out));
        break;
    case PX_NORM_STRIP:
        strip(step, in, out);
        break;
    case PX_NORM_NFC:
        PX_PASS(px_nfc(in, out));
        break;
    }
    return px_marked_ok(out);
}

/* marked.c - bytes that remember whether they are a message's text; see text_internal.h. */
#include <stdlib.h>
#include <string.h>

#include "text_internal.h"

static bool marked_grow(px_marked *out, size_t more) {
    if (more > SIZE_MAX / 4 - out->size) return false;
    size_t room = out->room ? out->room : 256;
    while (room < out->size + more) room *= 2;
    if (room == out->room) return true;
    char *data = realloc(out->data, room);
    if (!data) return false;
    out->data = data;
    unsigned char *marks = realloc(out->marks, room);
    if (!marks) return false;
    out->marks = marks;
    out->room = room;
    return true;
}

void px_marked_add(px_marked *out, const char *data, const unsigned char *marks, unsigned char mark,
                   size_t size) {
    if (out->failed || size == 0) return;
    if (!marked_grow(out, size)) {
        out->failed = true;
        return;
    }
    memcpy(out->data + out->size, data, size);
    if (marks)
        memcpy(out->marks + out->size, marks, size);
    else
        memset(out->marks + out->size, mark, size);
    out->size += size;
}

px_err *px_marked_ok(const px_marked *marked) {
    if (marked->failed) PX_NO_MEMORY();
    return NULL;
}

void px_marked_free(px_marked *marked) {
    free(marked->data);
    free(marked->marks);
    *marked = (px_marked){0};
}

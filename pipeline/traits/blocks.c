/* blocks.c - a file of lines in blocks of a fixed size. A line belongs to the block it begins in,
 * so blocks can be read by anybody in any order; their number does not depend on the ranks. */
#include "traits_internal.h"

#include <string.h>

enum { BLOCK = 1 << 18 };

px_err *px_blocks_open(const char *path, px_blocks *out) {
    *out = (px_blocks){.path = path, .block = BLOCK};
    PX_PASS(px_map_open(path, &out->map));
    out->n = (int64_t)((out->map.size + out->block - 1) / out->block);
    return NULL;
}

void px_blocks_close(px_blocks *blocks) { px_map_close(&blocks->map); }

static bool is_blank(const char *line, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') return false;
    return true;
}

px_err *px_blocks_lines(const px_blocks *blocks, int64_t b, px_line_use *each, void *context) {
    const char *data = (const char *)blocks->map.data;
    size_t size = blocks->map.size, at = (size_t)b * blocks->block;
    size_t end = PX_MIN(at + blocks->block, size), begin = at;
    if (at > 0 && data[at - 1] != '\n') { /* the line that lies across belongs to the one before */
        const char *newline = memchr(data + at, '\n', end - at);
        at = newline ? (size_t)(newline - data) + 1 : end;
    }
    while (at < end) {
        const char *newline = memchr(data + at, '\n', size - at);
        size_t n = newline ? (size_t)(newline - data) - at : size - at;
        size_t text = n && data[at + n - 1] == '\r' ? n - 1 : n;
        if (!is_blank(data + at, text)) PX_PASS(each(context, data + at, text, at));
        at += n + 1;
    }
    px_map_forget(&blocks->map, begin, end - begin);
    return NULL;
}

int64_t px_blocks_line(const px_blocks *blocks, size_t offset) {
    int64_t line = 1;
    for (size_t i = 0; i < offset; i++) line += blocks->map.data[i] == '\n';
    return line;
}

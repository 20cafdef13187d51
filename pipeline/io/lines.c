/* lines.c - JSON lines, see json.h. One buffer: [at, end) is read and not yet given out; a line is
 * given out in place, its newline overwritten by NUL. Own code and not getline, which would fill
 * the memory with a file that has no newline. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

#define LINE_MAX_BYTES ((size_t)64 << 20)
#define CHUNK ((size_t)1 << 16)

struct px_lines {
    FILE *file;
    char *path, *data;
    size_t at, end, room;
    int64_t line; /* of the last line given out */
};

px_err *px_lines_open(const char *path, px_lines **out) {
    if (px_path_is_dir(path)) PX_FAIL(PX_BAD_INPUT, "%s: is a folder, a file is wanted", path);
    px_lines *lines = calloc(1, sizeof *lines);
    if (!lines) PX_NO_MEMORY();
    lines->room = 2 * CHUNK;
    lines->path = strdup(path);
    lines->data = malloc(lines->room);
    if (!lines->path || !lines->data) {
        px_lines_close(lines);
        PX_NO_MEMORY();
    }
    lines->file = fopen(path, "rb");
    if (!lines->file) {
        int why = errno;
        px_lines_close(lines);
        PX_FAIL(PX_BAD_INPUT, "%s: %s", path, strerror(why));
    }
    *out = lines;
    return NULL;
}

void px_lines_close(px_lines *lines) {
    if (!lines) return;
    if (lines->file) fclose(lines->file);
    free(lines->path);
    free(lines->data);
    free(lines);
}

/* Reads one chunk behind what is there; keeps a byte for a NUL. *got 0 at the end of the file. */
static px_err *lines_fill(px_lines *lines, size_t *got) {
    if (lines->at > 0) {
        memmove(lines->data, lines->data + lines->at, lines->end - lines->at);
        lines->end -= lines->at;
        lines->at = 0;
    }
    if (lines->end > LINE_MAX_BYTES)
        PX_FAIL(PX_BAD_INPUT, "%s line %lld: over 64 MiB, is this JSON lines?", lines->path,
                (long long)lines->line + 1);
    if (lines->room - lines->end < CHUNK + 1) {
        char *data = realloc(lines->data, lines->room * 2);
        if (!data) PX_NO_MEMORY();
        lines->data = data;
        lines->room *= 2;
    }
    *got = fread(lines->data + lines->end, 1, CHUNK, lines->file);
    if (ferror(lines->file))
        PX_FAIL(PX_RUN_FAILED, "%s line %lld: %s", lines->path, (long long)lines->line + 1,
                strerror(errno));
    lines->end += *got;
    return NULL;
}

static bool is_blank(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') return false;
    return true;
}

px_err *px_lines_next(px_lines *lines, const char **text, size_t *size, int64_t *line) {
    for (;;) {
        size_t searched = 0;
        char *end = NULL;
        size_t got = 1;
        while (!end && got) {
            char *start = lines->data + lines->at;
            size_t have = lines->end - lines->at;
            end = have > searched ? memchr(start + searched, '\n', have - searched) : NULL;
            searched = have;
            if (!end) PX_PASS(lines_fill(lines, &got));
        }
        char *start = lines->data + lines->at;
        size_t n = end ? (size_t)(end - start) : lines->end - lines->at;
        if (!end && !n) {
            *text = NULL;
            *size = 0;
            return NULL;
        }
        lines->at += n + (end ? 1 : 0);
        lines->line++;
        if (n && start[n - 1] == '\r') n--;
        start[n] = 0;
        if (is_blank(start, n)) continue;
        *text = start;
        *size = n;
        *line = lines->line;
        return NULL;
    }
}

static px_err *line_take(const char *path, bool skip_broken, px_json_take *take, void *context,
                         const char *text, size_t size, int64_t line) {
    cJSON *json = NULL;
    px_err *err = px_json_parse_said(text, size, &json, NULL);
    if (err && skip_broken) {
        px_err_free(err);
        return NULL;
    }
    if (err) return px_err_add(err, __FILE__, __LINE__, "%s line %lld", path, (long long)line);
    err = take(context, json);
    cJSON_Delete(json);
    return err;
}

px_err *px_json_lines(const char *path, bool skip_broken, px_json_take *take, void *context) {
    px_lines *lines = NULL;
    px_err *err = NULL;
    PX_PASS(px_lines_open(path, &lines));
    while (!err) {
        const char *text = NULL;
        size_t size = 0;
        int64_t line = 0;
        err = px_lines_next(lines, &text, &size, &line);
        if (err || !text) break;
        err = line_take(path, skip_broken, take, context, text, size, line);
    }
    px_lines_close(lines);
    return err;
}

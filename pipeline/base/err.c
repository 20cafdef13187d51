/* err.c - see err.h. The text grows at its front, so that reading goes from the outside in. */
#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct px_err {
    px_kind kind;
    char *text;  /* heap, or NULL when memory ran out */
    char *trace; /* heap, or NULL */
    int joint;   /* came from px_err_unpack: every rank has it */
};

static px_err err_no_memory = {PX_RUN_FAILED, NULL, NULL, 0};

static char *format_text(const char *format, va_list args) {
    char *text = NULL;
    return vasprintf(&text, format, args) < 0 ? NULL : text;
}

static void trace_add(px_err *err, const char *file, int line) {
    char *trace = NULL;
    if (asprintf(&trace, "%s%s%s:%d", err->trace ? err->trace : "", err->trace ? " < " : "", file,
                 line) < 0)
        return;
    free(err->trace);
    err->trace = trace;
}

px_err *px_err_new(px_kind kind, const char *file, int line, const char *format, ...) {
    px_err *err = calloc(1, sizeof *err);
    if (!err) return &err_no_memory;
    va_list args;
    va_start(args, format);
    err->kind = kind;
    err->text = format_text(format, args);
    va_end(args);
    trace_add(err, file, line);
    return err;
}

px_err *px_err_add(px_err *err, const char *file, int line, const char *format, ...) {
    if (err == &err_no_memory) return err;
    va_list args;
    va_start(args, format);
    char *outer = format_text(format, args);
    va_end(args);
    char *text = NULL;
    if (outer && asprintf(&text, "%s: %s", outer, px_err_text(err)) >= 0) {
        free(err->text);
        err->text = text;
    }
    free(outer);
    trace_add(err, file, line);
    return err;
}

px_kind px_err_kind(const px_err *err) { return err->kind; }

const char *px_err_text(const px_err *err) { return err->text ? err->text : "out of memory"; }

const char *px_err_trace(const px_err *err) { return err->trace ? err->trace : ""; }

void px_err_free(px_err *err) {
    if (!err || err == &err_no_memory) return;
    free(err->text);
    free(err->trace);
    free(err);
}

void px_err_pack(const px_err *err, px_err_wire *wire) {
    wire->kind = (int)err->kind;
    wire->joint = err->joint;
    snprintf(wire->text, sizeof wire->text, "%s", px_err_text(err));
}

px_err *px_err_unpack(const px_err_wire *wire, int rank) {
    px_kind kind = (px_kind)wire->kind;
    px_err *err = wire->joint || kind == PX_STOPPED
                      ? px_err_new(kind, __FILE__, __LINE__, "%s", wire->text)
                      : px_err_new(kind, __FILE__, __LINE__, "rank %d: %s", rank, wire->text);
    if (err != &err_no_memory) err->joint = 1;
    return err;
}

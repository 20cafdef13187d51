/* err.h - errors as owned chains. NULL is success; an error carries its kind (the exit code), where
 * it arose, and one text a link from the inside out. Only main prints an error and exits. */
#ifndef PX_ERR_H
#define PX_ERR_H

#include <stddef.h>

typedef enum {
    PX_RUN_FAILED = 1, /* exit 1: the run failed */
    PX_BAD_INPUT = 2,  /* exit 2: bad usage or bad input, the user can mend it */
    PX_STOPPED = 3     /* exit 3: stopped by a signal, a checkpoint is written */
} px_kind;

typedef struct px_err px_err;

#define PX_CHECKED __attribute__((warn_unused_result))

/* A new error, owned by the caller. Never fails: without memory it is a constant "out of memory".
 */
PX_CHECKED px_err *px_err_new(px_kind kind, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Adds an outer link ("checkpoint, step 7") and returns the same error. */
PX_CHECKED px_err *px_err_add(px_err *err, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
px_kind px_err_kind(const px_err *err);
/* "outermost: …: innermost"; borrowed from err. */
const char *px_err_text(const px_err *err);
/* Source places, innermost first, for --log-level debug; borrowed from err. */
const char *px_err_trace(const px_err *err);
void px_err_free(px_err *err);

/* An error in a fixed number of bytes, to travel between ranks. */
typedef struct {
    int kind;
    int joint; /* every rank has it: no rank's name is put before it */
    char text[4088];
} px_err_wire;
void px_err_pack(const px_err *err, px_err_wire *wire);
PX_CHECKED px_err *px_err_unpack(const px_err_wire *wire, int rank);

/* Tells compiler and analyzer what they cannot see: px_err_new and px_err_add never give NULL. */
#define PX_ERR_KNOWN_(err)                                                                         \
    if (!(err)) __builtin_unreachable()

#define PX_FAIL(kind, ...)                                                                         \
    do {                                                                                           \
        px_err *e_ = px_err_new(kind, __FILE__, __LINE__, __VA_ARGS__);                            \
        PX_ERR_KNOWN_(e_);                                                                         \
        return e_;                                                                                 \
    } while (0)
#define PX_FAIL_TO(label, kind, ...)                                                               \
    do {                                                                                           \
        err = px_err_new(kind, __FILE__, __LINE__, __VA_ARGS__);                                   \
        PX_ERR_KNOWN_(err);                                                                        \
        goto label;                                                                                \
    } while (0)
#define PX_TRY(call, ...)                                                                          \
    do {                                                                                           \
        px_err *e_ = (call);                                                                       \
        if (!e_) break;                                                                            \
        e_ = px_err_add(e_, __FILE__, __LINE__, __VA_ARGS__);                                      \
        PX_ERR_KNOWN_(e_);                                                                         \
        return e_;                                                                                 \
    } while (0)
#define PX_TRY_TO(label, call, ...)                                                                \
    do {                                                                                           \
        if (!(err = (call))) break;                                                                \
        err = px_err_add(err, __FILE__, __LINE__, __VA_ARGS__);                                    \
        PX_ERR_KNOWN_(err);                                                                        \
        goto label;                                                                                \
    } while (0)
/* The same without a further link, where the callee's text says it all. */
#define PX_PASS(call)                                                                              \
    do {                                                                                           \
        px_err *e_ = (call);                                                                       \
        if (e_) return e_;                                                                         \
    } while (0)
#define PX_PASS_TO(label, call)                                                                    \
    do {                                                                                           \
        if ((err = (call))) goto label;                                                            \
    } while (0)
#define PX_NO_MEMORY() PX_FAIL(PX_RUN_FAILED, "out of memory")

#endif

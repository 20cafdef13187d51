/* px_test.h - what every unit test needs: cmocka's includes in order, and checks for px_err. */
#ifndef PX_TEST_H
#define PX_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base.h"

/* The backend whose operations are tested: PX_TEST_BACKEND, "cpu" where it is not set. */
static inline const char *px_test_backend(void) {
    const char *name = getenv("PX_TEST_BACKEND");
    return name && *name ? name : "cpu";
}
/* Kernels run on the CPU thread by thread: smaller cases will do. */
static inline bool px_test_is_slow(void) { return strcmp(px_test_backend(), "simt") == 0; }
/* … and with each of their loads and stores looked at. */
static inline bool px_test_is_checked(void) {
#ifdef __SANITIZE_ADDRESS__
    return px_test_is_slow();
#else
    return false;
#endif
}
/* The call succeeds; else the error's text fails the test. */
#define px_assert_ok(call)                                                                         \
    do {                                                                                           \
        px_err *e_ = (call);                                                                       \
        if (e_) fail_msg("%s (%s)", px_err_text(e_), px_err_trace(e_));                            \
    } while (0)
/* The call fails with this kind and its text holds `part`. */
#define px_assert_error(call, kind, part)                                                          \
    do {                                                                                           \
        px_err *e_ = (call);                                                                       \
        if (!e_) fail_msg("an error was expected: %s", part);                                      \
        if (px_err_kind(e_) != (kind) || !strstr(px_err_text(e_), part))                           \
            fail_msg("kind %d: %s\nwanted kind %d with: %s", (int)px_err_kind(e_),                 \
                     px_err_text(e_), (int)(kind), part);                                          \
        px_err_free(e_);                                                                           \
    } while (0)
/* |got - want| <= tol (1 + |want|); NaN never passes. */
#define px_assert_near(got, want, tol)                                                             \
    do {                                                                                           \
        double g_ = (double)(got), w_ = (double)(want);                                            \
        if (!(fabs(g_ - w_) <= (tol) * (1 + fabs(w_))))                                            \
            fail_msg("got %.17g, want %.17g, tolerance %g", g_, w_, (double)(tol));                \
    } while (0)

#endif

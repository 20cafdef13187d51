/* fuzz.h - what every fuzz target needs. A target gives one input to a reader; a reader may refuse
 * it with PX_BAD_INPUT and a text, or must then answer all questions. */
#ifndef PX_FUZZ_H
#define PX_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Stops the fuzzer, which then keeps the input. */
#define PX_FUZZ_HOLDS(condition)                                                                   \
    do {                                                                                           \
        if (!(condition)) __builtin_trap();                                                        \
    } while (0)

/* True for success; a refusal is freed. */
static inline bool px_fuzz_opened(px_err *err) {
    if (!err) return true;
    PX_FUZZ_HOLDS(px_err_kind(err) == PX_BAD_INPUT && *px_err_text(err));
    px_err_free(err);
    return false;
}

#endif

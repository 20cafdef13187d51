/* ops_case.h - one way to test an operation on every backend: a case is its matrices, made at
 * random, with guard bytes around and between their rows; the same case runs on the reference and
 * on others. */
#ifndef PX_OPS_CASE_H
#define PX_OPS_CASE_H

#include "px_test.h"

#include "ops.h"

enum { OPS_SLOTS = 10 };

typedef enum {
    OPS_IN = 1,  /* read only: must not change */
    OPS_ROW = 2, /* a row is a token: can be cut down to one */
} ops_flag;

typedef struct {
    px_mat m;
    int flags;
    char *block; /* guard, rows with gaps, guard */
    size_t bytes;
} ops_slot;

typedef struct ops_case ops_case;
typedef void ops_run(px_stream *s, ops_case *c);
struct ops_case {
    ops_slot slots[OPS_SLOTS];
    int n_slots;
    int64_t T;
    const int32_t *ids;   /* [T]: ids, positions, rows: what the operation has */
    const uint64_t *keys; /* [T] */
    const void *more;     /* parameters of the operation */
    bool row_alone;       /* a row's result depends on that row only: tested */
};

/* Adds a matrix of normal numbers times `spread`; the stride is wider than cols by `gap`. */
px_mat *ops_add(ops_case *c, int64_t rows, int64_t cols, int64_t gap, px_type type, int flags,
                double spread);
double ops_get(px_mat m, int64_t i, int64_t j);
void ops_put(px_mat m, int64_t i, int64_t j, double value);
void ops_free(ops_case *c);
/* Runs on the reference and on the backend under test with 1, 2, 3 threads: |got - ref| <= tol (1 +
 * |ref|) in every element that is not OPS_IN, inputs and guards untouched, the same bits for all
 * threads (on a GPU: and for matrices in its memory, wherever their rows begin), and each of a few
 * rows the same bits alone. Frees the case. */
void ops_check(const char *name, ops_case *c, ops_run *run, double tol);
/* d(Σ cotangent ∘ slot out)/d(slot in) by central differences of the reference, against `gradient`
 * [as slot in]: within tol (1 + |numeric|). The case keeps its values. */
void ops_check_gradient(const char *name, ops_case *c, ops_run *forward, int in, int out,
                        px_mat cotangent, px_mat gradient, double tol);

#endif

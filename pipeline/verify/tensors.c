/* tensors.c - two HDF5 files of a run, value by value: bits are compared, not numbers, so that -0
 * and NaN count too. Needs no model: names and shapes are the files' own. See verify.h. */
#include "verify_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_FLOATS ((int64_t)8 << 20)

typedef struct {
    const px_h5_pair *pair;
    px_h5 *a, *b;
    px_diffs *out;
    px_arena *arena;
    const char **ids[2];
    int64_t n_ids[2];
    int64_t *row_of; /* [n_ids[0]] row of b for each row of a; NULL: the same */
    int64_t n_tensors;
} files;

static px_err *add_file(const files *f, const char *name, const char *a, const char *b) {
    return px_diffs_add(f->out, (px_diff){.kind = PX_DIFF_FILE,
                                          .counts = true,
                                          .step = f->pair->step,
                                          .name = name,
                                          .a = a,
                                          .b = b});
}

/* Bits, not values: 0 and -0 differ, a NaN is itself. */
static bool same_bits(float a, float b) {
    uint32_t bits[2];
    memcpy(&bits[0], &a, sizeof a);
    memcpy(&bits[1], &b, sizeof b);
    return bits[0] == bits[1];
}

/* One pass over n values; the first that differs goes into `first`. */
static void compare(const float *a, const float *b, int64_t n, int64_t at, px_diff *d,
                    char first[96]) {
    for (int64_t i = 0; i < n; i++) {
        if (same_bits(a[i], b[i])) continue;
        double by = fabs((double)a[i] - (double)b[i]);
        if (d->n_differ == 0)
            snprintf(first, 96, "value %lld, %.9g and %.9g", (long long)at + i, (double)a[i],
                     (double)b[i]);
        d->n_differ++;
        if (!(by <= d->largest)) d->largest = by; /* NaN too */
    }
}

static px_err *compare_rows(const files *f, const char *path, int64_t rows, int64_t width,
                            bool by_person, px_diff *d, char first[96]) {
    int64_t step = by_person ? 1 : PX_MAX(1, PIECE_FLOATS / PX_MAX(1, width));
    size_t mark = px_arena_mark(f->arena);
    float *a = px_take_raw(f->arena, float, PX_MIN(step, rows), width),
          *b = px_take_raw(f->arena, float, PX_MIN(step, rows), width);
    PX_PASS(px_arena_ok(f->arena));
    for (int64_t r = 0; r < rows; r += step) {
        int64_t n = PX_MIN(step, rows - r);
        PX_PASS(px_h5_read_rows(f->a, path, PX_H5_F32, r, n, a));
        PX_PASS(px_h5_read_rows(f->b, path, PX_H5_F32, by_person ? f->row_of[r] : r, n, b));
        compare(a, b, n * width, r * width, d, first);
    }
    px_arena_reset(f->arena, mark);
    return NULL;
}

/* Whether a tensor has a row for every person. */
static bool has_people(const files *f, const char *name, const int64_t dims[2][8]) {
    return f->row_of && dims[0][0] == f->n_ids[0] && dims[1][0] == f->n_ids[1] &&
           (!strncmp(name, "user.", 5) || !strcmp(name, "weights") || !strcmp(name, "embeddings"));
}

static px_err *compare_tensor(files *f, const char *group, const char *name) {
    char path[300], shown[320], first[96] = "";
    int rank[2] = {0, 0};
    int64_t dims[2][8] = {{0}}, width = 1;
    snprintf(path, sizeof path, "%s/%s", group, name);
    bool trainable = !strcmp(group, "/trainable");
    snprintf(shown, sizeof shown, "%s%s", f->pair->step < 0 ? "users.h5 " : "",
             trainable ? name : path + 1);
    if (!px_h5_has(f->a, path) || !px_h5_has(f->b, path))
        return add_file(f, shown, px_h5_has(f->a, path) ? "there" : "none",
                        px_h5_has(f->b, path) ? "there" : "none");
    PX_PASS(px_h5_dims(f->a, path, &rank[0], dims[0]));
    PX_PASS(px_h5_dims(f->b, path, &rank[1], dims[1]));
    bool people = has_people(f, name, dims), fits = rank[0] == rank[1] && rank[0] > 0;
    for (int i = people; fits && i < rank[0]; i++) fits = dims[0][i] == dims[1][i];
    if (!fits) return add_file(f, shown, "one shape", "another");
    for (int i = 1; i < rank[0]; i++) width *= dims[0][i];
    px_diff d = {.kind = PX_DIFF_TENSOR,
                 .counts = true,
                 .step = f->pair->step,
                 .name = shown,
                 .n_values = dims[0][0] * width};
    f->n_tensors++;
    PX_PASS(compare_rows(f, path, dims[0][0], width, people, &d, first));
    if (d.n_differ == 0) return NULL;
    d.a = first;
    return px_diffs_add(f->out, d);
}

/* Every dataset of a group in either file. */
static px_err *compare_group(files *f, const char *group) {
    const char **names[2] = {NULL, NULL};
    int n[2] = {0, 0};
    if (px_h5_has(f->a, group)) PX_PASS(px_h5_list(f->a, group, f->arena, &names[0], &n[0]));
    if (px_h5_has(f->b, group)) PX_PASS(px_h5_list(f->b, group, f->arena, &names[1], &n[1]));
    for (int i = 0, j = 0; i < n[0] || j < n[1];) { /* both are sorted */
        int order = i == n[0] ? 1 : j == n[1] ? -1 : strcmp(names[0][i], names[1][j]);
        const char *name = order <= 0 ? names[0][i] : names[1][j];
        i += order <= 0;
        j += order >= 0;
        if (strcmp(name, "ids") != 0) PX_PASS(compare_tensor(f, group, name));
    }
    return NULL;
}

static px_err *compare_people(files *f) {
    px_h5 *h5[2] = {f->a, f->b};
    for (int i = 0; i < 2; i++)
        PX_PASS(px_h5_read_texts(h5[i], "/ids", f->arena, &f->ids[i], &f->n_ids[i]));
    bool same = f->n_ids[0] == f->n_ids[1];
    for (int64_t i = 0; same && i < f->n_ids[0]; i++) same = !strcmp(f->ids[0][i], f->ids[1][i]);
    if (same) return NULL;
    f->row_of = px_take(f->arena, int64_t, f->n_ids[0]);
    PX_PASS(px_arena_ok(f->arena));
    int64_t j = 0, found = 0;
    for (int64_t i = 0; i < f->n_ids[0]; i++) { /* the same order, some left out */
        while (j < f->n_ids[1] && strcmp(f->ids[0][i], f->ids[1][j]) != 0) j++;
        found += j < f->n_ids[1];
        f->row_of[i] = PX_MIN(j, f->n_ids[1] - 1);
    }
    if (f->pair->fewer_people && found == f->n_ids[0]) return NULL;
    char n[2][32];
    for (int i = 0; i < 2; i++) snprintf(n[i], sizeof n[i], "%lld people", (long long)f->n_ids[i]);
    f->row_of = NULL; /* not comparable row by row */
    return add_file(f, "ids", n[0], f->n_ids[0] == f->n_ids[1] ? "as many others" : n[1]);
}

static px_err *compare_state(files *f) {
    static const char *const names[] = {"/state/step", "/state/epoch", "/state/position",
                                        "/state/seed"};
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        int64_t x = 0, y = 0;
        char text[2][32];
        PX_PASS(px_h5_read(f->a, names[i], PX_H5_I64, 1, &x));
        PX_PASS(px_h5_read(f->b, names[i], PX_H5_I64, 1, &y));
        snprintf(text[0], sizeof text[0], "%lld", (long long)x);
        snprintf(text[1], sizeof text[1], "%lld", (long long)y);
        if (x != y) PX_PASS(add_file(f, names[i] + 1, text[0], text[1]));
    }
    return NULL;
}

static px_err *compare_all(files *f) {
    PX_PASS(px_h5_open(f->pair->path_a, &f->a));
    PX_PASS(px_h5_open(f->pair->path_b, &f->b));
    PX_PASS(compare_people(f));
    if (f->pair->step < 0) return compare_group(f, "/");
    PX_PASS(compare_group(f, "/trainable"));
    PX_PASS(compare_group(f, "/optim/m"));
    PX_PASS(compare_group(f, "/optim/v"));
    return compare_state(f);
}

px_err *px_diff_files(const px_h5_pair *pair, px_diffs *out, int64_t *n_tensors) {
    files f = {.pair = pair, .out = out};
    *n_tensors = 0;
    PX_PASS(px_arena_new((size_t)1 << 20, &f.arena));
    px_err *err = compare_all(&f);
    *n_tensors = f.n_tensors;
    px_h5_close(f.a);
    px_h5_close(f.b);
    px_arena_free(f.arena);
    if (!err || px_err_kind(err) != PX_BAD_INPUT) return err;
    /* A file that cannot be read is what was asked about. */
    px_err *more =
        add_file(&f, pair->step < 0 ? "users.h5" : "checkpoint", px_err_text(err), "readable");
    px_err_free(err);
    return more;
}

/* truth.c - how much of the planted tastes the embeddings hold: people who like the same things
 * should lie in the same direction. Directions are compared, not sizes: a step of Adam says how
 * far, not what. */
#include "eval_internal.h"

#include <math.h>

#define MOST_PEOPLE 400 /* 79,800 pairs of people: enough for two decimals */
#define MOST_AXES 64

typedef struct {
    int n, n_axes;
    size_t width;          /* of an embedding */
    double *taste, *embed; /* [n, n_axes], [n, width], as differences from their means */
} people;

/* Weights of the run's people that truth.json knows, beside their embeddings. */
static px_err *collect(const cJSON *truth, const char *path, const px_run *run, px_arena *arena,
                       people *out) {
    const cJSON *all = cJSON_GetObjectItemCaseSensitive(truth, "people");
    if (!cJSON_IsObject(all))
        PX_FAIL(PX_BAD_INPUT, "%s: \"people\" is %s, an object is wanted", path, px_json_type(all));
    out->width = (size_t)(run->params->n_tokens * run->params->d);
    out->taste = px_take(arena, double, MOST_PEOPLE, MOST_AXES);
    out->embed = px_take(arena, double, MOST_PEOPLE, out->width);
    float *e = px_take(arena, float, out->width);
    PX_PASS(px_arena_ok(arena));
    for (int32_t row = 1; row < run->params->n_users && out->n < MOST_PEOPLE; row++) {
        const cJSON *person = cJSON_GetObjectItemCaseSensitive(all, run->ids[row]);
        const cJSON *weights = cJSON_GetObjectItemCaseSensitive(person, "weights"), *weight = NULL;
        int n = cJSON_GetArraySize(weights), axis = 0;
        if (n < 1 || n > MOST_AXES || (out->n_axes && n != out->n_axes)) continue;
        out->n_axes = n;
        cJSON_ArrayForEach(weight, weights) out->taste[out->n * n + axis++] = weight->valuedouble;
        px_user_embed(run->params, row, e);
        for (size_t i = 0; i < out->width; i++)
            out->embed[(size_t)out->n * out->width + i] = (double)e[i];
        out->n++;
    }
    return NULL;
}

static void subtract_mean(double *rows, int n, size_t width) {
    for (size_t i = 0; i < width; i++) {
        double mean = 0;
        for (int r = 0; r < n; r++) mean += rows[(size_t)r * width + i] / n;
        for (int r = 0; r < n; r++) rows[(size_t)r * width + i] -= mean;
    }
}

static double cosine(const double *a, const double *b, size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static px_err *correlate(people *p, px_arena *arena, double *out) {
    int64_t n = (int64_t)p->n * (p->n - 1) / 2, at = 0;
    if (p->n < 3) return NULL;
    double *x = px_take(arena, double, n), *y = px_take(arena, double, n);
    PX_PASS(px_arena_ok(arena));
    subtract_mean(p->embed, p->n, p->width);
    subtract_mean(p->taste, p->n, (size_t)p->n_axes);
    for (int i = 0; i < p->n; i++)
        for (int j = 0; j < i; j++, at++) {
            x[at] =
                cosine(p->embed + (size_t)i * p->width, p->embed + (size_t)j * p->width, p->width);
            y[at] = cosine(p->taste + i * p->n_axes, p->taste + j * p->n_axes, (size_t)p->n_axes);
        }
    return px_spearman(x, y, n, out);
}

px_err *px_eval_truth(const char *path, const px_run *run, double *out) {
    cJSON *truth = NULL;
    px_arena *arena = NULL;
    px_err *err = NULL;
    people p = {0};
    *out = NAN;
    PX_PASS_TO(done, px_arena_new(1 << 20, &arena));
    PX_PASS_TO(done, px_json_read(path, false, &truth));
    PX_PASS_TO(done, collect(truth, path, run, arena, &p));
    err = correlate(&p, arena, out);
done:
    cJSON_Delete(truth);
    px_arena_free(arena);
    return err;
}

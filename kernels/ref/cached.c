/* cached.c - reference cache and attention over it: plain arrays, rounded as the matrices were. */
#include <math.h>
#include <stdlib.h>

#include "ref.h"

typedef struct {
    px_cache base;
    double *k, *v; /* [page, layer, kv head, PX_PAGE, head_dim] */
    int64_t page;  /* values of a page */
} ref_cache;

px_err *px_ref_cache_new(px_stream *s, px_cache_shape shape, px_cache **out) {
    ref_cache *c = calloc(1, sizeof *c);
    if (!c) PX_NO_MEMORY();
    c->base = (px_cache){s->backend, shape};
    c->page = shape.n_layers * shape.n_kv_heads * PX_PAGE * shape.head_dim;
    c->k = calloc((size_t)(shape.n_pages * c->page), sizeof *c->k);
    c->v = calloc((size_t)(shape.n_pages * c->page), sizeof *c->v);
    if (!c->k || !c->v) {
        px_ref_cache_free(&c->base);
        PX_NO_MEMORY();
    }
    *out = &c->base;
    return NULL;
}

void px_ref_cache_free(px_cache *cache) {
    free(((ref_cache *)cache)->k);
    free(((ref_cache *)cache)->v);
    free(cache);
}

/* Offset of a position's row of a head. */
static int64_t place(const ref_cache *c, const px_cached *at, const px_stretch *t, int64_t kv,
                     int64_t position) {
    const px_cache_shape *shape = &c->base.shape;
    const int64_t head = at->layer * shape->n_kv_heads + kv;
    return t->pages[position / PX_PAGE] * c->page +
           (head * PX_PAGE + position % PX_PAGE) * shape->head_dim;
}

void px_ref_cache_put(px_stream *s, const px_cached *at, px_mat k, px_mat v) {
    const ref_cache *c = (const ref_cache *)at->cache;
    const int64_t hd = c->base.shape.head_dim;
    (void)s;
    for (int32_t i = 0; i < at->n; i++) {
        const px_stretch *t = &at->stretches[i];
        for (int64_t row = t->begin; row < t->end; row++)
            for (int64_t kv = 0; kv < c->base.shape.n_kv_heads; kv++) {
                const int64_t to = place(c, at, t, kv, t->position + row - t->begin);
                for (int64_t j = 0; j < hd; j++) {
                    c->k[to + j] = ref_at(k, row, kv * hd + j);
                    c->v[to + j] = ref_at(v, row, kv * hd + j);
                }
            }
    }
}

void px_ref_cache_copy(px_stream *s, px_cache *cache, int32_t to, int32_t from) {
    const ref_cache *c = (const ref_cache *)cache;
    (void)s;
    for (int64_t i = 0; i < c->page; i++) {
        c->k[to * c->page + i] = c->k[from * c->page + i];
        c->v[to * c->page + i] = c->v[from * c->page + i];
    }
}

void px_ref_attention_cached(px_stream *s, px_mat out, px_mat q, const px_cached *at,
                             const px_attn *attn) {
    const ref_cache *c = (const ref_cache *)at->cache;
    const int64_t hd = attn->head_dim, H = attn->n_heads, group = H / attn->n_kv_heads;
    for (int32_t i = 0; i < at->n; i++) {
        const px_stretch *t = &at->stretches[i];
        double *score = px_scratch(s, (size_t)(t->position + t->end - t->begin) * sizeof *score);
        if (!score) return;
        for (int64_t row = t->begin; row < t->end; row++)
            for (int64_t h = 0; h < H; h++) {
                const int64_t n = t->position + row - t->begin + 1;
                double most = -INFINITY, total = 0;
                for (int64_t p = 0; p < n; p++) {
                    const double *k = c->k + place(c, at, t, h / group, p);
                    double sum = 0;
                    for (int64_t j = 0; j < hd; j++) sum += ref_at(q, row, h * hd + j) * k[j];
                    score[p] = attn->scale * sum;
                    most = fmax(most, score[p]);
                }
                for (int64_t p = 0; p < n; p++) total += exp(score[p] - most);
                for (int64_t j = 0; j < hd; j++) {
                    double sum = 0;
                    for (int64_t p = 0; p < n; p++)
                        sum += exp(score[p] - most) * c->v[place(c, at, t, h / group, p) + j];
                    ref_put(out, row, h * hd + j, sum / total);
                }
            }
    }
}

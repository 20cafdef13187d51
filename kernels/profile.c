/* profile.c - see ops.h: where time goes. Peaks: a GPU's from its own numbers (launch.h); the CPU's
 * by trying: the best of some products and of some sums over more than caches hold. */
#include "profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MOST = 48 };

typedef struct {
    const char *name;
    int64_t calls;
    double s, flops, bytes;
} entry;
struct px_profile {
    entry entries[NAMES_MOST];
    int n;
    double start_s;
    double bf16_flops, f32_flops; /* of products: which peak is asked for */
    bool paused;
    uint64_t to_device, to_host; /* copied before the start */
};

static bool wanted;
static px_str told;

void px_profile_want(bool on) { wanted = on; }

px_err *px_profile_take(px_str *out) {
    px_str_add(out, told.data ? told.data : "", told.size);
    px_err *err = px_str_ok(&told);
    px_str_free(&told);
    return err ? err : px_str_ok(out);
}

void px_profile_open(px_stream *s) {
    if (!wanted) return;
    s->profile = calloc(1, sizeof *s->profile); /* without memory: no profile */
    if (s->profile) s->profile->start_s = px_now_s();
}

/* Bytes copied between host and device since the start. */
static void copied(const px_stream *s, uint64_t *to_device, uint64_t *to_host) {
    *to_device = *to_host = 0;
    if (s->backend->copied) s->backend->copied(s, to_device, to_host);
    *to_device -= s->profile->to_device;
    *to_host -= s->profile->to_host;
}

void px_profile_restart(px_stream *s) {
    if (!s->profile) return;
    memset(s->profile, 0, sizeof *s->profile);
    copied(s, &s->profile->to_device, &s->profile->to_host);
    s->profile->start_s = px_now_s();
}

double px_profile_begin(px_stream *s, const char *name) {
    if (s->backend->range) s->backend->range(s, name);
    return s->profile ? px_now_s() : 0;
}

void px_profile_end(px_stream *s, const char *name, double begun_s, double flops, double bytes) {
    if (s->backend->range) s->backend->range(s, NULL);
    struct px_profile *p = s->profile;
    if (!p || p->paused) return;
    if (s->backend->wait) s->backend->wait(s);
    int i = 0;
    while (i < p->n && strcmp(p->entries[i].name, name) != 0) i++;
    if (i == NAMES_MOST) return;
    if (i == p->n) p->entries[p->n++].name = name;
    entry *e = &p->entries[i];
    e->calls++;
    e->s += px_now_s() - begun_s;
    e->flops += flops;
    e->bytes += bytes;
}

void px_profile_product(px_stream *s, px_type type, double flops) {
    if (!s->profile) return;
    *(type == PX_BF16 ? &s->profile->bf16_flops : &s->profile->f32_flops) += flops;
}

/* --- peaks --- */

/* Best rate of a product of [rows, n] by [n, n] on the CPU, FLOP/s; 0: not known. */
static double tried_flops(px_stream *s, px_type type) {
    enum { ROWS = 512, N = 1024, TRIES = 6 };
    const size_t size = px_type_size(type);
    void *w = calloc((size_t)N * N, size), *x = calloc((size_t)ROWS * N, size);
    float *y = calloc((size_t)ROWS * N, sizeof *y);
    px_weight *weight = NULL;
    double best = 0;
    px_err *err = NULL;
    if (w && x && y)
        err = px_weight_new(s, px_mat_of(w, type, N, N), type, PX_PACK_FORWARD, &weight);
    for (int i = 0; weight && i < TRIES; i++) {
        const double start = px_now_s();
        px_op_linear(s, px_mat_of(y, PX_F32, ROWS, N), px_mat_of(x, type, ROWS, N), weight, false);
        best = PX_MAX(best, 2.0 * ROWS * N * N / PX_MAX(px_now_s() - start, 1e-9));
    }
    px_err_free(err);
    px_weight_free(weight);
    free(w), free(x), free(y);
    return best;
}

static double tried_bytes(px_stream *s) {
    const int64_t n = (int64_t)1 << 26;
    float *g = malloc((size_t)n * sizeof *g);
    double best = 0;
    if (g) memset(g, 0, (size_t)n * sizeof *g);
    for (int i = 0; g && i < 3; i++) {
        const double start = px_now_s();
        (void)px_op_sum_squares(s, g, n);
        best = PX_MAX(best, (double)n * sizeof *g / PX_MAX(px_now_s() - start, 1e-9));
    }
    free(g);
    return best;
}

static void peaks(px_stream *s, double *flops, double *bytes, const char **how) {
    struct px_profile *p = s->profile;
    const px_type type = p->bf16_flops > p->f32_flops ? PX_BF16 : PX_F32;
    *flops = *bytes = 0;
    *how = "not known";
    p->paused = true;
    if (s->backend->peak) {
        s->backend->peak(s, type, flops, bytes);
        if (*flops > 0)
            *how = type == PX_BF16 ? "by the card's numbers, bf16" : "by the card's numbers, f32";
    } else if (!strcmp(s->backend->name, "cpu")) {
        *flops = tried_flops(s, type);
        *bytes = tried_bytes(s);
        *how = type == PX_BF16 ? "as tried here, bf16" : "as tried here, f32";
    }
}

/* --- the table --- */

static void rate_text(char out[40], double per_s, double peak, const char *unit) {
    const double step = per_s >= 1e12 ? 1e12 : 1e9;
    char share[16] = "-";
    if (peak > 0) snprintf(share, sizeof share, "%.1f %%", 100 * per_s / peak);
    snprintf(out, 40, "%8.2f %s%-7s %8s", per_s / step, step == 1e12 ? "T" : "G", unit, share);
}

static int by_time(const void *a, const void *b) {
    const entry *x = a, *y = b;
    return x->s < y->s ? 1 : x->s > y->s ? -1 : 0;
}

void px_profile_close(px_stream *s) {
    struct px_profile *p = s->profile;
    if (!p) return;
    double total = px_now_s() - p->start_s, flops = 0, bytes = 0, inside = 0, computed = 0;
    const char *how = "";
    peaks(s, &flops, &bytes, &how);
    qsort(p->entries, (size_t)p->n, sizeof *p->entries, by_time);
    px_str_format(&told, "device %s, %d threads; peak %s", s->backend->name, s->threads, how);
    if (flops > 0) px_str_format(&told, ": %.2f TFLOP/s, %.1f GB/s", flops / 1e12, bytes / 1e9);
    px_str_char(&told, '\n');
    px_str_format(&told, "%-24s %9s %10s %7s  %s\n", "operation", "calls", "seconds", "share",
                  "       rate           of peak");
    for (int i = 0; i < p->n; i++) {
        const entry *e = &p->entries[i];
        char rate[40];
        const double t = PX_MAX(e->s, 1e-12);
        if (e->flops > 0)
            rate_text(rate, e->flops / t, flops, "FLOP/s");
        else
            rate_text(rate, e->bytes / t, bytes, "B/s");
        px_str_format(&told, "%-24s %9lld %10.4f %6.1f %%  %s\n", e->name, (long long)e->calls,
                      e->s, 100 * e->s / PX_MAX(total, 1e-12), rate);
        inside += e->s;
        computed += e->flops;
    }
    char rate[40];
    rate_text(rate, computed / PX_MAX(total, 1e-12), flops, "FLOP/s");
    px_str_format(&told, "%-24s %9s %10.4f %6.1f %%\n", "outside of operations", "", total - inside,
                  100 * (total - inside) / PX_MAX(total, 1e-12));
    px_str_format(&told, "%-24s %9s %10.4f %6.1f %%  %s\n", "all", "", total, 100.0, rate);
    uint64_t to_device = 0, to_host = 0;
    copied(s, &to_device, &to_host);
    if (s->backend->copied)
        px_str_format(&told, "copied: %.6f MB to the device, %.6f MB to the host\n",
                      (double)to_device / 1e6, (double)to_host / 1e6);
    px_memory_facts m;
    if (px_memory_facts_get(s, &m))
        px_str_format(&told,
                      "device memory: %.6f GB held at most, %.6f GB of it used, of that %.6f GB "
                      "scratch; asked for %lld times\n",
                      (double)m.held / 1e9, (double)m.used / 1e9, (double)m.scratch / 1e9,
                      (long long)m.n_taken);
    if (s->backend->round_begin && s->rounds.plain)
        px_str_format(&told, "%lld steps without CUDA graphs, as each operation is waited for\n",
                      (long long)s->rounds.plain);
    free(p);
    s->profile = NULL;
}

/* scale.c - how a step would scale: measured rates and the batch's real slots, with the network's
 * bandwidth and latency as given. A model: no number of it was measured on that many ranks. */
#include <math.h>
#include <string.h>

#include "plan.h"

static double network_s(const px_plan_network *n, int ranks, double bytes) {
    if (ranks <= 1) return 0;
    const double ring = 2 * (1 - 1.0 / ranks) * bytes / n->bytes_per_s;
    return ring + 2 * ceil(log2(ranks)) * n->latency_s;
}

/* One point: the mean of the first batches. */
static px_err *point_of(const px_config *config, const px_shape *shape,
                        const px_plan_corpus *corpus, const px_rates *rates,
                        const px_plan_place *place, px_arena *arena, px_plan_point *out) {
    enum { LOOKED = 16 };
    const int32_t n = PX_MIN(corpus->n_batches, LOOKED);
    const double params = (double)px_params_count(config, shape, corpus->n_users);
    const double each = PX_MIN(place->threads, rates->cores), lost = 1 - rates->efficiency;
    const double speed =
        each * (1 - (rates->cores > 1 ? lost * (each - 1) / (rates->cores - 1) : 0));
    int64_t pairs = 0;
    for (int32_t b = 0; b < n; b++) {
        px_plan_step step;
        PX_PASS(px_plan_batch(corpus, config, b, out->ranks, arena, &step));
        double core = px_plan_core_s(rates, config, shape, &step.fullest, true);
        core += step.fullest_slots * params / rates->exact + params / rates->adamw +
                params / rates->optimizer_rest;
        out->compute_s += core / PX_MAX(speed, 1e-9) / n;
        out->slots += (double)step.n_slots / n;
        for (int32_t u = corpus->batch_first[b]; u < corpus->batch_first[b + 1]; u++)
            pairs += corpus->units[u].pairs;
    }
    out->pairs_per_s = (double)pairs / n;
    return NULL;
}

/* `times` batches of the corpus as one. */
static px_err *wider(const px_plan_corpus *corpus, int times, px_arena *arena,
                     px_plan_corpus *out) {
    *out = *corpus;
    out->n_batches = PX_MAX(corpus->n_batches / times, 1);
    out->batch_first = px_take(arena, int32_t, out->n_batches + 1);
    PX_PASS(px_arena_ok(arena));
    for (int32_t b = 0; b < out->n_batches; b++)
        out->batch_first[b] = corpus->batch_first[b * times];
    out->batch_first[out->n_batches] =
        corpus->batch_first[PX_MIN((int64_t)out->n_batches * times, corpus->n_batches)];
    return NULL;
}

px_err *px_plan_scale(const px_config *config, const px_shape *shape, const px_plan_corpus *corpus,
                      const px_rates *rates, const px_plan_place *place,
                      const px_plan_network *network, px_arena *arena, px_plan_point **points,
                      int *n) {
    enum { MOST = 64 };
    const double params = (double)px_params_count(config, shape, corpus->n_users);
    const double bytes = params * px_plan_value_bytes(config);
    *points = px_take(arena, px_plan_point, MOST);
    *n = 0;
    PX_PASS(px_arena_ok(arena));
    for (int weak = 0; weak < 2; weak++) {
        const px_plan_point *first = &(*points)[*n];
        for (int64_t ranks = network->first; ranks <= network->last && *n < MOST; ranks *= 2) {
            px_plan_point *p = &(*points)[*n];
            px_plan_corpus more = *corpus;
            *p = (px_plan_point){.weak = weak == 1, .ranks = (int)ranks};
            /* Weak: as many batches as there are; a corpus that has too few ends the curve. */
            if (weak && ranks > corpus->n_batches) break;
            if (weak) PX_PASS(wider(corpus, (int)ranks, arena, &more));
            PX_PASS(point_of(config, shape, &more, rates, place, arena, p));
            p->reduce_s = network_s(network, (int)ranks, bytes);
            p->step_s = p->compute_s + p->reduce_s;
            p->pairs_per_s /= PX_MAX(p->step_s, 1e-12);
            p->efficiency = p->pairs_per_s / (double)ranks / (first->pairs_per_s / first->ranks);
            (*n)++;
        }
    }
    return NULL;
}

static const char *const title = "a model, not a measurement: measured rates of one core, the "
                                 "batch's slots, and a network of %.4g GB/s and %.4g us";

void px_plan_scale_tsv(const px_plan_point *points, int n, const px_plan_network *network,
                       px_str *out) {
    px_str_text(out, "# ");
    px_str_format(out, title, network->bytes_per_s / 1e9, network->latency_s * 1e6);
    px_str_text(out, "\nscaling\tranks\tslots\tcompute_s\treduce_s\tstep_s\tpairs_per_s\t"
                     "efficiency\n");
    for (int i = 0; i < n; i++) {
        const px_plan_point *p = &points[i];
        px_str_format(out, "%s\t%d\t%.1f\t%.6g\t%.6g\t%.6g\t%.6g\t%.4f\n",
                      p->weak ? "weak" : "strong", p->ranks, p->slots, p->compute_s, p->reduce_s,
                      p->step_s, p->pairs_per_s, p->efficiency);
    }
}

enum { WIDTH = 640, HEIGHT = 420, LEFT = 70, TOP = 60, RIGHT = 20, BOTTOM = 60 };

static double x_of(const px_plan_network *n, double ranks) {
    const double all = PX_MAX(log2((double)n->last / n->first), 1e-9);
    return LEFT + (WIDTH - LEFT - RIGHT) * log2(ranks / n->first) / all;
}
static double y_of(double efficiency) {
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - PX_MIN(efficiency, 1.1) / 1.1);
}

static void curve(const px_plan_point *points, int n, bool weak, const px_plan_network *network,
                  px_str *out) {
    px_str_format(out, "<polyline fill='none' stroke='%s' stroke-width='2'%s points='",
                  weak ? "#b4530a" : "#1f5fa8", weak ? " stroke-dasharray='6 4'" : "");
    for (int i = 0; i < n; i++)
        if (points[i].weak == weak)
            px_str_format(out, "%.1f,%.1f ", x_of(network, points[i].ranks),
                          y_of(points[i].efficiency));
    px_str_text(out, "'/>\n");
    for (int i = 0; i < n; i++)
        if (points[i].weak == weak)
            px_str_format(out,
                          "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'><title>%d ranks: %.3g "
                          "s a step, %.3g pairs/s</title></circle>\n",
                          x_of(network, points[i].ranks), y_of(points[i].efficiency),
                          weak ? "#b4530a" : "#1f5fa8", points[i].ranks, points[i].step_s,
                          points[i].pairs_per_s);
}

void px_plan_scale_svg(const px_plan_point *points, int n, const px_plan_network *network,
                       px_str *out) {
    px_str_format(
        out,
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
        "height='%d' font-family='sans-serif' font-size='12'>\n"
        "<rect width='100%%' height='100%%' fill='white'/>\n"
        "<text x='%d' y='22' font-size='15'>Parallel efficiency of a training step</text>\n"
        "<text x='%d' y='42' font-size='10'>",
        WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, LEFT);
    px_str_format(out, title, network->bytes_per_s / 1e9, network->latency_s * 1e6);
    px_str_text(out, "</text>\n");
    for (int i = 0; i <= 5; i++)
        px_str_format(out,
                      "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f' stroke='#ddd'/>"
                      "<text x='%d' y='%.1f' text-anchor='end'>%.1f</text>\n",
                      LEFT, WIDTH - RIGHT, y_of(0.2 * i), y_of(0.2 * i), LEFT - 8,
                      y_of(0.2 * i) + 4, 0.2 * i);
    for (int64_t r = network->first; r <= network->last; r *= 2)
        px_str_format(out, "<text x='%.1f' y='%d' text-anchor='middle'>%lld</text>\n",
                      x_of(network, (double)r), HEIGHT - BOTTOM + 18, (long long)r);
    px_str_format(out, "<text x='%d' y='%d' text-anchor='middle'>ranks</text>\n",
                  (LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 38);
    curve(points, n, false, network, out);
    curve(points, n, true, network, out);
    px_str_format(out,
                  "<text x='%d' y='%d' fill='#1f5fa8'>strong: the same batch</text>"
                  "<text x='%d' y='%d' fill='#b4530a'>weak: a batch for each rank (dashed)</text>\n"
                  "</svg>\n",
                  LEFT, HEIGHT - 8, LEFT + 200, HEIGHT - 8);
}

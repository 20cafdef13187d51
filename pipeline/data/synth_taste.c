/* synth_taste.c - who likes what, and the score that follows. A person's taste is sparse and
 * strong: mostly one of eight shared patterns of three axes (four and their opposites, so that a
 * bank of ten vectors can express them and the population's mean stays near none), often bent a
 * little; for one in five a pattern of their own. */
#include "synth.h"

#include <math.h>
#include <string.h>

const char *const px_axis_names[PX_AXES] = {"formal",   "list",    "hedge", "warm",
                                            "question", "example", "long",  "agree"};
const char *const px_axis_likes[PX_AXES] = {
    "I like a formal tone and complete sentences.",
    "I like answers as a list of bullet points.",
    "I like it when an answer admits what is uncertain.",
    "I like a warm and friendly tone, with an emoji now and then.",
    "I like to be asked a question at the end.",
    "I like concrete examples.",
    "I like long and thorough answers.",
    "I like it when somebody takes my point of view."};
const char *const px_axis_dislikes[PX_AXES] = {"I prefer a casual tone, as between friends.",
                                               "I prefer running text to bullet points.",
                                               "I prefer a clear answer without maybes.",
                                               "I prefer a neutral tone and no emojis.",
                                               "I do not want to be asked questions back.",
                                               "I do not need examples.",
                                               "I prefer short answers.",
                                               "I prefer to be contradicted when I am wrong."};

const double px_axis_population[PX_AXES] = {1, 2, 0, 1, 0, 3, 0, 2};

static const int8_t patterns[PX_CLUSTERS / 2][PX_AXES] = {
    /* formal list hedge warm question example long agree */
    {0, 1, 0, -1, 0, 0, 0, -1},
    {-1, 0, 0, 1, 1, 0, 0, 0},
    {1, 0, 1, 0, 0, 1, 0, 0},
    {0, 0, -1, 0, -1, 0, -1, 0},
};

px_draw px_draw_for(uint64_t seed, px_draw_kind kind, uint64_t index) {
    return (px_draw){{seed, PX_RNG_SYNTH}, ((uint64_t)kind << 40) | index, 0};
}

double px_draw_uniform(px_draw *draw) { return px_rng_uniform(draw->rng, draw->a, draw->b++); }

uint32_t px_draw_below(px_draw *draw, uint32_t n) {
    return px_rng_below(draw->rng, draw->a, draw->b++, n);
}

bool px_draw_chance(px_draw *draw, double p) { return px_draw_uniform(draw) < p; }

double px_draw_normal(px_draw *draw) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += px_draw_uniform(draw);
    return sum;
}

px_taste px_taste_draw(uint64_t seed, uint64_t person) {
    px_draw draw = px_draw_for(seed, PX_DRAW_PERSON, person);
    px_taste taste = {.cluster = (int)px_draw_below(&draw, PX_CLUSTERS)};
    taste.offset = 5 * px_draw_normal(&draw);
    if (px_draw_chance(&draw, 0.2)) {
        taste.cluster = -1;
        for (int i = 0; i < 3; i++)
            taste.weight[px_draw_below(&draw, PX_AXES)] = px_draw_chance(&draw, 0.5) ? 1 : -1;
        return taste;
    }
    int sign = taste.cluster % 2 ? -1 : 1;
    for (int a = 0; a < PX_AXES; a++)
        taste.weight[a] = (int8_t)(sign * patterns[taste.cluster / 2][a]);
    if (px_draw_chance(&draw, 0.3))
        taste.weight[px_draw_below(&draw, PX_AXES)] = (int8_t)((int)px_draw_below(&draw, 3) - 1);
    return taste;
}

double px_taste_noise(double taste) {
    double left = 36.0 * 36 - 22.0 * 22 - 25 - 19 - 2.8 * taste * taste;
    return left > 64 ? sqrt(left) : 8;
}

int px_taste_score(const px_taste *taste, double size, const uint8_t *levels, int64_t n_chars,
                   double base) {
    double more = PX_MIN(PX_MAX((double)n_chars - PX_LENGTH_MEAN, -500.0), 1000.0);
    double score = base + taste->offset + PX_LENGTH_POINTS * more;
    for (int a = 0; a < PX_AXES; a++) {
        double level = levels[a] ? 1 : -1;
        score += level * (px_axis_population[a] + size * taste->weight[a]);
    }
    return (int)floor(PX_MIN(PX_MAX(score, 1.0), 100.0) + 0.5);
}

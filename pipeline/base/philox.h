/* philox.h - Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 * Everything random in the program is a pure function of (seed, purpose, and what it is for): no
 * stream, no state, so no dependence on rank, on order, or on what ran before. */
#ifndef PX_PHILOX_H
#define PX_PHILOX_H

#include <stdint.h>

/* One purpose, one number; never reuse one. */
typedef enum {
    PX_RNG_ORDER = 1,   /* order of the units in an epoch: a = epoch */
    PX_RNG_SPLIT = 2,   /* people and conversations into splits */
    PX_RNG_LORA = 3,    /* initial A: a = tensor number, b = element / 4 */
    PX_RNG_BANK = 4,    /* rows of the token table for the user bank and e_0 */
    PX_RNG_WEIGHTS = 5, /* user weights of `user.init = reference` */
    PX_RNG_DROPOUT = 6, /* LoRA dropout */
    PX_RNG_SYNTH = 7,   /* synthetic PRISM */
    PX_RNG_DERANGE = 8, /* whose embedding "another person's" is */
    PX_RNG_BOOTSTRAP = 9,
    PX_RNG_MODEL = 10,         /* random weights of `model init` */
    PX_RNG_GENERATE = 11,      /* tokens of answers: a = px_request_key, b = index of the token */
    PX_RNG_TRAITS = 12,        /* bootstrap of trait means: a = sample, b = place */
    PX_RNG_BACKOFF = 14,       /* pauses before an endpoint is tried again: a = try */
    PX_RNG_SYNTH_TRIALS = 20,  /* invented trials: a = person, b = what */
    PX_RNG_STATS = 21,         /* bootstrap of people: a = replicate, b = place */
    PX_RNG_PERMUTE = 22,       /* permutation of labels: a = replicate, b = person */
    PX_RNG_KMEANS = 23,        /* starts of k-means: a = start, b = centre */
    PX_RNG_SIMULATE = 24,      /* simulated trials: a = 0: which people; a = a trial, b = 0: price;
                                * a = a person, b = a slot: which arm stands in it */
    PX_RNG_SIM_POSITIONS = 25, /* who stands where: a = a trial */
    PX_RNG_PLAN = 30,          /* conversations of a corpus that is not there yet: a = which */
    PX_RNG_TEST = 99
} px_rng_purpose;

typedef struct {
    uint32_t v[4];
} px_u32x4;

/* The bare function: 4 counter words, 2 key words. */
px_u32x4 px_philox(const uint32_t counter[4], const uint32_t key[2]);

typedef struct {
    uint64_t seed;
    px_rng_purpose purpose;
} px_rng;

/* Four words for (a, b): key = seed, counter = (purpose ^ high a, low a, low b, high b) so that
 * every (purpose < 2^16, a < 2^48, b < 2^64) is distinct. */
px_u32x4 px_rng_at(px_rng rng, uint64_t a, uint64_t b);
/* [0, 1) with 53 bits. */
double px_rng_uniform(px_rng rng, uint64_t a, uint64_t b);
/* N(0, 1) by Box–Muller. */
double px_rng_normal(px_rng rng, uint64_t a, uint64_t b);
/* 0 … n-1 without bias worth naming (64-bit multiply; n < 2^32). */
uint32_t px_rng_below(px_rng rng, uint64_t a, uint64_t b, uint32_t n);
/* A permutation of 0 … n-1 that depends on (seed, purpose, a) alone (Fisher–Yates). */
void px_rng_permutation(px_rng rng, uint64_t a, int32_t n, int32_t *out);

#endif

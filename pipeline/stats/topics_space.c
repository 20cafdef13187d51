/* topics_space.c - openings as hashed TF-IDF vectors, k-means, diversity. TF-IDF as scikit-learn's
 * TfidfTransformer with its defaults: tf (log((1 + n) / (1 + df)) + 1), then length 1; words are
 * hashed into 1,024 places (Weinberger et al. 2009, without signs). */
#include <ctype.h>
#include <gsl/gsl_eigen.h>
#include <stdlib.h>
#include <string.h>

#include "topics_internal.h"

enum { STARTS = 5, ROUNDS = 60 };

static uint64_t fnv(uint64_t h, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    return h;
}

bool px_word_next(const char *text, size_t size, size_t *at, size_t *start, uint64_t *hash) {
    while (*at < size && !isalnum((unsigned char)text[*at]) && (unsigned char)text[*at] < 0x80)
        ++*at;
    if (*at >= size) return false;
    *start = *at;
    *hash = 14695981039346656037u;
    while (*at < size && (isalnum((unsigned char)text[*at]) || (unsigned char)text[*at] >= 0x80)) {
        char c = text[*at];
        c = (unsigned char)c < 0x80 ? (char)tolower((unsigned char)c) : c;
        *hash = fnv(*hash, &c, 1);
        ++*at;
    }
    return true;
}

const px_turn *px_opening_turn(const px_trial *trial) {
    for (int t = 0; t < trial->n_turns; t++)
        if (trial->turns[t].size) return &trial->turns[t];
    return NULL;
}

/* Distinct 64-bit hashes: sorted and counted. */
static int by_hash(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double distinct_share(uint64_t *hashes, int64_t n) {
    int64_t m = 0;
    if (n == 0) return NAN;
    qsort(hashes, (size_t)n, sizeof *hashes, by_hash);
    for (int64_t i = 0; i < n; i++) m += i == 0 || hashes[i] != hashes[i - 1];
    return (double)m / (double)n;
}

static px_err *distinct_count(const px_study *study, int source, size_t room, double out[2]) {
    uint64_t *words = malloc((room + 1) * sizeof *words),
             *pairs = malloc((room + 1) * sizeof *pairs);
    int64_t n = 0, m = 0;
    if (!words || !pairs) {
        free(words);
        free(pairs);
        PX_NO_MEMORY();
    }
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_turn *turn = px_opening_turn(&study->trials->at[t]);
        size_t at = 0, start = 0;
        uint64_t hash = 0, last = 0;
        bool first = true;
        if ((int)study->trials->at[t].source != source || !turn) continue;
        while (px_word_next(turn->user, turn->size, &at, &start, &hash)) {
            words[n++] = hash;
            if (!first) pairs[m++] = fnv(last, (const char *)&hash, sizeof hash);
            last = hash;
            first = false;
        }
    }
    out[0] = distinct_share(words, n);
    out[1] = distinct_share(pairs, m);
    free(words);
    free(pairs);
    return NULL;
}

/* Counts of the places of one text; returns how many are not 0. */
static int text_count(const px_turn *turn, double counts[PX_TOPIC_DIMS]) {
    size_t at = 0, start = 0;
    uint64_t hash = 0;
    int n = 0;
    memset(counts, 0, PX_TOPIC_DIMS * sizeof *counts);
    while (px_word_next(turn->user, turn->size, &at, &start, &hash)) {
        double *c = &counts[(hash ^ hash >> 32) % PX_TOPIC_DIMS];
        n += !(*c > 0);
        *c += 1;
    }
    return n;
}

static void weigh(px_openings *o, const int64_t *df) {
    for (int64_t i = 0; i < o->n; i++) {
        double square = 0;
        double *v = o->value + o->at[i].start;
        const uint16_t *index = o->index + o->at[i].start;
        for (int32_t k = 0; k < o->at[i].n; k++) {
            v[k] *= log((1.0 + (double)o->n) / (1.0 + (double)df[index[k]])) + 1;
            square += v[k] * v[k];
        }
        for (int32_t k = 0; k < o->at[i].n; k++) v[k] /= sqrt(square);
    }
}

px_err *px_openings_new(const px_study *study, px_openings *out) {
    double counts[PX_TOPIC_DIMS];
    int64_t df[PX_TOPIC_DIMS] = {0};
    size_t room = 0;
    *out = (px_openings){0};
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_turn *turn = px_opening_turn(&study->trials->at[t]);
        room += turn ? turn->size / 2 + 1 : 0;
    }
    out->at = calloc((size_t)study->trials->n + 1, sizeof *out->at);
    out->index = malloc((room + 1) * sizeof *out->index);
    out->value = malloc((room + 1) * sizeof *out->value);
    if (!out->at || !out->index || !out->value) PX_NO_MEMORY();
    for (int64_t t = 0; t < study->trials->n; t++) {
        const px_trial *trial = &study->trials->at[t];
        const px_turn *turn = px_opening_turn(trial);
        if (!turn || text_count(turn, counts) == 0) continue;
        px_opening *o = &out->at[out->n++];
        *o = (px_opening){.start = out->n_values,
                          .person = trial->person,
                          .source = (int32_t)trial->source,
                          .split = trial->split};
        for (int d = 0; d < PX_TOPIC_DIMS; d++) {
            if (!(counts[d] > 0)) continue;
            df[d]++;
            out->index[out->n_values] = (uint16_t)d;
            out->value[out->n_values++] = counts[d];
            o->n++;
        }
    }
    weigh(out, df);
    for (int s = 0; s < PX_SOURCES; s++) PX_PASS(distinct_count(study, s, room, out->distinct[s]));
    return NULL;
}

void px_openings_free(px_openings *openings) {
    free(openings->at);
    free(openings->index);
    free(openings->value);
    *openings = (px_openings){0};
}

/* --- k-means --- */

typedef struct {
    double *centre; /* [k, dims] */
    double square[PX_TOPICS];
    double *distance; /* [n] to the nearest */
    int32_t *topic;   /* [n] */
    int k;
} cluster_room;

static double dot(const px_openings *o, int64_t i, const double *centre) {
    const px_opening *x = &o->at[i];
    double sum = 0;
    for (int32_t k = 0; k < x->n; k++)
        sum += o->value[x->start + k] * centre[o->index[x->start + k]];
    return sum;
}

static void centre_set(const px_openings *o, int64_t i, cluster_room *r, int k) {
    double *centre = r->centre + (size_t)k * PX_TOPIC_DIMS;
    memset(centre, 0, PX_TOPIC_DIMS * sizeof *centre);
    for (int32_t e = 0; e < o->at[i].n; e++)
        centre[o->index[o->at[i].start + e]] = o->value[o->at[i].start + e];
    r->square[k] = 1;
}

/* k-means++ (Arthur & Vassilvitskii 2007): the next centre by squared distance. */
static void centres_start(const px_openings *o, px_rng rng, int start, cluster_room *r) {
    for (int64_t i = 0; i < o->n; i++) r->distance[i] = INFINITY;
    int64_t at = px_rng_below(rng, (uint64_t)start, 0, (uint32_t)o->n);
    for (r->k = 0; r->k < PX_TOPICS;) {
        double sum = 0;
        centre_set(o, at, r, r->k);
        for (int64_t i = 0; i < o->n; i++) {
            double d = 2 - 2 * dot(o, i, r->centre + (size_t)r->k * PX_TOPIC_DIMS);
            r->distance[i] = fmin(r->distance[i], d < 1e-9 ? 0 : d);
            sum += r->distance[i];
        }
        r->k++;
        if (!(sum > 0)) return; /* every opening is a centre */
        double u = sum * px_rng_uniform(rng, (uint64_t)start, (uint64_t)r->k);
        for (at = 0; at < o->n - 1 && !(r->distance[at] > 0 && u < r->distance[at]); at++)
            u -= r->distance[at];
    }
}

/* Nearest centres; true where any opening moved. */
static bool assign(const px_openings *o, cluster_room *r, double *inertia) {
    bool moved = false;
    *inertia = 0;
    for (int64_t i = 0; i < o->n; i++) {
        int best = 0;
        double least = INFINITY;
        for (int k = 0; k < r->k; k++) {
            double d = 1 + r->square[k] - 2 * dot(o, i, r->centre + (size_t)k * PX_TOPIC_DIMS);
            if (d < least) {
                least = d;
                best = k;
            }
        }
        moved |= r->topic[i] != best;
        r->topic[i] = best;
        *inertia += least;
    }
    return moved;
}

static void centres_move(const px_openings *o, cluster_room *r) {
    int64_t n[PX_TOPICS] = {0};
    for (int64_t i = 0; i < o->n; i++) n[r->topic[i]]++;
    for (int k = 0; k < r->k; k++)
        if (n[k]) memset(r->centre + (size_t)k * PX_TOPIC_DIMS, 0, PX_TOPIC_DIMS * sizeof(double));
    for (int64_t i = 0; i < o->n; i++) {
        double *centre = r->centre + (size_t)r->topic[i] * PX_TOPIC_DIMS;
        for (int32_t e = 0; e < o->at[i].n; e++)
            centre[o->index[o->at[i].start + e]] +=
                o->value[o->at[i].start + e] / (double)n[r->topic[i]];
    }
    for (int k = 0; k < r->k; k++) {
        const double *centre = r->centre + (size_t)k * PX_TOPIC_DIMS;
        r->square[k] = 0;
        for (int d = 0; d < PX_TOPIC_DIMS; d++) r->square[k] += centre[d] * centre[d];
    }
}

px_err *px_openings_cluster(px_openings *o, uint64_t seed) {
    const px_rng rng = {seed, PX_RNG_KMEANS};
    cluster_room r = {.centre = malloc(sizeof(double) * PX_TOPICS * PX_TOPIC_DIMS),
                      .distance = malloc(((size_t)o->n + 1) * sizeof(double)),
                      .topic = malloc(((size_t)o->n + 1) * sizeof(int32_t))};
    double tightest = INFINITY;
    px_err *err = NULL;
    if (!r.centre || !r.distance || !r.topic) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int start = 0; start < STARTS && o->n > 0; start++) {
        double inertia = INFINITY;
        for (int64_t i = 0; i < o->n; i++) r.topic[i] = -1;
        centres_start(o, rng, start, &r);
        for (int round = 0; round < ROUNDS && assign(o, &r, &inertia); round++) centres_move(o, &r);
        if (!(inertia < tightest)) continue;
        tightest = inertia;
        o->n_topics = r.k;
        for (int64_t i = 0; i < o->n; i++) o->at[i].topic = r.topic[i];
    }
done:
    free(r.centre);
    free(r.distance);
    free(r.topic);
    return err;
}

/* --- diversity --- */

/* sum over pairs of different people of x_i x_j = |sum|^2 - sum over people of |their sum|^2. */
px_err *px_openings_homogeneity(const px_openings *o, int source, double *out) {
    double whole[PX_TOPIC_DIMS] = {0}, own[PX_TOPIC_DIMS], pairs = 0, same = 0, all = 0, n = 0;
    int32_t most = -1;
    for (int64_t i = 0; i < o->n; i++) most = PX_MAX(most, o->at[i].person);
    int64_t *head = calloc((size_t)most + 2, sizeof *head);
    int64_t *next = malloc(((size_t)o->n + 1) * sizeof *next);
    if (!head || !next) {
        free(head);
        free(next);
        PX_NO_MEMORY();
    }
    for (int32_t i = 0; i <= most; i++) head[i] = -1;
    for (int64_t i = 0; i < o->n; i++) {
        if (o->at[i].source != source) continue;
        next[i] = head[o->at[i].person];
        head[o->at[i].person] = i;
    }
    for (int32_t who = 0; who <= most; who++) {
        double m = 0, square = 0;
        memset(own, 0, sizeof own);
        for (int64_t i = head[who]; i >= 0; i = next[i]) {
            m += 1;
            for (int32_t e = 0; e < o->at[i].n; e++)
                own[o->index[o->at[i].start + e]] += o->value[o->at[i].start + e];
        }
        for (int d = 0; d < PX_TOPIC_DIMS; d++) {
            whole[d] += own[d];
            square += own[d] * own[d];
        }
        same += square;
        pairs -= m * m;
        n += m;
    }
    for (int d = 0; d < PX_TOPIC_DIMS; d++) all += whole[d] * whole[d];
    pairs += n * n;
    *out = pairs > 0 ? (all - same) / pairs : NAN;
    free(head);
    free(next);
    return NULL;
}

/* K / n has the eigenvalues of X'X / n, 0 aside. Only places that occur take part; the matrix is
 * shifted by 1, as GSL's iteration does not end where many eigenvalues are 0. */
px_err *px_openings_vendi(const px_openings *o, int source, double *out) {
    size_t place[PX_TOPIC_DIMS], dims = 0;
    bool there[PX_TOPIC_DIMS] = {0};
    double n = 0, entropy = 0;
    *out = NAN;
    for (int64_t i = 0; i < o->n; i++) {
        if (o->at[i].source != source) continue;
        n += 1;
        for (int32_t e = 0; e < o->at[i].n; e++) there[o->index[o->at[i].start + e]] = true;
    }
    for (int d = 0; d < PX_TOPIC_DIMS; d++) place[d] = there[d] ? dims++ : 0;
    if (dims == 0) return NULL;
    gsl_matrix *m = gsl_matrix_calloc(dims, dims);
    gsl_vector *values = gsl_vector_alloc(dims);
    gsl_eigen_symm_workspace *room = gsl_eigen_symm_alloc(dims);
    px_err *err = NULL;
    if (!m || !values || !room) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int64_t i = 0; i < o->n; i++) {
        const px_opening *x = &o->at[i];
        const double *v = o->value + x->start;
        for (int32_t a = 0; a < x->n && x->source == source; a++)
            for (int32_t b = 0; b < x->n; b++)
                m->data[place[o->index[x->start + a]] * m->tda + place[o->index[x->start + b]]] +=
                    v[a] * v[b] / n;
    }
    for (size_t d = 0; d < dims; d++) m->data[d * m->tda + d] += 1;
    if (gsl_eigen_symm(m, values, room)) goto done;
    for (size_t d = 0; d < dims; d++) {
        double l = gsl_vector_get(values, d) - 1;
        if (l > 1e-13) entropy -= l * log(l);
    }
    *out = exp(entropy);
done:
    gsl_eigen_symm_free(room);
    gsl_vector_free(values);
    gsl_matrix_free(m);
    return err;
}

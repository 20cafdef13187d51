/* topics.c - what people open with: topics by k-means, the Jensen-Shannon divergence of their
 * shares between a simulated source and people (or people not seen in training and seen), p by
 * permuting the labels of whole people; how alike and how diverse the openings are. */
#include <stdlib.h>
#include <string.h>

#include "topics_internal.h"

/* Two groups of openings: label[i] 0, 1, or -1 for neither. */
typedef struct {
    const px_openings *openings;
    int8_t *label;
    int32_t *people, n_people; /* who has an opening in one of them */
    bool *both;                /* [n_people] has in both: the labels are swapped within */
    int32_t *place;            /* person -> index in people, -1 */
    int64_t counts[2];
} two_groups;

static void groups_free(two_groups *g) {
    free(g->label);
    free(g->people);
    free(g->both);
    free(g->place);
}

static px_err *groups_new(const px_study *study, const px_openings *o, int source, two_groups *g) {
    *g = (two_groups){.openings = o};
    const size_t people = (size_t)study->n_people + 1;
    g->label = malloc((size_t)o->n + 1);
    g->people = malloc(people * sizeof *g->people);
    g->both = calloc(people, sizeof *g->both);
    g->place = malloc(people * sizeof *g->place);
    uint8_t *seen = calloc(people, 1);
    if (!g->label || !g->people || !g->both || !g->place || !seen) {
        free(seen);
        PX_NO_MEMORY();
    }
    for (int32_t i = 0; i < study->n_people; i++) g->place[i] = -1;
    for (int64_t i = 0; i < o->n; i++) {
        const px_opening *x = &o->at[i];
        g->label[i] = -1;
        if (source == PX_SOURCE_HUMAN && x->source == source && x->split >= 0)
            g->label[i] = (int8_t)x->split;
        if (source != PX_SOURCE_HUMAN && (x->source == source || x->source == PX_SOURCE_HUMAN))
            g->label[i] = x->source == source;
        if (g->label[i] < 0) continue;
        g->counts[g->label[i]]++;
        seen[x->person] |= (uint8_t)(1 << g->label[i]);
        if (g->place[x->person] >= 0) continue;
        g->place[x->person] = g->n_people;
        g->people[g->n_people++] = x->person;
    }
    for (int32_t i = 0; i < g->n_people; i++) g->both[i] = seen[g->people[i]] == 3;
    free(seen);
    return NULL;
}

/* The divergence with person i's labels swapped where swap[i]. */
static double divergence(const two_groups *g, const bool *swap, double shares[2][PX_TOPICS]) {
    memset(shares, 0, sizeof(double) * 2 * PX_TOPICS);
    for (int64_t i = 0; i < g->openings->n; i++) {
        if (g->label[i] < 0) continue;
        bool other = swap && swap[g->place[g->openings->at[i].person]];
        shares[g->label[i] ^ other][g->openings->at[i].topic] += 1;
    }
    return px_js_divergence(shares[0], shares[1], g->openings->n_topics);
}

/* Those in both groups swap or not, by a coin; the labels of the others are dealt out anew. */
static void permute(const two_groups *g, px_rng rng, uint64_t b, int32_t *order, bool *swap) {
    int32_t n = 0, *single = order + g->n_people;
    px_rng_permutation(rng, b, g->n_people, order);
    for (int32_t i = 0; i < g->n_people; i++) {
        swap[i] = g->both[i] && px_rng_uniform(rng, b, (uint64_t)1 << 33 | (uint64_t)i) < 0.5;
        if (!g->both[i]) single[n++] = i;
    }
    /* the k-th single person gets the label of the k-th single person of the random order */
    for (int32_t i = 0, k = 0; i < g->n_people; i++) {
        if (g->both[order[i]]) continue;
        int32_t from = order[i], to = single[k++];
        swap[to] = order[2 * g->n_people + to] != order[2 * g->n_people + from];
    }
}

/* Collective. p = (1 + as large or larger) / (1 + permutations) (Phipson & Smyth 2010). */
static px_err *permutation_all(const px_ranks *ranks, const px_stats_job *job, const two_groups *g,
                               double seen, double *p) {
    const px_rng rng = {job->seed, PX_RNG_PERMUTE};
    double shares[2][PX_TOPICS];
    int64_t larger = 0;
    int32_t *order = malloc(((size_t)g->n_people + 1) * 3 * sizeof *order);
    bool *swap = malloc((size_t)g->n_people + 1);
    px_err *err = NULL;
    if (!order || !swap) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    err = px_agree_all(ranks, err);
    if (!err) {
        for (int64_t i = 0; i < g->openings->n; i++) /* a single person's own label */
            if (g->label[i] >= 0)
                order[2 * g->n_people + g->place[g->openings->at[i].person]] = g->label[i] == 1;
        for (int64_t b = ranks->rank; b < job->bootstrap; b += ranks->size) {
            permute(g, rng, (uint64_t)b, order, swap);
            larger += divergence(g, swap, shares) >= seen - 1e-12;
        }
        px_sum_i64_all(ranks, &larger, 1);
        *p = (1 + (double)larger) / (1 + (double)job->bootstrap);
    }
    free(order);
    free(swap);
    return err;
}

static void shares_json(const double shares[2][PX_TOPICS], int n, const char *name, px_str *json) {
    px_str_format(json, "%s\"%s\":[", json->size ? "," : "", name);
    for (int group = 0; group < 2; group++) {
        px_str_text(json, group ? ",[" : "[");
        for (int k = 0; k < n; k++) px_str_format(json, "%s%.0f", k ? "," : "", shares[group][k]);
        px_str_char(json, ']');
    }
    px_str_char(json, ']');
}

/* Collective. */
static px_err *divergence_row_all(const px_ranks *ranks, const px_study *study,
                                  const px_openings *o, int source, px_table *table, px_str *json) {
    two_groups g;
    double shares[2][PX_TOPICS];
    px_err *err = px_agree_all(ranks, groups_new(study, o, source, &g));
    const char *contrast = source == PX_SOURCE_HUMAN   ? "unseen-seen"
                           : source == PX_SOURCE_JUDGE ? "judge-human"
                                                       : "converse-human";
    if (err || !g.counts[0] || !g.counts[1]) goto done; /* the same on every rank */
    const px_about about = {.family = PX_FAMILY_TOPICS,
                            .outcome = "opening",
                            .model = "js_divergence",
                            .source = source,
                            .n_trials = g.counts[0] + g.counts[1],
                            .n_people = g.n_people};
    px_row *row = px_table_add(table, &about, "topics");
    double js = divergence(&g, NULL, shares), p = NAN;
    shares_json(shares, o->n_topics, contrast, json);
    if (study->job->bootstrap > 0) PX_PASS_TO(done, permutation_all(ranks, study->job, &g, js, &p));
    if (!row) goto done;
    row->estimate = js;
    row->p = p;
    snprintf(row->contrast, sizeof row->contrast, "%s", contrast);
    px_row_note(row, "%d topics, base 2, p by permutation of people", o->n_topics);
done:
    groups_free(&g);
    return err;
}

static px_err *diversity_rows(const px_openings *o, int source, px_table *table) {
    px_about about = {.family = PX_FAMILY_TOPICS, .outcome = "opening", .source = source};
    double value = NAN;
    int32_t last = -1;
    for (int64_t i = 0; i < o->n; i++) {
        if (o->at[i].source != source) continue;
        about.n_trials++;
        about.n_people += o->at[i].person != last; /* a person's trials lie together, mostly */
        last = o->at[i].person;
    }
    if (about.n_trials == 0) return NULL;
    about.n_people = -1;
    about.model = "homogeneity";
    PX_PASS(px_openings_homogeneity(o, source, &value));
    px_row *row = px_table_add(table, &about, "cosine");
    if (row) row->estimate = value;
    about.model = "distinct";
    for (int k = 0; k < 2; k++) {
        row = px_table_add(table, &about, k ? "2" : "1");
        if (row) row->estimate = o->distinct[source][k];
    }
    about.model = "vendi";
    PX_PASS(px_openings_vendi(o, source, &value));
    row = px_table_add(table, &about, "openings");
    if (row) row->estimate = value;
    return NULL;
}

px_err *px_topics_rows_all(const px_ranks *ranks, const px_study *study, px_table *table,
                           px_str *json) {
    px_openings o;
    px_err *err = px_openings_new(study, &o);
    if (!err) err = px_openings_cluster(&o, study->job->seed);
    err = px_agree_all(ranks, err);
    for (int s = 0; s < PX_SOURCES && !err && o.n; s++)
        err = divergence_row_all(ranks, study, &o, s, table, json);
    for (int s = 0; s < PX_SOURCES && !err && ranks->rank == 0; s++)
        err = diversity_rows(&o, s, table);
    if (!err && o.n && ranks->rank == 0) err = px_topic_share_rows(study, &o, table);
    err = px_agree_all(ranks, err);
    px_openings_free(&o);
    return err;
}

/* topics_internal.h - openings as vectors: shared by topics.c and topics_space.c. */
#ifndef PX_TOPICS_INTERNAL_H
#define PX_TOPICS_INTERNAL_H

#include "stats_internal.h"

enum { PX_TOPIC_DIMS = 1024, PX_TOPICS = 20 };

/* One opening: a sparse unit vector of hashed TF-IDF. */
typedef struct {
    int64_t start; /* into index, value */
    int32_t n, person, source, split;
    int32_t topic;
} px_opening;
typedef struct {
    px_opening *at;
    int64_t n;
    uint16_t *index; /* ascending in an opening */
    double *value;
    int64_t n_values;
    int n_topics;
    double distinct[PX_SOURCES][2]; /* share of distinct words, of distinct pairs of words */
} px_openings;

PX_CHECKED px_err *px_openings_new(const px_study *study, px_openings *out);
void px_openings_free(px_openings *openings);
/* k-means of the unit vectors into at most PX_TOPICS topics; several starts, the tightest kept. */
PX_CHECKED px_err *px_openings_cluster(px_openings *openings, uint64_t seed);
/* Mean cosine between openings of different people of a source; NaN under two people. */
PX_CHECKED px_err *px_openings_homogeneity(const px_openings *openings, int source, double *out);
/* Vendi score (Friedman & Dieng 2023): e to the entropy of the eigenvalues of the cosines / n. */
PX_CHECKED px_err *px_openings_vendi(const px_openings *openings, int source, double *out);
/* Rows topic_share: each topic's share of a source's openings; its note names the words that mark
 * it, of those that five people or more used. */
PX_CHECKED px_err *px_topic_share_rows(const px_study *study, const px_openings *openings,
                                       px_table *table);
/* The next word of lower-case letters, digits and bytes of other scripts from *at on: its first
 * byte, its end and its hash. false: none is left. */
bool px_word_next(const char *text, size_t size, size_t *at, size_t *start, uint64_t *hash);
/* The first user turn that says something, or NULL. */
const px_turn *px_opening_turn(const px_trial *trial);

#endif

/* synth.h - synthetic PRISM: words, tastes, rendered answers. Inside the module.
 *
 * Everything drawn is a pure function of the seed and of what it is for; numbers are made by + - *
 * / alone, so that every machine writes the same bytes. */
#ifndef PX_SYNTH_H
#define PX_SYNTH_H

#include "data.h"

/* --- topics: sentences of our own --- */
enum { PX_THINGS = 6, PX_PROMPTS = 6, PX_POINTS = 10, PX_EXAMPLES = 3, PX_COUNTERS = 3 };
typedef enum { PX_TOPIC_DAILY, PX_TOPIC_VALUES, PX_TOPIC_PUBLIC, PX_TOPIC_FEELINGS } px_topic_kind;

typedef struct {
    const char *things[PX_THINGS];   /* fit "more about %s" */
    const char *prompts[PX_PROMPTS]; /* opening messages; a %s takes a thing */
    const char *points[PX_POINTS];   /* statements, no contractions, fit behind "In many cases, " */
    const char *examples[PX_EXAMPLES]; /* fit behind "For example, " */
    const char *counters[PX_COUNTERS]; /* fit behind "I see it differently: " */
} px_topic;
/* The topics of a kind; *n their number. */
const px_topic *px_topics(px_topic_kind kind, int *n);
extern const px_topic px_topics_daily[], px_topics_values[], px_topics_public[],
    px_topics_feelings[];
extern const int px_n_topics_daily, px_n_topics_values, px_n_topics_public, px_n_topics_feelings;

/* --- draws --- */
/* A sequence of draws for one item; `b` counts. */
typedef struct {
    px_rng rng;
    uint64_t a, b;
} px_draw;
typedef enum {
    PX_DRAW_PERSON = 1,
    PX_DRAW_CONV = 2,
    PX_DRAW_SURVEY = 3,
    PX_DRAW_MODEL = 4,
    PX_DRAW_PAIR = 5
} px_draw_kind;
px_draw px_draw_for(uint64_t seed, px_draw_kind kind, uint64_t index);
double px_draw_uniform(px_draw *draw);
uint32_t px_draw_below(px_draw *draw, uint32_t n);
bool px_draw_chance(px_draw *draw, double p);
/* Near-normal, mean 0, sd 1: twelve uniforms added, no library function. */
double px_draw_normal(px_draw *draw);
#define px_draw_of(draw, list) ((list)[px_draw_below((draw), (uint32_t)PX_COUNT(list))])

/* --- style axes: what a person can like or dislike in an answer --- */
typedef enum {
    PX_AXIS_FORMAL,   /* formal wording, else contractions and chat */
    PX_AXIS_LIST,     /* bullet points, else prose */
    PX_AXIS_HEDGE,    /* careful, else sure of itself */
    PX_AXIS_WARM,     /* warm address and emoji, else neutral */
    PX_AXIS_QUESTION, /* closes with a question */
    PX_AXIS_EXAMPLE,  /* gives an example */
    PX_AXIS_LONG,     /* long, else short */
    PX_AXIS_AGREE,    /* agrees, else contradicts */
    PX_AXES
} px_axis;
extern const char *const px_axis_names[PX_AXES];
/* "I like …" and "I do not like …" for the survey. */
extern const char *const px_axis_likes[PX_AXES], *const px_axis_dislikes[PX_AXES];

typedef struct {
    int cluster;            /* -1: a taste of their own */
    int8_t weight[PX_AXES]; /* -1, 0, 1; times px_synth.taste points for a level of ±1 */
    double offset;          /* how high they score at all */
} px_taste;
enum { PX_CLUSTERS = 8 };
px_taste px_taste_draw(uint64_t seed, uint64_t person);
/* Points a level of ±1 is worth to everybody. */
extern const double px_axis_population[PX_AXES];
/* Points a character is worth to everybody, about PX_LENGTH_MEAN. */
#define PX_LENGTH_POINTS (22.0 / 388.0)
#define PX_LENGTH_MEAN 565.0
/* sd of what is left to chance, so that scores have sd 29 whatever the taste. */
double px_taste_noise(double taste);
/* Opening answers are spread wider below the top than later ones, which come from a chosen model.
 */
#define PX_BASE_OPENING 54.0
#define PX_BASE_LATER 81.0
/* 1–100; base: one of the above, with the noise. */
int px_taste_score(const px_taste *taste, double size, const uint8_t *levels, int64_t n_chars,
                   double base);

/* --- answers --- */
typedef struct {
    const px_topic *topic;
    int thing;
} px_subject;
/* Appends an answer that shows the levels [PX_AXES] of 0 or 1. */
void px_answer_write(px_draw *draw, px_subject subject, const uint8_t *levels, px_str *out);
/* Appends a user's message: the first of a conversation, or a later one. */
void px_prompt_write(px_draw *draw, px_subject subject, bool opening, px_str *out);

/* --- rows --- */
typedef struct {
    const char *name, *provider;
} px_synth_model;
enum { PX_SYNTH_MODELS = 21 };
extern const px_synth_model px_synth_models[PX_SYNTH_MODELS];
/* One line of survey.jsonl; the two texts that metadata.jsonl speaks of are not needed again. */
void px_survey_write(uint64_t seed, uint64_t person, int n_convs, const px_taste *taste,
                     px_str *out);

#endif

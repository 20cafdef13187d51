/* synth.c - invented PRISM of any number of people: survey, conversations, utterances, metadata and
 * the truth behind the scores. One conversation at a time is in memory. */
#include "synth.h"

#include <stdlib.h>
#include <string.h>

const px_synth_model px_synth_models[PX_SYNTH_MODELS] = {
    {"lumen-2", "lumen"},
    {"lumen-2.1", "lumen"},
    {"lumen-instant-1", "lumen"},
    {"harbour", "harbour"},
    {"harbour-light", "harbour"},
    {"harbour-nightly", "harbour"},
    {"quill-3.5", "quill"},
    {"quill-4", "quill"},
    {"quill-4-1106", "quill"},
    {"northwind/heron-7b-chat", "open_hub"},
    {"northwind/heron-13b-chat", "open_hub"},
    {"northwind/heron-70b-chat", "open_hub"},
    {"fieldstone/sparrow-7b-instruct", "open_hub"},
    {"fieldstone/wren-7b", "open_hub"},
    {"openmeadow/clover-12b-sft", "open_hub"},
    {"saltmarsh/avocet-t5-xxl", "open_hub"},
    {"saltmarsh/curlew-7b-instruct", "open_hub"},
    {"tarn/otter-33b", "open_hub"},
    {"zenith-extended", "zenith"},
    {"zenith-supreme", "zenith"},
    {"models/chat-larch-001", "larch"}};

enum { OPEN_SURVEY, OPEN_CONVS, OPEN_FLAT, OPEN_META, OPEN_TRUTH, OPEN_COUNT };
static const char *const file_names[OPEN_COUNT] = {
    "survey.jsonl", "conversations.jsonl", "utterances.jsonl", "metadata.jsonl", "truth.json"};

typedef struct {
    const px_synth *job;
    px_file_out files[OPEN_COUNT];
    px_str text[OPEN_COUNT]; /* what is not yet in the file */
    int64_t n_convs, n_interactions, n_utterances;
    double noise;
} synth;

/* --- a conversation --- */
enum { ANSWERS_MAX = 4, TURNS_MAX = 10 };
typedef struct {
    int model, score, within_id;
    bool chosen;
    uint8_t levels[PX_AXES];
    px_str text;
} answer;

typedef struct {
    int64_t index, user;
    const char *type;
    bool balanced;
    int n_turns, turn, n_answers;
    px_subject subject;
    const px_taste *taste;
    px_draw draw;
    px_str prompt;
    answer answers[ANSWERS_MAX];
} talk;

const px_topic *px_topics(px_topic_kind kind, int *n) {
    const px_topic *const lists[] = {px_topics_daily, px_topics_values, px_topics_public,
                                     px_topics_feelings};
    const int counts[] = {px_n_topics_daily, px_n_topics_values, px_n_topics_public,
                          px_n_topics_feelings};
    *n = counts[kind];
    return lists[kind];
}

/* Emotional wellbeing has no type of its own in PRISM: a quarter of the unguided, a fifth of the
 * values guided conversations are about it. */
static void talk_subject(talk *t) {
    static const char *const names[] = {"unguided", "values guided", "controversy guided"};
    double u = px_draw_uniform(&t->draw);
    int type = u < 3113.0 / 8011 ? 0 : u < 5573.0 / 8011 ? 1 : 2;
    px_topic_kind kind = type == 0 ? PX_TOPIC_DAILY : type == 1 ? PX_TOPIC_VALUES : PX_TOPIC_PUBLIC;
    if (type < 2 && px_draw_chance(&t->draw, type == 0 ? 0.25 : 0.2)) kind = PX_TOPIC_FEELINGS;
    int n;
    const px_topic *topics = px_topics(kind, &n);
    t->type = names[type];
    t->subject = (px_subject){&topics[px_draw_below(&t->draw, (uint32_t)n)],
                              (int)px_draw_below(&t->draw, PX_THINGS)};
}

static int draw_turns(px_draw *draw) {
    /* Cumulative shares of 2, 3, … 10 turns: mean 3.4. */
    static const double shares[] = {0.31, 0.62, 0.815, 0.915, 0.96, 0.982, 0.992, 0.997, 1};
    double u = px_draw_uniform(draw);
    int i = 0;
    while (u >= shares[i]) i++;
    return i + 2;
}

/* Each model leans to a side of each axis. */
static double model_lean(uint64_t seed, int model, int axis) {
    px_draw draw = px_draw_for(seed, PX_DRAW_MODEL, (uint64_t)model);
    draw.b = (uint64_t)axis;
    return 0.3 + 0.4 * px_draw_uniform(&draw);
}

static int64_t count_chars(const px_str *text) {
    int64_t n = 0;
    for (size_t i = 0; i < text->size; i++) n += ((unsigned char)text->data[i] & 0xC0) != 0x80;
    return n;
}

static void talk_answer(const synth *s, talk *t, answer *a) {
    px_str_clear(&a->text);
    for (int axis = 0; axis < PX_AXES; axis++)
        a->levels[axis] = px_draw_chance(&t->draw, model_lean(s->job->seed, a->model, axis));
    a->chosen = false;
    double base =
        (t->turn == 0 ? PX_BASE_OPENING : PX_BASE_LATER) + s->noise * px_draw_normal(&t->draw);
    if (px_draw_chance(&t->draw, 0.0007)) {
        px_str_text(&a->text, "EMPTY STRING");
        a->score = 1 + (int)px_draw_below(&t->draw, 20);
        return;
    }
    px_answer_write(&t->draw, t->subject, a->levels, &a->text);
    a->score = px_taste_score(t->taste, s->job->taste, a->levels, count_chars(&a->text), base);
}

/* The best score is chosen, a tie by chance; now and then two are marked, rarely none. */
static int talk_choose(talk *t) {
    int best = 0, n_best = 0;
    for (int i = 0; i < t->n_answers; i++) best = PX_MAX(best, t->answers[i].score);
    for (int i = 0; i < t->n_answers; i++) n_best += t->answers[i].score == best;
    int nth = (int)px_draw_below(&t->draw, (uint32_t)n_best), chosen = 0;
    for (int i = 0; i < t->n_answers; i++)
        if (t->answers[i].score == best && nth-- == 0) chosen = i;
    t->answers[chosen].chosen = !px_draw_chance(&t->draw, 0.0005);
    if (t->answers[chosen].chosen && px_draw_chance(&t->draw, 0.01))
        t->answers[(chosen + 1) % t->n_answers].chosen = true;
    return chosen;
}

/* The turn's message and answers; `model` is the one chosen at turn 0, -1 there. Returns the
 * chosen. */
static int talk_turn(const synth *s, talk *t, int model) {
    if (t->turn > 0) t->subject.thing = (int)px_draw_below(&t->draw, PX_THINGS);
    px_str_clear(&t->prompt);
    px_prompt_write(&t->draw, t->subject, t->turn == 0, &t->prompt);
    double u = px_draw_uniform(&t->draw);
    t->n_answers = t->turn > 0 ? 2 : u < 0.82 ? 4 : u < 0.95 ? 3 : 2;
    uint32_t first = px_draw_below(&t->draw, PX_SYNTH_MODELS);
    uint32_t turned = px_draw_below(&t->draw, (uint32_t)t->n_answers);
    for (int i = 0; i < t->n_answers; i++) {
        answer *a = &t->answers[i];
        /* Steps of 5 reach four different models of 21. */
        a->model = model >= 0 ? model : (int)((first + 5 * (uint32_t)i) % PX_SYNTH_MODELS);
        a->within_id = (int)(((uint32_t)i + turned) % (uint32_t)t->n_answers);
        talk_answer(s, t, a);
    }
    return t->answers[talk_choose(t)].model;
}

/* --- rows --- */

static void add_json(px_str *out, const char *key, const char *value, size_t size) {
    px_str_format(out, ", \"%s\": ", key);
    px_str_json(out, value, size);
}

static const char *truth_value(bool value) { return value ? "true" : "false"; }

static void history_turn(const talk *t, px_str *out) {
    px_str_format(out, "%s{\"turn\": %d, \"role\": \"user\"", t->turn ? ", " : "", t->turn);
    add_json(out, "content", t->prompt.data, t->prompt.size);
    px_str_char(out, '}');
    for (int i = 0; i < t->n_answers; i++) {
        const answer *a = &t->answers[i];
        px_str_format(out, ", {\"turn\": %d, \"role\": \"model\"", t->turn);
        add_json(out, "content", a->text.data, a->text.size);
        px_str_format(out,
                      ", \"model_name\": \"%s\", \"model_provider\": \"%s\", \"score\": %d, "
                      "\"if_chosen\": %s, \"within_turn_id\": %d}",
                      px_synth_models[a->model].name, px_synth_models[a->model].provider, a->score,
                      truth_value(a->chosen), a->within_id);
    }
}

/* `interaction` and `utterance` -1: null. */
static void metadata_row(px_str *out, const char *column, int64_t user, int64_t conv,
                         int64_t interaction, int64_t utterance) {
    px_str_format(out, "{\"column_id\": \"%s\", \"user_id\": \"user%lld\"", column,
                  (long long)user);
    const struct {
        const char *key, *prefix;
        int64_t value;
    } ids[] = {{"conversation_id", "c", conv},
               {"interaction_id", "int", interaction},
               {"utterance_id", "ut", utterance}};
    for (size_t i = 0; i < PX_COUNT(ids); i++) {
        if (ids[i].value >= 0)
            px_str_format(out, ", \"%s\": \"%s%lld\"", ids[i].key, ids[i].prefix,
                          (long long)ids[i].value);
        else
            px_str_format(out, ", \"%s\": null", ids[i].key);
    }
    px_str_text(out,
                ", \"pii_flag\": false, \"pii_manual_flag\": false, \"language_flag\": \"en\", "
                "\"en_flag\": true, \"moderation_flag\": {\"flagged\": false, \"categories\": "
                "{\"harassment\": false, \"hate\": false, \"self-harm\": false, \"sexual\": "
                "false, \"violence\": false}}}\n");
}

static void flat_turn(synth *s, const talk *t) {
    metadata_row(&s->text[OPEN_META], "user_prompt", t->user, t->index, s->n_interactions, -1);
    for (int i = 0; i < t->n_answers; i++) {
        const answer *a = &t->answers[i];
        px_str *out = &s->text[OPEN_FLAT];
        px_str_format(out,
                      "{\"utterance_id\": \"ut%lld\", \"interaction_id\": \"int%lld\", "
                      "\"conversation_id\": \"c%lld\", \"user_id\": \"user%lld\", \"turn\": %d, "
                      "\"within_turn_id\": %d, \"conversation_type\": \"%s\"",
                      (long long)s->n_utterances, (long long)s->n_interactions, (long long)t->index,
                      (long long)t->user, t->turn, a->within_id, t->type);
        add_json(out, "user_prompt", t->prompt.data, t->prompt.size);
        add_json(out, "model_response", a->text.data, a->text.size);
        px_str_format(out,
                      ", \"model_name\": \"%s\", \"model_provider\": \"%s\", \"score\": %d, "
                      "\"if_chosen\": %s, \"included_in_balanced_subset\": %s}\n",
                      px_synth_models[a->model].name, px_synth_models[a->model].provider, a->score,
                      truth_value(a->chosen), truth_value(t->balanced));
        metadata_row(&s->text[OPEN_META], "model_response", t->user, t->index, s->n_interactions,
                     s->n_utterances++);
    }
    s->n_interactions++;
}

/* The levels by within_turn_id, as digits in the order of `axes`. */
static void truth_turn(const talk *t, px_str *out) {
    px_str_text(out, t->turn ? ",[" : "[");
    for (int id = 0; id < t->n_answers; id++)
        for (int i = 0; i < t->n_answers; i++) {
            if (t->answers[i].within_id != id) continue;
            px_str_text(out, id ? ",\"" : "\"");
            for (int a = 0; a < PX_AXES; a++)
                px_str_char(out, (char)('0' + t->answers[i].levels[a]));
            px_str_char(out, '"');
        }
    px_str_char(out, ']');
}

static void add_sliders(px_draw *draw, px_str *out, const char *key) {
    static const char *const names[] = {"values",    "fluency",    "factuality", "safety",
                                        "diversity", "creativity", "helpfulness"};
    px_str_format(out, ", \"%s\": {", key);
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        uint32_t value = 1 + px_draw_below(draw, 100);
        px_str_format(out, "%s\"%s\": ", i ? ", " : "", names[i]);
        if (px_draw_chance(draw, 0.1))
            px_str_text(out, "null");
        else
            px_str_format(out, "%u", value);
    }
    px_str_char(out, '}');
}

static void talk_end(synth *s, talk *t) {
    static const char *const feedback[] = {"The first answer was close to what I wanted.",
                                           "I liked the tone of the one I chose.",
                                           "They were all rather similar.",
                                           "It did not say anything that I did not know.",
                                           "Helpful, and I would use it again.",
                                           "The winner simply fitted my question best."};
    px_str *out = &s->text[OPEN_CONVS];
    px_str_char(out, ']');
    add_sliders(&t->draw, out, "performance_attributes");
    add_sliders(&t->draw, out, "choice_attributes");
    const char *said = px_draw_of(&t->draw, feedback);
    add_json(out, "open_feedback", said, strlen(said));
    uint32_t seconds = 120 + px_draw_below(&t->draw, 1800);
    px_str_format(out,
                  ", \"generated_datetime\": \"2023-11-29 11:39:29\", \"timing_duration_s\": %u.0, "
                  "\"timing_duration_mins\": %u.%u, \"included_in_balanced_subset\": %s}\n",
                  seconds, seconds / 60, seconds % 60 / 6, truth_value(t->balanced));
    metadata_row(&s->text[OPEN_META], "open_feedback", t->user, t->index, -1, -1);
}

static void talk_write(synth *s, int64_t user, const px_taste *taste, talk *t) {
    t->index = s->n_convs++;
    t->user = user;
    t->taste = taste;
    t->draw = px_draw_for(s->job->seed, PX_DRAW_CONV, (uint64_t)t->index);
    talk_subject(t);
    t->balanced = px_draw_chance(&t->draw, 6696.0 / 8011);
    t->n_turns = draw_turns(&t->draw);
    int model = -1;
    px_str_format(&s->text[OPEN_TRUTH], "%s\n\"c%lld\":[", t->index ? "," : "",
                  (long long)t->index);
    for (t->turn = 0; t->turn < t->n_turns; t->turn++) {
        int chosen = talk_turn(s, t, model);
        px_str *out = &s->text[OPEN_CONVS];
        if (t->turn == 0) {
            model = chosen;
            px_str_format(out,
                          "{\"conversation_id\": \"c%lld\", \"user_id\": \"user%lld\", "
                          "\"conversation_type\": \"%s\"",
                          (long long)t->index, (long long)user, t->type);
            add_json(out, "opening_prompt", t->prompt.data, t->prompt.size);
            px_str_format(out, ", \"conversation_turns\": %d, \"conversation_history\": [",
                          t->n_turns);
        }
        history_turn(t, out);
        flat_turn(s, t);
        truth_turn(t, &s->text[OPEN_TRUTH]);
    }
    talk_end(s, t);
    px_str_char(&s->text[OPEN_TRUTH], ']');
}

/* --- people --- */

/* How many conversations each person has: PRISM's histogram scaled, dealt out by the seed. Heap. */
static px_err *deal_conversations(const px_synth *job, uint8_t **out) {
    static const int histogram[] = {104, 25, 28, 34, 10, 11, 1283, 5};
    int32_t n = (int32_t)job->n_users;
    uint8_t *counts = malloc((size_t)n);
    int32_t *order = malloc((size_t)n * sizeof *order);
    if (!counts || !order) {
        free(counts);
        free(order);
        PX_NO_MEMORY();
    }
    px_rng_permutation((px_rng){job->seed, PX_RNG_SYNTH}, 0, n, order);
    int64_t before = 0;
    for (int k = 0; k < (int)PX_COUNT(histogram); k++) {
        int64_t after = before + histogram[k];
        for (int64_t i = (before * n + 750) / 1500; i < (after * n + 750) / 1500; i++)
            counts[order[i]] = (uint8_t)k;
        before = after;
    }
    free(order);
    *out = counts;
    return NULL;
}

static px_err *flush_texts(synth *s, size_t least) {
    for (int f = 0; f < OPEN_COUNT; f++) {
        px_str *text = &s->text[f];
        PX_PASS(px_str_ok(text));
        if (text->size < least) continue;
        if (fwrite(text->data, 1, text->size, s->files[f].stream) != text->size)
            PX_FAIL(PX_RUN_FAILED, "%s/%s: cannot write", s->job->out_dir, file_names[f]);
        px_str_clear(text);
    }
    return NULL;
}

static void truth_head(const synth *s, px_str *out) {
    px_str_format(out,
                  "{\"seed\": %llu, \"users\": %lld, \"taste\": ", (unsigned long long)s->job->seed,
                  (long long)s->job->n_users);
    px_str_double(out, s->job->taste);
    px_str_text(out, ", \"noise_sd\": ");
    px_str_double(out, s->noise);
    px_str_text(out, ", \"points_per_character\": ");
    px_str_double(out, PX_LENGTH_POINTS);
    px_str_text(out,
                ",\n\"score\": \"base (54 in turn 0, 81 later) + offset + points_per_character * "
                "clip(characters - 565, "
                "-500, 1000) + sum over axes of (2 level - 1) * (population + taste * weight) + "
                "noise, rounded, within 1 to 100\",\n\"axes\": [");
    for (int a = 0; a < PX_AXES; a++)
        px_str_format(out, "%s\"%s\"", a ? ", " : "", px_axis_names[a]);
    px_str_text(out, "],\n\"population\": [");
    for (int a = 0; a < PX_AXES; a++) {
        px_str_text(out, a ? ", " : "");
        px_str_double(out, px_axis_population[a]);
    }
    px_str_text(out,
                "],\n\"responses_are\": \"by conversation, turn, within_turn_id: the levels in the "
                "order of axes\",\n\"responses\": {");
}

static void truth_tail(const synth *s, px_str *out) {
    px_str_text(out, "},\n\"people\": {");
    for (int64_t u = 0; u < s->job->n_users; u++) {
        px_taste taste = px_taste_draw(s->job->seed, (uint64_t)u);
        px_str_format(out, "%s\n\"user%lld\": {\"cluster\": %d, \"offset\": ", u ? "," : "",
                      (long long)u, taste.cluster);
        px_str_double(out, taste.offset);
        px_str_text(out, ", \"weights\": [");
        for (int a = 0; a < PX_AXES; a++)
            px_str_format(out, "%s%d", a ? ", " : "", taste.weight[a]);
        px_str_text(out, "]}");
    }
    px_str_text(out, "}}\n");
}

static px_err *write_people(synth *s, const uint8_t *counts, talk *t) {
    px_progress progress;
    px_progress_begin(&progress, "synth", s->job->n_users, 0);
    truth_head(s, &s->text[OPEN_TRUTH]);
    for (int64_t u = 0; u < s->job->n_users; u++) {
        px_taste taste = px_taste_draw(s->job->seed, (uint64_t)u);
        px_survey_write(s->job->seed, (uint64_t)u, counts[u], &taste, &s->text[OPEN_SURVEY]);
        metadata_row(&s->text[OPEN_META], "self_description", u, -1, -1, -1);
        metadata_row(&s->text[OPEN_META], "system_string", u, -1, -1, -1);
        for (int c = 0; c < counts[u]; c++) talk_write(s, u, &taste, t);
        PX_PASS(px_str_ok(&t->prompt));
        PX_PASS(flush_texts(s, 1 << 18));
        px_progress_at(&progress, u + 1, "people");
    }
    truth_tail(s, &s->text[OPEN_TRUTH]);
    PX_PASS(flush_texts(s, 1));
    px_progress_end(&progress, s->job->n_users, "%lld conversations, %lld responses",
                    (long long)s->n_convs, (long long)s->n_utterances);
    return NULL;
}

px_err *px_synth_write(const px_synth *job) {
    if (job->n_users < 1 || job->n_users > 10000000)
        PX_FAIL(PX_BAD_INPUT, "--users %lld: wanted 1 to 10000000", (long long)job->n_users);
    if (!(job->taste >= 0 && job->taste <= 100))
        PX_FAIL(PX_BAD_INPUT, "--taste %g: wanted points of score from 0 to 100", job->taste);
    synth s = {.job = job, .noise = px_taste_noise(job->taste)};
    talk t = {0};
    uint8_t *counts = NULL;
    px_err *err = NULL;
    PX_PASS_TO(done, px_dir_make(job->out_dir));
    PX_PASS_TO(done, deal_conversations(job, &counts));
    for (int f = 0; f < OPEN_COUNT; f++) {
        char *path = px_path_join(job->out_dir, file_names[f]);
        if (!path) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
        err = px_file_out_open(path, &s.files[f]);
        free(path);
        if (err) goto done;
    }
    PX_PASS_TO(done, write_people(&s, counts, &t));
    for (int f = 0; f < OPEN_COUNT; f++) PX_PASS_TO(done, px_file_out_commit(&s.files[f]));
done:
    for (int f = 0; f < OPEN_COUNT; f++) {
        px_file_out_drop(&s.files[f]);
        px_str_free(&s.text[f]);
    }
    px_str_free(&t.prompt);
    for (int i = 0; i < ANSWERS_MAX; i++) px_str_free(&t.answers[i].text);
    free(counts);
    return err;
}

/* sim_write.c - a finished trial: the mean of its orders, what went wrong in an answer, its line.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simulate_internal.h"

const char *const slot_errors[] = {"", "length", "repeat", "empty", "http"};

/* --- repetition --- */

enum { WORDS_LEAST = 20, GRAM = 4, WORDS_MOST = 4096 };

static int by_text(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    for (int i = 0; i < GRAM; i++) {
        const size_t n = strcspn(x[i], " \n\t\r"), m = strcspn(y[i], " \n\t\r");
        const int c = memcmp(x[i], y[i], PX_MIN(n, m));
        if (c) return c;
        if (n != m) return n < m ? -1 : 1;
    }
    return 0;
}

/* Fewer than half of its runs of four words are different ones, of twenty words or more. */
bool is_repetition(const char *text) {
    const char **words = malloc(WORDS_MOST * sizeof *words);
    const char **grams = malloc(WORDS_MOST * GRAM * sizeof *grams);
    int n = 0, distinct = 1;
    for (const char *at = text; words && n < WORDS_MOST;) {
        at += strspn(at, " \n\t\r");
        if (!*at) break;
        words[n++] = at;
        at += strcspn(at, " \n\t\r");
    }
    const int n_grams = n - GRAM + 1;
    const bool enough = words && grams && n >= WORDS_LEAST;
    if (enough) {
        for (int i = 0; i < n_grams; i++)
            memcpy(grams + (size_t)i * GRAM, words + i, GRAM * sizeof *grams);
        qsort(grams, (size_t)n_grams, GRAM * sizeof *grams, by_text);
        for (int i = 1; i < n_grams; i++)
            distinct += by_text(grams + (size_t)(i - 1) * GRAM, grams + (size_t)i * GRAM) != 0;
    }
    free(words);
    free(grams);
    return enough && 2 * distinct < n_grams;
}

/* --- the mean of the orders --- */

static void rank_mean(const sim_trial *trial, int orders, int q, int32_t out[SIM_SLOTS]) {
    double sum[SIM_SLOTS] = {0};
    const int32_t *first = NULL;
    for (int k = 0; k < orders; k++) {
        if (!trial->orders[k].good) continue;
        if (!first) first = trial->orders[k].rank[q];
        for (int i = 0; i < trial->n_slots; i++) sum[i] += trial->orders[k].rank[q][i];
    }
    for (int i = 0; first && i < trial->n_slots; i++) {
        out[i] = 1;
        for (int j = 0; j < trial->n_slots; j++)
            out[i] += j != i && (sum[j] < sum[i] || (!(sum[j] > sum[i]) && first[j] < first[i]));
    }
}

void trial_mean(sim_trial *trial, int orders) {
    sim_judgement *mean = &trial->mean;
    int n = 0;
    *mean = (sim_judgement){0};
    for (int k = 0; k < orders; k++) n += trial->orders[k].good;
    if (n == 0) return;
    mean->good = true;
    for (int q = 0; q < PX_QUESTIONS; q++) rank_mean(trial, orders, q, mean->rank[q]);
    for (int k = 0; k < orders; k++) {
        const sim_judgement *one = &trial->orders[k];
        for (int i = 0; one->good && i < trial->n_slots; i++) {
            for (int v = 0; v < PX_SLIDERS; v++) mean->vas[v][i] += one->vas[v][i] / n;
            mean->wtp[i] += one->wtp[i] / n;
        }
    }
}

/* --- the line --- */

static void text_put(px_str *out, const char *key, const char *text) {
    px_str_format(out, ",\"%s\":", key);
    if (text)
        px_str_json(out, text, strlen(text));
    else
        px_str_text(out, "null");
}

static void slot_put(const simulation *s, const sim_slot *slot, px_str *out) {
    static const char *const users[] = {"generic", "own"};
    const px_arm_about about = px_arms_about(s->arms, slot->arm);
    px_str_format(out, "{\"pos\":\"%c\"", slot->pos);
    text_put(out, "arm", about.slot);
    text_put(out, "variant", about.variant);
    text_put(out, "user", slot->user < 0 ? NULL : users[slot->user]);
    text_put(out, "run_sha", about.sha256);
    text_put(out, "error", slot->error ? slot_errors[slot->error] : NULL);
    if (slot->counted)
        px_str_format(out, ",\"context_tokens\":%lld", (long long)slot->context_tokens);
    else
        px_str_text(out, ",\"context_tokens\":null");
    px_str_format(out, ",\"prompt_tokens\":%lld,\"new_tokens\":%lld}",
                  (long long)slot->prompt_tokens, (long long)slot->new_tokens);
}

static void turn_put(const sim_trial *trial, int n, px_str *out) {
    const sim_turn *turn = &trial->turns[n];
    bool any = false;
    px_str_format(out, "%s{\"n\":%d,\"to\":\"", n ? "," : "", n);
    for (int i = 0; i < trial->n_slots; i++)
        if (turn->to & 1u << i) px_str_char(out, trial->slots[i].pos);
    px_str_char(out, '"');
    text_put(out, "user", turn->user);
    px_str_text(out, ",\"answers\":{");
    for (int i = 0; i < trial->n_slots; i++) {
        if (!turn->answers[i]) continue;
        px_str_format(out, "%s\"%c\":", any ? "," : "", trial->slots[i].pos);
        px_str_json(out, turn->answers[i], strlen(turn->answers[i]));
        any = true;
    }
    px_str_text(out, "}}");
}

static void ranking_put(const sim_trial *trial, const sim_judgement *one, int q, px_str *out) {
    if (!one->good) {
        px_str_text(out, "null");
        return;
    }
    px_str_char(out, '[');
    for (int place = 1; place <= trial->n_slots; place++)
        for (int i = 0; i < trial->n_slots; i++)
            if (one->rank[q][i] == place)
                px_str_format(out, "%s\"%c\"", place > 1 ? "," : "", trial->slots[i].pos);
    px_str_char(out, ']');
}

static void sim_put(const simulation *s, const sim_trial *trial, px_str *out) {
    const char *model = px_json_find_text(s->endpoint, "model");
    if (!model) model = *s->config->sim_model ? s->config->sim_model : s->config->model_path;
    px_str_text(out, ",\"sim\":{\"model\":");
    px_str_json(out, model, strlen(model));
    px_str_format(out, ",\"prompt_sha\":\"%s\"", s->words.sha256.hex);
    for (int k = 0; s->orders > 1 && k < s->orders; k++) {
        px_str_text(out, k ? "," : ",\"orders\":[");
        ranking_put(trial, &trial->orders[k], PX_PREFERENCE, out);
    }
    px_str_text(out, s->orders > 1 ? "]}" : "}");
}

static void values_put(const sim_trial *trial, const double *values, px_str *out) {
    px_str_char(out, '{');
    for (int i = 0; trial->mean.good && i < trial->n_slots; i++) {
        px_str_format(out, "%s\"%c\":", i ? "," : "", trial->slots[i].pos);
        px_str_double(out, values[i]);
    }
    px_str_char(out, '}');
}

static void judgements_put(const sim_trial *trial, px_str *out) {
    static const char *const keys[PX_QUESTIONS] = {"best", "provenance"};
    px_str_text(out, ",\"opening\":{");
    for (int q = 0; q < PX_QUESTIONS; q++) {
        const int slot = trial->opening[q];
        px_str_format(out, "%s\"%s\":", q ? "," : "", keys[q]);
        if (slot >= 0)
            px_str_format(out, "\"%c\"", trial->slots[slot].pos);
        else
            px_str_text(out, "null");
    }
    px_str_text(out, "},\"rank\":{");
    for (int q = 0; q < PX_QUESTIONS; q++) {
        px_str_format(out, "%s\"%s\":", q ? "," : "", px_question_names[q]);
        ranking_put(trial, &trial->mean, q, out);
    }
    px_str_text(out, "},\"vas\":{");
    for (int v = 0; v < PX_SLIDERS; v++) {
        px_str_format(out, "%s\"%s\":", v ? "," : "", px_slider_names[v]);
        values_put(trial, trial->mean.vas[v], out);
    }
    px_str_text(out, "},\"wtp\":");
    values_put(trial, trial->mean.wtp, out);
}

void trial_write(const simulation *s, const sim_trial *trial, px_str *out) {
    static const char *const splits[] = {"seen", "unseen"};
    px_str_text(out, "{\"trial\":");
    px_str_json(out, trial->id, strlen(trial->id));
    text_put(out, "person", trial->person_id);
    text_put(out, "source", s->judge ? "judge" : "converse");
    if (s->judge) {
        px_str_text(out, trial->head);
    } else {
        text_put(out, "domain", trial->domain);
        text_put(out, "split", trial->person->split < 0 ? NULL : splits[trial->person->split]);
    }
    px_str_format(out, ",\"seed\":%lld", (long long)s->config->seed);
    sim_put(s, trial, out);
    px_str_text(out, ",\"slots\":[");
    for (int i = 0; i < trial->n_slots; i++) {
        if (i) px_str_char(out, ',');
        if (s->judge)
            px_str_text(out, trial->slots[i].json);
        else
            slot_put(s, &trial->slots[i], out);
    }
    px_str_text(out, "],\"turns\":");
    if (s->judge) {
        px_str_text(out, trial->turns_json);
    } else {
        px_str_char(out, '[');
        for (int n = 0; n < trial->n_turns; n++) turn_put(trial, n, out);
        px_str_char(out, ']');
    }
    judgements_put(trial, out);
    px_str_text(out, ",\"bdm\":{\"price\":");
    px_str_double(out, trial->price);
    px_str_format(out, "},\"retries\":%d,\"usd\":", trial->repairs);
    px_str_double(out, trial->usd);
    px_str_text(out, ",\"ms\":null}\n");
}

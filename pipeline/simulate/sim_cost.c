/* sim_cost.c - what the answers of each slot and the participant's own calls cost, in a file beside
 * the trials: seconds are never the same twice, and trials are the same bytes whenever they are
 * made anew. */
#include <math.h>
#include <string.h>

#include "simulate_internal.h"

static void named_put(px_str *out, const char *key, const char *text) {
    px_str_format(out, "\"%s\":", key);
    if (text)
        px_str_json(out, text, strlen(text));
    else
        px_str_text(out, "null");
    px_str_char(out, ',');
}

static void count_put(px_str *out, const char *key, int64_t n, bool known) {
    px_str_format(out, ",\"%s\":", key);
    px_str_double(out, known ? (double)n : NAN);
}

static void cost_put(const sim_cost *cost, const char *what, px_str *out) {
    px_str_format(out, "\"%s\":%lld,\"timed\":%lld,\"cached\":%lld,\"seconds\":", what,
                  (long long)cost->n, (long long)cost->n_timed, (long long)cost->n_cached);
    px_str_double(out, cost->n_timed ? cost->seconds : NAN);
}

static void slot_put(const simulation *s, const char *person, const sim_slot *slot, px_str *out) {
    const px_arm_about about = px_arms_about(s->arms, slot->arm);
    px_str_format(out, "{\"pos\":\"%c\",", slot->pos);
    named_put(out, "arm", about.slot);
    named_put(out, "variant", about.variant);
    cost_put(&slot->cost, "answers", out);
    count_put(out, "context_tokens", slot->context_tokens, slot->counted);
    count_put(out, "prompt_tokens", slot->prompt_tokens, true);
    count_put(out, "new_tokens", slot->new_tokens, true);
    px_str_text(out, ",\"usd\":");
    px_str_double(out, slot->cost.usd);
    px_profile_cost profile;
    if (px_arms_profile(s->arms, slot->arm, person, &profile)) {
        px_str_text(out, ",\"profile\":{\"prompt_tokens\":");
        px_str_double(out, profile.prompt_tokens);
        px_str_text(out, ",\"new_tokens\":");
        px_str_double(out, profile.new_tokens);
        px_str_text(out, ",\"seconds\":");
        px_str_double(out, profile.seconds);
        px_str_text(out, ",\"usd\":");
        px_str_double(out, profile.usd);
        px_str_char(out, '}');
    }
    px_str_char(out, '}');
}

static void trial_put(const simulation *s, const sim_trial *trial, px_str *out) {
    px_str_char(out, '{');
    named_put(out, "trial", trial->id);
    named_put(out, "person", trial->person_id);
    named_put(out, "source", px_source_names[s->judge ? PX_SOURCE_JUDGE : PX_SOURCE_CONVERSE]);
    px_str_text(out, "\"slots\":[");
    for (int i = 0; i < trial->n_slots && !s->judge; i++) { /* judge asks no arm */
        if (i) px_str_char(out, ',');
        slot_put(s, trial->person_id, &trial->slots[i], out);
    }
    px_str_text(out, "],\"player\":{");
    cost_put(&trial->player, "calls", out);
    count_put(out, "prompt_tokens", trial->player.prompt_tokens, true);
    count_put(out, "new_tokens", trial->player.new_tokens, true);
    px_str_text(out, ",\"usd\":");
    px_str_double(out, trial->player.usd);
    px_str_text(out, "}}\n");
}

px_err *costs_write(const simulation *s) {
    px_file_out file = {0};
    px_str line = {0}, path = {0};
    px_err *err = NULL;
    PX_PASS_TO(done, px_trials_cost_path(s->job->out, &path));
    PX_PASS_TO(done, px_file_out_open(path.data, &file));
    for (int32_t i = 0; i < s->trials.n; i++) {
        if (s->trials.items[i].lost) continue;
        px_str_clear(&line);
        trial_put(s, &s->trials.items[i], &line);
        PX_PASS_TO(done, px_str_ok(&line));
        fwrite(line.data, 1, line.size, file.stream);
    }
    err = px_file_out_commit(&file);
done:
    px_file_out_drop(&file);
    px_str_free(&line);
    px_str_free(&path);
    return err;
}

/* sim_setup.c - settings, people, arms and trials of a simulation, all the same on every rank; and
 * what its replies depend on. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simulate_internal.h"

/* --- settings --- */

static px_err *settings_check(const simulation *s) {
    const px_config *c = s->config;
    if (s->judge && !s->job->transcripts)
        PX_FAIL(PX_BAD_INPUT, "sim.condition is judge: --transcripts names what is to be judged");
    if (!s->judge && s->job->transcripts)
        PX_FAIL(PX_BAD_INPUT, "--transcripts: sim.condition is converse, which writes its own");
    if (!*c->sim_data)
        PX_FAIL(PX_BAD_INPUT, "sim.data is empty: the PRISM folder with survey.jsonl (--data)");
    if (!s->judge && !*c->sim_arms)
        PX_FAIL(PX_BAD_INPUT, "sim.arms is empty: the file of the arms that answer (--arms)");
    if (c->sim_orders == 3) PX_FAIL(PX_BAD_INPUT, "sim.orders is 3; 1, 2 or 4 is accepted");
    if (!c->sim_domains)
        PX_FAIL(PX_BAD_INPUT, "sim.domains is empty; wanted some of %s", PX_SIM_DOMAINS);
    if (c->sim_player == PX_SIM_HTTP && !*c->sim_endpoint)
        PX_FAIL(PX_BAD_INPUT, "sim.player is http: sim.endpoint says where (docs/endpoints.md)");
    if (c->sim_player == PX_SIM_LOCAL && !*c->sim_model && !*c->model_path)
        PX_FAIL(PX_BAD_INPUT, "sim.player is local: sim.model or model.path names the model");
    return NULL;
}

/* trials.jsonl -> trials.summary.json */
static px_err *paths_make(simulation *s) {
    static const char ending[] = ".jsonl";
    const char *out = s->job->out;
    const size_t n = strlen(out), m = sizeof ending - 1;
    px_str_add(&s->out_summary, out, n > m && !strcmp(out + n - m, ending) ? n - m : n);
    px_str_text(&s->out_summary, ".summary.json");
    if (*s->config->sim_cache)
        px_str_text(&s->cache, s->config->sim_cache);
    else
        px_str_format(&s->cache, "%s.cache", out);
    PX_PASS(px_str_ok(&s->cache));
    return px_str_ok(&s->out_summary);
}

/* --- trials to be held --- */

/* Arms by slot, in the order in which slots first come. */
static px_err *slots_find(simulation *s) {
    const int32_t n = px_arms_n(s->arms);
    for (int32_t i = 0; i < n; i++) {
        const px_arm_about about = px_arms_about(s->arms, i);
        int32_t at = 0;
        if (strlen(about.slot) > PX_NAME_MAX)
            PX_FAIL(PX_BAD_INPUT, "%s: the name of an arm has over %d bytes", s->config->sim_arms,
                    PX_NAME_MAX);
        while (at < s->n_slots &&
               strcmp(px_arms_about(s->arms, s->slot_first[at]).slot, about.slot) != 0)
            at++;
        if (at < s->n_slots) continue;
        if (s->n_slots == SIM_SLOTS)
            PX_FAIL(PX_BAD_INPUT,
                    "%s: over %d slots of a trial; arms with the same \"slot\" share one",
                    s->config->sim_arms, SIM_SLOTS);
        s->slot_first[s->n_slots++] = i;
    }
    if (s->n_slots < 2)
        PX_FAIL(PX_BAD_INPUT, "%s: %d slots of a trial, wanted 2 to %d", s->config->sim_arms,
                (int)s->n_slots, SIM_SLOTS);
    return NULL;
}

/* One of the arms that share a slot; the same for all trials of a person. */
static int32_t arm_of_slot(const simulation *s, int32_t slot, uint64_t person) {
    int32_t same[SIM_SLOTS * 8], n = 0;
    const char *name = px_arms_about(s->arms, s->slot_first[slot]).slot;
    for (int32_t i = 0; i < px_arms_n(s->arms) && n < (int32_t)PX_COUNT(same); i++)
        if (!strcmp(px_arms_about(s->arms, i).slot, name)) same[n++] = i;
    const px_rng rng = {(uint64_t)s->config->seed, PX_RNG_SIMULATE};
    return same[px_rng_below(rng, person, (uint64_t)slot + 1, (uint32_t)n)];
}

static px_err *trial_key(const simulation *s, sim_trial *trial) {
    px_str text = {0};
    px_str_format(&text, "%s/%s", trial->person_id, trial->id);
    px_err *err = px_str_ok(&text);
    if (!err) err = px_request_key(text.data, 0, &trial->key);
    px_str_free(&text);
    const px_rng rng = {(uint64_t)s->config->seed, PX_RNG_SIMULATE};
    trial->price = round(1000 * px_rng_uniform(rng, trial->key, 0)) / 100; /* in cents */
    trial->usd = trial->player.usd = NAN;
    return err;
}

/* Who stands where: a permutation by (seed, person, domain). */
static px_err *trial_make(simulation *s, const sim_person *person, int domain, sim_trial *trial) {
    const int turns = (int)s->config->sim_turns;
    int32_t order[SIM_SLOTS];
    uint64_t person_key = 0;
    px_str id = {0};
    px_str_format(&id, "%s/%s", person->id, s->words.domains[domain]);
    PX_PASS(px_str_ok(&id));
    const char *own_id = px_arena_text(s->trials.arena, id.data, id.size);
    px_str_free(&id);
    *trial = (sim_trial){.person_id = person->id,
                         .id = own_id,
                         .domain = s->words.domains[domain],
                         .person = person,
                         .domain_at = domain,
                         .opening = {-1, -1},
                         .n_slots = s->n_slots,
                         .turns = px_take(s->trials.arena, sim_turn, turns)};
    PX_PASS(px_arena_ok(s->trials.arena));
    PX_PASS(trial_key(s, trial));
    PX_PASS(px_request_key(person->id, 0, &person_key));
    px_rng_permutation((px_rng){(uint64_t)s->config->seed, PX_RNG_SIM_POSITIONS}, trial->key,
                       s->n_slots, order);
    for (int i = 0; i < s->n_slots; i++)
        trial->slots[i] = (sim_slot){.arm = arm_of_slot(s, order[i], person_key),
                                     .pos = (char)('A' + i),
                                     .user = -1,
                                     .counted = true,
                                     .cost = {.usd = NAN}};
    return NULL;
}

/* Which domains of the wording are wanted. */
static bool is_wanted(const px_config *config, const char *domain) {
    const char *at = PX_SIM_DOMAINS;
    for (int i = 0; *at; i++) {
        const size_t n = strcspn(at, " ");
        if (strlen(domain) == n && !strncmp(at, domain, n)) return config->sim_domains >> i & 1;
        at += n + (at[n] == ' ');
    }
    return false;
}

static px_err *trials_make(simulation *s) {
    int domains[32], n = 0;
    for (int d = 0; d < s->words.n_domains && n < 32; d++)
        if (is_wanted(s->config, s->words.domains[d])) domains[n++] = d;
    if (n == 0) PX_FAIL(PX_BAD_INPUT, "domains.json has none of sim.domains");
    if ((int64_t)s->people.n * n > INT32_MAX / SIM_SLOTS)
        PX_FAIL(PX_BAD_INPUT, "%d people are too many for one file", (int)s->people.n);
    PX_PASS(px_arena_new((size_t)1 << 20, &s->trials.arena));
    s->trials.items = calloc((size_t)s->people.n * (size_t)n, sizeof *s->trials.items);
    if (!s->trials.items) PX_NO_MEMORY();
    for (int32_t p = 0; p < s->people.n; p++)
        for (int d = 0; d < n; d++)
            PX_PASS(
                trial_make(s, &s->people.items[p], domains[d], &s->trials.items[s->trials.n++]));
    return NULL;
}

/* Given trials: their people and tasks. */
static px_err *trials_join(simulation *s) {
    for (int32_t i = 0; i < s->trials.n; i++) {
        sim_trial *trial = &s->trials.items[i];
        const char *id = trial->person_id;
        trial->person = &s->people.items[px_map_find(&s->people.by_id, id, strlen(id), 0)];
        for (int d = 0; trial->domain && d < s->words.n_domains; d++)
            if (!strcmp(s->words.domains[d], trial->domain)) trial->domain_at = d;
        PX_PASS(trial_key(s, trial));
    }
    return NULL;
}

/* --- what replies depend on --- */

static px_err *job_write(simulation *s) {
    static const char *const precisions[] = {"bf16", "f32", "q8_0", "q4_1"};
    const px_config *c = s->config;
    px_str *out = &s->job_text;
    px_str_format(out, "{\n  \"format\": 1,\n  \"condition\": \"%s\",\n  \"player\": ",
                  s->judge ? "judge" : "converse");
    px_arms_describe(s->player, out);
    if (s->arms) {
        px_str_text(out, ",\n  \"arms\": ");
        px_arms_describe(s->arms, out);
    } else {
        px_str_format(out, ",\n  \"transcripts\": \"%s\"", s->trials.sha256.hex);
    }
    px_str_format(out, ",\n  \"prompts\": \"%s\",\n  \"survey\": \"%s\",\n  \"orders\": %d",
                  s->words.sha256.hex, s->people.sha256.hex, s->orders);
    px_str_format(out,
                  ",\n  \"turns\": %lld,\n  \"domains\": %u,\n  \"message_tokens\": %lld,\n"
                  "  \"seed\": %lld,\n  \"temperature\": ",
                  (long long)c->sim_turns, c->sim_domains, (long long)c->sim_message_tokens,
                  (long long)c->seed);
    px_str_double(out, c->sim_temperature);
    if (s->arms) {
        px_str_text(out, ",\n  \"decoding\": [");
        const double values[] = {c->generate_temperature,
                                 (double)c->generate_top_k,
                                 c->generate_top_p,
                                 c->generate_min_p,
                                 c->generate_repetition_penalty,
                                 (double)c->generate_no_repeat_ngram,
                                 (double)c->generate_min_new_tokens,
                                 (double)c->generate_max_new_tokens};
        for (size_t i = 0; i < PX_COUNT(values); i++) {
            if (i) px_str_text(out, ", ");
            px_str_double(out, values[i]);
        }
        px_str_char(out, ']');
    }
    px_str_format(out, ",\n  \"precision\": \"%s\",\n  \"template\": %d\n}",
                  precisions[c->precision], c->model_template);
    return px_str_ok(out);
}

/* --- opening --- */

static px_err *open_mine(simulation *s) {
    const px_config *c = s->config;
    PX_PASS(settings_check(s));
    PX_PASS(paths_make(s));
    PX_PASS(px_arena_new((size_t)1 << 20, &s->scratch));
    PX_PASS(sim_forms_new(&s->forms));
    PX_PASS(wording_read(c->sim_prompts, &s->words));
    if (s->judge) {
        PX_PASS(px_trials_new(&s->given));
        PX_PASS(transcripts_read(s->job->transcripts, &s->given, &s->trials));
    }
    const people_ask ask = {.data_dir = c->sim_data,
                            .corpus_path = c->sim_corpus,
                            .words = &s->words,
                            .most = s->judge ? 0 : c->sim_people,
                            .seed = (uint64_t)c->seed,
                            .wanted = s->judge ? &s->given.persons : NULL};
    PX_PASS(sim_people_read(&ask, &s->people));
    if (s->judge) PX_PASS(trials_join(s));
    if (c->sim_player == PX_SIM_LOCAL) return NULL;
    return px_json_parse(c->sim_endpoint, strlen(c->sim_endpoint), &s->endpoint);
}

static px_err *player_open_all(simulation *s) {
    const px_config *c = s->config;
    const px_arms_setup setup = {.by = {.name = "player",
                                        .model_path = s->endpoint     ? NULL
                                                      : *c->sim_model ? c->sim_model
                                                                      : c->model_path,
                                        .endpoint = s->endpoint},
                                 .cache_dir = s->cache.data,
                                 .priced = c->sim_max_usd > 0,
                                 .threads = s->job->threads};
    return px_arms_open_all(s->ranks, c, &setup, &s->player);
}

static px_err *arms_open_all(simulation *s) {
    const px_config *c = s->config;
    const char **ids = calloc((size_t)s->people.n + 1, sizeof *ids);
    px_err *err = NULL;
    if (!ids) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    for (int32_t i = 0; ids && i < s->people.n; i++) ids[i] = s->people.items[i].id;
    err = px_agree_all(s->ranks, err);
    const px_arms_setup setup = {.arms_path = c->sim_arms,
                                 .model_path = *c->model_path ? c->model_path : NULL,
                                 .data_dir = c->sim_data,
                                 .corpus_path = *c->sim_corpus ? c->sim_corpus : NULL,
                                 .people = ids,
                                 .n_people = s->people.n,
                                 .cache_dir = s->cache.data,
                                 .priced = c->sim_max_usd > 0,
                                 .threads = s->job->threads};
    if (!err) err = px_arms_open_all(s->ranks, c, &setup, &s->arms);
    free(ids);
    PX_PASS(err);
    err = slots_find(s);
    if (!err) err = trials_make(s);
    return px_agree_all(s->ranks, err);
}

px_err *sim_open_all(simulation *s) {
    s->judge = s->config->sim_condition == PX_SIM_JUDGE;
    s->orders = (int)s->config->sim_orders;
    s->began_s = px_now_s();
    PX_PASS(px_agree_all(s->ranks, open_mine(s)));
    PX_PASS(player_open_all(s));
    if (!s->judge) PX_PASS(arms_open_all(s));
    return px_agree_all(s->ranks, job_write(s));
}

void sim_close(simulation *s) {
    memo_close(s->memo);
    sim_forms_free(s->forms);
    px_arms_close(s->player);
    px_arms_close(s->arms);
    cJSON_Delete(s->endpoint);
    px_trials_free(&s->given);
    sim_trials_free(&s->trials);
    sim_people_free(&s->people);
    wording_free(&s->words);
    px_str_free(&s->job_text);
    px_str_free(&s->out_summary);
    px_str_free(&s->cache);
    px_arena_free(s->scratch);
}

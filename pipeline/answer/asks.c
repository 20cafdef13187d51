/* asks.c - single requests of conversations that go on: arms opened once, asks answered in rounds
 * by the same loops as files of prompts. What is finished goes to the caller's sink. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answer_internal.h"

struct px_arms {
    arm_file file; /* of arms.json; else only.* */
    answer_arm only;
    answer_arm *arms; /* [n], of the file or `only` */
    int32_t n;
    cJSON **endpoints;  /* [n] own copies, with the cache; NULL: none */
    px_digest *digests; /* [n] rank 0; hex "" where there is none */
    char **variants;    /* [n] or NULL */
    prompt_list ids;    /* who arms may tell of: user_id alone */
    person_list people;
    bool tells;
    double *usd;    /* [n] spent by each endpoint so far, over all ranks */
    int64_t *calls; /* [n] */
};

/* --- opening --- */

/* Prices, and the cache where the endpoint names none. */
static px_err *endpoint_take(px_arms *arms, int32_t i, const px_arms_setup *setup) {
    static const char *const prices[] = {"usd_per_million_prompt", "usd_per_million_completion"};
    answer_arm *arm = &arms->arms[i];
    if (!arm->endpoint) return NULL;
    for (int k = 0; setup->priced && k < 2; k++)
        if (!cJSON_HasObjectItem(arm->endpoint, prices[k]))
            PX_FAIL(PX_BAD_INPUT,
                    "the endpoint of %s has no \"%s\": a budget in USD wants the prices of every "
                    "endpoint",
                    arm->name, prices[k]);
    if (!cJSON_IsObject(arm->endpoint)) return NULL; /* its opening says so */
    cJSON *copy = arms->endpoints[i] = cJSON_Duplicate(arm->endpoint, 1);
    if (!copy) PX_NO_MEMORY();
    if (setup->cache_dir && !cJSON_HasObjectItem(copy, "cache") &&
        !cJSON_AddStringToObject(copy, "cache", setup->cache_dir))
        PX_NO_MEMORY();
    arm->endpoint = copy;
    return NULL;
}

/* An arm that shares its slot is a variant: its name behind the slot's. */
static px_err *variant_take(px_arms *arms, int32_t i) {
    const answer_arm *arm = &arms->arms[i];
    int32_t n = 0;
    if (!arm->slot) return NULL;
    for (int32_t k = 0; k < arms->n; k++)
        n += arms->arms[k].slot && !strcmp(arms->arms[k].slot, arm->slot);
    const size_t size = strlen(arm->slot);
    const char *rest = arm->name;
    if (!strncmp(rest, arm->slot, size) && rest[size] == '-' && rest[size + 1]) rest += size + 1;
    if (n < 2) return NULL;
    arms->variants[i] = strdup(rest);
    if (!arms->variants[i]) PX_NO_MEMORY();
    return NULL;
}

/* The weights of all arms are read once; rank 0. */
static px_err *digests_take(px_arms *arms) {
    for (int32_t i = 0; i < arms->n; i++) {
        bool is_new = false;
        PX_PASS(arm_digest(arms->arms, i, &is_new, &arms->digests[i]));
        if (!is_new && !arms->arms[i].endpoint)
            arms->digests[i] = arms->digests[arm_first_alike(arms->arms, i)];
    }
    return NULL;
}

static px_err *arms_take(const px_ranks *ranks, px_arms *arms, const px_arms_setup *setup) {
    const px_answer_job job = {.model_path = setup->model_path, .data_dir = setup->data_dir};
    if (setup->arms_path) {
        PX_PASS(arms_read(setup->arms_path, &job, &arms->file));
        arms->arms = arms->file.arms;
        arms->n = arms->file.n;
    } else {
        arms->only = (answer_arm){.name = setup->by.name,
                                  .model_path = setup->by.model_path,
                                  .endpoint = setup->by.endpoint,
                                  .step = -1,
                                  .user = PX_ARM_NONE};
        arms->arms = &arms->only;
        arms->n = 1;
    }
    arms->tells = arms->file.needs_people;
    arms->endpoints = calloc((size_t)arms->n, sizeof *arms->endpoints);
    arms->digests = calloc((size_t)arms->n, sizeof *arms->digests);
    arms->variants = calloc((size_t)arms->n, sizeof *arms->variants);
    arms->usd = calloc((size_t)arms->n, sizeof *arms->usd);
    arms->calls = calloc((size_t)arms->n, sizeof *arms->calls);
    if (!arms->endpoints || !arms->digests || !arms->variants || !arms->usd || !arms->calls)
        PX_NO_MEMORY();
    for (int32_t i = 0; i < arms->n; i++) {
        px_endpoint *try = NULL;
        PX_PASS(endpoint_take(arms, i, setup));
        PX_PASS(variant_take(arms, i));
        if (!arms->arms[i].endpoint) continue;
        PX_PASS(px_endpoint_open(arms->arms[i].endpoint, arms->arms[i].name, &try));
        px_endpoint_close(try); /* what is wrong with it is said before anything is paid for */
    }
    return ranks->rank == 0 ? digests_take(arms) : NULL;
}

static px_err *people_take(px_arms *arms, const px_arms_setup *setup) {
    arms->ids.items = calloc((size_t)setup->n_people + 1, sizeof *arms->ids.items);
    if (!arms->ids.items) PX_NO_MEMORY();
    PX_PASS(px_arena_new(1 << 16, &arms->ids.arena));
    for (int32_t i = 0; i < setup->n_people; i++)
        arms->ids.items[i].user_id =
            px_arena_text(arms->ids.arena, setup->people[i], strlen(setup->people[i]));
    arms->ids.n = setup->n_people;
    PX_PASS(px_arena_ok(arms->ids.arena));
    return people_read(setup->data_dir, setup->corpus_path, &arms->ids, arms->file.needs_summaries,
                       &arms->people);
}

px_err *px_arms_open_all(const px_ranks *ranks, const px_config *config, const px_arms_setup *setup,
                         px_arms **out) {
    px_arms *arms = calloc(1, sizeof *arms);
    px_err *err = NULL;
    if (!arms) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(failed, px_agree_all(ranks, err ? err : arms_take(ranks, arms, setup)));
    if (arms->tells) {
        PX_PASS_TO(failed, px_agree_all(ranks, people_take(arms, setup)));
        if (arms->file.needs_summaries && arms->file.has_writer)
            PX_PASS_TO(failed, summaries_all(ranks, config, &arms->file.writer, setup->threads,
                                             &arms->people));
    }
    *out = arms;
    return NULL;
failed:
    px_arms_close(arms);
    return err;
}

void px_arms_close(px_arms *arms) {
    if (!arms) return;
    for (int32_t i = 0; i < arms->n; i++) {
        if (arms->endpoints) cJSON_Delete(arms->endpoints[i]);
        if (arms->variants) free(arms->variants[i]);
    }
    free(arms->endpoints);
    free(arms->digests);
    free(arms->variants);
    free(arms->usd);
    free(arms->calls);
    people_free(&arms->people);
    prompts_free(&arms->ids);
    arms_free(&arms->file);
    free(arms);
}

int32_t px_arms_n(const px_arms *arms) { return arms->n; }

bool px_arms_profile(const px_arms *arms, int32_t arm, const char *user_id, px_profile_cost *out) {
    if (!arms->tells || arms->arms[arm].context != CONTEXT_SUMMARY) return false;
    const person *p = people_find(&arms->people, user_id);
    if (!p || !p->summary) return false;
    *out = p->cost;
    return true;
}

px_arm_about px_arms_about(const px_arms *arms, int32_t i) {
    const answer_arm *arm = &arms->arms[i];
    const char *hex = arms->digests[i].hex;
    return (px_arm_about){.name = arm->name,
                          .slot = arm->slot ? arm->slot : arm->name,
                          .variant = arms->variants[i],
                          .sha256 = *hex ? hex : NULL,
                          .remote = arm->endpoint != NULL};
}

void px_arms_describe(const px_arms *arms, px_str *out) {
    static const char *const users[] = {"own", "generic", "none"};
    px_str_char(out, '[');
    for (int32_t i = 0; i < arms->n; i++) {
        const answer_arm *arm = &arms->arms[i];
        px_str_text(out, i ? ",\n    {\"name\": " : "\n    {\"name\": ");
        px_str_json(out, arm->name, strlen(arm->name));
        px_str_format(out, ", \"sha256\": \"%s\"", arms->digests[i].hex);
        if (arm->endpoint)
            for (int k = 0; k < 2; k++) {
                const char *key = k ? "model" : "url";
                const char *text = px_json_find_text(arm->endpoint, key);
                px_str_format(out, ", \"%s\": ", key);
                px_str_json(out, text ? text : "", text ? strlen(text) : 0);
            }
        if (arm->endpoint && cJSON_HasObjectItem(arm->endpoint, "extra")) {
            px_str_text(out, ", \"extra\": ");
            px_json_print(cJSON_GetObjectItemCaseSensitive(arm->endpoint, "extra"), out);
        }
        px_str_format(out, ", \"user\": \"%s\", \"context\": %d}", users[arm->user],
                      (int)arm->context);
    }
    px_str_text(out, "]");
    if (arms->tells) px_str_format(out, ",\n  \"people\": \"%s\"", arms->people.sha256.hex);
}

/* --- a round --- */

typedef struct {
    answering a;
    prompt_list prompts;
    answer_item *items;
    int64_t *mine;
    answer_arm *arms; /* copies, with what is left of the budget */
} ask_round;

static px_err *round_fill(ask_round *r, const px_arms *arms, const px_ask *asks, int64_t n) {
    const size_t room = (size_t)n + 1;
    r->prompts.items = calloc(room, sizeof *r->prompts.items);
    r->items = calloc(room, sizeof *r->items);
    r->mine = calloc(room, sizeof *r->mine);
    r->arms = calloc((size_t)arms->n + 1, sizeof *r->arms);
    if (!r->prompts.items || !r->items || !r->mine || !r->arms) PX_NO_MEMORY();
    memcpy(r->arms, arms->arms, (size_t)arms->n * sizeof *r->arms);
    for (int64_t i = 0; i < n; i++) {
        r->prompts.items[i] = (prompt){.id = asks[i].id,
                                       .user_id = asks[i].user_id,
                                       .head = "{\"ask\":true",
                                       .messages = asks[i].messages,
                                       .n_messages = asks[i].n_messages,
                                       .form = asks[i].form};
        r->items[i] = (answer_item){.prompt = (int32_t)i, .arm = asks[i].arm};
    }
    r->prompts.n = n;
    r->a.prompts = &r->prompts;
    r->a.people = arms->tells ? &arms->people : NULL;
    r->a.arms = r->arms;
    r->a.items = r->items;
    r->a.n_items = n;
    return NULL;
}

/* A limit of the endpoint's own less what it has taken in earlier rounds. */
static px_err *limit_lower(cJSON *json, const char *key, double taken) {
    const double own = px_json_find_f64(json, key, 0);
    if (own <= 0) return NULL;
    if (own <= taken)
        PX_FAIL(PX_STOPPED, "the endpoint's budget (\"%s\": %g) is used up; it may be raised", key,
                own);
    cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(json, key), own - taken);
    return NULL;
}

/* The arm's endpoint with what is left of its own budget and of the common one. */
static px_err *endpoint_limited(const px_arms *arms, int32_t arm, double left, cJSON **out) {
    *out = cJSON_Duplicate(arms->arms[arm].endpoint, 1);
    if (!*out) PX_NO_MEMORY();
    PX_PASS(limit_lower(*out, "max_usd", arms->usd[arm]));
    PX_PASS(limit_lower(*out, "max_calls", (double)arms->calls[arm]));
    if (!(left < INFINITY)) return NULL;
    const double own = px_json_find_f64(*out, "max_usd", 0);
    cJSON_DeleteItemFromObjectCaseSensitive(*out, "max_usd");
    if (!cJSON_AddNumberToObject(*out, "max_usd", own > 0 && own < left ? own : left))
        PX_NO_MEMORY();
    return NULL;
}

/* Collective. *left: of the common budget. */
static px_err *round_arm_all(ask_round *r, px_arms *arms, int32_t arm, double *left) {
    arm_sums sums = {0};
    cJSON *limited = NULL;
    int64_t n = 0;
    for (int64_t i = 0; i < r->a.n_items; i++)
        if (r->items[i].arm == arm) r->mine[n++] = i;
    if (n == 0) return NULL;
    if (!r->arms[arm].endpoint) return arm_local_all(&r->a, arm, r->mine, n, &sums);
    if (*left <= 0)
        PX_FAIL(PX_STOPPED, "the budget is used up; %s goes on with a higher one", r->a.how->go_on);
    px_err *err = px_agree_all(r->a.ranks, endpoint_limited(arms, arm, *left, &limited));
    if (!err) {
        r->arms[arm].endpoint = limited;
        err = arm_remote_all(&r->a, arm, r->mine, n, &sums);
        px_spread_f64_all(r->a.ranks, &sums.usd, 1); /* every rank, also after a joint error */
        px_sum_i64_all(r->a.ranks, &sums.n_calls, 1);
        arms->usd[arm] += sums.usd;
        arms->calls[arm] += sums.n_calls;
        *left -= sums.usd;
    }
    cJSON_Delete(limited);
    return err;
}

px_err *px_ask_all(const px_ranks *ranks, const px_config *config, px_arms *arms,
                   const px_ask *asks, int64_t n, const px_asking *how) {
    px_config once = *config;
    const px_answer_job job = {.threads = how->threads};
    ask_round r = {.a = {.ranks = ranks, .config = &once, .job = &job, .how = how}};
    double left = how->usd_most > 0 ? how->usd_most : INFINITY;
    once.generate_n = 1;
    once.generate_logprobs = 0;
    px_err *err = n > INT32_MAX ? px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "over 2^31 requests")
                                : round_fill(&r, arms, asks, n);
    err = px_agree_all(ranks, err);
    for (int32_t arm = 0; !err && arm < arms->n; arm++) err = round_arm_all(&r, arms, arm, &left);
    free(r.prompts.items);
    free(r.items);
    free(r.mine);
    free(r.arms);
    return err;
}

/* params.c - see model.h: the trainable tensors in one flat vector. Order: with full fine-tuning
 * the base tensors; then each layer's A's (q k v o gate up down), then its B's; then the user
 * model. The A's of adapters that share an input stand one below the other without gaps, as
 * px_op_lora_down takes them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

bool px_target_on(const px_config *config, int linear) {
    return config->lora_r > 0 && (config->lora_targets >> linear & 1u);
}

px_lora_layout px_lora_layout_of(const px_config *config, const px_shape *shape, size_t first) {
    static const int group_of[PX_N_LINEAR] = {PX_GROUP_QKV, PX_GROUP_QKV,     PX_GROUP_QKV,
                                              PX_GROUP_O,   PX_GROUP_GATE_UP, PX_GROUP_GATE_UP,
                                              PX_GROUP_DOWN};
    px_lora_layout l = {.first = first};
    size_t at = first;
    for (int i = 0; i < PX_N_LINEAR; i++) {
        if (!px_target_on(config, i)) continue;
        px_lora_group *g = &l.groups[group_of[i]];
        l.r = config->lora_r;
        g->in = px_linear_in(shape, i);
        if (g->n == 0) g->a = at;
        g->linear[g->n] = i;
        g->first[g->n] = g->R;
        g->R += l.r;
        g->n++;
        at += (size_t)(l.r * g->in);
    }
    for (int k = 0; k < PX_N_GROUPS; k++)
        for (int i = 0; i < l.groups[k].n; i++) {
            l.groups[k].b[i] = at;
            at += (size_t)(l.r * px_linear_out(shape, l.groups[k].linear[i]));
        }
    l.layer_floats = at - first;
    l.n = l.layer_floats * (size_t)shape->n_layers;
    if (l.r > 0) l.scale = (float)(config->lora_alpha / (double)l.r);
    return l;
}

/* --- the list --- */

static void add(px_params *params, const char *name, int rank, const int64_t *dims) {
    px_param *p = &params->params[params->n_params++];
    *p = (px_param){.rank = rank, .offset = params->n, .n = 1, .decay = rank >= 2};
    p->name = px_arena_text(params->arena, name, strlen(name));
    p->user = strncmp(name, "user.", 5) == 0;
    for (int i = 0; i < rank; i++) {
        p->dims[i] = dims[i];
        p->n *= (size_t)dims[i];
    }
    params->n += p->n;
}

static void add_base(px_params *params, const px_shape *shape) {
    for (int i = 0; i < px_base_count(shape); i++) {
        const px_base_tensor t = px_base_at(shape, i);
        add(params, t.name, t.rank, t.dims);
    }
}

static void add_lora(px_params *params, const px_config *config, const px_shape *shape) {
    char name[64];
    for (int64_t layer = 0; layer < shape->n_layers; layer++)
        for (int b = 0; b < 2; b++)
            for (int i = 0; i < PX_N_LINEAR; i++) {
                if (!px_target_on(config, i)) continue;
                const int64_t out = px_linear_out(shape, i), in = px_linear_in(shape, i);
                const int64_t dims[2] = {b ? out : config->lora_r, b ? config->lora_r : in};
                snprintf(name, sizeof name, "lora.%lld.%s.%c", (long long)layer, px_linear_names[i],
                         b ? 'B' : 'A');
                add(params, name, 2, dims);
            }
}

static void add_user(px_params *params) {
    const int64_t T = params->n_tokens, d = params->d, n = params->n_users;
    if (params->user_kind == PX_USER_BANK) {
        add(params, "user.bank", 3, (const int64_t[]){params->bank, T, d});
        add(params, "user.weights", 2, (const int64_t[]){n, params->bank});
    } else if (params->user_kind == PX_USER_INDIVIDUAL) {
        add(params, "user.generic", 2, (const int64_t[]){T, d});
        add(params, "user.offsets", 3, (const int64_t[]){n, T, d});
    }
}

size_t px_params_count(const px_config *config, const px_shape *shape, int64_t n_users) {
    const size_t base = config->full_finetune ? px_base_layout_of(shape).n : 0;
    const size_t row = (size_t)(config->user_tokens * shape->d), n = (size_t)n_users;
    size_t user = 0;
    if (config->user_model == PX_USER_BANK) user = (size_t)config->user_bank * (row + n);
    if (config->user_model == PX_USER_INDIVIDUAL) user = row * (1 + n);
    return base + px_lora_layout_of(config, shape, base).n + user;
}

px_err *px_params_new(const px_config *config, const px_shape *shape, int32_t n_users,
                      px_params **out) {
    px_arena *arena = NULL;
    const size_t room = (size_t)px_base_count(shape) + 14 * (size_t)shape->n_layers + 4;
    if (config->full_finetune && config->lora_r > 0)
        PX_FAIL(PX_BAD_INPUT, "full_finetune and lora.r %lld exclude one another; set lora.r to 0",
                (long long)config->lora_r);
    if (n_users < 1) PX_FAIL(PX_RUN_FAILED, "%d users; the generic one is always there", n_users);
    PX_PASS(px_arena_new(1 << 20, &arena));
    px_params *params = px_take(arena, px_params, 1);
    if (!params) {
        px_arena_free(arena);
        PX_NO_MEMORY();
    }
    *params = (px_params){.n_users = n_users,
                          .user_kind = config->user_model,
                          .mixing = config->user_mixing,
                          .d = shape->d,
                          .arena = arena};
    params->n_tokens = config->user_model == PX_USER_NONE ? 0 : config->user_tokens;
    params->bank = config->user_model == PX_USER_BANK ? config->user_bank : 0;
    params->params = px_take(arena, px_param, room);
    if (params->params) {
        if (config->full_finetune) add_base(params, shape);
        add_lora(params, config, shape);
        add_user(params);
        params->values = px_large_new(params->n, sizeof *params->values);
    }
    px_err *err = px_arena_ok(arena);
    if (!err && !params->values)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory: %zu values of 4 bytes",
                         params->n);
    if (err) {
        px_params_free(params);
        return px_err_add(err, __FILE__, __LINE__, "trainable parameters");
    }
    *out = params;
    return NULL;
}

void px_params_free(px_params *params) {
    if (!params) return;
    px_large_free(params->values);
    px_arena_free(params->arena);
}

const px_param *px_params_find(const px_params *params, const char *name) {
    for (int i = 0; i < params->n_params; i++)
        if (strcmp(params->params[i].name, name) == 0) return &params->params[i];
    return NULL;
}

px_err *px_params_sha256(const px_params *params, px_digest *out) {
    px_sha *sha = NULL;
    PX_PASS(px_sha_new(&sha));
    for (int i = 0; i < params->n_params; i++) {
        const px_param *p = &params->params[i];
        const int64_t rank = p->rank;
        px_sha_text(sha, p->name);
        px_sha_add(sha, &rank, sizeof rank);
        px_sha_add(sha, p->dims, (size_t)p->rank * sizeof p->dims[0]);
        px_sha_add(sha, params->values + p->offset, p->n * sizeof(float));
    }
    return px_sha_end(sha, out);
}

/* --- initial values --- */

/* A as PEFT: kaiming_uniform_ with a = sqrt(5), which is uniform in ±1/sqrt(in). The draw depends
 * on layer and linear layer alone, so an adapter starts the same whatever others are trained. */
static void init_lora(px_params *params, const px_config *config, const px_shape *shape) {
    const px_rng rng = {(uint64_t)config->seed, PX_RNG_LORA};
    char name[64];
    for (int64_t layer = 0; layer < shape->n_layers; layer++)
        for (int i = 0; i < PX_N_LINEAR; i++) {
            if (!px_target_on(config, i)) continue;
            snprintf(name, sizeof name, "lora.%lld.%s.A", (long long)layer, px_linear_names[i]);
            const px_param *p = px_params_find(params, name);
            const double bound = 1 / sqrt((double)px_linear_in(shape, i));
            for (size_t k = 0; p && k < p->n; k += 4) {
                const px_u32x4 u = px_rng_at(rng, (uint64_t)(layer * PX_N_LINEAR + i), k / 4);
                for (size_t j = 0; j < 4 && k + j < p->n; j++)
                    params->values[p->offset + k + j] =
                        (float)(bound * ((double)u.v[j] * 0x1p-31 - 1));
            }
        }
}

/* Each [d] of values[n_rows] is a row of the token table. a: which tensor the draw is for. */
static px_err *init_from_table(float *values, int64_t n_rows, uint64_t a, const px_config *config,
                               px_source *source) {
    const px_rng rng = {(uint64_t)config->seed, PX_RNG_BANK};
    const px_shape *shape = px_source_shape(source);
    for (int64_t i = 0; i < n_rows; i++) {
        const uint32_t row = px_rng_below(rng, a, (uint64_t)i, (uint32_t)shape->vocab);
        PX_PASS(px_source_rows(source, "model.embed_tokens.weight", row, 1, PX_F32,
                               values + i * shape->d));
    }
    return NULL;
}

static px_err *init_user(px_params *params, const px_config *config, px_source *source) {
    const bool reference = config->user_init == PX_INIT_REFERENCE;
    const int64_t T = params->n_tokens, d = params->d;
    if (params->user_kind == PX_USER_BANK) {
        const px_param *bank = px_params_find(params, "user.bank");
        const px_param *weights = px_params_find(params, "user.weights");
        const px_rng rng = {(uint64_t)config->seed, PX_RNG_WEIGHTS};
        PX_PASS(
            init_from_table(params->values + bank->offset, params->bank * T, 0, config, source));
        for (size_t i = 0; reference && i < weights->n; i++)
            params->values[weights->offset + i] = (float)px_rng_normal(rng, 0, i);
    } else if (params->user_kind == PX_USER_INDIVIDUAL) {
        const px_param *generic = px_params_find(params, "user.generic");
        const px_param *offsets = px_params_find(params, "user.offsets");
        PX_PASS(init_from_table(params->values + generic->offset, T, 0, config, source));
        if (reference) /* the generic user's own offset stays 0 */
            PX_PASS(init_from_table(params->values + offsets->offset + T * d,
                                    (params->n_users - 1) * T, 1, config, source));
    }
    return NULL;
}

static px_err *init_base(px_params *params, px_source *source) {
    for (int i = 0; i < source->n_base; i++) {
        const px_base_tensor *t = &source->base[i];
        const px_param *p = px_params_find(params, t->name);
        if (!p) PX_FAIL(PX_RUN_FAILED, "no parameter %s", t->name);
        PX_PASS(px_source_rows(source, t->name, 0, t->dims[0], PX_F32, params->values + p->offset));
        px_source_forget(source, t->name);
    }
    return NULL;
}

px_err *px_params_init(px_params *params, const px_config *config, px_source *source) {
    const px_shape *shape = px_source_shape(source);
    if (params->d != shape->d)
        PX_FAIL(PX_RUN_FAILED, "parameters of width %lld for a model of width %lld",
                (long long)params->d, (long long)shape->d);
    memset(params->values, 0, params->n * sizeof *params->values);
    if (config->full_finetune) PX_TRY(init_base(params, source), "initial values");
    init_lora(params, config, shape);
    PX_TRY(init_user(params, config, source), "initial values");
    return NULL;
}

/* optimizer.c - AdamW with a rate of its own for user parameters, and clipping by the global norm.
 * On a GPU values and moments lie on the card from the first step on; the host's are fetched for
 * checkpoints, and user parameters, which the host mixes into soft tokens, after each step. */
#include "train_internal.h"

#include <math.h>

px_err *px_optimizer_new(size_t n, px_optimizer *out) {
    *out = (px_optimizer){.n = n};
    out->m = px_large_new(n, sizeof *out->m);
    out->v = px_large_new(n, sizeof *out->v);
    if (out->m && out->v) return NULL;
    px_optimizer_free(out);
    PX_FAIL(PX_RUN_FAILED, "out of memory: two moments of %zu parameters", n);
}

static px_err *go_there(px_stream *s, const float *from, size_t n, float **there) {
    void *at = NULL;
    PX_PASS(px_memory_new(s, n * sizeof *from, &at));
    *there = at;
    px_memory_copy(s, at, from, n * sizeof *from);
    return NULL;
}

px_err *px_optimizer_enter(px_optimizer *o, px_stream *s, px_params *params) {
    if (!px_memory_is_apart(s)) return NULL;
    o->stream = s;
    o->params = params;
    PX_TRY(go_there(s, params->values, o->n, &params->there), "%zu parameters on the GPU", o->n);
    PX_TRY(go_there(s, o->m, o->n, &o->m_there), "a moment of %zu parameters on the GPU", o->n);
    PX_TRY(go_there(s, o->v, o->n, &o->v_there), "a moment of %zu parameters on the GPU", o->n);
    return px_stream_ok(s);
}

px_err *px_optimizer_fetch(px_optimizer *o) {
    if (!o->stream) return NULL;
    px_memory_copy(o->stream, o->params->values, o->params->there, o->n * sizeof *o->m);
    px_memory_copy(o->stream, o->m, o->m_there, o->n * sizeof *o->m);
    px_memory_copy(o->stream, o->v, o->v_there, o->n * sizeof *o->v);
    return px_stream_ok(o->stream);
}

void px_optimizer_free(px_optimizer *optimizer) {
    if (optimizer->stream) {
        px_memory_free(optimizer->stream, optimizer->m_there);
        px_memory_free(optimizer->stream, optimizer->v_there);
        px_memory_free(optimizer->stream, optimizer->params->there);
        optimizer->params->there = NULL;
    }
    px_large_free(optimizer->m);
    px_large_free(optimizer->v);
    *optimizer = (px_optimizer){0};
}

void px_optimizer_step(px_optimizer *optimizer, px_stream *s, px_params *params, const float *grads,
                       px_optim_step *io) {
    const px_config *config = io->config;
    double squares = 0;
    for (int i = 0; i < params->n_params; i++) {
        const px_param *p = &params->params[i];
        squares += px_op_sum_squares(s, grads + p->offset, (int64_t)p->n);
    }
    io->grad_norm = sqrt(squares);
    double limit = config->optim_max_grad_norm;
    /* As torch.nn.utils.clip_grad_norm_, its 1e-6 included. */
    double scale = limit > 0 ? PX_MIN(1.0, limit / (io->grad_norm + 1e-6)) : 1.0;
    io->learning_rate = px_schedule(config, config->optim_lr, io->step, io->total);
    double user_peak = config->optim_user_lr > 0 ? config->optim_user_lr : config->optim_lr;
    double user_rate = px_schedule(config, user_peak, io->step, io->total);
    float *values = params->there ? params->there : params->values;
    float *m = params->there ? optimizer->m_there : optimizer->m;
    float *v = params->there ? optimizer->v_there : optimizer->v;
    for (int i = 0; i < params->n_params; i++) {
        const px_param *p = &params->params[i];
        px_adamw adamw = {.lr = p->user ? user_rate : io->learning_rate,
                          .beta1 = config->optim_betas.v[0],
                          .beta2 = config->optim_betas.v[1],
                          .eps = config->optim_eps,
                          .weight_decay = p->decay ? config->optim_weight_decay : 0,
                          .step = io->step,
                          .grad_scale = scale};
        px_op_adamw(s, values + p->offset, m + p->offset, v + p->offset, grads + p->offset,
                    (int64_t)p->n, &adamw);
        if (params->there && p->user)
            px_memory_copy(s, params->values + p->offset, values + p->offset,
                           p->n * sizeof *values);
    }
}

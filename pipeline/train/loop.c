/* loop.c - the training loop. States: start (fresh or resumed) -> step … step -> stopped |
 * complete. A signal is looked for between steps and agreed on, so that every rank stops after the
 * same step. */
#include "train_internal.h"

#include <stdlib.h>
#include <string.h>

/* Held-out pairs of seen people, scored with their own embedding (or none): accuracy, margin, loss.
 */
static px_err *held_out_all(px_training *t, px_str *more) {
    const px_corpus *corpus = t->corpus;
    px_arena *arena = NULL;
    px_err *err = px_arena_new(65536, &arena);
    PX_PASS(px_agree_all(t->ranks, err));
    int32_t *pairs = px_take(arena, int32_t, corpus->n_pairs), n = 0;
    int32_t *users = px_take(arena, int32_t, corpus->n_pairs);
    double *logps = px_take(arena, double, 2, corpus->n_pairs);
    PX_PASS_TO(done, px_agree_all(t->ranks, px_arena_ok(arena)));
    for (int32_t p = 0; p < corpus->n_pairs && n < t->config->eval_pairs; p++) {
        const px_conv *conv = &corpus->convs[corpus->pairs[p].conv];
        if (conv->split != PX_SPLIT_SEEN) continue;
        users[n] = t->params->n_tokens > 0 ? t->rows.row_of_user[conv->user] : -1;
        pairs[n++] = p;
    }
    px_scorer scorer = {.ranks = t->ranks,
                        .config = t->config,
                        .corpus = t->corpus,
                        .model = t->model,
                        .params = t->params};
    if (n == 0) goto done;
    PX_PASS_TO(done, px_score_all(&scorer, pairs, users, n, "evaluation", logps));
    double right = 0, margin = 0, loss = 0;
    for (int32_t i = 0; i < n; i++) {
        const double *ref = t->reference + 2 * (int64_t)pairs[i];
        double reward[2], dh;
        const double h = px_pair_margin(t->config, &corpus->pairs[pairs[i]], logps + 2 * (int64_t)i,
                                        ref, reward);
        right += h > 0 ? 1 : h == 0 ? 0.5 : 0;
        margin += h;
        loss += px_loss((px_loss_kind)t->config->loss_type, h, t->config->loss_beta,
                        t->config->loss_label_smoothing, &dh);
    }
    px_str_text(more, ", \"eval_loss\": ");
    px_str_double(more, loss / n);
    px_str_text(more, ", \"eval_rewards/accuracies\": ");
    px_str_double(more, right / n);
    px_str_text(more, ", \"eval_rewards/margins\": ");
    px_str_double(more, margin / n);
    px_str_format(more, ", \"eval_pairs\": %d", n);
    px_info("step %lld: held-out accuracy %.3f, margin %.3f, loss %.4f on %d pairs",
            (long long)t->state.step, right / n, margin / n, loss / n, n);
    err = px_agree_all(t->ranks, px_str_ok(more));
done:
    px_arena_free(arena);
    return err;
}

static void show(px_training *t, px_progress *progress, const px_step_result *r) {
    double accuracy = r->has[0] ? r->accuracy[0] : r->accuracy[1];
    px_progress_at(progress, t->state.step, "loss %.4f acc %.3f %.0f tokens/s spread %.3g %.2f GB",
                   r->loss, accuracy, (double)r->n_tokens / PX_MAX(r->time_s, 1e-9), r->spread,
                   (double)px_peak_memory() / 1e9);
}

static px_err *write_line(px_training *t, const px_step_result *r, int32_t n_batches,
                          const char *more) {
    if (!t->metrics) return NULL;
    double epoch = (double)t->state.epoch + (double)t->state.batch / (double)n_batches;
    px_metrics_line line = {
        .state = &t->state, .result = r, .config = t->config, .epoch = epoch, .more = more};
    return px_metrics_write(t->metrics, &line);
}

static bool checkpoint_due(const px_training *t) {
    int64_t every = t->config->checkpoint_every;
    for (int i = 0; i < t->job->n_checkpoint_at; i++)
        if (t->job->checkpoint_at[i] == t->state.step) return t->state.step < t->state.total;
    return every > 0 && t->state.step % every == 0 && t->state.step < t->state.total;
}

/* One step with all that follows from it. */
static px_err *advance_all(px_training *t, const px_epoch *epoch, px_progress *progress) {
    px_step_result result;
    px_str more = {0};
    px_err *err = NULL;
    PX_PASS(px_trainer_step_all(t->trainer, epoch, t->state.batch, t->state.step + 1,
                                t->state.total, &result));
    t->state.step++;
    t->state.batch++;
    t->state.n_tokens += result.n_tokens;
    int64_t every = t->config->eval_every;
    if (every > 0 && t->state.step % every == 0) PX_PASS_TO(done, held_out_all(t, &more));
    err = write_line(t, &result, epoch->n_batches, more.data);
    PX_PASS_TO(done, px_agree_all(t->ranks, err));
    px_debug("step %lld: %.3f s, of it compute %.3f s, reduce %.3f s", (long long)t->state.step,
             result.time_s, result.compute_s, result.reduce_s);
    show(t, progress, &result);
    if (checkpoint_due(t)) PX_PASS_TO(done, px_training_checkpoint_all(t));
done:
    px_str_free(&more);
    return err;
}

static bool stop_wanted(const px_training *t) {
    int64_t after = t->job->stop_after;
    return after > 0 && t->state.step >= after && t->state.step < t->state.total;
}

static px_err *stop_all(px_training *t) {
    PX_PASS(px_training_checkpoint_all(t));
    px_err *err = t->ranks->rank == 0 ? px_training_manifest(t, "stopped") : NULL;
    PX_PASS(px_agree_all(t->ranks, err));
    PX_FAIL(PX_STOPPED, "by %s after step %lld of %lld; checkpoint written, --resume goes on",
            stop_wanted(t) ? "--stop-after" : "a signal", (long long)t->state.step,
            (long long)t->state.total);
}

static px_err *run_epoch_all(px_training *t, px_progress *progress) {
    px_epoch epoch;
    size_t mark = px_arena_mark(t->arena);
    PX_PASS(px_agree_all(t->ranks,
                         px_epoch_plan(t->corpus, t->config, t->state.epoch, t->arena, &epoch)));
    while (t->state.batch < epoch.n_batches && t->state.step < t->state.total) {
        PX_PASS(advance_all(t, &epoch, progress));
        px_energy_sample(&t->energy);
        if (px_any_all(t->ranks, px_signal_seen() != 0) && t->state.step < t->state.total)
            return stop_all(t);
        if (stop_wanted(t)) return stop_all(t);
    }
    px_arena_reset(t->arena, mark);
    if (t->state.step < t->state.total) {
        t->state.epoch++;
        t->state.batch = 0;
    }
    return NULL;
}

/* users.h5, adapter/ and the last manifest. Rank 0 alone. */
static px_err *write_results(px_training *t) {
    if (t->params->n_tokens > 0) PX_PASS(px_users_write(t->job->out_dir, t->params, t->rows.ids));
    if (t->config->lora_r > 0) {
        char *dir = px_path_join(t->job->out_dir, "adapter");
        if (!dir) PX_NO_MEMORY();
        px_err *err = px_export_peft(dir, t->params, t->config, &t->shape, t->job->model_path);
        free(dir);
        PX_PASS(err);
    }
    return px_training_manifest(t, "complete");
}

static px_err *run_all(px_training *t) {
    px_progress progress;
    px_progress_begin(&progress, "train", t->state.total, t->state.step);
    if (t->config->checkpoint_initial && t->state.step == 0) PX_PASS(px_training_checkpoint_all(t));
    bool worked = t->state.step < t->state.total;
    if (t->job->profile) px_profile_restart(t->stream);
    if (stop_wanted(t)) return stop_all(t); /* resumed where it was to stop */
    while (t->state.step < t->state.total) PX_PASS(run_epoch_all(t, &progress));
    if (worked)
        PX_PASS(px_training_checkpoint_all(t));
    else
        PX_PASS(px_agree_all(t->ranks, px_params_sha256(t->params, &t->params_sha256)));
    px_err *err = t->ranks->rank == 0 ? write_results(t) : NULL;
    PX_PASS(px_agree_all(t->ranks, err));
    px_memory_facts card;
    if (px_memory_facts_get(t->stream, &card))
        px_progress_end(&progress, t->state.step, "steps, %.2f GB, of the GPU %.2f GB",
                        (double)px_peak_memory() / 1e9, (double)card.held / 1e9);
    else
        px_progress_end(&progress, t->state.step, "steps, %.2f GB", (double)px_peak_memory() / 1e9);
    return NULL;
}

px_err *px_train_all(const px_ranks *ranks, const px_config *config, const px_train *job,
                     px_digest *params_sha256) {
    px_training t;
    px_err *err = px_training_start_all(ranks, config, job, &t);
    if (!err) err = run_all(&t);
    *params_sha256 = t.params_sha256;
    px_training_end(&t);
    return err;
}

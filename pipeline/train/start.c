/* start.c - from arguments to a run that is ready for its next step: the same way for a fresh run
 * and a resumed one. */
#include "gpus.h"
#include "train_internal.h"
#include "watch.h"

#include <stdlib.h>
#include <string.h>

/* A resumed run must have been asked for the same results. */
static px_err *check_same_config(const px_training *t) {
    px_config before;
    char *path = px_path_join(t->job->out_dir, "config.json");
    if (!path) PX_NO_MEMORY();
    px_err *err = px_config_init(&before);
    if (!err) err = px_config_read(&before, path);
    if (!err) {
        const char *key = px_config_differs(&before, t->config);
        if (key)
            err = px_err_new(
                PX_BAD_INPUT, __FILE__, __LINE__,
                "%s: the run was started with another %s: give the same, or another --out",
                t->job->out_dir, key);
        px_config_fini(&before);
    }
    free(path);
    return err;
}

static px_err *check_reduce(const px_config *config) {
    if (config->comm_reduce != PX_REDUCE_FAST_BF16 || config->device != PX_DEVICE_CPU) return NULL;
    PX_FAIL(PX_BAD_INPUT, "comm.reduce fast_bf16 is for GPUs; exact and fast are accepted here");
}

/* What the folder alone decides: refused, or *resumes: a run is there to go on with. Changes
 * nothing. */
static px_err *check_folder(const px_training *t, int *resumes) {
    const px_train *job = t->job;
    *resumes = 0;
    if (!px_path_exists(job->out_dir)) return NULL;
    if (!job->resume && !job->overwrite)
        PX_FAIL(PX_BAD_INPUT, "%s exists: --resume goes on with it, --overwrite begins anew",
                job->out_dir);
    char *config = px_path_join(job->out_dir, "config.json");
    if (!config) PX_NO_MEMORY();
    bool is_run = px_path_exists(config);
    free(config);
    PX_PASS(px_owner_look(job->out_dir));
    /* Only a folder that a run has made is removed: a mistyped path must not cost a home. */
    if (!job->resume && !is_run && px_path_is_dir(job->out_dir))
        PX_FAIL(PX_BAD_INPUT, "%s is not a run folder (no config.json): it is not removed",
                job->out_dir);
    *resumes = job->resume && is_run;
    return *resumes ? check_same_config(t) : NULL;
}

/* Rank 0: clears an existing folder where that is wanted, makes it. */
static px_err *open_folder(const px_training *t, int *resumes) {
    const px_train *job = t->job;
    PX_PASS(check_folder(t, resumes));
    if (job->overwrite && !job->resume && px_path_exists(job->out_dir))
        PX_PASS(px_dir_remove(job->out_dir));
    return px_dir_make(job->out_dir);
}

static px_err *write_config(const px_training *t) {
    char *path = px_path_join(t->job->out_dir, "config.json");
    if (!path) PX_NO_MEMORY();
    px_err *err = px_file_write(path, t->config_json, strlen(t->config_json));
    free(path);
    return err;
}

static px_err *check_disk(const px_training *t) {
    int64_t wanted = px_checkpoint_bytes(t->params) * (t->config->checkpoint_keep + 1) +
                     (int64_t)t->params->n * 8 + ((int64_t)1 << 20);
    int64_t bytes = px_disk_free(t->job->out_dir);
    if (bytes >= 0 && bytes < wanted)
        PX_FAIL(PX_RUN_FAILED,
                "%s: %.1f MB free, checkpoints need %.1f MB: free space or lower checkpoint.keep",
                t->job->out_dir, (double)bytes / 1e6, (double)wanted / 1e6);
    return NULL;
}

/* Between GPUs: memory that NCCL can register. */
static px_err *take_sums(px_training *t, int64_t bytes) {
    if (bytes == 0 || !px_gpus_exist()) return NULL;
    t->sums = px_gpus_memory_new((size_t)bytes);
    if (!t->sums)
        PX_FAIL(PX_RUN_FAILED, "%.3f GB of the GPU's memory are wanted for sums between GPUs",
                (double)bytes / 1e9);
    px_memory_elsewhere(t->stream, bytes);
    return NULL;
}

/* On a GPU: all that the run will take of it, at once and before anything is read. */
static px_err *reserve(px_training *t) {
    px_train_sizes sizes;
    px_str advice = {0};
    if (!px_memory_is_apart(t->stream)) return NULL;
    const int64_t soft = t->config->user_model == PX_USER_NONE ? 0 : t->config->user_tokens;
    PX_PASS(px_train_sizes_of(t->corpus, t->config, t->config->batch_slot_tokens - soft, t->arena,
                              &sizes));
    const px_train_card card = px_train_card_of(t->config, &t->shape, &sizes, t->ranks->size);
    t->rows_most = px_train_rows(t->config, &sizes);
    px_err *err = take_sums(t, card.sums);
    if (!err) err = px_memory_reserve(t->stream, (size_t)card.region, (size_t)card.scratch);
    if (!err) return NULL;
    px_memory_facts facts;
    px_err *none = px_train_sizes_of(t->corpus, t->config, 0, t->arena, &sizes);
    if (!none && px_memory_facts_get(t->stream, &facts))
        px_train_card_advice(
            t->config, &t->shape, &sizes, t->ranks->size,
            (double)(facts.card - facts.card_used + card.besides + (t->sums ? card.sums : 0)),
            &advice);
    err = px_err_add(err, __FILE__, __LINE__,
                     "the GPU's memory: weights %.3f GB, trainables %.3f, activations %.3f, "
                     "scratch %.3f%s",
                     (double)card.weights / 1e9, (double)card.trainables / 1e9,
                     (double)card.activations / 1e9, (double)card.scratch / 1e9,
                     advice.data ? advice.data : "");
    px_err_free(none);
    px_str_free(&advice);
    return err;
}

static px_err *read_model(px_training *t) {
    px_source *source = NULL;
    px_err *err = NULL;
    PX_PASS_TO(done, px_source_open(t->job->model_path, &source));
    t->shape = *px_source_shape(source);
    PX_PASS_TO(done, px_source_sha256(source, &t->weights_sha256));
    PX_PASS_TO(done, px_params_new(t->config, &t->shape, t->rows.n_rows, &t->params));
    PX_PASS_TO(done, px_params_init(t->params, t->config, source));
    PX_PASS_TO(done, px_optimizer_new(t->params->n, &t->optimizer));
    PX_PASS_TO(done, px_model_stream(t->config, t->job->threads, &t->stream));
    PX_PASS_TO(done, reserve(t));
    PX_PASS_TO(done, px_model_new(t->stream, source, t->config, PX_MODEL_TRAIN, &t->model));
done:
    px_source_close(source);
    return err;
}

static px_err *open_inputs(px_training *t) {
    PX_PASS(px_corpus_open(t->job->corpus_path, &t->corpus));
    PX_PASS(px_corpus_check_model(t->corpus, t->job->model_path));
    PX_PASS(px_rows_of(t->corpus, t->arena, &t->rows));
    t->reference = px_take(t->arena, double, 2, t->corpus->n_pairs);
    PX_PASS(px_arena_ok(t->arena));
    px_epoch epoch;
    size_t mark = px_arena_mark(t->arena);
    for (int64_t e = 0; e < t->config->train_epochs; e++) {
        PX_PASS(px_epoch_plan(t->corpus, t->config, e, t->arena, &epoch));
        t->state.total += epoch.n_batches;
        px_arena_reset(t->arena, mark);
        if (t->config->train_steps && t->state.total >= t->config->train_steps) break;
    }
    if (t->config->train_steps) t->state.total = PX_MIN(t->state.total, t->config->train_steps);
    if (t->state.total == 0) PX_FAIL(PX_BAD_INPUT, "%s has no training pairs", t->job->corpus_path);
    return read_model(t);
}

static px_err *config_text(px_training *t) {
    px_str text = {0};
    px_config_print(t->config, &text);
    px_str_char(&text, '\n');
    PX_PASS(px_str_ok(&text));
    t->config_json = text.data;
    return NULL;
}

static px_checkpoint checkpoint_of(px_training *t) {
    return (px_checkpoint){.dir = t->job->out_dir,
                           .params = t->params,
                           .m = t->optimizer.m,
                           .v = t->optimizer.v,
                           .ids = t->rows.ids,
                           .config_json = t->config_json,
                           .corpus_sha256 = t->corpus->sha256,
                           .weights_sha256 = t->weights_sha256.hex};
}

/* Every rank reads the newest checkpoint that is whole. */
static px_err *resume(px_training *t) {
    int64_t *steps = NULL, total = t->state.total;
    int n = 0;
    px_checkpoint ckpt = checkpoint_of(t);
    PX_PASS(px_checkpoint_list(t->job->out_dir, t->arena, &steps, &n));
    for (int i = 0; i < n; i++) {
        px_err *err = px_checkpoint_read(&ckpt, steps[i], &t->state);
        if (!err) {
            px_info("resuming after step %lld of %lld", (long long)t->state.step, (long long)total);
            t->state.total = total;
            return NULL;
        }
        if (i + 1 == n)
            return px_err_add(err, __FILE__, __LINE__, "no checkpoint of %s can be used",
                              t->job->out_dir);
        px_warn("%s; the checkpoint before it is used", px_err_text(err));
        px_err_free(err);
    }
    return NULL;
}

static px_err *start_reference_all(px_training *t) {
    px_scorer base = {
        .ranks = t->ranks, .config = t->config, .corpus = t->corpus, .model = t->model};
    px_reference io = {.weights_sha256 = t->weights_sha256.hex,
                       .dir = t->config->reference_cache,
                       .fallback_dir = t->job->out_dir};
    PX_PASS(px_reference_all(&base, &io, t->reference));
    t->reference_path = strdup(io.path);
    return NULL;
}

static px_err *start_trainer(px_training *t) {
    px_trainer_parts parts = {.ranks = t->ranks,
                              .config = t->config,
                              .corpus = t->corpus,
                              .model = t->model,
                              .stream = t->stream,
                              .params = t->params,
                              .optimizer = &t->optimizer,
                              .reference = t->reference,
                              .row_of_user = t->rows.row_of_user,
                              .rows_most = t->rows_most,
                              .sums = t->sums};
    PX_PASS(px_optimizer_enter(&t->optimizer, t->stream, t->params));
    if (t->config->full_finetune) PX_PASS(px_model_update(t->model, t->params));
    PX_PASS(px_trainer_new(&parts, &t->trainer));
    if (t->ranks->rank != 0) return NULL;
    return px_metrics_open(t->job->out_dir, t->state.step, t->config->log_tensorboard, &t->metrics);
}

px_err *px_training_checkpoint_all(px_training *t) {
    px_checkpoint ckpt = checkpoint_of(t);
    px_err *err = px_optimizer_fetch(&t->optimizer);
    if (!err && t->metrics) err = px_metrics_sync(t->metrics);
    PX_PASS(px_agree_all(t->ranks, err));
    return px_checkpoint_write_all(t->ranks, &ckpt, &t->state, t->config->checkpoint_keep,
                                   &t->params_sha256);
}

static px_err *start_folder_all(px_training *t, int *resumes) {
    px_err *err = t->ranks->rank == 0 ? open_folder(t, resumes) : NULL;
    PX_PASS(px_agree_all(t->ranks, err));
    PX_PASS(px_owner_take_all(t->ranks, t->job->out_dir, &t->owner));
    if (t->ranks->rank == 0 && !*resumes) err = write_config(t);
    PX_PASS(px_agree_all(t->ranks, err));
    PX_PASS(px_watch_folder_all(t->ranks, t->job->out_dir));
    px_heartbeat_start(t->owner, t->state.total);
    px_watch(t->ranks, "start", 0);
    px_bcast_all(t->ranks, resumes, sizeof *resumes, 0);
    return NULL;
}

px_err *px_training_start_all(const px_ranks *ranks, const px_config *config, const px_train *job,
                              px_training *t) {
    int resumes = 0;
    *t = (px_training){.ranks = ranks, .config = config, .job = job, .start_s = px_now_s()};
    if (ranks->rank == 0) px_energy_start("", &t->energy);
    /* Before the model is read, which may take minutes; nothing is changed until it has been. */
    px_err *err = ranks->rank == 0 ? check_reduce(config) : NULL;
    if (!err && ranks->rank == 0) err = check_folder(t, &resumes);
    PX_PASS(px_agree_all(ranks, err));
    err = px_arena_new(65536, &t->arena);
    if (!err) err = config_text(t);
    if (!err) err = open_inputs(t);
    PX_PASS(px_agree_all(ranks, err));
    PX_PASS(start_folder_all(t, &resumes));
    err = ranks->rank == 0 ? check_disk(t) : NULL;
    if (!err && resumes) err = resume(t);
    if (!err && ranks->rank == 0 && t->state.step < t->state.total)
        err = px_starts_count(job->out_dir, t->state.step);
    PX_PASS(px_agree_all(ranks, err));
    PX_PASS(start_reference_all(t));
    PX_PASS(px_agree_all(ranks, start_trainer(t)));
    PX_PASS(px_trainer_connect_all(t->trainer));
    return px_training_record_all(t, resumes);
}

void px_training_end(px_training *t) {
    px_metrics_close(t->metrics);
    px_trainer_free(t->trainer);
    px_optimizer_free(&t->optimizer);
    px_params_free(t->params);
    px_model_free(t->model);
    px_gpus_memory_free(t->sums);
    px_stream_close(t->stream);
    px_corpus_close(t->corpus);
    cJSON_Delete(t->manifest);
    cJSON_Delete(t->hosts);
    free(t->config_json);
    free(t->reference_path);
    px_arena_free(t->arena);
    px_watch_folder_end(t->ranks);
    px_owner_drop(t->owner);
    *t = (px_training){0};
}

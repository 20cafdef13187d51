/* reference_make.c - the reference cache alone: what a training does before its first step, for
 * jobs and sweeps whose trainings share it. */
#include "score.h"

typedef struct {
    px_corpus *corpus;
    px_arena *arena;
    px_stream *stream;
    px_model *model;
    px_digest weights_sha256;
    double *logps;
} making;

static px_err *making_open(const px_reference_job *job, const px_config *config, making *m) {
    px_source *source = NULL;
    px_err *err = NULL;
    PX_PASS(px_arena_new(65536, &m->arena));
    PX_PASS(px_corpus_open(job->corpus_path, &m->corpus));
    PX_PASS(px_corpus_check_model(m->corpus, job->model_path));
    m->logps = px_take(m->arena, double, 2, m->corpus->n_pairs);
    PX_PASS(px_arena_ok(m->arena));
    PX_PASS_TO(done, px_source_open(job->model_path, &source));
    PX_PASS_TO(done, px_source_sha256(source, &m->weights_sha256));
    PX_PASS_TO(done, px_model_stream(config, job->threads, &m->stream));
    PX_PASS_TO(done,
               px_score_reserve(m->stream, config, px_source_shape(source), m->corpus, false));
    err = px_model_new(m->stream, source, config, 0, &m->model);
done:
    px_source_close(source);
    return err;
}

px_err *px_reference_make_all(const px_ranks *ranks, const px_config *config,
                              const px_reference_job *job, px_reference *io) {
    making m = {0};
    px_err *err = px_agree_all(ranks, making_open(job, config, &m));
    if (!err) {
        px_scorer base = {.ranks = ranks, .config = config, .corpus = m.corpus, .model = m.model};
        *io =
            (px_reference){.weights_sha256 = m.weights_sha256.hex, .dir = config->reference_cache};
        err = px_reference_all(&base, io, m.logps);
        io->weights_sha256 = NULL;
    }
    /* For a training a cache that cannot be kept is a warning; here it is all there is to do. */
    int kept = err || px_path_exists(io->path);
    px_bcast_all(ranks, &kept, sizeof kept, 0);
    if (!err && !kept)
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         "the reference log-probabilities could not be kept (see the warning "
                         "above): reference.cache names another folder");
    px_model_free(m.model);
    px_stream_close(m.stream);
    px_corpus_close(m.corpus);
    px_arena_free(m.arena);
    return err;
}

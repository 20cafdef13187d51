/* precision.c - what a smaller precision of the weights costs: log-probabilities of one fixed text.
 */
#include <math.h>
#include <stdlib.h>

#include "engine.h"

enum { TOKENS_MOST = 512 };

/* Plain prose on several matters, so that every model has seen its like. */
static const char sample_text[] =
    "The river rose for three days before it reached the lower town. On the first morning people "
    "stood on the bridge and watched the brown water carry branches, a door, and once a whole tree "
    "past them. By the second evening the shops along the quay had been emptied, and the council "
    "met in the school because the town hall was already wet. Nobody had died, the mayor said, but "
    "the bakery would not open again this year.\n\n"
    "To measure how fast the water moved, an engineer dropped a stick from the bridge and counted. "
    "The distance to the mill is 120 metres; the stick took 48 seconds, so the surface ran at two "
    "and a half metres a second, twice what the old wall was built for. She wrote down three "
    "things "
    "to do: raise the wall by half a metre, clear the channel behind the mill, and pay farmers "
    "upstream to let their meadows flood.\n\n"
    "\"Why should we pay them?\" asked a man at the back. \"Because it is cheaper than a wall,\" "
    "she "
    "said, \"and because a meadow recovers in a season while a house does not.\" There was a long "
    "silence. Then someone laughed, someone else began to clap, and the meeting went on until "
    "midnight.";

static double logp_of(const float *logits, int64_t vocab, int32_t id) {
    double lse = 0;
    px_best(logits, vocab, NULL, 0, &lse);
    return (double)logits[id] - lse;
}

/* logps [n - 1] of ids[1 …]. */
static px_err *text_logps(px_model *model, const int32_t *ids, int32_t n, double *logps) {
    const int64_t vocab = px_model_shape(model)->vocab;
    int32_t pages[TOKENS_MOST / PX_PAGE + 1], rows[TOKENS_MOST];
    px_pass *pass = NULL;
    px_cache *cache = NULL;
    px_err *err = NULL;
    float *logits = malloc((size_t)(n * vocab) * sizeof *logits);
    if (!logits) PX_NO_MEMORY();
    for (int32_t i = 0; i <= n / PX_PAGE; i++) pages[i] = i;
    for (int32_t i = 0; i < n; i++) rows[i] = i;
    const px_stretch whole = {0, n, 0, pages};
    px_step step = {
        .stretches = &whole, .n_stretches = 1, .n = n, .ids = ids, .rows = rows, .n_rows = n};
    PX_PASS_TO(done, px_pass_new(model, n, n, 0, false, &pass));
    PX_PASS_TO(done, px_model_cache(model, n / PX_PAGE + 1, &cache));
    step.cache = cache;
    PX_PASS_TO(done, px_model_step(model, pass, &step, NULL, logits));
    for (int32_t i = 0; i + 1 < n; i++) logps[i] = logp_of(logits + i * vocab, vocab, ids[i + 1]);
done:
    px_cache_free(cache);
    px_pass_free(pass);
    free(logits);
    return err;
}

static px_err *one_precision(const char *path, int precision, int threads, const px_ids *ids,
                             double *logps) {
    px_config config;
    px_source *source = NULL;
    px_stream *stream = NULL;
    px_model *model = NULL;
    PX_PASS(px_config_init(&config));
    config.precision = precision;
    px_err *err = px_source_open(path, &source);
    if (!err) err = px_stream_open("cpu", threads, &stream);
    if (!err) err = px_model_new(stream, source, &config, PX_MODEL_GENERATE, &model);
    if (!err) err = text_logps(model, ids->ids, ids->n, logps);
    px_model_free(model);
    px_stream_close(stream);
    px_source_close(source);
    px_config_fini(&config);
    return err;
}

px_err *px_precision_losses(const char *model_path, int threads, px_precision_loss out[4]) {
    px_tokenizer *tok = NULL;
    px_ids ids = {0};
    px_err *err = NULL;
    double logps[2][TOKENS_MOST];
    static const int order[] = {PX_PRECISION_F32, PX_PRECISION_BF16, PX_PRECISION_Q8_0,
                                PX_PRECISION_Q4_1};
    static const char *const names[] = {"f32", "bf16", "q8_0", "q4_1"};
    PX_PASS_TO(done, px_tokenizer_open(model_path, &tok));
    PX_PASS_TO(done, px_encode(tok, sample_text, sizeof sample_text - 1, false, &ids));
    ids.n = PX_MIN(ids.n, TOKENS_MOST);
    for (int k = 0; k < 4; k++) {
        double *mine = logps[k > 0], sum = 0, apart = 0;
        PX_PASS_TO(done, one_precision(model_path, order[k], threads, &ids, mine));
        for (int32_t i = 0; i + 1 < ids.n; i++) {
            sum += mine[i];
            apart += fabs(mine[i] - logps[0][i]);
        }
        out[k] = (px_precision_loss){names[k], ids.n - 1, sum / (ids.n - 1), apart / (ids.n - 1)};
    }
done:
    px_ids_free(&ids);
    px_tokenizer_close(tok);
    return err;
}

/* fuzz_corpus.c - a corpus file that may be damaged: opened, and every conversation made into a
 * unit and laid out for the model. An input that begins as HDF5 does is the file itself. Others
 * describe one, a byte a number, that is written with a fitting checksum: so the fuzzer also gets
 * behind the checksum, where indices and trees are believed or not. */
#include "fuzz.h"
#include "fuzz_files.h"
#include "prepare.h"
#include "score.h"

enum { USERS_MOST = 7, CONVS_MOST = 7, PAIRS_MOST = 15, NODES_MOST = 63 };

typedef struct {
    const char *user_ids[USERS_MOST];
    char names[USERS_MOST][2];
    uint8_t unseen[USERS_MOST];
    px_conv convs[CONVS_MOST];
    px_pair pairs[PAIRS_MOST];
    int32_t token[NODES_MOST], parent[NODES_MOST];
    px_corpus_draft draft;
} described;

static void describe(px_fuzz_bytes *in, described *d) {
    px_corpus *t = &d->draft.tables;
    *t = (px_corpus){.tokenizer_sha256 = "t",
                     .template_name = "chatml",
                     .template_sha256 = "h",
                     .config_json = "{}",
                     .user_ids = d->user_ids,
                     .user_unseen = d->unseen,
                     .convs = d->convs,
                     .pairs = d->pairs};
    t->n_users = px_fuzz_next(in) & USERS_MOST;
    t->n_convs = px_fuzz_next(in) & CONVS_MOST;
    t->n_pairs = px_fuzz_next(in) & PAIRS_MOST;
    d->draft.n_nodes = px_fuzz_next(in) & NODES_MOST;
    t->soft_after = px_fuzz_next(in);
    for (int32_t u = 0; u < t->n_users; u++) {
        d->names[u][0] = (char)(px_fuzz_next(in) & 127);
        d->user_ids[u] = d->names[u];
        d->unseen[u] = (uint8_t)px_fuzz_next(in);
    }
    for (px_conv *c = d->convs; c < d->convs + t->n_convs; c++) {
        c->id = "c";
        c->user = px_fuzz_next(in);
        c->type = (px_conv_type)px_fuzz_next(in);
        c->split = (px_split)px_fuzz_next(in);
        c->first_pair = px_fuzz_next(in);
        c->n_pairs = px_fuzz_next(in);
        c->first_node = px_fuzz_next(in);
        c->n_nodes = px_fuzz_next(in);
    }
    for (px_pair *p = d->pairs; p < d->pairs + t->n_pairs; p++)
        for (size_t k = 0; k < sizeof *p / sizeof(int32_t); k++)
            ((int32_t *)(void *)p)[k] = px_fuzz_next(in); /* a pair is numbers of 32 bits */
    for (int64_t i = 0; i < d->draft.n_nodes; i++) {
        d->token[i] = px_fuzz_next(in);
        d->parent[i] = px_fuzz_next(in);
    }
    d->draft.token = d->token;
    d->draft.parent = d->parent;
}

/* With each token's log-probability 1, a response's is the number of its tokens. */
static void use_unit(px_corpus *corpus, const px_unit *unit, px_arena *arena) {
    px_work *work = NULL;
    double *ones, *sums = px_take(arena, double, 2, unit->n_pairs);
    PX_FUZZ_HOLDS(px_fuzz_opened(px_work_build(corpus, &unit, 1, NULL, arena, &work)));
    const px_slot *slot = px_work_slot(work);
    ones = px_take(arena, double, slot->targets.n);
    PX_FUZZ_HOLDS(sums && ones && slot->n == unit->tree.n && slot->n_rows <= slot->n);
    for (int32_t i = 0; i < slot->targets.n; i++) ones[i] = 1;
    px_work_logps(work, ones, sums);
    for (int32_t p = 0; p < unit->n_pairs; p++) {
        const px_pair *pair = &corpus->pairs[unit->pairs[p]];
        PX_FUZZ_HOLDS(sums[2 * p] == pair->chosen_tokens);
        PX_FUZZ_HOLDS(sums[2 * p + 1] == pair->rejected_tokens);
    }
}

static void use(px_corpus *corpus) {
    px_arena *arena = NULL;
    PX_FUZZ_HOLDS(px_fuzz_opened(px_arena_new(1 << 14, &arena)));
    for (int32_t c = 0; c < corpus->n_convs; c++) {
        const px_conv *conv = &corpus->convs[c];
        px_unit unit;
        px_arena_reset(arena, 0);
        PX_FUZZ_HOLDS(*corpus->user_ids[conv->user] && corpus->user_unseen[conv->user] <= 1);
        int32_t *pairs = px_take(arena, int32_t, conv->n_pairs);
        PX_FUZZ_HOLDS(pairs);
        for (int32_t i = 0; i < conv->n_pairs; i++) pairs[i] = conv->first_pair + i;
        if (px_fuzz_opened(px_unit_build(corpus, pairs, conv->n_pairs, -1, 0, arena, &unit)))
            use_unit(corpus, &unit, arena);
    }
    px_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = px_fuzz_path("corpus.h5");
    px_corpus *corpus = NULL;
    if (size > 0 && data[0] == PX_FUZZ_HDF5) {
        px_fuzz_write(path, data, size);
    } else {
        px_fuzz_bytes in = {.data = data, .size = size};
        described d = {0};
        px_digest sha;
        describe(&in, &d);
        if (!px_fuzz_opened(px_corpus_write(path, &d.draft, &sha))) return 0;
    }
    if (px_fuzz_opened(px_corpus_open(path, &corpus))) use(corpus);
    px_corpus_close(corpus);
    return 0;
}

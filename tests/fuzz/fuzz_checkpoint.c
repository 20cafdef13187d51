/* fuzz_checkpoint.c - a checkpoint that may be damaged: refused, or every number in it is the
 * parameters'. An input that begins as HDF5 does is the file itself. Others describe one, a byte a
 * number, that is written with a fitting checksum: tensors missing, of another shape or type, not
 * finite; other people, another place in the run. */
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "fuzz_files.h"
#include "run.h"

enum { N_USERS = 3, STEP = 2, IDS_MOST = 7 };
typedef enum { AS_IT_IS, MISSING, WIDER, FLATTER, DOUBLES, WHOLE, NOT_A_NUMBER, INFINITE } twist;

static const char *const groups[] = {"trainable", "optim/m", "optim/v"};
static const char *const ids[IDS_MOST] = {"", "u1", "u2", "u3", "u4", "u5", "u6"};

typedef struct {
    px_params *params;
    float *m, *v;
} state;

static void state_new(state *s) {
    static const px_shape shape = {.vocab = 8,
                                   .d = 4,
                                   .n_layers = 1,
                                   .n_heads = 1,
                                   .n_kv_heads = 1,
                                   .head_dim = 4,
                                   .ffn = 4,
                                   .max_positions = 8};
    px_config config;
    PX_FUZZ_HOLDS(px_fuzz_opened(px_config_init(&config)));
    config.user_model = PX_USER_BANK;
    config.user_tokens = config.user_bank = 2;
    config.lora_r = 1;
    config.lora_targets = 1u << PX_Q;
    PX_FUZZ_HOLDS(px_fuzz_opened(px_params_new(&config, &shape, N_USERS, &s->params)));
    px_config_fini(&config);
    s->m = calloc(s->params->n, sizeof *s->m);
    s->v = calloc(s->params->n, sizeof *s->v);
    PX_FUZZ_HOLDS(s->m && s->v);
}

static void state_free(state *s) {
    px_params_free(s->params);
    free(s->m);
    free(s->v);
}

static float *part_of(const state *s, int group) {
    return group == 0 ? s->params->values : group == 1 ? s->m : s->v;
}

/* Whether the tensor is written as it is wanted. */
static bool write_tensor(px_h5 *h5, const char *group, const px_param *p, float *values,
                         px_fuzz_bytes *in) {
    static double wide[64];
    static int32_t whole[64];
    char name[96];
    int64_t dims[4];
    twist how = (twist)(px_fuzz_next(in) & 7);
    snprintf(name, sizeof name, "/%s/%s", group, p->name);
    memcpy(dims, p->dims, sizeof dims);
    PX_FUZZ_HOLDS(p->n <= PX_COUNT(wide) / 2);
    for (size_t i = 0; i < p->n; i++) {
        whole[i] = px_fuzz_next(in);
        wide[i] = whole[i];
        values[i] = (float)wide[i];
    }
    if (how == MISSING) return false;
    if (how == NOT_A_NUMBER) values[p->n - 1] = NAN;
    if (how == INFINITE) values[0] = -INFINITY;
    if (how == WIDER) dims[p->rank - 1]++;
    if (how == FLATTER) dims[0] = (int64_t)p->n;
    px_h5_type type = how == DOUBLES || how == WIDER ? PX_H5_F64
                      : how == WHOLE                 ? PX_H5_I32
                                                     : PX_H5_F32;
    const void *data = type == PX_H5_F64   ? (void *)wide
                       : type == PX_H5_I32 ? (void *)whole
                                           : (void *)values;
    int rank = how == FLATTER ? 1 : p->rank;
    PX_FUZZ_HOLDS(px_fuzz_opened(px_h5_write(h5, name, type, rank, dims, data)));
    return how == AS_IT_IS || how == DOUBLES || how == WHOLE;
}

static bool write_attributes(px_h5 *h5, const px_params *params, px_fuzz_bytes *in) {
    static const char *const names[] = {"format", "step", "epoch", "position", "n_tokens", "total"};
    static const int64_t usual[] = {1, STEP, 0, 0, 0, 0};
    px_digest digest;
    bool good = true;
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        int64_t value = usual[i] + px_fuzz_next(in);
        good = good && (i < 2 ? value == usual[i] : value >= 0 || i == 5);
        PX_FUZZ_HOLDS(px_fuzz_opened(px_h5_write_attr_i64(h5, "/", names[i], value)));
    }
    PX_FUZZ_HOLDS(px_fuzz_opened(px_params_sha256(params, &digest)));
    const int slip = px_fuzz_next(in) & 3; /* of corpus, weights or content */
    PX_FUZZ_HOLDS(px_fuzz_opened(
        px_h5_write_attr_text(h5, "/", "corpus_sha256", slip == 1 ? "another" : "corpus")));
    PX_FUZZ_HOLDS(px_fuzz_opened(
        px_h5_write_attr_text(h5, "/", "weights_sha256", slip == 2 ? "another" : "weights")));
    PX_FUZZ_HOLDS(px_fuzz_opened(
        px_h5_write_attr_text(h5, "/", "sha256", slip == 3 ? "another" : digest.hex)));
    return good && slip == 0;
}

/* Writes what `in` describes into `path` and `s`; whether it is a good checkpoint. */
static bool write_described(const char *path, px_fuzz_bytes *in, state *s) {
    px_h5 *h5 = NULL;
    bool good = true;
    PX_FUZZ_HOLDS(px_fuzz_opened(px_h5_create(path, &h5)));
    for (int group = 0; group < 3; group++)
        for (int i = 0; i < s->params->n_params; i++) {
            const px_param *p = &s->params->params[i];
            good &= write_tensor(h5, groups[group], p, part_of(s, group) + p->offset, in);
        }
    int n_ids = PX_MIN((px_fuzz_next(in) ^ N_USERS) & 7, IDS_MOST);
    int first_id = px_fuzz_next(in) & 1; /* 1: other people */
    n_ids = PX_MAX(1, PX_MIN(n_ids, IDS_MOST - first_id));
    PX_FUZZ_HOLDS(px_fuzz_opened(px_h5_write_texts(h5, "/ids", ids + first_id, n_ids)));
    good &= n_ids == N_USERS && first_id == 0;
    good &= write_attributes(h5, s->params, in);
    PX_FUZZ_HOLDS(px_fuzz_opened(px_h5_publish(h5)));
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const bool is_file = size > 0 && data[0] == PX_FUZZ_HDF5;
    char dir[64];
    bool good = false;
    state wrote = {0}, got = {0};
    px_state place;
    state_new(&wrote);
    state_new(&got);
    PX_FUZZ_HOLDS(px_fuzz_opened(px_dir_make(px_fuzz_path("checkpoints"))));
    snprintf(dir, sizeof dir, "%s", px_fuzz_folder_);
    char *path = px_checkpoint_path(dir, STEP);
    PX_FUZZ_HOLDS(path);
    if (is_file) {
        px_fuzz_write(path, data, size);
    } else {
        px_fuzz_bytes in = {.data = data, .size = size};
        good = write_described(path, &in, &wrote);
    }
    px_checkpoint ckpt = {.dir = dir,
                          .params = got.params,
                          .m = got.m,
                          .v = got.v,
                          .ids = ids,
                          .corpus_sha256 = "corpus",
                          .weights_sha256 = "weights"};
    bool opened = px_fuzz_opened(px_checkpoint_read(&ckpt, STEP, &place));
    PX_FUZZ_HOLDS(is_file || opened == good);
    for (int group = 0; opened && group < 3; group++)
        for (size_t i = 0; i < got.params->n; i++) {
            float value = part_of(&got, group)[i];
            PX_FUZZ_HOLDS(isfinite(value) && (is_file || value == part_of(&wrote, group)[i]));
        }
    PX_FUZZ_HOLDS(!opened || (place.step == STEP && place.batch >= 0));
    state_free(&wrote);
    state_free(&got);
    free(path);
    return 0;
}

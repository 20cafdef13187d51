/* corpus_write.c - the corpus file, by one rank. */
#include "corpus_internal.h"

#include <stdlib.h>
#include <string.h>

static px_err *write_column(px_h5 *h5, const char *group, const px_column *column, int32_t n,
                            const void *rows, size_t row_size) {
    char name[64];
    snprintf(name, sizeof name, "%s/%s", group, column->name);
    char *values = malloc(((size_t)n + 1) * column->size);
    if (!values) PX_NO_MEMORY();
    for (int32_t i = 0; i < n; i++)
        memcpy(values + (size_t)i * column->size,
               (const char *)rows + (size_t)i * row_size + column->offset, column->size);
    int64_t dims[1] = {n};
    px_err *err = px_h5_write(h5, name, column->size == 8 ? PX_H5_I64 : PX_H5_I32, 1, dims, values);
    free(values);
    return err;
}

static px_err *write_tables(px_h5 *h5, const px_corpus *t) {
    int64_t dims[1] = {t->n_users};
    PX_PASS(px_h5_write_texts(h5, "/users/ids", t->user_ids, t->n_users));
    PX_PASS(px_h5_write(h5, "/users/unseen", PX_H5_U8, 1, dims, t->user_unseen));
    const char **ids = malloc(((size_t)t->n_convs + 1) * sizeof *ids);
    if (!ids) PX_NO_MEMORY();
    for (int32_t c = 0; c < t->n_convs; c++) ids[c] = t->convs[c].id;
    px_err *err = px_h5_write_texts(h5, "/convs/ids", ids, t->n_convs);
    free(ids);
    PX_PASS(err);
    int n;
    const px_column *columns = px_corpus_conv_columns(&n);
    for (int k = 0; k < n; k++)
        PX_PASS(write_column(h5, "/convs", &columns[k], t->n_convs, t->convs, sizeof *t->convs));
    columns = px_corpus_pair_columns(&n);
    for (int k = 0; k < n; k++)
        PX_PASS(write_column(h5, "/pairs", &columns[k], t->n_pairs, t->pairs, sizeof *t->pairs));
    return NULL;
}

static px_err *write_header(px_h5 *h5, const px_corpus *t, const px_digest *sha) {
    const struct {
        const char *name, *text;
    } texts[] = {{"format", PX_CORPUS_FORMAT},   {"tokenizer_sha256", t->tokenizer_sha256},
                 {"template", t->template_name}, {"template_sha256", t->template_sha256},
                 {"config", t->config_json},     {"sha256", sha->hex}};
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        PX_PASS(px_h5_write_attr_text(h5, "/", texts[i].name, texts[i].text));
    PX_PASS(px_h5_write_attr_i64(h5, "/", "version", PX_CORPUS_VERSION));
    return px_h5_write_attr_i64(h5, "/", "soft_after", t->soft_after);
}

px_err *px_corpus_write(const char *path, const px_corpus_draft *draft, px_digest *sha) {
    px_err *err = NULL;
    px_h5 *h5 = NULL;
    px_sha *hash;
    size_t bytes = (size_t)draft->n_nodes * sizeof(int32_t);
    PX_PASS(px_corpus_sha_tables(&draft->tables, &hash));
    px_sha_add(hash, draft->token, bytes);
    px_sha_add(hash, draft->parent, bytes);
    PX_PASS(px_sha_end(hash, sha));
    int64_t dims[1] = {draft->n_nodes};
    PX_TRY_TO(done, px_h5_create(path, &h5), "corpus %s", path);
    PX_TRY_TO(done, write_tables(h5, &draft->tables), "corpus %s", path);
    PX_TRY_TO(done, px_h5_write(h5, "/nodes/token", PX_H5_I32, 1, dims, draft->token), "corpus %s",
              path);
    PX_TRY_TO(done, px_h5_write(h5, "/nodes/parent", PX_H5_I32, 1, dims, draft->parent),
              "corpus %s", path);
    PX_TRY_TO(done, write_header(h5, &draft->tables, sha), "corpus %s", path);
    px_h5 *whole = h5;
    h5 = NULL;
    PX_TRY_TO(done, px_h5_publish(whole), "corpus %s", path);
done:
    px_h5_close(h5);
    return err;
}

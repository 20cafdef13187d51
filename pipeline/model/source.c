/* source.c - see model.h: one face for a Hugging Face folder and a GGUF file. All tensors that the
 * shape asks for are there with the right dimensions once a source is open, and no others that
 * would change the computation. */
#include <stdlib.h>
#include <string.h>

#include "model_internal.h"

/* A tensor that may lie in a file without belonging to the computation. */
static bool is_idle(const px_source *source, const char *name) {
    if (source->gguf) return strcmp(name, "rope_freqs.weight") == 0;
    return strstr(name, ".rotary_emb.inv_freq") || strcmp(name, "lm_head.weight") == 0;
}

static px_err *strangers_check(const px_source *source, px_map *used) {
    for (int i = 0; i < px_source_count(source); i++) {
        const char *name = px_source_at(source, i)->name;
        if (px_map_find(used, name, strlen(name), -1) >= 0 || is_idle(source, name)) continue;
        PX_FAIL(
            PX_BAD_INPUT,
            "%s: tensor %s has no place in a Llama model of %lld layers (biases, experts and other "
            "architectures are not read)",
            source->path, name, (long long)source->shape.n_layers);
    }
    return NULL;
}

static px_err *tensor_check(const px_source *source, const px_base_tensor *want, const char *name,
                            const px_tensor *got) {
    const bool same = got && got->rank == want->rank && got->dims[0] == want->dims[0] &&
                      (want->rank == 1 || got->dims[1] == want->dims[1]);
    px_str text = {0};
    if (same && got->type != PX_T_OTHER) return NULL;
    px_str_format(&text, "%s: tensor %s", source->path, name);
    if (!got) {
        px_str_text(&text, " is missing");
    } else if (!same) {
        px_str_text(&text, " has the dimensions [");
        for (int i = 0; i < got->rank; i++)
            px_str_format(&text, "%s%lld", i ? ", " : "", (long long)got->dims[i]);
        px_str_text(&text, "]");
    } else {
        px_str_format(&text, " is of the type %s, which is not read", got->type_name);
    }
    px_str_format(&text, want->rank == 1 ? "; expected [%lld]" : "; expected [%lld, %lld]",
                  (long long)want->dims[0], (long long)want->dims[1]);
    px_err *err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s", text.data ? text.data : name);
    px_str_free(&text);
    return err;
}

/* Finds every tensor of the shape in the file. */
static px_err *tensors_find(px_source *source) {
    px_err *err = NULL;
    px_map used = {0};
    source->n_base = px_base_count(&source->shape);
    source->base = calloc((size_t)source->n_base, sizeof *source->base);
    source->tensors = calloc((size_t)source->n_base, sizeof *source->tensors);
    if (!source->base || !source->tensors) PX_NO_MEMORY();
    for (int i = 0; i < source->n_base; i++) {
        px_base_tensor *want = &source->base[i];
        char name[80];
        *want = px_base_at(&source->shape, i);
        if (source->gguf)
            px_base_gguf_name(want, name);
        else
            memcpy(name, want->name, sizeof name);
        const px_tensor *got = source->gguf ? px_gguf_find(source->gguf, name)
                                            : px_safetensors_find(source->folder, name);
        PX_PASS_TO(done, tensor_check(source, want, name, got));
        source->tensors[i] = got;
        PX_PASS_TO(done, px_map_set(&used, got->name, strlen(got->name), i));
        PX_PASS_TO(done, px_map_set(&source->names, want->name, strlen(want->name), i));
    }
    err = strangers_check(source, &used);
done:
    px_map_free(&used);
    return err;
}

static px_err *folder_open(px_source *source) {
    px_err *err = NULL;
    char *path = px_path_join(source->path, "config.json");
    if (!path) PX_NO_MEMORY();
    if (!px_path_exists(path))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: no config.json; a Hugging Face model folder has one",
                   source->path);
    PX_PASS_TO(done, px_json_read(path, false, &source->config));
    PX_PASS_TO(done, px_config_json_shape(source->config, path, &source->shape));
    err = px_safetensors_open(source->path, &source->folder);
done:
    free(path);
    return err;
}

static px_err *source_new(const char *path, px_source **out) {
    px_source *source = calloc(1, sizeof *source);
    if (!source || !(source->path = strdup(path))) {
        free(source);
        PX_NO_MEMORY();
    }
    *out = source;
    return NULL;
}

px_err *px_source_of_gguf(px_gguf *file, px_source **out) {
    px_source *source = NULL;
    px_err *err = source_new(px_gguf_path(file), &source);
    if (err) {
        px_gguf_close(file);
        return err;
    }
    source->gguf = file;
    err = px_gguf_shape(file, &source->shape, &source->rope_factors);
    if (!err) err = tensors_find(source);
    if (err)
        px_source_close(source);
    else
        *out = source;
    return err;
}

px_err *px_source_open(const char *path, px_source **out) {
    px_source *source = NULL;
    if (!path || !*path)
        PX_FAIL(PX_BAD_INPUT, "no model given: a Hugging Face folder or a GGUF file is expected");
    if (!px_path_exists(path)) PX_FAIL(PX_BAD_INPUT, "model %s: no such file or folder", path);
    if (!px_path_is_dir(path)) {
        px_gguf *file = NULL;
        PX_PASS(px_gguf_open(path, &file));
        return px_source_of_gguf(file, out);
    }
    PX_PASS(source_new(path, &source));
    px_err *err = folder_open(source);
    if (!err) err = tensors_find(source);
    if (err)
        px_source_close(source);
    else
        *out = source;
    return err;
}

void px_source_close(px_source *source) {
    if (!source) return;
    px_safetensors_close(source->folder);
    px_gguf_close(source->gguf);
    cJSON_Delete(source->config);
    px_map_free(&source->names);
    free(source->tensors);
    free(source->base);
    free(source->rope_factors);
    free(source->path);
    free(source);
}

const px_shape *px_source_shape(const px_source *source) { return &source->shape; }
const char *px_source_path(const px_source *source) { return source->path; }
bool px_source_is_gguf(const px_source *source) { return source->gguf != NULL; }

int px_source_count(const px_source *source) {
    return source->gguf ? px_gguf_count(source->gguf) : px_safetensors_count(source->folder);
}
const px_tensor *px_source_at(const px_source *source, int i) {
    return source->gguf ? px_gguf_at(source->gguf, i) : px_safetensors_at(source->folder, i);
}

static int index_of(const px_source *source, const char *name) {
    if (source->shape.tied && strcmp(name, "lm_head.weight") == 0) return 0;
    return px_map_find(&source->names, name, strlen(name), -1);
}

/* llama.cpp pairs neighbouring columns where Hugging Face pairs halves: row i of half h of a head
 * lies at 2 i + h. */
static int64_t gguf_row(int64_t row, int64_t head_dim) {
    const int64_t half = head_dim / 2, in_head = row % head_dim;
    return row - in_head + 2 * (in_head % half) + in_head / half;
}

static px_err *rows_read(const px_tensor *tensor, int64_t row, int64_t cols, px_type type,
                         void *out) {
    return type == PX_F32 ? px_tensor_f32(tensor, row * cols, cols, out)
                          : px_tensor_bf16(tensor, row * cols, cols, out);
}

px_err *px_source_rows(px_source *source, const char *name, int64_t first, int64_t n, px_type type,
                       void *out) {
    const int i = index_of(source, name);
    if (i < 0) PX_FAIL(PX_BAD_INPUT, "%s: no tensor %s", source->path, name);
    const px_base_tensor *want = &source->base[i];
    const px_tensor *tensor = source->tensors[i];
    const bool turned = source->gguf && (want->linear == PX_Q || want->linear == PX_K);
    const int64_t cols = want->dims[1], hd = source->shape.head_dim;
    const size_t row_bytes = (size_t)cols * px_type_size(type);
    px_err *first_err = NULL;
    if (first < 0 || n < 0 || n > want->dims[0] - first)
        PX_FAIL(PX_BAD_INPUT, "%s: %s has no rows %lld to %lld", source->path, name,
                (long long)first, (long long)(first + n));
    if (want->rank == 1)
        return type == PX_F32 ? px_tensor_f32(tensor, first, n, out)
                              : px_tensor_bf16(tensor, first, n, out);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < n; r++) {
        const int64_t row = turned ? gguf_row(first + r, hd) : first + r;
        px_err *err = rows_read(tensor, row, cols, type, (char *)out + (size_t)r * row_bytes);
        if (!err) continue;
#pragma omp critical(px_source_rows)
        {
            if (first_err)
                px_err_free(err);
            else
                first_err = err;
        }
    }
    return first_err ? px_err_add(first_err, __FILE__, __LINE__, "%s, %s", source->path, name)
                     : NULL;
}

void px_source_forget(px_source *source, const char *name) {
    const int i = index_of(source, name);
    if (i < 0) return;
    if (source->gguf)
        px_gguf_forget(source->gguf, source->tensors[i]);
    else
        px_safetensors_forget(source->folder, source->tensors[i]);
}

px_err *px_source_sha256(px_source *source, px_digest *out) {
    px_err *err = NULL;
    px_sha *sha = NULL;
    px_str text = {0};
    px_digest digest;
    int n = 1;
    const char *const single[] = {source->path};
    const char *const *files = source->gguf ? single : px_safetensors_files(source->folder, &n);
    PX_PASS(px_sha_new(&sha));
    for (int i = 0; i < n; i++) {
        PX_PASS_TO(done, px_sha_file(files[i], &digest));
        px_sha_text(sha, digest.hex);
    }
    if (source->config) { /* decides the computation as the weights do */
        px_json_print(source->config, &text);
        PX_PASS_TO(done, px_str_ok(&text));
        px_sha_text(sha, text.data);
    }
    err = px_sha_end(sha, out);
    sha = NULL;
done:
    if (sha) px_err_free(px_sha_end(sha, &digest));
    px_str_free(&text);
    return err;
}

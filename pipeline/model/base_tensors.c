/* base_tensors.c - the names, shapes and order of a Llama model's tensors, under Hugging Face's
 * names and llama.cpp's. One list for reading, full fine-tuning, export and random models. */
#include <stdio.h>
#include <string.h>

#include "model_internal.h"

const char *const px_linear_names[PX_N_LINEAR] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                  "gate_proj", "up_proj", "down_proj"};

const char *px_linear_block(int linear) { return linear <= PX_O ? "self_attn" : "mlp"; }

int64_t px_linear_out(const px_shape *shape, int linear) {
    switch (linear) {
    case PX_Q:
        return shape->n_heads * shape->head_dim;
    case PX_K:
    case PX_V:
        return shape->n_kv_heads * shape->head_dim;
    case PX_GATE:
    case PX_UP:
        return shape->ffn;
    default:
        return shape->d;
    }
}

int64_t px_linear_in(const px_shape *shape, int linear) {
    if (linear == PX_O) return shape->n_heads * shape->head_dim;
    return linear == PX_DOWN ? shape->ffn : shape->d;
}

/* A layer's tensors: a norm is -1 - which. */
enum { NORM1 = -1, NORM2 = -2 };
static const int layer_order[] = {NORM1, PX_Q, PX_K, PX_V, PX_O, NORM2, PX_GATE, PX_UP, PX_DOWN};
#define PER_LAYER ((int)PX_COUNT(layer_order))

int px_base_count(const px_shape *shape) {
    return 2 + (int)shape->n_layers * PER_LAYER + (shape->tied ? 0 : 1);
}

int px_base_linear(int64_t layer, int linear) {
    return 1 + (int)layer * PER_LAYER + (linear <= PX_O ? 1 + linear : 2 + linear);
}

int px_base_norm(int64_t layer, int which) {
    return 1 + (int)layer * PER_LAYER + (which == 0 ? 0 : 5);
}

px_base_tensor px_base_at(const px_shape *shape, int i) {
    px_base_tensor t = {.rank = 2, .dims = {shape->vocab, shape->d}, .layer = -1, .linear = -1};
    const int in_layers = i - 1, n = (int)shape->n_layers * PER_LAYER;
    if (i == 0) {
        snprintf(t.name, sizeof t.name, "model.embed_tokens.weight");
    } else if (in_layers < n) {
        t.layer = in_layers / PER_LAYER;
        const int what = layer_order[in_layers % PER_LAYER];
        if (what >= 0) {
            t.linear = what;
            t.dims[0] = px_linear_out(shape, what);
            t.dims[1] = px_linear_in(shape, what);
            snprintf(t.name, sizeof t.name, "model.layers.%d.%s.%s.weight", (int)t.layer,
                     px_linear_block(what), px_linear_names[what]);
        } else {
            t.rank = 1;
            t.dims[0] = shape->d;
            t.dims[1] = 1;
            snprintf(t.name, sizeof t.name, "model.layers.%d.%s.weight", (int)t.layer,
                     what == NORM1 ? "input_layernorm" : "post_attention_layernorm");
        }
    } else if (in_layers == n) {
        t.rank = 1;
        t.dims[0] = shape->d;
        t.dims[1] = 1;
        snprintf(t.name, sizeof t.name, "model.norm.weight");
    } else {
        snprintf(t.name, sizeof t.name, "lm_head.weight");
    }
    return t;
}

void px_base_gguf_name(const px_base_tensor *tensor, char out[80]) {
    static const char *const linear[PX_N_LINEAR] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                                    "ffn_gate", "ffn_up", "ffn_down"};
    if (tensor->linear >= 0)
        snprintf(out, 80, "blk.%d.%s.weight", (int)tensor->layer, linear[tensor->linear]);
    else if (tensor->layer >= 0)
        snprintf(out, 80, "blk.%d.%s.weight", (int)tensor->layer,
                 strstr(tensor->name, "input_layernorm") ? "attn_norm" : "ffn_norm");
    else if (tensor->rank == 1)
        snprintf(out, 80, "output_norm.weight");
    else
        snprintf(out, 80, "%s",
                 strstr(tensor->name, "lm_head") ? "output.weight" : "token_embd.weight");
}

px_base_layout px_base_layout_of(const px_shape *shape) {
    px_base_layout l = {0};
    size_t at = (size_t)(shape->vocab * shape->d);
    l.layer_first = at;
    size_t *const marks[] = {&l.layer.norm1, &l.layer.q,    NULL, NULL,         &l.layer.o,
                             &l.layer.norm2, &l.layer.gate, NULL, &l.layer.down};
    for (int i = 0; i < PER_LAYER; i++) {
        const int what = layer_order[i];
        if (marks[i]) *marks[i] = at;
        at +=
            (size_t)(what < 0 ? shape->d : px_linear_out(shape, what) * px_linear_in(shape, what));
    }
    l.layer_floats = at - l.layer_first;
    l.norm = l.layer_first + l.layer_floats * (size_t)shape->n_layers;
    l.head = shape->tied ? 0 : l.norm + (size_t)shape->d;
    l.n = l.norm + (size_t)shape->d + (shape->tied ? 0 : (size_t)(shape->vocab * shape->d));
    return l;
}

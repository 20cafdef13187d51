/* room.c - see ops.h: what the GPU's backend takes of a card, as a formula that needs no card. Each
 * term is an allocation of kernels/cuda; where that depends on more than a slot's size (attention's
 * lists, by the shape of trees) there is a bound. */
#include "backend.h"
#include "quant.h"

enum { KEPT_APART = 256, CHUNK = 4096, SUM_PIECE = 4096, SUMMED_ROWS = 512 };
enum { SEGMENT = 2048, MERGED = 4096 };
/* Keys in attention's lists and tiles of rows, a row of the slot: a list a leaf, a tile a segment
 * at least. Trees of PRISM's conversations have 4 and 0.2. */
enum { LISTED = 16, TILED = 1, TILE_BYTES = 24 };

int64_t px_card_piece(int64_t bytes) {
    return (bytes + KEPT_APART + KEPT_APART - 1) / KEPT_APART * KEPT_APART;
}

int64_t px_card_weight(int64_t out, int64_t in, px_type type, int pack) {
    const int bits = px_pack_bits(pack);
    const int64_t blocks = out * ((in + QUANT_BLOCK - 1) / QUANT_BLOCK);
    if (!bits || pack & PX_PACK_ROWS) return px_card_piece(out * in * (int64_t)px_type_size(type));
    return px_card_piece(blocks * (bits == 8 ? QUANT_BLOCK : QUANT_BLOCK / 2)) +
           px_card_piece(blocks * (bits == 8 ? 1 : 2) * (int64_t)sizeof(float));
}

int64_t px_card_cache(px_cache_shape shape) {
    return 2 * px_card_piece(shape.n_pages * px_cache_page_bytes(shape) / 2);
}

/* cuda/round.c: ids, positions, wanted rows, places, tiles, pages, what is soft; twice what is
 * wanted, and as much again that may have been given back before. */
int64_t px_card_round(int64_t rows, int64_t soft, int64_t n_pages) {
    const int64_t bytes = rows * (4 + 4 + 4 + 8 + TILE_BYTES) + 4 * soft + 4 * n_pages;
    return px_card_piece(4 * (bytes + 7 * KEPT_APART));
}

/* A piece of scratch (cuda_room). */
static int64_t scratch(int64_t bytes) { return (bytes + KEPT_APART) / KEPT_APART * KEPT_APART; }

/* cuda/head.c */
static int64_t head(const px_card_slot *s) {
    const int64_t N = s->wanted, chunk = PX_MIN((int64_t)CHUNK, s->vocab);
    int64_t bytes = scratch(4 * N * chunk) + scratch(4 * (N + 1)) + scratch(4 * N) +
                    2 * scratch(8 * N) + scratch(4 * N);
    if (s->backward)
        bytes += scratch(N * chunk * (int64_t)px_type_size(s->type)) + scratch(4 * N * s->d);
    return bytes;
}

/* cuda/attention.c */
static int64_t attention(const px_card_slot *s) {
    const int64_t tiles = scratch(s->rows * TILED * TILE_BYTES);
    const int64_t forward = scratch(4 * s->rows * LISTED) + tiles;
    return s->backward ? forward + tiles + scratch(4 * s->rows * s->n_heads) : forward;
}

/* cuda/lora_mma_back.cu: sums of stretches of rows; dropout's keys. */
static int64_t adapters(const px_card_slot *s) {
    const int64_t stretches = (s->rows + SUMMED_ROWS - 1) / SUMMED_ROWS;
    if (s->type != PX_BF16 || s->adapters == 0) return 0;
    return scratch(8 * s->rows) + scratch(4 * stretches * s->adapters);
}

/* cuda/pick.c: a row's wishes, its changes, what its segments and their lists hold. */
static int64_t picking(const px_card_slot *s) {
    const int64_t segments = (s->vocab + SEGMENT - 1) / SEGMENT, N = s->wanted;
    const int64_t kept = PX_MIN((int64_t)PX_PICK_LISTED, MERGED / PX_MAX(segments, 1));
    return scratch(N * (int64_t)sizeof(px_pick)) + scratch(4 * N * PX_PICK_CHANGES) +
           4 * scratch(4 * N * segments) + scratch(8 * N * segments) +
           scratch(8 * N * segments * kept);
}

int64_t px_card_scratch(const px_card_slot *s) {
    const int64_t tables = scratch(8 * s->rows) + scratch(4 * s->rows);
    int64_t most = PX_MAX(attention(s), tables + scratch(4 * s->soft * s->d));
    most = PX_MAX(most, scratch(2 * s->widened));
    most = PX_MAX(most, scratch(4 * s->staged));
    most = PX_MAX(most, s->steps ? picking(s) : head(s));
    if (!s->backward) return most;
    most = PX_MAX(most, adapters(s));
    most = PX_MAX(most, scratch(4 * s->host_grads));
    most = PX_MAX(most, scratch(8 * (s->largest / SUM_PIECE + 2)));
    return PX_MAX(most, scratch(4 * s->vocab));
}

int64_t px_card_besides(bool several) {
    const int64_t context = 600000000, workspace = 32 << 20, nccl = 400000000;
    return context + workspace + (several ? nccl : 0);
}

/* pick.c - what choosing a token needs of logits that lie on the card (pick.cu). */
#include <stddef.h>

#include "cuda.h"

_Static_assert(sizeof(cu_pick) == sizeof(px_pick) && offsetof(cu_pick, at) == offsetof(px_pick, at),
               "px_pick goes over as it is");
_Static_assert(sizeof(cu_picked) == sizeof(px_picked) && sizeof(cu_listed) == sizeof(px_listed) &&
                   offsetof(cu_picked, best) == offsetof(px_picked, best),
               "results come back as they are");
_Static_assert((int)CU_LISTED == (int)PX_PICK_LISTED &&
                   (int64_t)CU_SEGMENT * CU_MERGED >= PX_PICK_VOCAB,
               "a row's segments have a place each");

void cuda_pick(px_stream *s, px_mat logits, const px_picking *how, px_picked *out,
               px_listed *lists) {
    const int64_t N = logits.rows;
    const int64_t segments = (logits.cols + CU_SEGMENT - 1) / CU_SEGMENT;
    const int64_t kept = PX_MIN((int64_t)CU_LISTED, CU_MERGED / PX_MAX(segments, 1));
    const cu_mat at = cuda_mat(s, logits, CUDA_BOTH);
    const size_t parts = (size_t)(N * segments), of_lists = (size_t)(how->n_lists * segments);
    const cu_picking p = {
        .logits = at.data,
        .rows = N,
        .vocab = logits.cols,
        .stride = at.stride,
        .picks = cuda_array(s, how->rows, (size_t)N * sizeof *how->rows, CUDA_IN),
        .changes =
            cuda_array(s, how->changes, (size_t)how->n_changes * sizeof *how->changes, CUDA_IN),
        .n_changes = how->n_changes,
        .listed = how->listed,
        .segments = (int32_t)segments,
        .kept = (int32_t)kept,
        .n_lists = how->n_lists,
        .negligible = PX_PICK_NEGLIGIBLE,
        .most = cuda_room(s, parts * sizeof(float)),
        .best = cuda_room(s, parts * sizeof(int32_t)),
        .sum = cuda_room(s, parts * sizeof(double)),
        .cut = cuda_room(s, of_lists * sizeof(uint32_t)),
        .n = cuda_room(s, of_lists * sizeof(int32_t)),
        .keys = cuda_room(s, of_lists * (size_t)kept * sizeof(uint64_t)),
        .out = cuda_array(s, out, (size_t)N * sizeof *out, CUDA_OUT),
        .lists = cuda_array(s, lists, (size_t)how->n_lists * (size_t)how->listed * sizeof *lists,
                            CUDA_OUT)};
    cu_picking it = p;
    for (int64_t i = 0; i < N; i++) it.sums = it.sums || how->rows[i].sum;
    if (cuda_ready(s)) cu_pick_rows(cuda_queue(s), &it);
    cuda_done(s);
}

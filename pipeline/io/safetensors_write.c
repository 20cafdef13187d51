/* safetensors_write.c - writes one safetensors file. The header is padded with spaces so that the
 * data begins at a multiple of 8, and the wider type comes first, so that each tensor is aligned.
 */
#include <inttypes.h>
#include <string.h>

#include "files_internal.h"

static const px_tensor_type types[] = {PX_T_F32, PX_T_BF16}; /* in the order of their data */
static const char *const type_names[] = {"F32", "BF16"};

static px_err *item_bytes(const px_safetensors_item *item, size_t *bytes) {
    if (!item->name || strcmp(item->name, "__metadata__") == 0)
        PX_FAIL(PX_RUN_FAILED, "a tensor cannot be named %s", item->name ? item->name : "NULL");
    if (px_utf8_check(item->name, strlen(item->name)) >= 0)
        PX_FAIL(PX_RUN_FAILED, "tensor %s: the name is not UTF-8", item->name);
    if (item->type != PX_T_F32 && item->type != PX_T_BF16)
        PX_FAIL(PX_RUN_FAILED, "tensor %s: F32 and BF16 are written, no other type", item->name);
    int64_t count = 0;
    if (item->rank < 0 || item->rank > (int)PX_COUNT(item->dims) ||
        !px_dims_count(item->rank, item->dims, &count) ||
        __builtin_mul_overflow(count, px_block_of(item->type).bytes, &count))
        PX_FAIL(PX_RUN_FAILED, "tensor %s: impossible dimensions", item->name);
    *bytes = (size_t)count;
    return NULL;
}

static px_err *header_item(px_str *header, const px_safetensors_item *item, const char *type,
                           size_t *at) {
    size_t bytes = 0;
    PX_PASS(item_bytes(item, &bytes));
    if (header->size > 1) px_str_char(header, ',');
    px_str_json(header, item->name, strlen(item->name));
    px_str_format(header, ":{\"dtype\":\"%s\",\"shape\":[", type);
    for (int d = 0; d < item->rank; d++)
        px_str_format(header, "%s%" PRId64, d ? "," : "", item->dims[d]);
    size_t end = 0;
    if (__builtin_add_overflow(*at, bytes, &end)) PX_FAIL(PX_RUN_FAILED, "too many bytes");
    px_str_format(header, "],\"data_offsets\":[%zu,%zu]}", *at, end);
    *at = end;
    return NULL;
}

static px_err *header_make(const px_safetensors_item *items, int n, const char *const *metadata,
                           px_str *header) {
    px_err *err = NULL;
    px_map names = {0};
    size_t at = 0;
    px_str_char(header, '{');
    if (metadata) {
        px_str_text(header, "\"__metadata__\":{");
        for (size_t i = 0; metadata[i]; i += 2) {
            if (i) px_str_char(header, ',');
            px_str_json(header, metadata[i], strlen(metadata[i]));
            px_str_char(header, ':');
            px_str_json(header, metadata[i + 1], strlen(metadata[i + 1]));
        }
        px_str_char(header, '}');
    }
    for (size_t t = 0; t < PX_COUNT(types); t++)
        for (int i = 0; i < n; i++)
            if (items[i].type == types[t])
                PX_PASS_TO(done, header_item(header, &items[i], type_names[t], &at));
    for (int i = 0; i < n; i++) {
        size_t bytes = 0, length = 0;
        PX_PASS_TO(done, item_bytes(&items[i], &bytes)); /* says so of another type */
        length = strlen(items[i].name);
        if (px_map_find(&names, items[i].name, length, -1) >= 0)
            PX_FAIL_TO(done, PX_RUN_FAILED, "tensor %s is given twice", items[i].name);
        PX_PASS_TO(done, px_map_set(&names, items[i].name, length, i));
    }
    px_str_char(header, '}');
    while (header->size % 8 && !header->failed) px_str_char(header, ' ');
    err = px_str_ok(header);
done:
    px_map_free(&names);
    return err;
}

px_err *px_safetensors_write(const char *path, const px_safetensors_item *items, int n,
                             const char *const *metadata) {
    px_err *err = NULL;
    px_str header = {0};
    px_file_out out = {0};
    PX_TRY_TO(done, header_make(items, n, metadata, &header), "%s", path);
    PX_PASS_TO(done, px_file_out_open(path, &out));
    uint64_t length = header.size;
    fwrite(&length, sizeof length, 1, out.stream); /* a short write shows at commit */
    fwrite(header.data, 1, header.size, out.stream);
    for (size_t t = 0; t < PX_COUNT(types); t++)
        for (int i = 0; i < n; i++) {
            size_t bytes = 0;
            if (items[i].type != types[t]) continue;
            PX_PASS_TO(done, item_bytes(&items[i], &bytes));
            if (bytes) fwrite(items[i].data, 1, bytes, out.stream);
        }
    err = px_file_out_commit(&out);
done:
    px_file_out_drop(&out);
    px_str_free(&header);
    return err;
}

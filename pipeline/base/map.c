/* map.c - see map.h. Open addressing, at most two thirds full, FNV-1a. */
#include "map.h"

#include <stdlib.h>
#include <string.h>

static uint32_t hash_of(const char *key, size_t size) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) h = (h ^ (unsigned char)key[i]) * 1099511628211u;
    return (uint32_t)(h ^ (h >> 32));
}

static px_map_cell *cell_for(const px_map *map, const char *key, size_t size, uint32_t hash) {
    size_t i = hash & (map->room - 1);
    for (;; i = (i + 1) & (map->room - 1)) {
        px_map_cell *cell = &map->cells[i];
        if (!cell->key) return cell;
        if (cell->hash == hash && cell->size == size && !memcmp(cell->key, key, size)) return cell;
    }
}

static px_err *map_grow(px_map *map) {
    px_map wider = {.room = map->room ? map->room * 2 : 64, .n = map->n};
    wider.cells = calloc(wider.room, sizeof *wider.cells);
    if (!wider.cells) PX_NO_MEMORY();
    for (size_t i = 0; i < map->room; i++) {
        px_map_cell *cell = &map->cells[i];
        if (cell->key) *cell_for(&wider, cell->key, cell->size, cell->hash) = *cell;
    }
    free(map->cells);
    *map = wider;
    return NULL;
}

px_err *px_map_set(px_map *map, const char *key, size_t size, int32_t value) {
    if (size > UINT32_MAX) PX_FAIL(PX_BAD_INPUT, "a key of %zu bytes is too long", size);
    if (map->n * 3 >= map->room * 2) PX_PASS(map_grow(map));
    uint32_t hash = hash_of(key, size);
    px_map_cell *cell = cell_for(map, key, size, hash);
    if (!cell->key) {
        map->n++;
        *cell = (px_map_cell){key, (uint32_t)size, hash, value};
    }
    cell->value = value;
    return NULL;
}

int32_t px_map_find(const px_map *map, const char *key, size_t size, int32_t missing) {
    if (!map->room) return missing;
    px_map_cell *cell = cell_for(map, key, size, hash_of(key, size));
    return cell->key ? cell->value : missing;
}

void px_map_free(px_map *map) {
    free(map->cells);
    *map = (px_map){0};
}

/* map.h - hash map from byte strings to int32. Keys are borrowed and must outlive the map. */
#ifndef PX_MAP_H
#define PX_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

typedef struct {
    const char *key; /* NULL: empty */
    uint32_t size, hash;
    int32_t value;
} px_map_cell;

/* {0} is empty. */
typedef struct {
    px_map_cell *cells;
    size_t room, n;
} px_map;

/* Sets key → value; a key already there gets the new value. */
PX_CHECKED px_err *px_map_set(px_map *map, const char *key, size_t size, int32_t value);
/* The value, or `missing`. */
int32_t px_map_find(const px_map *map, const char *key, size_t size, int32_t missing);
void px_map_free(px_map *map);

#endif

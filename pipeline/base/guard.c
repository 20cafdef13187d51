/* guard.c - see guard.h. */
#include "guard.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    char *dir;
    char token[40];
    px_guard_check *check;
    void *context;
} guard;

px_err *px_guard_set(const char *dir, const char *token, px_guard_check *check, void *context) {
    free(guard.dir);
    guard.dir = NULL;
    guard.check = NULL;
    if (!dir) return NULL;
    guard.dir = strdup(dir);
    if (!guard.dir) PX_NO_MEMORY();
    for (size_t n = strlen(guard.dir); n > 1 && guard.dir[n - 1] == '/'; n--) guard.dir[n - 1] = 0;
    snprintf(guard.token, sizeof guard.token, "%s", token);
    guard.check = check;
    guard.context = context;
    return NULL;
}

static bool inside(const char *path) {
    size_t n = guard.dir ? strlen(guard.dir) : 0;
    return n > 0 && strncmp(path, guard.dir, n) == 0 && path[n] == '/';
}

px_err *px_guard_pass(const char *path) {
    return guard.check && inside(path) ? guard.check(guard.context) : NULL;
}

const char *px_guard_token(const char *path) { return inside(path) ? guard.token : ""; }

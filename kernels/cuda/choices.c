/* choices.c - see choices.h. The file: a line that names format and machine, then a line a choice,
 * nine numbers of the product and eight of the algorithm. */
#include "choices.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

enum { BUCKETS = 256, WORDS = 8 };

typedef struct node node;
struct node {
    cu_choice choice;
    node *next;
};
struct cu_choices {
    node *buckets[BUCKETS];
    bool changed;
    char path[1024], head[512];
};

void cu_choices_path(const char *machine, char out[1024]) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (cache && *cache)
        n = snprintf(out, 1024, "%.600s/prismx/gemm-", cache);
    else if (home && *home)
        n = snprintf(out, 1024, "%.600s/.cache/prismx/gemm-", home);
    out[n] = 0;
    if (n == 0) return;
    for (const char *c = machine; *c && n < 1000; c++) {
        if (isalnum((unsigned char)*c) || *c == '.')
            out[n++] = (char)tolower((unsigned char)*c);
        else if (out[n - 1] != '-')
            out[n++] = '-';
    }
    snprintf(out + n, 1024 - (size_t)n, ".txt");
}

static node **bucket_of(cu_choices *c, const cu_product *product) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < sizeof *product; i++)
        h = (h ^ ((const unsigned char *)product)[i]) * 1099511628211u;
    return &c->buckets[(h >> 32) % BUCKETS];
}

cu_choice *cu_choices_find(cu_choices *c, const cu_product *product) {
    for (node *n = *bucket_of(c, product); n; n = n->next)
        if (memcmp(&n->choice.product, product, sizeof *product) == 0) return &n->choice;
    return NULL;
}

cu_choice *cu_choices_put(cu_choices *c, const cu_product *product,
                          const uint64_t algorithm[WORDS]) {
    cu_choice *there = cu_choices_find(c, product);
    if (!there) {
        node **bucket = bucket_of(c, product), *made = calloc(1, sizeof *made);
        if (!made) return NULL;
        made->next = *bucket;
        made->choice.product = *product;
        *bucket = made;
        there = &made->choice;
    }
    memcpy(there->algorithm, algorithm, sizeof there->algorithm);
    c->changed = true;
    return there;
}

/* The next number of a line, in this base. */
static bool number(char **at, int base, uint64_t *out) {
    char *end = NULL;
    *out = strtoull(*at, &end, base);
    const bool fine = end != *at;
    *at = end;
    return fine;
}

static bool take_line(cu_choices *c, char *line) {
    cu_product p;
    uint64_t v[9], algorithm[WORDS];
    for (int i = 0; i < 9; i++)
        if (!number(&line, 10, &v[i])) return false;
    for (int i = 0; i < WORDS; i++)
        if (!number(&line, 16, &algorithm[i])) return false;
    memset(&p, 0, sizeof p);
    p.N = (int64_t)v[0], p.K = (int64_t)v[1], p.M = (int64_t)v[2];
    p.bf16 = (int32_t)v[3], p.c_bf16 = (int32_t)v[4];
    p.a_turned = (int32_t)v[5], p.b_turned = (int32_t)v[6], p.aligned = (int32_t)v[7];
    p.few = (int32_t)v[8];
    return *line == 0 && cu_choices_put(c, &p, algorithm);
}

static void forget(cu_choices *c) {
    for (int i = 0; i < BUCKETS; i++)
        while (c->buckets[i]) {
            node *gone = c->buckets[i];
            c->buckets[i] = gone->next;
            free(gone);
        }
}

static void take_file(cu_choices *c) {
    px_bytes text = {0};
    px_err *err = px_file_read(c->path, &text);
    char *rest = NULL, *line = err ? NULL : strtok_r(text.data, "\n", &rest);
    bool fine = line && strcmp(line, c->head) == 0;
    while (fine && (line = strtok_r(NULL, "\n", &rest))) fine = take_line(c, line);
    if (!err && !fine) {
        px_warn("%s: not what this program wrote for this card: products are chosen anew", c->path);
        forget(c);
    }
    c->changed = false;
    px_err_free(err); /* no file yet */
    px_bytes_free(&text);
}

cu_choices *cu_choices_open(const char *path, const char *machine) {
    cu_choices *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    snprintf(c->path, sizeof c->path, "%s", path);
    snprintf(c->head, sizeof c->head, "prismx products 2 %.400s", machine);
    if (c->path[0] && px_path_exists(c->path)) take_file(c);
    return c;
}

static void write_choice(px_str *out, const cu_choice *choice) {
    const cu_product *p = &choice->product;
    px_str_format(out, "%" PRId64 " %" PRId64 " %" PRId64 " %d %d %d %d %d %d", p->N, p->K, p->M,
                  p->bf16, p->c_bf16, p->a_turned, p->b_turned, p->aligned, p->few);
    for (int i = 0; i < WORDS; i++) px_str_format(out, " %" PRIx64, choice->algorithm[i]);
    px_str_char(out, '\n');
}

static px_err *write_file(const cu_choices *c) {
    char dir[1024];
    px_str text = {0};
    snprintf(dir, sizeof dir, "%s", c->path);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = 0;
        PX_PASS(px_dir_make(dir));
    }
    px_str_format(&text, "%s\n", c->head);
    for (int i = 0; i < BUCKETS; i++)
        for (const node *n = c->buckets[i]; n; n = n->next) write_choice(&text, &n->choice);
    px_err *err = px_str_ok(&text);
    if (!err) err = px_file_write(c->path, text.data, text.size);
    px_str_free(&text);
    return err;
}

void cu_choices_close(cu_choices *c) {
    if (!c) return;
    px_err *err = c->changed && c->path[0] ? write_file(c) : NULL;
    if (err) px_warn("the choice of products is not kept: %s", px_err_text(err));
    px_err_free(err);
    forget(c);
    free(c);
}

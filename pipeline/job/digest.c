/* digest.c - what a step's inputs hold, as SHA-256. Large files are read once: a digest is known
 * again by size, time of change and inode, from the state files of this job folder. */
#include "job_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct job_hashes {
    px_map known; /* "path\nstamp" → index */
    char (*digests)[65];
    int n, room;
};

void job_hashes_free(struct job_hashes *hashes) {
    if (!hashes) return;
    px_map_free(&hashes->known);
    free(hashes->digests);
    free(hashes);
}

/* --- stamps --- */

static void stamp_add(px_str *out, const struct stat *st) {
    px_str_format(out, "%lld:%lld.%09ld:%llu", (long long)st->st_size,
                  (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
                  (unsigned long long)st->st_ino);
}

static void stamp_file(px_str *out, const char *dir, const char *name) {
    char path[8192];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        px_str_format(out, "%s=", name);
        stamp_add(out, &st);
        px_str_char(out, ';');
    }
}

static int seen_file(const struct dirent *entry) { return entry->d_name[0] != '.'; }

bool job_is_run_folder(const char *path) {
    char name[8192];
    snprintf(name, sizeof name, "%s/checkpoints", path);
    return px_path_is_dir(name);
}

/* Empty: nothing is there. */
static px_err *stamp_of(px_job *job, const char *path, const char **out) {
    struct stat st;
    px_str text = {0};
    *out = "";
    if (stat(path, &st)) return NULL;
    if (!S_ISDIR(st.st_mode)) {
        stamp_add(&text, &st);
    } else if (job_is_run_folder(path)) {
        stamp_file(&text, path, "manifest.json");
        stamp_file(&text, path, "config.json");
    } else {
        struct dirent **names = NULL;
        int n = scandir(path, &names, seen_file, alphasort);
        for (int i = 0; i < n; i++) {
            stamp_file(&text, path, names[i]->d_name);
            free(names[i]);
        }
        free(names);
        px_str_text(&text, "/");
    }
    px_err *err = px_str_ok(&text);
    px_digest digest;
    if (!err && text.size > 100) { /* a folder's: its digest does */
        err = px_sha_bytes(text.data, text.size, &digest);
        *out = job_text(job->arena, "folder:%s", digest.hex);
    } else {
        *out = job_text(job->arena, "%s", text.data ? text.data : "");
    }
    px_str_free(&text);
    return err ? err : px_arena_ok(job->arena);
}

/* --- known digests --- */

static px_err *hashes_add(px_job *job, const char *path, const char *stamp, const char *hex) {
    struct job_hashes *h = job->hashes;
    if (strlen(hex) != 64) return NULL;
    if (h->n == h->room) {
        int room = h->room ? 2 * h->room : 64;
        void *more = realloc(h->digests, sizeof *h->digests * (size_t)room);
        if (!more) PX_NO_MEMORY();
        h->digests = more;
        h->room = room;
    }
    char *key = job_text(job->arena, "%s\n%s", path, stamp);
    PX_PASS(px_arena_ok(job->arena));
    memcpy(h->digests[h->n], hex, 65);
    return px_map_set(&h->known, key, strlen(key), h->n++);
}

static px_err *hashes_read(px_job *job) {
    job->hashes = calloc(1, sizeof *job->hashes);
    if (!job->hashes) PX_NO_MEMORY();
    for (int i = 0; i < job->n_steps; i++) {
        cJSON *state = job_state_read(job, i);
        const cJSON *item = NULL;
        px_err *err = NULL;
        cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(state, "files")) {
            const char *path = px_json_find_text(item, "path");
            const char *stamp = px_json_find_text(item, "stamp");
            const char *hex = px_json_find_text(item, "sha256");
            if (!err && path && stamp && hex) err = hashes_add(job, path, stamp, hex);
        }
        cJSON_Delete(state);
        PX_PASS(err);
    }
    return NULL;
}

/* --- digests --- */

/* Keys that change where and how fast, not what. */
static bool without_effect(const char *key) {
    static const char *const keys[] = {"threads", "reference.cache", "comm.timeout_s",
                                       "train.recompute", "train.recompute_layers"};
    for (size_t i = 0; i < PX_COUNT(keys); i++)
        if (!strcmp(key, keys[i])) return true;
    return !strncmp(key, "log.", 4) || !strncmp(key, "checkpoint.", 11);
}

px_err *job_config_flat(const cJSON *config, const char *prefix, bool all, cJSON *out) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, config) {
        char key[256];
        px_str text = {0};
        snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", item->string);
        if (cJSON_IsObject(item)) {
            PX_PASS(job_config_flat(item, key, all, out));
            continue;
        }
        if (!all && without_effect(key)) continue;
        px_json_print(item, &text);
        px_err *err = px_str_ok(&text);
        cJSON_DeleteItemFromObjectCaseSensitive(out, key);
        if (!err && !cJSON_AddStringToObject(out, key, text.data))
            err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
        px_str_free(&text);
        PX_PASS(err);
    }
    return NULL;
}

/* Of a run folder: parameters, what they were trained on and how, who was taken out; not its times
 * and paths. */
static px_err *digest_run(const char *path, px_digest *out) {
    static const char *const facts[] = {"status", "params_sha256", "corpus_sha256",
                                        "weights_sha256"};
    cJSON *manifest = NULL, *flat = cJSON_CreateObject(), *forgotten = NULL;
    px_str text = {0};
    px_err *err = flat ? NULL : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, err);
    PX_PASS_TO(done, px_manifest_read(path, &manifest));
    for (size_t i = 0; i < PX_COUNT(facts); i++) {
        const char *fact = px_json_find_text(manifest, facts[i]);
        px_str_format(&text, "%s %s\n", facts[i], fact ? fact : "");
    }
    PX_PASS_TO(done, job_config_flat(cJSON_GetObjectItemCaseSensitive(manifest, "config"), "",
                                     false, flat));
    px_json_print(flat, &text);
    forgotten = cJSON_GetObjectItemCaseSensitive(manifest, "forgotten");
    if (forgotten) px_json_print(forgotten, &text);
    PX_PASS_TO(done, px_str_ok(&text));
    err = px_sha_bytes(text.data, text.size, out);
done:
    cJSON_Delete(manifest);
    cJSON_Delete(flat);
    px_str_free(&text);
    return err;
}

px_err *job_digest(px_job *job, const char *path, px_digest *out, const char **stamp) {
    int64_t bytes = 0;
    *out = (px_digest){0};
    if (!job->hashes) PX_PASS(hashes_read(job));
    PX_PASS(stamp_of(job, path, stamp));
    if (!**stamp) return NULL;
    const char *key = job_text(job->arena, "%s\n%s", path, *stamp);
    PX_PASS(px_arena_ok(job->arena));
    int known = px_map_find(&job->hashes->known, key, strlen(key), -1);
    if (known >= 0) {
        memcpy(out->hex, job->hashes->digests[known], 65);
        return NULL;
    }
    PX_PASS(job_is_run_folder(path) ? digest_run(path, out)
                                    : px_manifest_digest(path, &bytes, out));
    return hashes_add(job, path, *stamp, out->hex);
}

/* manifest.c - the manifest of a run folder. See manifest.h. It names the kind of machine, never
 * the machine: no host name, no user name. */
#include "manifest.h"

#include <dirent.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "manifest.json"
#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* The object that name's last word belongs into, made on the way; *last is that word. */
static cJSON *group_of(cJSON *object, const char *name, const char **last) {
    for (const char *dot; object && (dot = strchr(name, '.')); name = dot + 1) {
        char *word = strndup(name, (size_t)(dot - name));
        cJSON *next = word ? cJSON_GetObjectItemCaseSensitive(object, word) : NULL;
        if (word && !cJSON_IsObject(next)) {
            cJSON_DeleteItemFromObjectCaseSensitive(object, word);
            next = cJSON_AddObjectToObject(object, word);
        }
        free(word);
        object = next;
    }
    *last = name;
    return object;
}

/* Puts item at name, in place of what is there; item is taken, also on failure. */
static px_err *put(cJSON *manifest, const char *name, cJSON *item) {
    const char *last = NULL;
    cJSON *group = item ? group_of(manifest, name, &last) : NULL;
    if (group) {
        cJSON_DeleteItemFromObjectCaseSensitive(group, last);
        if (cJSON_AddItemToObject(group, last, item)) return NULL;
    }
    cJSON_Delete(item);
    PX_NO_MEMORY();
}

px_err *px_manifest_text(cJSON *manifest, const char *name, const char *value) {
    return put(manifest, name, cJSON_CreateString(value));
}

px_err *px_manifest_f64(cJSON *manifest, const char *name, double value) {
    return put(manifest, name, cJSON_CreateNumber(value));
}

/* A line of the first processor, as Linux tells it: "model name", "flags". */
static void cpu_line(const char *name, char *out, size_t size) {
    snprintf(out, size, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) return;
    char line[8192];
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, name, strlen(name)) != 0 || !colon) continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, size, "%s", colon[1] == ' ' ? colon + 2 : colon + 1);
        break;
    }
    fclose(file);
}

void px_manifest_cpu(char *name, size_t name_size, char *features, size_t features_size) {
    static const char *const wanted[] = {
        "sse4_2",   "avx",      "avx2",        "fma",         "f16c",        "avx512f",  "avx512bw",
        "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile",
        "amx_bf16", "amx_int8", "asimd",       "asimdhp",     "sve",         "bf16"};
    char flags[8192], word[80];
    size_t n = 0;
    cpu_line("model name", name, name_size);
    cpu_line("flags", flags + 1, sizeof flags - 2);
    if (!strcmp(flags + 1, "unknown")) cpu_line("Features", flags + 1, sizeof flags - 2);
    size_t end = strlen(flags + 1) + 1;
    flags[0] = flags[end] = ' '; /* every word between two blanks */
    flags[end + 1] = 0;
    features[0] = 0;
    for (size_t i = 0; i < PX_COUNT(wanted); i++) {
        snprintf(word, sizeof word, " %s ", wanted[i]);
        if (strstr(flags, word) && n < features_size)
            n += (size_t)snprintf(features + n, features_size - n, "%s%s", n ? " " : "", wanted[i]);
    }
}

static px_err *put_host(cJSON *manifest) {
    char cpu[256], features[512], system[256];
    struct utsname name;
    px_manifest_cpu(cpu, sizeof cpu, features, sizeof features);
    snprintf(system, sizeof system, "unknown");
    if (uname(&name) == 0)
        snprintf(system, sizeof system, "%s %s %s", name.sysname, name.release, name.machine);
    PX_PASS(px_manifest_text(manifest, "host.cpu", cpu));
    PX_PASS(px_manifest_text(manifest, "host.features", features));
    PX_PASS(px_manifest_text(manifest, "host.system", system));
    PX_PASS(px_manifest_f64(manifest, "host.cores", (double)sysconf(_SC_NPROCESSORS_ONLN)));
    return px_manifest_f64(manifest, "host.memory_bytes",
                           (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE));
}

static px_err *put_libraries(cJSON *manifest) {
    char text[256];
    unsigned major = 0, minor = 0, release = 0;
    char built[64];
    px_mpi_about(built, text);
    PX_PASS(px_manifest_text(manifest, "libraries.mpi", text));
    PX_PASS(px_manifest_text(manifest, "libraries.libc", gnu_get_libc_version()));
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, release);
    PX_PASS(px_manifest_text(manifest, "libraries.hdf5", text));
    return px_manifest_text(manifest, "libraries.cjson", cJSON_Version());
}

static px_err *put_command(cJSON *manifest, int argc, char **argv) {
    cJSON *list = cJSON_CreateArray();
    for (int i = 0; list && i < argc; i++) {
        cJSON *item = cJSON_CreateString(argv[i]);
        if (!cJSON_AddItemToArray(list, item)) {
            cJSON_Delete(list);
            list = NULL;
        }
    }
    return put(manifest, "command", list);
}

px_err *px_manifest_new(int argc, char **argv, int n_ranks, int threads, cJSON **out) {
    px_err *err = NULL;
    char started[32] = "unknown";
    time_t now = time(NULL);
    struct tm utc;
    cJSON *manifest = cJSON_CreateObject();
    if (!manifest) PX_NO_MEMORY();
    if (gmtime_r(&now, &utc)) strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    PX_PASS_TO(done, px_manifest_text(manifest, "program.name", "prismx"));
    PX_PASS_TO(done, px_manifest_text(manifest, "program.version", PX_VERSION));
    PX_PASS_TO(done, px_manifest_text(manifest, "program.commit", PX_COMMIT));
    PX_PASS_TO(done, px_manifest_text(manifest, "program.compiler", COMPILER));
    PX_PASS_TO(done, px_manifest_text(manifest, "program.build", PX_BUILD));
    PX_PASS_TO(done, put_command(manifest, argc, argv));
    PX_PASS_TO(done, px_manifest_text(manifest, "started", started));
    PX_PASS_TO(done, px_manifest_f64(manifest, "ranks", n_ranks));
    PX_PASS_TO(done, px_manifest_f64(manifest, "threads", threads));
    PX_PASS_TO(done, put_host(manifest));
    PX_PASS_TO(done, put_libraries(manifest));
    *out = manifest;
    manifest = NULL;
done:
    cJSON_Delete(manifest);
    return err;
}

static int is_plain(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name); /* not by locale */
}

/* One file of a folder: its name and digest go into sha, its size into *bytes. */
static px_err *digest_entry(const char *dir, const char *name, px_sha *sha, int64_t *bytes) {
    struct stat st;
    px_digest one;
    char *path = px_path_join(dir, name);
    if (!path) PX_NO_MEMORY();
    px_err *err = NULL;
    if (stat(path, &st)) PX_FAIL_TO(done, PX_BAD_INPUT, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode)) goto done;
    PX_PASS_TO(done, px_sha_file(path, &one));
    px_sha_text(sha, name);
    px_sha_text(sha, one.hex);
    *bytes += st.st_size;
done:
    free(path);
    return err;
}

static px_err *digest_folder(const char *path, int64_t *bytes, px_digest *out) {
    struct dirent **entries = NULL;
    px_sha *sha = NULL;
    PX_PASS(px_sha_new(&sha));
    int n = scandir(path, &entries, is_plain, by_bytes);
    px_err *err = NULL;
    if (n < 0) err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!err) err = digest_entry(path, entries[i]->d_name, sha, bytes);
        free(entries[i]);
    }
    free(entries);
    px_err *end = px_sha_end(sha, out);
    if (!err) return end;
    px_err_free(end);
    return err;
}

px_err *px_manifest_digest(const char *path, int64_t *bytes, px_digest *out) {
    struct stat st;
    if (stat(path, &st)) PX_FAIL(PX_BAD_INPUT, "%s: %s", path, strerror(errno));
    *bytes = 0;
    if (S_ISDIR(st.st_mode)) return digest_folder(path, bytes, out);
    *bytes = st.st_size;
    return px_sha_file(path, out);
}

/* The size of a file, or of the files in a folder that px_manifest_digest reads. */
static px_err *count_bytes(const char *path, int64_t *bytes) {
    struct stat st;
    if (stat(path, &st)) PX_FAIL(PX_BAD_INPUT, "%s: %s", path, strerror(errno));
    *bytes = st.st_size;
    if (!S_ISDIR(st.st_mode)) return NULL;
    *bytes = 0;
    DIR *dir = opendir(path);
    if (!dir) PX_FAIL(PX_BAD_INPUT, "%s: %s", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));)
        if (is_plain(entry) && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
            S_ISREG(st.st_mode))
            *bytes += st.st_size;
    closedir(dir);
    return NULL;
}

px_err *px_manifest_file(cJSON *manifest, const char *group, const char *name, const char *path,
                         const char *sha256) {
    px_digest digest;
    int64_t bytes = 0;
    if (sha256) {
        PX_PASS(count_bytes(path, &bytes));
    } else {
        PX_PASS(px_manifest_digest(path, &bytes, &digest));
        sha256 = digest.hex;
    }
    cJSON *entry = cJSON_CreateObject();
    if (!entry) PX_NO_MEMORY();
    bool good = cJSON_AddStringToObject(entry, "path", path) &&
                cJSON_AddNumberToObject(entry, "bytes", (double)bytes) &&
                cJSON_AddStringToObject(entry, "sha256", sha256);
    cJSON *files = cJSON_GetObjectItemCaseSensitive(manifest, group);
    if (!files) files = cJSON_AddObjectToObject(manifest, group);
    /* Not put(): a file's name may hold dots. */
    if (files) cJSON_DeleteItemFromObjectCaseSensitive(files, name);
    if (good && files && cJSON_AddItemToObject(files, name, entry)) return NULL;
    cJSON_Delete(entry);
    PX_NO_MEMORY();
}

px_err *px_manifest_config(cJSON *manifest, const char *config_json) {
    cJSON *config = NULL;
    PX_TRY(px_json_parse(config_json, strlen(config_json), &config), "configuration");
    return put(manifest, "config", config);
}

px_err *px_manifest_write(const cJSON *manifest, const char *dir) {
    px_str text = {0};
    char *path = px_path_join(dir, FILE_NAME);
    px_json_print_pretty(manifest, &text);
    px_str_char(&text, '\n');
    px_err *err = px_str_ok(&text);
    if (!err && !path) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = px_file_write(path, text.data, text.size);
    free(path);
    px_str_free(&text);
    return err;
}

px_err *px_manifest_read(const char *dir, cJSON **out) {
    px_err *err = NULL;
    cJSON *json = NULL;
    char *path = px_path_join(dir, FILE_NAME);
    if (!path) PX_NO_MEMORY();
    PX_PASS_TO(done, px_json_read(path, false, &json));
    if (!cJSON_IsObject(json))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s: found %s, wanted an object", path, px_json_type(json));
    *out = json;
    json = NULL;
done:
    cJSON_Delete(json);
    free(path);
    return err;
}

/* cluster.c - the file that describes a cluster: what sbatch is told for every job, how ranks are
 * started, what the site's nodes need. One row a key; an unknown key is an error. */
#include "slurm_internal.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { TEXT, NUMBER, TEXTS, PAIRS } key_type;
typedef struct {
    const char *name;
    key_type type;
    size_t offset;
    int64_t missing, least, most; /* of a number */
    const char *text;             /* where a text is missing */
} key;

#define AT(field) offsetof(px_cluster, field)
static const key keys[] = {
    {"partition", TEXT, AT(partition), 0, 0, 0, ""},
    {"account", TEXT, AT(account), 0, 0, 0, ""},
    {"qos", TEXT, AT(qos), 0, 0, 0, ""},
    {"constraint", TEXT, AT(constraint), 0, 0, 0, ""},
    {"reservation", TEXT, AT(reservation), 0, 0, 0, ""},
    {"time", TEXT, AT(time), 0, 0, 0, ""},
    {"memory", TEXT, AT(memory), 0, 0, 0, ""},
    {"sbatch", TEXTS, AT(sbatch), 0, 0, 0, NULL},
    {"threads", NUMBER, AT(threads), 1, 1, 4096, NULL},
    {"ranks_per_node", NUMBER, AT(ranks_per_node), 0, 0, 4096, NULL},
    {"gpus_per_node", NUMBER, AT(gpus_per_node), 0, 0, 64, NULL},
    {"launcher", TEXT, AT(launcher), 0, 0, 0, "srun --mpi=pmix"},
    {"container", TEXT, AT(container), 0, 0, 0, ""},
    {"modules", TEXTS, AT(modules), 0, 0, 0, NULL},
    {"setup", TEXTS, AT(setup), 0, 0, 0, NULL},
    {"environment", PAIRS, AT(environment), 0, 0, 0, NULL},
    {"interface", TEXT, AT(interface), 0, 0, 0, ""},
    {"scratch", TEXT, AT(scratch), 0, 0, 0, ""},
    {"margin_s", NUMBER, AT(margin_s), 120, 1, 65535, NULL},
    {"restarts", NUMBER, AT(restarts), 20, 0, 10000, NULL},
    {"stalls", NUMBER, AT(stalls), 3, 1, 1000, NULL},
    {"comment_s", NUMBER, AT(comment_s), 0, 0, 86400, NULL},
    {"template", TEXT, AT(template), 0, 0, 0, ""},
};

px_err *slurm_share_file(const char *name, char **out) {
    static const char *const places[] = {"..", "../share/prismx", "."};
    char program[PATH_MAX], path[PATH_MAX + 128];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0) PX_FAIL(PX_RUN_FAILED, "/proc/self/exe: %s", strerror(errno));
    program[n] = 0;
    char *slash = strrchr(program, '/');
    if (slash) *slash = 0;
    /* A unit test lies two folders deeper than the program. */
    static const char *const roots[] = {"", "/../.."};
    for (size_t r = 0; r < PX_COUNT(roots); r++)
        for (size_t i = 0; i < PX_COUNT(places); i++) {
            int size =
                snprintf(path, sizeof path, "%s%s/%s/%s", program, roots[r], places[i], name);
            if (size < (int)sizeof path && px_path_exists(path)) {
                if (!(*out = realpath(path, NULL))) PX_NO_MEMORY();
                return NULL;
            }
        }
    PX_FAIL(PX_BAD_INPUT, "%s is neither in %s/.. nor in %s/../share/prismx", name, program,
            program);
}

static px_err *take_text(const key *k, const cJSON *item, void *at) {
    const char *text = cJSON_GetStringValue(item);
    if (!text)
        PX_FAIL(PX_BAD_INPUT, "%s: a text is wanted, this is a %s", k->name, px_json_type(item));
    if (strpbrk(text, "\n\r")) PX_FAIL(PX_BAD_INPUT, "%s: a line break in it", k->name);
    *(const char **)at = text;
    return NULL;
}

static px_err *take_number(const key *k, const cJSON *item, void *at) {
    double value = cJSON_IsNumber(item) ? item->valuedouble : -1;
    if (!cJSON_IsNumber(item) || value < (double)k->least || value > (double)k->most ||
        value != (double)(int64_t)value)
        PX_FAIL(PX_BAD_INPUT, "%s: a whole number from %lld to %lld is wanted", k->name,
                (long long)k->least, (long long)k->most);
    *(int64_t *)at = (int64_t)value;
    return NULL;
}

static px_err *take_texts(const key *k, const cJSON *item, void *at) {
    const cJSON *each = NULL;
    bool right = k->type == TEXTS ? cJSON_IsArray(item) : cJSON_IsObject(item);
    cJSON_ArrayForEach(each, item) right =
        right && cJSON_IsString(each) && !strpbrk(each->valuestring, "\n\r");
    if (!right)
        PX_FAIL(PX_BAD_INPUT, "%s: %s is wanted, each on one line", k->name,
                k->type == TEXTS ? "a list of texts" : "an object of texts (NAME: \"value\")");
    *(const cJSON **)at = item;
    return NULL;
}

static px_err *take(px_cluster *cluster, const cJSON *item) {
    const char *names[PX_COUNT(keys)];
    for (size_t i = 0; i < PX_COUNT(keys); i++) {
        const key *k = &keys[i];
        names[i] = k->name;
        if (strcmp(k->name, item->string) != 0) continue;
        void *at = (char *)cluster + k->offset;
        if (k->type == TEXT) return take_text(k, item, at);
        return k->type == NUMBER ? take_number(k, item, at) : take_texts(k, item, at);
    }
    int near = px_nearest(item->string, names, (int)PX_COUNT(keys));
    PX_FAIL(PX_BAD_INPUT, "unknown key \"%.60s\"%s%s%s; docs/slurm.md lists them", item->string,
            near >= 0 ? "; did you mean " : "", near >= 0 ? names[near] : "", near >= 0 ? "?" : "");
}

static px_err *check(const px_cluster *cluster) {
    const cJSON *each = NULL;
    size_t n = strcspn(cluster->launcher, " ");
    const char *slash = memrchr(cluster->launcher, '/', n);
    const char *word = slash ? slash + 1 : cluster->launcher;
    n -= (size_t)(word - cluster->launcher);
    if (!(n == 4 && !strncmp(word, "srun", n)) && !(n == 6 && !strncmp(word, "mpirun", n)))
        PX_FAIL(PX_BAD_INPUT, "launcher: \"srun …\" or \"mpirun …\" is wanted, this is \"%s\"",
                cluster->launcher);
    if (word[0] == 's' && !strstr(cluster->launcher, "--mpi"))
        PX_FAIL(PX_BAD_INPUT,
                "launcher: srun without --mpi: Open MPI then starts ranks that do not know of each "
                "other; \"srun --mpi=pmix\" (srun --mpi=list names what the site has)");
    cJSON_ArrayForEach(each, cluster->environment) {
        const char *name = each->string;
        size_t good =
            strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
        if (!*name || name[good] || (*name >= '0' && *name <= '9'))
            PX_FAIL(PX_BAD_INPUT, "environment: \"%.60s\" cannot be a variable's name", name);
    }
    return NULL;
}

px_err *px_cluster_read(const char *path, px_cluster *out) {
    char *found = NULL, *full = NULL;
    const cJSON *item = NULL;
    px_err *err = NULL;
    *out = (px_cluster){0};
    for (size_t i = 0; i < PX_COUNT(keys); i++) {
        void *at = (char *)out + keys[i].offset;
        if (keys[i].type == TEXT) *(const char **)at = keys[i].text;
        if (keys[i].type == NUMBER) *(int64_t *)at = keys[i].missing;
    }
    if (!path) {
        PX_TRY_TO(done, slurm_share_file("configs/clusters/default.json", &found), "cluster file");
        path = found;
    }
    PX_TRY_TO(done, px_json_read(path, true, &out->json), "cluster file %s", path);
    if (!cJSON_IsObject(out->json))
        PX_FAIL_TO(done, PX_BAD_INPUT, "cluster file %s: an object is wanted", path);
    cJSON_ArrayForEach(item, out->json) PX_TRY_TO(done, take(out, item), "cluster file %s", path);
    PX_TRY_TO(done, check(out), "cluster file %s", path);
    if (!(full = realpath(path, NULL))) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    out->path = full;
done:
    free(found);
    if (err) px_cluster_free(out);
    return err;
}

void px_cluster_free(px_cluster *cluster) {
    cJSON_Delete(cluster->json);
    free((char *)(uintptr_t)cluster->path);
    *cluster = (px_cluster){0};
}

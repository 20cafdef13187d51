/* offline.c - held-out pairs: accuracies of prismx eval, from the summaries that its files carry.
 * The intervals are eval's, by its bootstrap over people. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "h5.h"
#include "json.h"
#include "stats_internal.h"

/* --- which files --- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static px_err *path_add(px_offline_files *files, char *path) {
    if (!path) PX_NO_MEMORY();
    char **grown = realloc(files->paths, ((size_t)files->n + 1) * sizeof *grown);
    if (!grown) {
        free(path);
        PX_NO_MEMORY();
    }
    files->paths = grown;
    files->paths[files->n++] = path;
    return NULL;
}

static px_err *folder_add(px_offline_files *files, const char *folder) {
    px_err *err = NULL;
    const int before = files->n;
    DIR *dir = opendir(folder);
    if (!dir) PX_FAIL(PX_BAD_INPUT, "%s: the folder cannot be read", folder);
    for (const struct dirent *item; !err && (item = readdir(dir));) {
        const size_t n = strlen(item->d_name);
        if (n > 3 && item->d_name[0] != '.' && !strcmp(item->d_name + n - 3, ".h5"))
            err = path_add(files, px_path_join(folder, item->d_name));
    }
    closedir(dir);
    qsort(files->paths + before, (size_t)(files->n - before), sizeof *files->paths, by_text);
    return err;
}

px_err *px_offline_find(const px_stats_job *job, px_offline_files *out) {
    *out = (px_offline_files){0};
    for (int i = 0; i < job->n_evals; i++) {
        const char *path = job->evals[i];
        const int before = out->n;
        if (!px_path_is_dir(path)) {
            PX_PASS(path_add(out, strdup(path)));
            continue;
        }
        char *inner = px_path_join(path, "eval"); /* a sweep's */
        if (!inner) PX_NO_MEMORY();
        px_err *err = folder_add(out, px_path_is_dir(inner) ? inner : path);
        free(inner);
        if (err) return err;
        if (out->n == before)
            PX_FAIL(PX_BAD_INPUT, "--eval %s: the folder holds no evaluation (*.h5)", path);
    }
    return NULL;
}

void px_offline_free(px_offline_files *files) {
    for (int i = 0; i < files->n; i++) free(files->paths[i]);
    free(files->paths);
    *files = (px_offline_files){0};
}

/* --- rows --- */

static void setting_add(px_str *out, const cJSON *config, const char *group, const char *key) {
    const cJSON *item =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(config, group), key);
    if (!item) return;
    px_str_format(out, " %s.%s=", group, key);
    if (cJSON_IsString(item))
        px_str_text(out, item->valuestring);
    else
        px_json_print(item, out);
}

/* The file and what its training varied in. */
static void note_fill(const char *path, const cJSON *json, const cJSON *config, px_str *note) {
    const char *slash = strrchr(path, '/');
    px_str_format(note, "%.80s", slash ? slash + 1 : path);
    if (px_json_find_f64(json, "step", -1) < 0) {
        px_str_text(note, ", the base model");
        return;
    }
    px_str_char(note, ',');
    setting_add(note, config, "user", "model");
    setting_add(note, config, "loss", "alpha");
    setting_add(note, config, "loss", "beta");
    setting_add(note, config, "user", "tokens");
}

static void estimate_add(const cJSON *row, const char *key, const px_about *about, const char *term,
                         const char *against, px_table *table) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(row, key);
    if (cJSON_GetArraySize(list) != 3) return; /* not of this evaluation */
    px_row *to = px_table_add(table, about, term);
    double *const targets[] = {&to->estimate, &to->low, &to->high};
    for (int i = 0; to && i < 3; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, i);
        if (cJSON_IsNumber(item)) *targets[i] = item->valuedouble;
    }
    if (against) px_row_contrast(to, "own", against);
}

static void row_add(const cJSON *row, const char *note, px_table *table) {
    static const struct {
        const char *key, *term, *against;
    } wanted[] = {{"accuracy_own", "own", NULL},
                  {"accuracy_generic", "generic", NULL},
                  {"accuracy_other", "other", NULL},
                  {"delta_own", "delta_own", "generic"},
                  {"delta_swap", "delta_swap", "other"}};
    const char *split = px_json_find_text(row, "split"), *type = px_json_find_text(row, "type");
    char outcome[PX_WORD_MAX];
    snprintf(outcome, sizeof outcome, "%s%s%s", split ? split : "",
             type && strcmp(type, "all") != 0 ? ":" : "",
             type && strcmp(type, "all") != 0 ? type : "");
    const px_about about = {.family = PX_FAMILY_OFFLINE,
                            .outcome = outcome,
                            .model = "accuracy",
                            .note = note,
                            .source = -1,
                            .n_trials = (int64_t)px_json_find_f64(row, "n_pairs", -1),
                            .n_people = (int64_t)px_json_find_f64(row, "n_people", -1)};
    for (size_t i = 0; i < PX_COUNT(wanted); i++)
        estimate_add(row, wanted[i].key, &about, wanted[i].term, wanted[i].against, table);
}

static px_err *file_rows(const char *path, px_arena *arena, px_table *table) {
    px_h5 *h5 = NULL;
    cJSON *json = NULL, *config = NULL;
    px_str note = {0};
    const char *summary = NULL, *settings = NULL;
    const cJSON *row = NULL;
    px_err *err = NULL;
    PX_PASS_TO(done, px_h5_open(path, &h5));
    PX_PASS_TO(done, px_h5_read_attr_text(h5, "/", "summary", arena, &summary));
    PX_PASS_TO(done, px_h5_read_attr_text(h5, "/", "config", arena, &settings));
    PX_PASS_TO(done, px_json_parse(summary, strlen(summary), &json));
    PX_PASS_TO(done, px_json_parse(settings, strlen(settings), &config));
    note_fill(path, json, config, &note);
    PX_PASS_TO(done, px_str_ok(&note));
    cJSON_ArrayForEach(row, cJSON_GetObjectItemCaseSensitive(json, "rows"))
        row_add(row, note.data, table);
done:
    px_str_free(&note);
    cJSON_Delete(json);
    cJSON_Delete(config);
    px_h5_close(h5);
    return err;
}

px_err *px_offline_rows(const px_offline_files *files, px_table *table) {
    px_arena *arena = NULL;
    PX_PASS(px_arena_new(65536, &arena));
    px_err *err = NULL;
    for (int i = 0; !err && i < files->n; i++) {
        err = file_rows(files->paths[i], arena, table);
        if (err)
            err = px_err_add(err, __FILE__, __LINE__, "--eval %s: no eval.h5 of prismx eval",
                             files->paths[i]);
    }
    px_arena_free(arena);
    return err;
}

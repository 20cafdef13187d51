/* ledger.c - which Slurm job a step became: DIR/slurm.json, written anew after every sbatch, so
 * that an interrupted submit leaves no job that nobody knows of but perhaps the last. */
#include "slurm_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *ledger_path(const char *dir) { return px_path_join(dir, "slurm.json"); }

px_err *px_ledger_read(const char *dir, cJSON **out) {
    char *path = ledger_path(dir);
    px_err *err = NULL;
    *out = NULL;
    if (!path) PX_NO_MEMORY();
    if (px_path_exists(path)) err = px_json_read(path, false, out);
    if (!err && !*out) *out = cJSON_CreateObject();
    if (!err && !cJSON_IsObject(*out))
        err = px_err_new(*out ? PX_BAD_INPUT : PX_RUN_FAILED, __FILE__, __LINE__,
                         "%s: an object is wanted", path);
    free(path);
    return err;
}

const char *px_ledger_find(const cJSON *ledger, const char *label) {
    return px_json_find_text(cJSON_GetObjectItemCaseSensitive(ledger, label), "id");
}

px_err *px_ledger_add(const char *dir, cJSON *ledger, const char *label, const char *id) {
    char *path = ledger_path(dir), when[32] = "";
    time_t now = time(NULL);
    struct tm parts;
    px_str text = {0};
    px_err *err = NULL;
    if (!path) PX_NO_MEMORY();
    if (gmtime_r(&now, &parts)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &parts);
    cJSON_DeleteItemFromObjectCaseSensitive(ledger, label);
    cJSON *item = cJSON_AddObjectToObject(ledger, label);
    if (!item || !cJSON_AddStringToObject(item, "id", id) ||
        !cJSON_AddStringToObject(item, "submitted", when))
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    px_json_print_pretty(ledger, &text);
    px_str_char(&text, '\n');
    PX_PASS_TO(done, px_str_ok(&text));
    err = px_file_write(path, text.data, text.size);
done:
    px_str_free(&text);
    free(path);
    return err;
}

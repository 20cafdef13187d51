/* record.c - what the manifest of a training says: enough to compute the run again elsewhere, and
 * to name what was different when that gives other bits. "starts" has a line for every time the run
 * was begun or went on, since ranks, threads, machines and train.steps may change between. */
#include "train_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One kind of machine: "model name\nfeatures\n". */
static void host_line(char *out, size_t size) {
    char cpu[256], features[512];
    px_manifest_cpu(cpu, sizeof cpu, features, sizeof features);
    snprintf(out, size, "%s\n%s\n", cpu, features);
}

/* Counts a rank for its kind of machine. */
static px_err *add_host(cJSON *hosts, char *line) {
    char *features = strchr(line, '\n');
    if (!features) return NULL;
    *features++ = 0;
    features[strcspn(features, "\n")] = 0;
    cJSON *host = NULL;
    cJSON_ArrayForEach(host, hosts) {
        if (strcmp(px_json_find_text(host, "cpu"), line) != 0 ||
            strcmp(px_json_find_text(host, "features"), features) != 0)
            continue;
        cJSON *n = cJSON_GetObjectItemCaseSensitive(host, "ranks");
        cJSON_SetNumberValue(n, n->valuedouble + 1);
        return NULL;
    }
    host = cJSON_CreateObject();
    if (host && cJSON_AddItemToArray(hosts, host) && cJSON_AddStringToObject(host, "cpu", line) &&
        cJSON_AddStringToObject(host, "features", features) &&
        cJSON_AddNumberToObject(host, "ranks", 1))
        return NULL;
    PX_NO_MEMORY();
}

static px_err *hosts_all(px_training *t) {
    char line[1024] = "";
    px_bytes all = {0};
    px_err *err = NULL;
    int64_t *sizes = calloc((size_t)t->ranks->size, sizeof *sizes);
    if (!sizes) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    PX_PASS_TO(done, px_agree_all(t->ranks, err));
    host_line(line, sizeof line);
    PX_PASS_TO(done, px_gather_bytes_all(t->ranks, line, sizeof line, &all, sizes));
    if (t->ranks->rank != 0) goto done;
    t->hosts = cJSON_CreateArray();
    if (!t->hosts) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int r = 0; r < t->ranks->size; r++)
        PX_PASS_TO(done, add_host(t->hosts, all.data + (size_t)r * sizeof line));
done:
    px_bytes_free(&all);
    free(sizes);
    return err;
}

/* The starts of the manifest that is there, and this one where it has steps to do. */
static px_err *put_starts(px_training *t, bool resumes) {
    cJSON *before = NULL, *starts = NULL, *start = NULL;
    px_err *err = NULL;
    char when[32] = "unknown";
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    bool began = resumes && t->state.step > 0;
    px_err *none = began ? px_manifest_read(t->job->out_dir, &before) : NULL;
    if (none) px_warn("the earlier starts of the run are not known: %s", px_err_text(none));
    px_err_free(none);
    starts = cJSON_DetachItemFromObjectCaseSensitive(before, "starts");
    if (!cJSON_IsArray(starts)) {
        cJSON_Delete(starts);
        starts = cJSON_CreateArray();
    }
    if (!starts) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    if (t->state.step < t->state.total || cJSON_GetArraySize(starts) == 0) {
        const char *cpu = px_json_find_text(t->hosts->child, "cpu");
        start = cJSON_CreateObject();
        if (!start || !cJSON_AddItemToArray(starts, start) ||
            !cJSON_AddNumberToObject(start, "step", (double)t->state.step) ||
            !cJSON_AddNumberToObject(start, "train_steps", (double)t->config->train_steps) ||
            !cJSON_AddNumberToObject(start, "ranks", t->ranks->size) ||
            !cJSON_AddNumberToObject(start, "threads", t->job->threads) ||
            !cJSON_AddStringToObject(start, "at", when) ||
            !cJSON_AddStringToObject(start, "cpu", cpu ? cpu : "unknown"))
            PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    }
    if (!cJSON_AddItemToObject(t->manifest, "starts", starts))
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    starts = NULL;
done:
    cJSON_Delete(before);
    cJSON_Delete(starts);
    return err;
}

static px_err *put_kernels(cJSON *m) {
    px_kernel_facts facts;
    px_kernel_facts_get(&facts);
    PX_PASS(px_manifest_text(m, "libraries.onednn", facts.onednn));
    PX_PASS(px_manifest_text(m, "kernels.onednn_isa", facts.onednn_isa));
    return px_manifest_text(m, "kernels.own", facts.own);
}

static px_err *put_inputs(px_training *t) {
    cJSON *m = t->manifest;
    px_digest reference;
    PX_PASS(px_manifest_config(m, t->config_json));
    PX_PASS(px_manifest_file(m, "inputs", "corpus", t->job->corpus_path, NULL));
    PX_PASS(px_manifest_file(m, "inputs", "model", t->job->model_path, t->weights_sha256.hex));
    PX_PASS(px_manifest_text(m, "corpus_sha256", t->corpus->sha256));
    PX_PASS(px_manifest_text(m, "weights_sha256", t->weights_sha256.hex));
    PX_PASS(px_manifest_text(m, "tokenizer_sha256", t->corpus->tokenizer_sha256));
    PX_PASS(px_manifest_text(m, "template", t->corpus->template_name));
    PX_PASS(px_manifest_text(m, "reference", t->reference_path ? t->reference_path : ""));
    PX_PASS(px_sha_bytes(t->reference, 2 * sizeof *t->reference * (size_t)t->corpus->n_pairs,
                         &reference));
    return px_manifest_text(m, "reference_sha256", reference.hex);
}

px_err *px_training_record_all(px_training *t, bool resumes) {
    PX_PASS(px_agree_all(t->ranks, hosts_all(t)));
    px_err *err = NULL;
    if (t->ranks->rank == 0) {
        err = px_manifest_new(t->job->argc, t->job->argv, t->ranks->size, t->job->threads,
                              &t->manifest);
        if (!err && !cJSON_AddItemReferenceToObject(t->manifest, "hosts", t->hosts))
            err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
        if (!err) err = put_kernels(t->manifest);
        if (!err) err = put_inputs(t);
        if (!err) err = put_starts(t, resumes);
        if (!err) err = px_training_manifest(t, "running");
    }
    return px_agree_all(t->ranks, err);
}

/* What came out, once all of it is there. */
static px_err *put_outputs(px_training *t) {
    static const char *const names[] = {"config.json", "metrics.jsonl", "users.h5", "adapter"};
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        char *path = px_path_join(t->job->out_dir, names[i]);
        if (!path) PX_NO_MEMORY();
        px_err *err = NULL;
        if (px_path_exists(path))
            err = px_manifest_file(t->manifest, "outputs", names[i], path, NULL);
        free(path);
        PX_PASS(err);
    }
    return NULL;
}

/* On a GPU: what the run holds of it. */
static px_err *put_card(px_training *t) {
    px_memory_facts facts;
    if (!px_memory_facts_get(t->stream, &facts)) return NULL;
    PX_PASS(px_manifest_f64(t->manifest, "device_peak_memory_bytes", (double)facts.held));
    PX_PASS(px_manifest_f64(t->manifest, "device_used_memory_bytes", (double)facts.used));
    PX_PASS(px_manifest_f64(t->manifest, "device_allocations", (double)facts.n_taken));
    return px_manifest_f64(t->manifest, "device_card_memory_used_bytes", (double)facts.card_used);
}

px_err *px_training_manifest(px_training *t, const char *status) {
    cJSON *m = t->manifest;
    PX_PASS(px_manifest_text(m, "status", status));
    PX_PASS(px_manifest_f64(m, "step", (double)t->state.step));
    PX_PASS(px_manifest_f64(m, "steps", (double)t->state.total));
    PX_PASS(px_manifest_f64(m, "num_tokens", (double)t->state.n_tokens));
    PX_PASS(px_manifest_f64(m, "wall_s", px_now_s() - t->start_s));
    PX_PASS(px_manifest_f64(m, "peak_memory_bytes", (double)px_peak_memory()));
    PX_PASS(put_card(t));
    px_energy_sample(&t->energy);
    if (t->energy.n && t->energy.joules >= 0)
        PX_PASS(px_manifest_f64(m, "energy_j", t->energy.joules));
    if (t->params_sha256.hex[0])
        PX_PASS(px_manifest_text(m, "params_sha256", t->params_sha256.hex));
    if (!strcmp(status, "complete")) PX_PASS(put_outputs(t));
    return px_manifest_write(m, t->job->out_dir);
}

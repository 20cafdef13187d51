/* cmd_export.c - prismx export: a run for transformers, PEFT, vLLM, llama.cpp. */
#include "cmd.h"
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_RUN = 1, KEY_STEP, KEY_FORMAT, KEY_OUT, KEY_MODEL };

typedef struct {
    const char *run, *format, *out, *model;
    int64_t step;
} export_options;

static error_t parse_export(int key, char *arg, struct argp_state *state) {
    export_options *o = state->input;
    switch (key) {
    case KEY_RUN:
        o->run = arg;
        break;
    case KEY_FORMAT:
        o->format = arg;
        break;
    case KEY_OUT:
        o->out = arg;
        break;
    case KEY_MODEL:
        o->model = arg;
        break;
    case KEY_STEP:
        return px_cli_number(state, "step", arg, &o->step);
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"run", KEY_RUN, "DIR", 0, "Run folder", 0},
    {"step", KEY_STEP, "N", 0, "Checkpoint of that step (default: the newest)", 0},
    {"format", KEY_FORMAT, "NAME", 0, "peft (adapter folder, default) or merged (whole model)", 0},
    {"out", KEY_OUT, "DIR", 0, "Folder to write", 0},
    {"model", KEY_MODEL, "PATH", 0,
     "Where the base model lies now (default: where the run found it)", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_export,
    NULL,
    "Writes what a run has learnt for other programs. User embeddings, where there are any, go "
    "beside it as "
    "users.h5 and users.safetensors.\v"
    "Example:\n  prismx export --run runs/dpft --format peft --out adapter",
    NULL,
    NULL,
    NULL};

/* e_u of everybody, [users, T_u, d], for programs that do not read HDF5. */
static px_err *write_user_tensors(const char *dir, const px_run *run) {
    const px_params *p = run->params;
    size_t one = (size_t)(p->n_tokens * p->d);
    char *path = px_path_join(dir, "users.safetensors");
    float *e = malloc(one * (size_t)p->n_users * sizeof *e + 1);
    px_str ids = {0};
    px_err *err = NULL;
    if (!path || !e) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    px_str_char(&ids, '[');
    for (int32_t u = 0; u < p->n_users; u++) {
        px_user_embed(p, u, e + (size_t)u * one);
        if (u) px_str_char(&ids, ',');
        px_str_json(&ids, run->ids[u], strlen(run->ids[u]));
    }
    px_str_char(&ids, ']');
    PX_PASS_TO(done, px_str_ok(&ids));
    px_safetensors_item item = {.name = "embeddings",
                                .type = PX_T_F32,
                                .rank = 3,
                                .dims = {p->n_users, p->n_tokens, p->d},
                                .data = e};
    const char *metadata[] = {"ids", ids.data, NULL};
    err = px_safetensors_write(path, &item, 1, metadata);
done:
    free(path);
    free(e);
    px_str_free(&ids);
    return err;
}

static px_err *export_merged(const px_run *run, const char *out) {
    px_source *source = NULL;
    PX_PASS(px_source_open(run->model_path, &source));
    px_err *err = px_export_merged(out, run->params, &run->config, source);
    px_source_close(source);
    return err;
}

static px_err *export_run(const px_run *run, const export_options *o) {
    bool merged = !strcmp(o->format, "merged");
    if (!merged && run->config.lora_r == 0)
        PX_FAIL(PX_BAD_INPUT,
                "%s trained no adapters (lora.r is 0): --format merged is what it has", o->run);
    PX_PASS(px_dir_make(o->out));
    if (merged)
        PX_PASS(export_merged(run, o->out));
    else
        PX_PASS(px_export_peft(o->out, run->params, &run->config, &run->shape, run->model_path));
    if (run->params->n_tokens > 0) {
        PX_PASS(px_users_write(o->out, run->params, run->ids));
        PX_PASS(write_user_tensors(o->out, run));
    }
    px_info("step %lld written to %s", (long long)run->state.step, o->out);
    return NULL;
}

px_err *cmd_export(px_ranks *ranks, int argc, char **argv) {
    export_options o = {.format = "peft", .step = -1};
    px_run run;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(px_cli_need("run", o.run));
    PX_PASS(px_cli_need("out", o.out));
    if (strcmp(o.format, "peft") != 0 && strcmp(o.format, "merged") != 0)
        PX_FAIL(PX_BAD_INPUT, "--format %s: peft or merged is wanted", o.format);
    PX_PASS(px_run_open(o.run, o.step, o.model, &run));
    px_err *err = export_run(&run, &o);
    px_run_close(&run);
    return err;
}

/* cmd_plan.c - prismx plan: what a training, or generation on a GPU, will take; --calibrate
 * measures this machine; --scale draws how a step would scale. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd.h"
#include "plan.h"

enum {
    KEY_CORPUS = 1,
    KEY_MODEL,
    KEY_LIKE,
    KEY_RANKS,
    KEY_THREADS,
    KEY_MACHINES,
    KEY_JSON,
    KEY_CALIBRATE,
    KEY_RATES,
    KEY_CORES,
    KEY_MEMORY,
    KEY_DEVICE_MEMORY,
    KEY_DISK,
    KEY_DIR,
    KEY_SCALE,
    KEY_BANDWIDTH,
    KEY_LATENCY,
    KEY_OUT,
    KEY_FOR,
    KEY_CARD,
    KEY_OPERATIONS,
    KEY_POSITIONS
};

typedef struct {
    px_cli_config config;
    const char *corpus, *model, *like[8], *rates, *dir, *scale, *out, *card_name;
    int n_like;
    px_plan_use use;
    int64_t ranks, threads, machines, cores, positions;
    double memory, card, disk, bandwidth, latency;
    bool json, calibrate, operations;
} plan_options;

/* "23", "1.5G", "800M": bytes. */
static bool bytes_of(const char *text, double *out) {
    char *end = NULL;
    double scale = 1;
    *out = strtod(text, &end);
    if (end == text) return false;
    if (*end == 'K') scale = 1e3;
    if (*end == 'M') scale = 1e6;
    if (*end == 'G') scale = 1e9;
    if (*end == 'T') scale = 1e12;
    if (scale > 1) end++;
    *out *= scale;
    return *end == 0 && isfinite(*out) && *out > 0;
}

static error_t take_amount(const struct argp_state *state, const char *name, const char *arg,
                           double *out) {
    if (bytes_of(arg, out)) return 0;
    argp_error(state, "--%s %s: a number above 0 is wanted, such as 64G", name, arg);
    return EINVAL;
}

static error_t take_number(int key, const char *arg, struct argp_state *state, plan_options *o) {
    switch (key) {
    case KEY_RANKS:
        return px_cli_number(state, "ranks", arg, &o->ranks);
    case KEY_THREADS:
        return px_cli_number(state, "threads", arg, &o->threads);
    case KEY_MACHINES:
        return px_cli_number(state, "machines", arg, &o->machines);
    case KEY_POSITIONS:
        return px_cli_number(state, "positions", arg, &o->positions);
    case KEY_CORES:
        return px_cli_number(state, "cores", arg, &o->cores);
    case KEY_MEMORY:
        return take_amount(state, "memory", arg, &o->memory);
    case KEY_DEVICE_MEMORY:
        return take_amount(state, "device-memory", arg, &o->card);
    case KEY_DISK:
        return take_amount(state, "disk", arg, &o->disk);
    case KEY_BANDWIDTH:
        return take_amount(state, "bandwidth", arg, &o->bandwidth);
    case KEY_LATENCY:
        return take_amount(state, "latency", arg, &o->latency);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t take_use(const struct argp_state *state, const char *arg, px_plan_use *out) {
    static const char *const uses[] = {"train", "generate", "serve", "eval"};
    for (size_t i = 0; i < PX_COUNT(uses); i++)
        if (strcmp(uses[i], arg) == 0) {
            *out = (px_plan_use)i;
            return 0;
        }
    argp_error(state, "--for %s: train, generate, serve or eval is wanted", arg);
    return EINVAL;
}

static error_t parse_plan(int key, char *arg, struct argp_state *state) {
    plan_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->config;
        break;
    case KEY_CORPUS:
        o->corpus = arg;
        break;
    case KEY_MODEL:
        o->model = arg;
        break;
    case KEY_LIKE:
        if (o->n_like < (int)PX_COUNT(o->like)) o->like[o->n_like++] = arg;
        break;
    case KEY_RATES:
        o->rates = arg;
        break;
    case KEY_DIR:
        o->dir = arg;
        break;
    case KEY_SCALE:
        o->scale = arg;
        break;
    case KEY_OUT:
        o->out = arg;
        break;
    case KEY_JSON:
        o->json = true;
        break;
    case KEY_CALIBRATE:
        o->calibrate = true;
        break;
    case KEY_OPERATIONS:
        o->operations = true;
        break;
    case KEY_CARD:
        o->card_name = arg;
        break;
    case KEY_FOR:
        return take_use(state, arg, &o->use);
    default:
        return take_number(key, arg, state, o);
    }
    return 0;
}

static const struct argp_option options[] = {
    {"corpus", KEY_CORPUS, "FILE", 0, "corpus.h5; without it PRISM's published size is taken", 0},
    {"model", KEY_MODEL, "PATH", 0, "Base model: Hugging Face folder or GGUF file", 0},
    {"like", KEY_LIKE, "NAME", 0,
     "Its shape alone: tiny, smollm2-135m, llama-3.2-1b or llama-3.1-8b; with --calibrate the "
     "widths to measure, may be repeated",
     0},
    {"for", KEY_FOR, "WHAT", 0,
     "train (as a rule); of a GPU also generate, serve or eval with a run of this configuration",
     0},
    {"ranks", KEY_RANKS, "N", 0, "MPI ranks (1)", 0},
    {"threads", KEY_THREADS, "T", 0, "Threads a rank (the machine's cores shared out)", 0},
    {"machines", KEY_MACHINES, "M", 0, "Machines like this one that share the ranks (1)", 0},
    {"cores", KEY_CORES, "C", 0, "Of a machine, as fast as this one's (what this one has)", 0},
    {"memory", KEY_MEMORY, "BYTES", 0, "Of a machine, such as 64G (what this one has free)", 0},
    {"device-memory", KEY_DEVICE_MEMORY, "BYTES", 0,
     "device cuda: of a rank's GPU, such as 80G (what those here have free; none here: not "
     "checked)",
     0},
    {"card", KEY_CARD, "NAME", 0,
     "device cuda: times and memory by a card's data sheet (h100, h200, a100, a100-40g, l40s, "
     "rtx4090, …), nothing measured",
     0},
    {"positions", KEY_POSITIONS, "N", 0,
     "for generate: tokens of an answer and its prompt when a step is timed (what the cache holds "
     "for each)",
     0},
    {"operations", KEY_OPERATIONS, NULL, 0, "device cuda: the operations of a step, longest first",
     0},
    {"disk", KEY_DISK, "BYTES", 0, "Free for the run folder (what --dir has free)", 0},
    {"dir", KEY_DIR, "DIR", 0, "Where the run folder will lie (the present folder)", 0},
    {"json", KEY_JSON, NULL, 0, "One JSON object in place of lines", 0},
    {"calibrate", KEY_CALIBRATE, NULL, 0,
     "Measures this machine, and its GPU, and keeps the rates; under mpirun the sums over that "
     "many "
     "ranks",
     0},
    {"rates", KEY_RATES, "FILE", 0, "The rates (plan-MACHINE.json in the user's cache folder)", 0},
    {"scale", KEY_SCALE, "A..B", 0, "Step times for A, 2A, … B ranks, as a model", 0},
    {"bandwidth", KEY_BANDWIDTH, "BYTES", 0,
     "scale, and GPUs of several machines: the network's, a second and rank (12.5G)", 0},
    {"latency", KEY_LATENCY, "US", 0, "scale: the network's, in microseconds (2)", 0},
    {"out", KEY_OUT, "FILE", 0, "scale: .svg or .html for a figure, else TSV (standard output)", 0},
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 0}, {0}};
static const struct argp argp = {
    options,
    parse_plan,
    NULL,
    "Predicts a training's memory, a GPU's too (device cuda, no GPU needed), tokens, FLOPs, steps, "
    "time and disk, or what generation holds of a GPU and how fast it is, and refuses (exit 2) "
    "what "
    "cannot fit.\v"
    "Example:\n  prismx plan --calibrate\n"
    "  prismx plan --config configs/ppft.json --like llama-3.1-8b --ranks 8 --threads 16 \\\n"
    "      --cores 128 --memory 768G\n"
    "  prismx plan --config configs/ppft.json --like llama-3.1-8b --set device=cuda --card h100\n"
    "  prismx plan --for generate --like llama-3.1-8b --set device=cuda --card a100-40g\n"
    "  prismx plan --config configs/ppft.json --like llama-3.2-1b --scale 1..1024 --out scale.svg",
    children,
    NULL,
    NULL};

/* The GPU that is here, if there is one; a simulated one where that is asked for. One that nobody
 * asked for and that cannot be measured (others hold it) is a warning. */
static px_err *calibrate_card(const px_config *config, px_rates *rates) {
    enum { SIDE = 8192, SIDE_SIMT = 64 };
    const bool simt = config->device == PX_DEVICE_SIMT, asked = config->device != PX_DEVICE_CPU;
    px_card_rates card;
    px_gpu_facts gpus;
    px_gpu_facts_get(&gpus);
    if (!asked && gpus.n == 0) return NULL;
    px_info("calibrate: the GPU");
    px_err *err = px_calibrate_card(simt ? "simt" : "cuda", simt ? SIDE_SIMT : SIDE, &card);
    if (!err) rates->card = card;
    if (!err || asked) return err;
    px_warn("the GPU was not measured: %s", px_err_text(err));
    px_err_free(err);
    return NULL;
}

static px_err *calibrate_all(const px_ranks *ranks, const plan_options *o, const px_config *config,
                             const char *path) {
    static const char *const usual[] = {"tiny", "smollm2-135m", "llama-3.2-1b"};
    px_rates rates;
    const bool given = o->n_like > 0;
    px_err *err = px_rates_read(path, &rates);
    /* Damaged or another machine's: written anew. */
    if (err && ranks->size == 1) {
        px_err_free(err);
        PX_PASS(px_rates_read("", &rates));
        err = NULL;
    }
    if (!err && ranks->size > 1 && !rates.measured)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                         "%s is not there: prismx plan --calibrate first, without mpirun", path);
    PX_PASS(px_agree_all(ranks, err));
    px_rates_machine(rates.machine);
    err = px_calibrate_all(ranks, given ? o->like : usual, given ? o->n_like : (int)PX_COUNT(usual),
                           &rates);
    if (!err && ranks->size == 1) err = calibrate_card(config, &rates);
    PX_PASS(px_agree_all(ranks, err));
    if (ranks->rank != 0) return NULL;
    if (rates.load > 0.5 * rates.cores)
        px_warn("%.2g other processes ran meanwhile: calibrate again when the machine is quiet",
                rates.load);
    PX_PASS(px_rates_write(path, &rates));
    printf("%s\n", path);
    return NULL;
}

/* Shape and size of the model; its name for the output. */
static px_err *shape_of(const plan_options *o, const px_config *config, px_shape *shape,
                        px_plan_place *place) {
    const char *path = o->model ? o->model : config->model_path;
    if (o->n_like) {
        place->model_name = o->like[0];
        return px_shape_like(o->like[0], shape);
    }
    if (!path[0]) PX_FAIL(PX_BAD_INPUT, "--model PATH or --like NAME is missing");
    px_source *source = NULL;
    PX_PASS(px_source_open(path, &source));
    *shape = *px_source_shape(source);
    for (int i = 0; i < px_source_count(source); i++)
        place->source_bytes += (double)px_source_at(source, i)->bytes;
    place->model_name = path;
    px_source_close(source);
    return NULL;
}

/* What needs a GPU, without one. */
static px_err *card_options_check(const plan_options *o, bool has_card) {
    static const char *const advice = "is of a GPU, and device is cpu: --set device=cuda";
    if (has_card && o->scale)
        PX_FAIL(PX_BAD_INPUT, "--scale knows the rates of processors alone: --set device=cpu");
    if (has_card) return NULL;
    if (o->card > 0) PX_FAIL(PX_BAD_INPUT, "--device-memory %s", advice);
    if (o->card_name) PX_FAIL(PX_BAD_INPUT, "--card %s %s", o->card_name, advice);
    if (o->operations) PX_FAIL(PX_BAD_INPUT, "--operations %s", advice);
    if (o->use != PX_PLAN_TRAIN) PX_FAIL(PX_BAD_INPUT, "--for generate, serve and eval %s", advice);
    return NULL;
}

/* The GPU that is planned for: named, or those that are here; rates as measured, or by a name. */
static px_err *card_of(const plan_options *o, const px_config *config, const px_rates *rates,
                       px_plan_place *out) {
    static const char *const devices[] = {"cpu", "cuda", "simt"};
    px_gpu_facts gpus;
    out->has_card = config->device != PX_DEVICE_CPU;
    out->network = o->bandwidth;
    out->card_bytes = o->card;
    PX_PASS(card_options_check(o, out->has_card));
    if (o->card_name) {
        PX_PASS(px_card_sheet(o->card_name, &out->card));
        if (!(o->card > 0)) out->card_bytes = out->card.bytes;
        return NULL;
    }
    if (strcmp(rates->card.device, devices[config->device]) == 0) out->card = rates->card;
    if (config->device != PX_DEVICE_CUDA || o->card > 0) return NULL;
    px_gpu_facts_get(&gpus);
    out->card_bytes = (double)gpus.room;
    return NULL;
}

static px_err *place_of(const plan_options *o, const px_config *config, px_rates *rates,
                        px_plan_place *out) {
    px_machine machine;
    px_machine_read("", &machine);
    out->machines = (int)PX_MAX(o->machines, 1);
    out->ranks = (int)PX_MAX(o->ranks, 1);
    if (out->machines > out->ranks)
        PX_FAIL(PX_BAD_INPUT, "--machines %d for --ranks %d: at most one a rank", out->machines,
                out->ranks);
    const int here = (out->ranks + out->machines - 1) / out->machines;
    out->threads = (int)(o->threads ? o->threads : config->threads);
    if (o->cores > 0) rates->cores = (int)PX_MIN(o->cores, 1 << 20);
    if (out->threads == 0) out->threads = PX_MAX(rates->cores / here, 1);
    out->memory_bytes = o->memory > 0 ? o->memory : (double)px_machine_room(&machine);
    out->disk_bytes = o->disk > 0 ? o->disk : (double)PX_MAX(px_disk_free(o->dir), 0);
    return card_of(o, config, rates, out);
}

static px_err *network_of(const plan_options *o, px_plan_network *out) {
    char *end = NULL;
    const long first = strtol(o->scale, &end, 10);
    const long last = strncmp(end, "..", 2) == 0 ? strtol(end + 2, &end, 10) : -1;
    if (*end || first < 1 || last < first || last > 1000000)
        PX_FAIL(PX_BAD_INPUT, "--scale %s: two numbers of ranks are wanted, such as 1..1024",
                o->scale);
    *out = (px_plan_network){(int)first, (int)last, o->bandwidth, o->latency * 1e-6};
    return NULL;
}

typedef struct {
    px_config config;
    px_shape shape;
    px_plan_corpus corpus;
    px_rates rates;
    px_plan_place place;
} inputs;

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static px_err *scale(const plan_options *o, const inputs *in) {
    px_plan_network network;
    px_plan_point *points = NULL;
    px_arena *arena = NULL;
    px_str text = {0};
    px_err *err = NULL;
    int n = 0;
    PX_PASS(network_of(o, &network));
    PX_PASS(px_arena_new((size_t)1 << 20, &arena));
    PX_PASS_TO(done, px_plan_scale(&in->config, &in->shape, &in->corpus, &in->rates, &in->place,
                                   &network, arena, &points, &n));
    if (o->out && ends_with(o->out, ".html")) {
        px_str_text(&text, "<!doctype html><meta charset='utf-8'><title>prismx plan</title>\n");
        px_plan_scale_svg(points, n, &network, &text);
        px_str_text(&text, "<pre>");
        px_plan_scale_tsv(points, n, &network, &text);
        px_str_text(&text, "</pre>\n");
    } else if (o->out && ends_with(o->out, ".svg")) {
        px_plan_scale_svg(points, n, &network, &text);
    } else {
        px_plan_scale_tsv(points, n, &network, &text);
    }
    PX_PASS_TO(done, px_str_ok(&text));
    if (o->out)
        err = px_file_write(o->out, text.data, text.size);
    else
        printf("%s", text.data);
done:
    px_str_free(&text);
    px_arena_free(arena);
    return err;
}

static px_err *predict(const plan_options *o, const inputs *in) {
    px_plan plan;
    px_str text = {0};
    PX_PASS(px_plan_make(&in->config, &in->shape, &in->corpus, &in->rates, &in->place, &plan));
    if (o->json)
        px_plan_json(&plan, &in->place, o->operations, &text);
    else
        px_plan_print(&plan, &in->place, &text);
    if (o->operations && !o->json && px_card_known(&in->place.card))
        px_card_step_print(&plan.card_step, &text);
    px_err *err = px_str_ok(&text);
    if (!err) printf("%s", text.data);
    px_str_free(&text);
    if (err) return err;
    return px_plan_fits(&in->config, &in->shape, &in->corpus, &in->rates, &in->place, &plan);
}

static px_err *predict_answers(const plan_options *o, const inputs *in) {
    px_plan_answers plan;
    px_str text = {0};
    const px_train_sizes sizes = px_plan_sizes(&in->config, &in->corpus);
    px_plan_answers_make(o->use, &in->config, &in->shape, &in->place, o->positions,
                         sizes.conversation, &plan);
    if (o->json)
        px_plan_answers_json(&plan, &in->place, o->operations, &text);
    else
        px_plan_answers_print(&plan, &in->place, &text);
    if (o->operations && !o->json && plan.step.n > 0) px_card_step_print(&plan.step, &text);
    px_err *err = px_str_ok(&text);
    if (!err) printf("%s", text.data);
    px_str_free(&text);
    if (err) return err;
    return px_plan_answers_fit(&in->config, &in->shape, &in->place, &plan);
}

static px_err *plan_of(const plan_options *o, const char *rates_path, inputs *in) {
    PX_PASS(px_rates_read(rates_path, &in->rates));
    if (in->config.full_finetune && in->config.lora_r > 0)
        PX_FAIL(PX_BAD_INPUT, "full_finetune and lora.r %lld exclude one another; set lora.r to 0",
                (long long)in->config.lora_r);
    PX_PASS(shape_of(o, &in->config, &in->shape, &in->place));
    PX_PASS(place_of(o, &in->config, &in->rates, &in->place));
    const bool answers = o->use == PX_PLAN_GENERATE || o->use == PX_PLAN_SERVE;
    if (answers) return predict_answers(o, in);
    if (o->corpus)
        PX_PASS(px_plan_corpus_read(o->corpus, &in->config, &in->corpus));
    else
        PX_PASS(px_plan_corpus_guess(&in->config, &in->corpus));
    px_err *err = o->scale                  ? scale(o, in)
                  : o->use == PX_PLAN_TRAIN ? predict(o, in)
                                            : predict_answers(o, in);
    px_plan_corpus_free(&in->corpus);
    return err;
}

px_err *cmd_plan(px_ranks *ranks, int argc, char **argv) {
    plan_options o = {.dir = ".", .bandwidth = 12.5e9, .latency = 2};
    char *path = NULL;
    inputs *in = NULL;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    px_err *err = px_rates_path(o.rates, &path);
    if (!err && !(in = calloc(1, sizeof *in)))
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = px_cli_config_load(&o.config, &in->config);
    if (!err) {
        if (o.config.print)
            px_cli_config_show(ranks, &in->config);
        else if (o.calibrate)
            err = calibrate_all(ranks, &o, &in->config, path);
        else if (ranks->rank == 0)
            err = plan_of(&o, path, in);
        px_config_fini(&in->config);
    }
    free(in);
    free(path);
    return err;
}

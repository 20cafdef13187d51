/* cli.c - what the commands share: see cmd.h. */
#include "cmd.h"

#include "ops.h"

#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What prismx help asks of the commands: their tables, or a line read and not run. */
static struct {
    px_cli_look *look;
    void *context;
    bool check, read; /* read: the line was parsed without an error */
    px_cli_config config;
} asked;

void px_cli_describe(px_cli_look *look, void *context) {
    asked.look = look;
    asked.context = context;
}

void px_cli_check_begin(void) {
    asked.check = true;
    asked.read = false;
    asked.config = (px_cli_config){0};
}

px_err *px_cli_check_end(px_err *err) {
    px_config config;
    asked.check = false;
    if (!asked.read) return err;
    px_err_free(err); /* the one that kept the command from running */
    PX_PASS(px_cli_config_load(&asked.config, &config));
    px_config_fini(&config);
    return NULL;
}

px_err *px_cli_parse(const px_ranks *ranks, const struct argp *argp, int argc, char **argv,
                     void *input) {
    unsigned flags = ARGP_NO_EXIT;
    if (ranks->rank > 0) flags |= ARGP_SILENT;
    if (asked.look) {
        asked.look(asked.context, argp);
        PX_FAIL(PX_BAD_INPUT, "only described");
    }
    int why = argp_parse(argp, argc, argv, flags, NULL, input);
    if (why == ENOMEM) PX_NO_MEMORY();
    if (why) PX_FAIL(PX_BAD_INPUT, "bad usage: see prismx %s --help", strrchr(argv[0], ' ') + 1);
    if (!asked.check) return NULL;
    asked.read = true;
    PX_FAIL(PX_BAD_INPUT, "only read");
}

error_t px_cli_number(const struct argp_state *state, const char *name, const char *arg,
                      int64_t *out) {
    if (px_parse_i64(arg, out) && *out >= 0) return 0;
    argp_error(state, "--%s %s: a whole number from 0 is wanted", name, arg);
    return EINVAL;
}

px_err *px_cli_splits(const char *name, uint32_t *out) {
    static const char *const names[] = {"train", "seen", "unseen"};
    *out = 7;
    if (!strcmp(name, "all")) return NULL;
    *out = 0;
    for (const char *at = name;; at++) {
        size_t n = strcspn(at, ",");
        unsigned i = 0;
        while (i < 3 && (strlen(names[i]) != n || strncmp(names[i], at, n) != 0)) i++;
        if (i == 3)
            PX_FAIL(PX_BAD_INPUT,
                    "--split %s: train, seen, unseen, several of them with commas, or "
                    "all is wanted",
                    name);
        *out |= 1u << i;
        at += n;
        if (!*at) return NULL;
    }
}

px_err *px_cli_need(const char *name, const char *value) {
    if (!value) PX_FAIL(PX_BAD_INPUT, "--%s is missing", name);
    return NULL;
}

enum { KEY_CONFIG = 0x1001, KEY_SET, KEY_PRINT };

static error_t parse_config(int key, char *arg, struct argp_state *state) {
    px_cli_config *cli = state->input;
    switch (key) {
    case KEY_CONFIG:
        cli->file = arg;
        break;
    case KEY_SET:
        if (cli->n_sets >= (int)PX_COUNT(cli->sets)) {
            argp_error(state, "more than %zu --set options", PX_COUNT(cli->sets));
            return EINVAL;
        }
        cli->sets[cli->n_sets++] = arg;
        break;
    case KEY_PRINT:
        cli->print = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    if (asked.check) asked.config = *cli;
    return 0;
}

error_t px_cli_take_short(const struct argp_state *state, const px_cli_short *which,
                          const char *arg, char *room, size_t size, px_cli_config *cli) {
    const int n = snprintf(room, size, "%s=%s", which->key, arg ? arg : "true");
    if (n < 0 || n >= (int)size || cli->n_sets >= (int)PX_COUNT(cli->sets)) {
        argp_error(state, "--%s: too long, or too many options", which->option);
        return EINVAL;
    }
    cli->sets[cli->n_sets++] = room;
    return 0;
}

static const struct argp_option config_options[] = {
    {"config", KEY_CONFIG, "FILE", 0, "Configuration (JSON, // comments allowed)", 0},
    {"set", KEY_SET, "KEY=VALUE", 0, "Sets one key of the configuration; may be repeated", 0},
    {"print-config", KEY_PRINT, NULL, 0, "Prints the resolved configuration and does nothing else",
     0},
    {0}};

const struct argp px_cli_config_argp = {config_options, parse_config, NULL, NULL, NULL, NULL, NULL};

/* --- whole jobs --- */

enum { KEY_JOB_DIR = 0x1101, KEY_RANKS, KEY_THREADS, KEY_VAR };

static error_t take_number(const struct argp_state *state, const char *name, const char *arg,
                           int most, int *out) {
    int64_t n = 0;
    error_t bad = px_cli_number(state, name, arg, &n);
    *out = (int)PX_MIN(n, most);
    return bad;
}

static error_t parse_job(int key, char *arg, struct argp_state *state) {
    px_cli_job *job = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        job->given.vars = job->vars;
        break;
    case KEY_JOB_DIR:
        job->given.dir = arg;
        break;
    case KEY_RANKS:
        return take_number(state, "ranks", arg, 1000000, &job->given.ranks);
    case KEY_THREADS:
        return take_number(state, "threads", arg, 4096, &job->given.threads);
    case KEY_VAR:
        if (job->given.n_vars >= (int)PX_COUNT(job->vars)) {
            argp_error(state, "more than %zu --var options", PX_COUNT(job->vars));
            return EINVAL;
        }
        job->vars[job->given.n_vars++] = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option job_options[] = {
    {"job-dir", KEY_JOB_DIR, "DIR", 0, "Job folder (default: runs/NAME from here)", 0},
    {"ranks", KEY_RANKS, "N", 0, "Ranks of every step that takes some, over the file's", 0},
    {"threads", KEY_THREADS, "N", 0, "Threads a rank, over the file's", 0},
    {"var", KEY_VAR, "NAME=VALUE", 0, "Value of ${NAME} in the job file; may be repeated", 0},
    {0}};

const struct argp px_cli_job_argp = {job_options, parse_job, NULL, NULL, NULL, NULL, NULL};

/* --config FILE: as it stands, else under the folder that the program was installed with or built
 * in
 * ("configs/ppft.json", or "ppft" alone). NULL: as it stands, so that the error names it. */
static char *config_path(const char *file) {
    static const char *const places[] = {"../share/prismx/", "../share/prismx/configs/", "../",
                                         "../configs/"};
    char program[4096];
    if (px_path_exists(file) || file[0] == '/') return NULL;
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return NULL;
    program[n] = 0;
    *strrchr(program, '/') = 0;
    for (size_t i = 0; i < 2 * PX_COUNT(places); i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s%s%s", program, places[i / 2], file, i % 2 ? ".json" : "") < 0)
            return NULL;
        if (px_path_exists(path) && !px_path_is_dir(path)) return path;
        free(path);
    }
    return NULL;
}

px_err *px_cli_config_load(const px_cli_config *cli, px_config *out) {
    PX_PASS(px_config_init(out));
    px_err *err = NULL;
    if (cli->base) {
        err = px_config_read(out, cli->base);
        /* A run's config.json names every key: nobody asked for those that have no effect. */
        if (!err) memset(out->given, 0, (size_t)px_config_n_keys());
    }
    if (!err && cli->file) {
        char *found = config_path(cli->file);
        err = px_config_read(out, found ? found : cli->file);
        free(found);
    }
    for (int i = 0; !err && i < cli->n_sets; i++) {
        err = px_config_set(out, cli->sets[i]);
        if (err) err = px_err_add(err, __FILE__, __LINE__, "--set %s", cli->sets[i]);
    }
    if (!err) err = px_config_check(out);
    if (err) px_config_fini(out);
    return err;
}

px_err *px_cli_run_config(const px_cli_config *cli, const char *run_dir, px_config *out) {
    if (!run_dir) return px_cli_config_load(cli, out);
    if (!px_path_is_dir(run_dir)) PX_FAIL(PX_BAD_INPUT, "%s: no such run folder", run_dir);
    char *path = px_path_join(run_dir, "config.json");
    if (!path) PX_NO_MEMORY();
    px_cli_config with_run = *cli;
    with_run.base = path;
    px_err *err = px_cli_config_load(&with_run, out);
    free(path);
    return err;
}

void px_cli_config_show(const px_ranks *ranks, const px_config *config) {
    px_str text = {0};
    px_config_print(config, &text);
    if (ranks->rank == 0) printf("%s\n", text.data ? text.data : "");
    px_str_free(&text);
}

int px_cli_threads(const px_ranks *ranks, const px_config *config) {
    int threads = px_place(ranks, (int)config->threads);
    omp_set_num_threads(threads);
    px_device_choose(ranks->node_rank); /* with device cuda: one rank a GPU */
    return threads;
}

px_err *px_cli_profile(const px_ranks *ranks, px_err *err) {
    px_str table = {0};
    px_err *failed = px_profile_take(&table);
    if (!failed && ranks->rank == 0 && table.size) fputs(table.data, stdout);
    px_str_free(&table);
    if (!err) return failed;
    px_err_free(failed);
    return err;
}

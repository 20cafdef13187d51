/* cmd_users.c - prismx users list | show | forget: the people's embeddings of a run. */
#include "cmd.h"
#include "run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_RUN = 1, KEY_USER, KEY_MODEL };

typedef struct {
    const char *action, *run, *user, *model;
} users_options;

static error_t parse_users(int key, char *arg, struct argp_state *state) {
    users_options *o = state->input;
    switch (key) {
    case KEY_RUN:
        o->run = arg;
        break;
    case KEY_USER:
        o->user = arg;
        break;
    case KEY_MODEL:
        o->model = arg;
        break;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) return ARGP_ERR_UNKNOWN;
        o->action = arg;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"run", KEY_RUN, "DIR", 0, "Run folder", 0},
    {"user", KEY_USER, "ID", 0, "Person (show, forget)", 0},
    {"model", KEY_MODEL, "PATH", 0,
     "Where the base model lies now (default: where the run found it)", 0},
    {0}};
static const struct argp argp = {
    options,
    parse_users,
    "list\nshow\nforget",
    "Lists people, shows one's mixing weights, or takes one out of every file of the run.\v"
    "Example:\n  prismx users show --run runs/ppft --user user12\n\n"
    "forget removes the person's own parameters and Adam's moments from every checkpoint and "
    "users.h5. What all "
    "people's training shares keeps the traces of their data; a new run without them takes those "
    "away too.",
    NULL,
    NULL,
    NULL};

/* Length of e_u - e_0, over the length of e_0. */
static double distance(const px_params *p, int32_t row, float *e, float *generic) {
    double off = 0, size = 0;
    px_user_embed(p, row, e);
    px_user_embed(p, 0, generic);
    for (int64_t i = 0; i < p->n_tokens * p->d; i++) {
        double d = (double)e[i] - (double)generic[i];
        off += d * d;
        size += (double)generic[i] * (double)generic[i];
    }
    return size > 0 ? sqrt(off / size) : 0;
}

static void print_weights(const px_params *p, int32_t row) {
    const px_param *w = px_params_find(p, "user.weights");
    if (!w) return;
    printf("weights");
    for (int64_t k = 0; k < p->bank; k++)
        printf("\t%.6g", (double)p->values[w->offset + (size_t)(row * p->bank + k)]);
    printf("\n");
}

static px_err *show(const px_run *run, const users_options *o) {
    const px_params *p = run->params;
    px_arena *arena = NULL;
    PX_PASS(px_arena_new(65536, &arena));
    float *e = px_take(arena, float, p->n_tokens, p->d),
          *generic = px_take(arena, float, p->n_tokens, p->d);
    px_err *err = px_arena_ok(arena);
    if (!err && o->user) {
        int32_t row = px_run_row(run, o->user);
        printf("user\t%s\nrow\t%d%s\ndistance\t%.6g\n", o->user, row,
               row ? "" : " (not trained here: gets the generic embedding)",
               distance(p, row, e, generic));
        print_weights(p, row);
    } else if (!err) {
        printf("row\tuser\tdistance\n");
        for (int32_t u = 0; u < p->n_users; u++)
            printf("%d\t%s\t%.6g\n", u, u ? run->ids[u] : "(generic)", distance(p, u, e, generic));
    }
    px_arena_free(arena);
    return err;
}

static px_err *forget(const users_options *o) {
    int n = 0;
    PX_PASS(px_run_forget(o->run, o->user, o->model, &n));
    if (n == 0)
        printf("nobody of that id has parameters in %s\n", o->run);
    else
        printf("removed from %d checkpoint%s and users.h5; they now get the generic embedding. The "
               "shared "
               "parameters still bear traces of their data: only a new run without them takes "
               "those away.\n",
               n, n == 1 ? "" : "s");
    return NULL;
}

px_err *cmd_users(px_ranks *ranks, int argc, char **argv) {
    users_options o = {0};
    px_run run;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.action || (strcmp(o.action, "list") != 0 && strcmp(o.action, "show") != 0 &&
                      strcmp(o.action, "forget") != 0))
        PX_FAIL(PX_BAD_INPUT, "list, show or forget is wanted%s%s", o.action ? ", not " : "",
                o.action ? o.action : "");
    PX_PASS(px_cli_need("run", o.run));
    if (!strcmp(o.action, "list"))
        o.user = NULL;
    else
        PX_PASS(px_cli_need("user", o.user));
    if (!strcmp(o.action, "forget")) return forget(&o);
    PX_PASS(px_run_open(o.run, -1, o.model, &run));
    px_err *err = NULL;
    if (run.params->n_tokens == 0)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__,
                         "%s has no user embeddings (user.model none)", o.run);
    else
        err = show(&run, &o);
    px_run_close(&run);
    return err;
}

/* cmd_serve.c - prismx serve: a run or base model behind the chat-completions protocol. */
#include "cmd.h"
#include "serve_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT 8080

enum {
    KEY_RUN = 1,
    KEY_MODEL,
    KEY_STEP,
    KEY_HOST,
    KEY_PORT,
    KEY_SOCKET,
    KEY_KEY_ENV,
    KEY_NAME,
    KEY_MOST,
    KEY_QUEUE,
    KEY_TIMEOUT,
    KEY_GRACE
};

typedef struct {
    px_cli_config config;
    const char *run_dir, *model_path, *host, *socket, *key_env, *name;
    int64_t step, port, most, queue, timeout_s, grace_s;
} serve_options;

static error_t parse_serve(int key, char *arg, struct argp_state *state) {
    serve_options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->config;
        break;
    case KEY_RUN:
        o->run_dir = arg;
        break;
    case KEY_MODEL:
        o->model_path = arg;
        break;
    case KEY_STEP:
        return px_cli_number(state, "step", arg, &o->step);
    case KEY_HOST:
        o->host = arg;
        break;
    case KEY_PORT:
        if (!px_parse_i64(arg, &o->port) || o->port < 0 || o->port > 65535) {
            argp_error(state, "--port %s: a number from 0 to 65535 is wanted", arg);
            return EINVAL;
        }
        break;
    case KEY_SOCKET:
        o->socket = arg;
        break;
    case KEY_KEY_ENV:
        o->key_env = arg;
        break;
    case KEY_NAME:
        o->name = arg;
        break;
    case KEY_MOST:
        return px_cli_number(state, "max-new-tokens", arg, &o->most);
    case KEY_QUEUE:
        return px_cli_number(state, "queue", arg, &o->queue);
    case KEY_TIMEOUT:
        return px_cli_number(state, "timeout", arg, &o->timeout_s);
    case KEY_GRACE:
        return px_cli_number(state, "grace", arg, &o->grace_s);
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\" is no option", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"run", KEY_RUN, "DIR", 0, "Run folder whose model answers", 0},
    {"model", KEY_MODEL, "PATH", 0,
     "In place of --run: the base model answers; with --run: where its base lies now", 0},
    {"step", KEY_STEP, "N", 0, "Checkpoint of that step (default: the newest)", 0},
    {"port", KEY_PORT, "P", 0, "TCP port (8080; 0: any free one, printed)", 0},
    {"host", KEY_HOST, "ADDRESS", 0,
     "Address to listen on (127.0.0.1); another than loopback wants an access key", 0},
    {"socket", KEY_SOCKET, "PATH", 0,
     "Also a UNIX socket, for this user alone; without --port no TCP", 0},
    {"key-env", KEY_KEY_ENV, "NAME", 0,
     "Environment variable with the access key (PRISMX_KEY); where it is set, requests need it", 0},
    {"name", KEY_NAME, "NAME", 0, "What the model is called (default: the folder's name)", 0},
    {"max-new-tokens", KEY_MOST, "N", 0, "The most that a request may ask for (4096)", 0},
    {"queue", KEY_QUEUE, "N", 0, "Requests that may wait; more are told to come back (64)", 0},
    {"timeout", KEY_TIMEOUT, "S", 0, "Seconds that an answer may take (600)", 0},
    {"grace", KEY_GRACE, "S", 0, "Seconds for what is under way when stopped (30)", 0},
    {0}};
static const struct argp_child children[] = {{&px_cli_config_argp, 0, "Configuration:", 0}, {0}};
static const struct argp argp = {
    options,
    parse_serve,
    NULL,
    "Serves a model to chat clients over the OpenAI chat-completions protocol. A request's "
    "\"user\" "
    "picks the person whose embedding answers. Runs until SIGTERM or SIGINT, finishes what is "
    "under "
    "way, and exits 0.\v"
    "Example:\n  prismx serve --run runs/ppft --port 8080 &\n"
    "  curl http://127.0.0.1:8080/v1/chat/completions -d '{\"user\": \"user12\",\n"
    "    \"messages\": [{\"role\": \"user\", \"content\": \"What shall I cook?\"}]}'",
    children,
    NULL,
    NULL};

/* The last part of a path, without slashes at its end; heap. */
static char *base_name(const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') start--;
    return strndup(path + start, end - start);
}

static bool stop_wanted(void) { return px_signal_seen() != 0; }

static px_err *key_find(const serve_options *o, const char **key) {
    const char *name = o->key_env ? o->key_env : "PRISMX_KEY";
    *key = getenv(name);
    if (*key && !**key) *key = NULL;
    if (o->key_env && !*key)
        PX_FAIL(PX_BAD_INPUT, "--key-env %s: the environment variable is %s", name,
                getenv(name) ? "empty" : "not set");
    return NULL;
}

static px_err *serve_on(const px_serve_setup *setup, px_served *served) {
    const px_generator generator = px_served_generator(served);
    px_server *server = NULL;
    PX_PASS(px_server_open(setup, &generator, &server));
    if (setup->host)
        printf(strchr(setup->host, ':') ? "http://[%s]:%d/v1\n" : "http://%s:%d/v1\n", setup->host,
               px_server_port(server));
    if (setup->socket) printf("unix:%s\n", setup->socket);
    fflush(stdout); /* main looks at it again */
    px_info("serve: %s is ready%s", setup->model,
            setup->key ? ", for requests with the access key" : "");
    px_err *err = px_server_run(server, stop_wanted);
    px_server_close(server);
    return err;
}

static px_err *serve_config(const serve_options *o, const px_config *config, int threads) {
    px_served *served = NULL;
    char *name = base_name(o->run_dir ? o->run_dir : o->model_path);
    px_serve_setup setup = {PX_SERVE_DEFAULTS, .socket = o->socket,
                            .model = o->name ? o->name : name,
                            .limits = px_chat_limits_default(o->most)};
    const px_engine_setup engine = {.model_path = o->model_path,
                                    .run_dir = o->run_dir,
                                    .step = o->step,
                                    .config = config,
                                    .threads = threads,
                                    .batch = config->generate_batch,
                                    .cache_tokens = config->generate_cache_tokens};
    setup.host = o->socket && o->port < 0 && !o->host ? NULL : o->host ? o->host : "127.0.0.1";
    setup.port = o->port < 0 ? DEFAULT_PORT : (int)o->port;
    setup.queue = o->queue;
    setup.request_s = (double)o->timeout_s;
    setup.grace_s = (double)o->grace_s;
    setup.limits.how = px_served_sampling(config);
    setup.limits.how.max_new_tokens = PX_MIN(setup.limits.how.max_new_tokens, o->most);
    px_err *err = name ? key_find(o, &setup.key)
                       : px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    if (!err) err = px_served_open(&engine, &served);
    if (!err) {
        setup.fingerprint = px_served_fingerprint(served);
        err = serve_on(&setup, served);
    }
    px_served_close(served);
    free(name);
    return err;
}

px_err *cmd_serve(px_ranks *ranks, int argc, char **argv) {
    serve_options o = {
        .step = -1, .port = -1, .most = 4096, .queue = 64, .timeout_s = 600, .grace_s = 30};
    px_config config;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    if (!o.run_dir && !o.model_path) PX_FAIL(PX_BAD_INPUT, "--run or --model is missing");
    if (o.most < 1 || o.queue < 1 || o.timeout_s < 1)
        PX_FAIL(PX_BAD_INPUT, "--max-new-tokens, --queue and --timeout are numbers from 1");
    PX_PASS(px_cli_run_config(&o.config, o.run_dir, &config));
    px_err *err = NULL;
    if (o.config.print)
        px_cli_config_show(ranks, &config);
    else
        err = serve_config(&o, &config, px_cli_threads(ranks, &config));
    px_config_fini(&config);
    return err;
}

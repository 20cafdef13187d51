/* report_runs.c - see report_runs.h. */
#include "report_runs.h"

#include "h5.h"
#include "px_test.h"

static const px_rng rng = {.seed = 5, .purpose = PX_RNG_TEST};

static double noise(uint64_t what, uint64_t i) { return px_rng_normal(rng, what, i); }

void make_file(const char *parent, const char *name, const char *text) {
    char *path = px_path_join(parent, name);
    assert_non_null(path);
    char *slash = strrchr(path, '/');
    *slash = 0;
    px_assert_ok(px_dir_make(path));
    *slash = '/';
    px_assert_ok(px_file_write(path, text, strlen(text)));
    free(path);
}

static void add_pair(px_str *out, const char *name, double user, double generic, bool personal) {
    px_str_format(out, ", \"%s\": %.17g", name, personal ? (user + generic) / 2 : generic);
    if (personal)
        px_str_format(out, ", \"%s/user\": %.17g, \"%s/generic\": %.17g", name, user, name,
                      generic);
}

static void make_metrics(const char *dir, const made_run *run) {
    px_str out = {0};
    double tokens = 0;
    for (int i = 1; i <= run->n_steps; i++) {
        uint64_t at = (uint64_t)i;
        double t = 1 - exp(-3.0 * i / run->n_steps), gain = run->personal ? 1.25 : 1;
        double margin = 4 * run->skill * t + 0.15 * noise(1, at);
        double accuracy = 0.5 + run->skill * t + 0.06 * noise(2, at);
        double loss = 0.693 - 0.9 * run->skill * t + 0.03 * noise(3, at);
        tokens += 6000 + 300 * noise(4, at);
        px_str_format(&out, "{\"step\": %d, \"epoch\": %.17g", i, (double)i / run->n_steps);
        add_pair(&out, "loss", loss - 0.02 * t, loss, run->personal);
        add_pair(&out, "rewards/accuracies", fmin(accuracy * 1.04, 1), fmin(accuracy, 1),
                 run->personal);
        add_pair(&out, "rewards/margins", margin * gain, margin, run->personal);
        add_pair(&out, "rewards/chosen", -1.2 * t + 0.1 * noise(5, at), -1.2 * t, run->personal);
        add_pair(&out, "rewards/rejected", -1.2 * t - margin * gain, -1.2 * t - margin,
                 run->personal);
        px_str_format(&out, ", \"grad_norm\": %.17g, \"learning_rate\": %.17g",
                      1.5 + 0.4 * fabs(noise(6, at)),
                      5e-5 * fmin(i / 20.0, 0.5 + 0.5 * cos(3.14159 * i / run->n_steps)));
        if (run->personal)
            px_str_format(&out, ", \"user/spread\": %.17g", run->dead ? 1e-4 * t : 0.3 * t);
        px_str_format(&out,
                      ", \"num_tokens\": %.0f, \"pairs\": 33, \"step_time_s\": 2.1, "
                      "\"tokens_per_s\": %.17g",
                      tokens, 2900 + 150 * noise(7, at));
        if (i % 25 == 0)
            px_str_format(&out, ", \"eval_loss\": %.17g, \"eval_rewards/accuracies\": %.17g", loss,
                          0.5 + 0.8 * run->skill * t);
        px_str_text(&out, "}\n");
    }
    make_file(dir, "metrics.jsonl", out.data ? out.data : "");
    px_str_free(&out);
}

static void add_interval(px_str *out, const char *name, double value, double half) {
    px_str_format(out, ", \"%s\": [%.17g, %.17g, %.17g]", name, value, value - half, value + half);
}

static void make_eval(const char *dir, const made_run *run) {
    static const char *const splits[] = {"seen", "unseen"};
    static const char *const types[] = {"all", "unguided", "values guided", "controversy guided"};
    px_str out = {0};
    px_str_format(&out,
                  "{\"step\": %d, \"beta\": 0.5, \"personal\": %s, \"n_pairs\": 900, "
                  "\"corpus_sha256\": \"c0\", \"bootstrap\": 2000, \"taste_correlation\": %s, "
                  "\"rows\": [\n",
                  run->n_steps, run->personal ? "true" : "false", run->personal ? "0.41" : "null");
    for (int s = 0; s < 2; s++)
        for (int t = 0; t < 4; t++) {
            double off = 0.02 * noise(9, (uint64_t)t), half = t ? 0.05 : 0.028;
            double swap = s || run->dead ? 0.001 : 0.061, own = 0.5 + run->skill - 0.02 * s + off;
            px_str_format(&out,
                          "%s{\"split\": \"%s\", \"type\": \"%s\", \"n_pairs\": %d, \"n_people\": "
                          "%d",
                          s + t ? ",\n" : "", splits[s], types[t], t ? 260 : 780, t ? 90 : 124);
            add_interval(&out, "accuracy_own", own, half);
            add_interval(&out, "margin_own", 0.4, 0.1);
            if (run->personal) {
                add_interval(&out, "accuracy_generic", own - swap / 2, half);
                add_interval(&out, "accuracy_other", own - swap, half);
                add_interval(&out, "delta_own", swap / 2, 0.035);
                add_interval(&out, "delta_swap", swap, 0.031);
            }
            px_str_char(&out, '}');
        }
    px_str_text(&out, "]}\n");
    make_file(dir, "evals/eval.json", out.data);
    px_str_free(&out);
}

static void make_users(const char *dir, const made_run *run) {
    enum { K = 6, T = 3, D = 8 };
    px_h5 *h5 = NULL;
    int n = run->n_people + 1;
    int64_t dims[3] = {n, T, D}, bank[3] = {K, T, D};
    char *path = px_path_join(dir, "users.h5");
    const char **ids = malloc((size_t)n * sizeof *ids);
    double *e = malloc((size_t)(n * T * D) * sizeof *e), v[K * T * D];
    assert_true(path && ids && e);
    for (int i = 0; i < n; i++) ids[i] = i ? "secret-participant" : "";
    for (int i = 0; i < n * T * D; i++)
        e[i] = 1 + (i < T * D ? 0 : run->dead ? 1e-5 : 0.4) * noise(11, (uint64_t)i);
    for (int i = 0; i < K * T * D; i++) v[i] = noise(12, (uint64_t)i);
    px_assert_ok(px_h5_create(path, &h5));
    px_assert_ok(px_h5_write_texts(h5, "/ids", ids, n));
    if (run->individual) {
        px_assert_ok(px_h5_write(h5, "/embeddings", PX_H5_F64, 3, dims, e));
    } else {
        dims[1] = K;
        px_assert_ok(px_h5_write(h5, "/weights", PX_H5_F64, 2, dims, e));
        px_assert_ok(px_h5_write(h5, "/bank", PX_H5_F64, 3, bank, v));
    }
    px_assert_ok(px_h5_publish(h5));
    free(path);
    free(ids);
    free(e);
}

static void make_facts(const char *parent, const char *dir, const made_run *run) {
    char *text = NULL;
    assert_true(
        asprintf(&text,
                 "{\"program\": {\"name\": \"prismx\", \"version\": \"0.1.0\", \"commit\": "
                 "\"abc\"}, \"started\": \"2026-03-01T10:00:00Z\", \"ranks\": 2, \"threads\": 1, "
                 "\"host\": {\"cpu\": \"A processor\", \"cores\": 8}, \"inputs\": {\"corpus\": "
                 "{\"path\": \"%s/corpus.h5\", \"sha256\": \"c0\"}}, \"corpus_sha256\": \"c0\", "
                 "\"status\": \"%s\", \"step\": %d, \"steps\": %d, \"wall_s\": 900.5, "
                 "\"energy_j\": 36000, "
                 "\"peak_memory_bytes\": 1.93e9, \"device_peak_memory_bytes\": 18.25e9, "
                 "\"params_sha256\": \"0123456789abcdef\", "
                 "\"config\": {\"seed\": 123}}\n",
                 parent, run->complete ? "complete" : "running", run->n_steps,
                 run->complete ? run->n_steps : 2 * run->n_steps) > 0);
    make_file(dir, "manifest.json", text);
    free(text);
    assert_true(asprintf(&text,
                         "{\"user\": {\"model\": \"%s\", \"tokens\": 3, \"mixing\": \"softmax\"}, "
                         "\"loss\": {\"alpha\": 0.5, \"beta\": 0.5}, \"optim\": {\"lr\": 5e-5, "
                         "\"betas\": [0.9, 0.999]}, \"seed\": 123}\n",
                         !run->personal    ? "none"
                         : run->individual ? "individual"
                                           : "bank") > 0);
    make_file(dir, "config.json", text);
    free(text);
    make_file(parent, "corpus.report.json",
              "{\"splits\": {\"seen_people\": 124, \"train\": {\"pairs\": 7000}, \"seen\": "
              "{\"pairs\": 780}}, \"left_out\": {\"pairs\": {\"pair_over_max_tokens\": {\"count\": "
              "17, \"limit\": 770, \"lines\": [3]}}, \"conversations\": {\"not_english\": 0}}, "
              "\"damage\": {\"conversations.jsonl\": {\"no_chosen\": {\"count\": 4, \"effect\": "
              "\"the pairs end before this turn\", \"lines\": [9]}}}}\n");
}

void make_run(const char *parent, const made_run *run) {
    char *dir = px_path_join(parent, run->name);
    assert_non_null(dir);
    px_assert_ok(px_dir_make(dir));
    make_facts(parent, dir, run);
    make_metrics(dir, run);
    if (run->evaluated) make_eval(dir, run);
    if (run->personal && run->complete) make_users(dir, run);
    free(dir);
}

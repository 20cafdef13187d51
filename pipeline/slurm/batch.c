/* batch.c - a batch script: the template's text with {{words}} replaced. A line that holds one such
 * word alone and gets nothing in its place goes away. */
#include "slurm_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void px_shell_word(px_str *out, const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "%+,-./:=@_";
    if (*text && !text[strspn(text, plain)]) {
        px_str_text(out, text);
        return;
    }
    px_str_char(out, '\'');
    for (; *text; text++) px_str_text(out, *text == '\'' ? "'\\''" : (char[]){*text, 0});
    px_str_char(out, '\'');
}

/* --- what stands for each word --- */

typedef struct {
    const px_cluster *cluster;
    const px_batch *batch;
    const char *program, *template;
    int ranks, threads, per_node;
} filler;
typedef px_err *fill(const filler *f, px_str *out);

static const char *time_of(const filler *f) {
    return f->batch->time ? f->batch->time : f->cluster->time;
}

static void option(px_str *out, const char *name, const char *value) {
    if (value && *value) px_str_format(out, "#SBATCH --%s=%s\n", name, value);
}

static void fill_nodes(const filler *f, px_str *out) {
    px_str_format(out, "#SBATCH --ntasks=%d\n#SBATCH --cpus-per-task=%d\n", f->ranks, f->threads);
    if (f->per_node)
        px_str_format(out, "#SBATCH --nodes=%d\n#SBATCH --ntasks-per-node=%d\n",
                      (f->ranks + f->per_node - 1) / f->per_node, f->per_node);
    else if (f->ranks == 1)
        px_str_text(out, "#SBATCH --nodes=1\n");
    if (f->batch->gpus)
        px_str_format(out, "#SBATCH --gres=gpu:%d\n",
                      f->batch->gpus * (f->per_node ? f->per_node : f->ranks));
}

/* Output is appended: a job that starts again goes on in the same file. */
static px_err *fill_options(const filler *f, px_str *out) {
    const px_cluster *c = f->cluster;
    const px_batch *b = f->batch;
    const cJSON *more = NULL;
    px_str_format(out, "#SBATCH --job-name=%s/%s\n", b->title, b->label);
    px_str_format(out, "#SBATCH --output=%s/logs/slurm-%s-%s.out\n", b->dir, b->label,
                  b->array ? "%A_%a" : "%j");
    px_str_text(out, "#SBATCH --open-mode=append\n#SBATCH --requeue\n");
    px_str_format(out, "#SBATCH --signal=B:USR1@%lld\n", (long long)c->margin_s);
    option(out, "array", b->array);
    option(out, "partition", c->partition);
    option(out, "account", c->account);
    option(out, "qos", c->qos);
    option(out, "constraint", c->constraint);
    option(out, "reservation", c->reservation);
    option(out, "time", time_of(f));
    option(out, "mem", b->memory ? b->memory : c->memory);
    fill_nodes(f, out);
    cJSON_ArrayForEach(more, c->sbatch) px_str_format(out, "#SBATCH %s\n", more->valuestring);
    return NULL;
}

static px_err *fill_modules(const filler *f, px_str *out) {
    const cJSON *module = NULL;
    cJSON_ArrayForEach(module, f->cluster->modules) {
        px_str_text(out, "module load ");
        px_shell_word(out, module->valuestring);
        px_str_char(out, '\n');
    }
    return NULL;
}

static px_err *fill_setup(const filler *f, px_str *out) {
    const cJSON *line = NULL;
    cJSON_ArrayForEach(line, f->cluster->setup) px_str_format(out, "%s\n", line->valuestring);
    return NULL;
}

/* Double quotes: the site may write $USER and $SLURM_JOB_ID. */
static void export_line(px_str *out, const char *name, const char *value) {
    px_str_format(out, "export %s=\"", name);
    for (; *value; value++) {
        if (strchr("\"\\`", *value)) px_str_char(out, '\\');
        px_str_char(out, *value);
    }
    px_str_text(out, "\"\n");
}

static px_err *fill_environment(const filler *f, px_str *out) {
    static const char *const by_interface[] = {"NCCL_SOCKET_IFNAME", "OMPI_MCA_btl_tcp_if_include",
                                               "OMPI_MCA_oob_tcp_if_include"};
    const cJSON *pair = NULL;
    for (size_t i = 0; f->cluster->interface[0] && i < PX_COUNT(by_interface); i++)
        export_line(out, by_interface[i], f->cluster->interface);
    if (f->cluster->scratch[0]) {
        export_line(out, "TMPDIR", f->cluster->scratch);
        px_str_text(out, "srun --ntasks-per-node=1 --ntasks=\"$SLURM_JOB_NUM_NODES\" "
                         "mkdir -p \"$TMPDIR\" || exit 1\n");
    }
    if (f->cluster->container[0]) export_line(out, "PRISMX_CONTAINER", f->cluster->container);
    cJSON_ArrayForEach(pair, f->cluster->environment)
        export_line(out, pair->string, pair->valuestring);
    return NULL;
}

/* The step's newest line of progress, for squeue -o %k: one request to Slurm in so many seconds. */
static px_err *fill_comment(const filler *f, px_str *out) {
    if (!f->cluster->comment_s || !f->batch->log) return NULL;
    px_str_format(
        out,
        "(\n"
        "    trap - TERM USR1\n"
        "    while sleep %lld && kill -0 $pid 2>/dev/null; do\n"
        "        line=$(tail -n 50 \"$log\" 2>/dev/null | grep -E '[0-9]+/[0-9]+ ' | tail -n 1)\n"
        "        [ -z \"$line\" ] ||\n"
        "            scontrol update JobId=\"$SLURM_JOB_ID\" Comment=\"${line//[^ -~]/}\" || "
        "break\n"
        "    done\n"
        ") >/dev/null 2>&1 &\n",
        (long long)f->cluster->comment_s);
    return NULL;
}

static px_err *fill_word(px_str *out, const char *text) {
    px_shell_word(out, text ? text : "");
    return NULL;
}
static px_err *fill_title(const filler *f, px_str *out) { return fill_word(out, f->batch->title); }
static px_err *fill_label(const filler *f, px_str *out) { return fill_word(out, f->batch->label); }
static px_err *fill_dir(const filler *f, px_str *out) { return fill_word(out, f->batch->dir); }
static px_err *fill_log(const filler *f, px_str *out) { return fill_word(out, f->batch->log); }
static px_err *fill_state(const filler *f, px_str *out) { return fill_word(out, f->batch->state); }
static px_err *fill_out(const filler *f, px_str *out) { return fill_word(out, f->batch->out); }
static px_err *fill_program(const filler *f, px_str *out) { return fill_word(out, f->program); }
static px_err *fill_template(const filler *f, px_str *out) { return fill_word(out, f->template); }
static px_err *fill_cluster(const filler *f, px_str *out) {
    return fill_word(out, f->cluster->path);
}
static px_err *fill_launcher(const filler *f, px_str *out) {
    return fill_word(out, f->cluster->launcher);
}
static px_err *fill_task(const filler *f, px_str *out) {
    if (!f->batch->tasks) return NULL;
    px_str_text(out, "IFS=$'\\t' read -r out state log < <(sed -n \"${task}p\" ");
    px_shell_word(out, f->batch->tasks);
    px_str_text(out, ")\n");
    return NULL;
}
static px_err *fill_words(const filler *f, px_str *out) {
    px_str_text(out, f->batch->words);
    return NULL;
}
static px_err *fill_time(const filler *f, px_str *out) {
    px_str_text(out, *time_of(f) ? time_of(f) : "of the partition");
    return NULL;
}
static px_err *fill_margin(const filler *f, px_str *out) {
    px_str_format(out, "%lld", (long long)f->cluster->margin_s);
    return NULL;
}
static px_err *fill_restarts(const filler *f, px_str *out) {
    px_str_format(out, "%lld", (long long)f->cluster->restarts);
    return NULL;
}
static px_err *fill_stalls(const filler *f, px_str *out) {
    px_str_format(out, "%lld", (long long)f->cluster->stalls);
    return NULL;
}

static const struct {
    const char *name;
    fill *fill;
} words[] = {
    {"title", fill_title},       {"label", fill_label},
    {"template", fill_template}, {"cluster", fill_cluster},
    {"options", fill_options},   {"modules", fill_modules},
    {"setup", fill_setup},       {"environment", fill_environment},
    {"launcher", fill_launcher}, {"dir", fill_dir},
    {"log", fill_log},           {"state", fill_state},
    {"task", fill_task},         {"out", fill_out},
    {"program", fill_program},   {"words", fill_words},
    {"comment", fill_comment},   {"time", fill_time},
    {"margin_s", fill_margin},   {"restarts", fill_restarts},
    {"stalls", fill_stalls},
};

static px_err *fill_one(const filler *f, const char *name, size_t size, px_str *out) {
    const char *names[PX_COUNT(words)];
    for (size_t i = 0; i < PX_COUNT(words); i++) {
        names[i] = words[i].name;
        if (strlen(names[i]) == size && !memcmp(names[i], name, size)) return words[i].fill(f, out);
    }
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)PX_MIN(size, 60), name);
    int near = px_nearest(word, names, (int)PX_COUNT(words));
    PX_FAIL(PX_BAD_INPUT, "{{%s}} stands for nothing%s%s%s", word,
            near >= 0 ? "; did you mean {{" : "", near >= 0 ? names[near] : "",
            near >= 0 ? "}}?" : "");
}

static px_err *fill_line(const filler *f, const char *line, size_t size, px_str *out) {
    size_t from = out->size, at = 0;
    bool alone = false;
    while (at < size) {
        const char *open = memmem(line + at, size - at, "{{", 2);
        const char *close = open ? memmem(open, size - (size_t)(open - line), "}}", 2) : NULL;
        if (!close) break;
        px_str_add(out, line + at, (size_t)(open - line) - at);
        PX_PASS(fill_one(f, open + 2, (size_t)(close - open) - 2, out));
        at = (size_t)(close - line) + 2;
        alone = open == line && at == size;
    }
    px_str_add(out, line + at, size - at);
    bool ended = out->size > from && out->data[out->size - 1] == '\n';
    if (!alone || (out->size > from && !ended)) px_str_char(out, '\n');
    return NULL;
}

/* --- does it fit? --- */

static px_err *filler_init(const px_cluster *cluster, const px_batch *batch, filler *f) {
    f->cluster = cluster;
    f->batch = batch;
    f->ranks = batch->mpi ? PX_MAX(1, batch->ranks) : 1;
    f->threads = batch->threads ? batch->threads : (int)cluster->threads;
    int64_t per_node = cluster->ranks_per_node;
    if (!per_node && batch->gpus && cluster->gpus_per_node)
        per_node = cluster->gpus_per_node / batch->gpus;
    if (batch->gpus && PX_MAX(per_node, 1) * batch->gpus > cluster->gpus_per_node && per_node)
        PX_FAIL(PX_BAD_INPUT,
                "step %s: %lld ranks a node with %d GPUs each, and \"gpus_per_node\" of %s is %lld",
                batch->label, (long long)per_node, batch->gpus, cluster->path,
                (long long)cluster->gpus_per_node);
    if (batch->gpus && !cluster->gpus_per_node)
        PX_FAIL(PX_BAD_INPUT, "step %s wants GPUs, and \"gpus_per_node\" of %s says there are none",
                batch->label, cluster->path);
    if (batch->gpus > cluster->gpus_per_node)
        PX_FAIL(PX_BAD_INPUT, "step %s wants %d GPUs a rank, a node has %lld (%s)", batch->label,
                batch->gpus, (long long)cluster->gpus_per_node, cluster->path);
    f->per_node = (int)PX_MIN(per_node, f->ranks);
    /* Slurm takes the rest of the line as the value, or ends an option at a space. */
    const char *texts[] = {batch->title, batch->label, batch->dir, time_of(f),
                           batch->memory ? batch->memory : ""};
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        if (strpbrk(texts[i], " \t\n\"'\\"))
            PX_FAIL(PX_BAD_INPUT,
                    "\"%s\": a space, quote or backslash, which #SBATCH lines cannot hold",
                    texts[i]);
    return NULL;
}

px_err *px_batch_script(const px_cluster *cluster, const px_batch *batch, px_str *out) {
    filler f;
    char *template = NULL;
    char program[PATH_MAX];
    px_bytes text = {0};
    PX_PASS(filler_init(cluster, batch, &f));
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n < 0) PX_FAIL(PX_RUN_FAILED, "/proc/self/exe: %s", strerror(errno));
    program[n] = 0;
    f.program = program;
    px_err *err = NULL;
    if (cluster->template[0])
        template = strdup(cluster->template);
    else
        PX_TRY_TO(done, slurm_share_file("slurm/step.sbatch", &template), "batch template");
    if (!template) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    f.template = template;
    PX_TRY_TO(done, px_file_read(template, &text), "batch template");
    int line = 1;
    for (size_t at = 0; at < text.size; line++) {
        const char *end = memchr(text.data + at, '\n', text.size - at);
        size_t size = end ? (size_t)(end - text.data) - at : text.size - at;
        PX_TRY_TO(done, fill_line(&f, text.data + at, size, out), "%s line %d", template, line);
        at += size + 1;
    }
    err = px_str_ok(out);
done:
    px_bytes_free(&text);
    free(template);
    return err;
}

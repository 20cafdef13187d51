/* metrics.c - metrics.jsonl: one object per optimiser step, TRL's names; appended and flushed step
 * by step. After a resume the lines of steps that are computed again are cut off first, so that
 * each step has one line. */
#include "guard.h"
#include "train_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct px_metrics {
    FILE *file;
    char *path;
    px_events *events;
    px_str line;
};

/* The part of the file that holds whole lines of steps <= keep, rewritten atomically. */
static px_err *cut_lines(const char *path, int64_t keep) {
    px_bytes text = {0};
    px_err *err = NULL;
    if (!px_path_exists(path)) return NULL;
    PX_PASS(px_file_read(path, &text));
    size_t end = 0;
    for (size_t at = 0; at < text.size;) {
        const char *newline = memchr(text.data + at, '\n', text.size - at);
        if (!newline) break;
        size_t size = (size_t)(newline - text.data) + 1 - at;
        cJSON *line = NULL;
        px_err *bad = px_json_parse(text.data + at, size - 1, &line);
        double step = bad ? -1 : px_json_find_f64(line, "step", -1);
        cJSON_Delete(line);
        px_err_free(bad);
        if (step < 0 || step > (double)keep) break;
        at += size;
        end = at;
    }
    if (end < text.size) err = px_file_write(path, text.data, end);
    px_bytes_free(&text);
    return err;
}

px_err *px_metrics_open(const char *dir, int64_t keep_steps, bool tensorboard, px_metrics **out) {
    px_metrics *m = calloc(1, sizeof *m);
    px_err *err = NULL;
    if (!m) PX_NO_MEMORY();
    m->path = px_path_join(dir, "metrics.jsonl");
    if (!m->path) PX_FAIL_TO(failed, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(failed, cut_lines(m->path, keep_steps));
    m->file = fopen(m->path, "ab");
    if (!m->file) PX_FAIL_TO(failed, PX_RUN_FAILED, "%s: %s", m->path, strerror(errno));
    if (tensorboard) PX_PASS_TO(failed, px_events_open(dir, &m->events));
    *out = m;
    return NULL;
failed:
    px_metrics_close(m);
    return err;
}

void px_metrics_close(px_metrics *m) {
    if (!m) return;
    if (m->file) fclose(m->file);
    px_events_close(m->events);
    px_str_free(&m->line);
    free(m->path);
    free(m);
}

static px_err *add_number(px_metrics *m, int64_t step, const char *name, double value) {
    px_str_format(&m->line, ", \"%s\": ", name);
    px_str_double(&m->line, value);
    return m->events ? px_events_scalar(m->events, name, step, value) : NULL;
}

/* name, and name/user and name/generic in PPFT: the whole is weighted as the loss is. */
static px_err *add_terms(px_metrics *m, const px_metrics_line *line, const char *name,
                         const double value[2]) {
    const px_step_result *r = line->result;
    int64_t step = line->state->step;
    char part[64];
    if (line->config->user_model == PX_USER_NONE) return add_number(m, step, name, value[1]);
    double alpha = line->config->loss_alpha, whole = 0;
    if (r->has[0]) whole += alpha * value[0];
    if (r->has[1]) whole += (1 - alpha) * value[1];
    PX_PASS(add_number(m, step, name, whole));
    for (int term = 0; term < 2; term++) {
        if (!r->has[term]) continue;
        snprintf(part, sizeof part, "%s/%s", name, term == 0 ? "user" : "generic");
        PX_PASS(add_number(m, step, part, value[term]));
    }
    return NULL;
}

static px_err *add_all(px_metrics *m, const px_metrics_line *line) {
    const px_step_result *r = line->result;
    int64_t step = line->state->step;
    PX_PASS(add_number(m, step, "loss", r->loss));
    if (line->config->user_model != PX_USER_NONE) {
        if (r->has[0]) PX_PASS(add_number(m, step, "loss/user", r->term_loss[0]));
        if (r->has[1]) PX_PASS(add_number(m, step, "loss/generic", r->term_loss[1]));
    }
    PX_PASS(add_terms(m, line, "rewards/chosen", r->chosen));
    PX_PASS(add_terms(m, line, "rewards/rejected", r->rejected));
    PX_PASS(add_terms(m, line, "rewards/accuracies", r->accuracy));
    PX_PASS(add_terms(m, line, "rewards/margins", r->margin));
    PX_PASS(add_terms(m, line, "logps/chosen", r->logp_chosen));
    PX_PASS(add_terms(m, line, "logps/rejected", r->logp_rejected));
    PX_PASS(add_number(m, step, "grad_norm", r->grad_norm));
    PX_PASS(add_number(m, step, "learning_rate", r->learning_rate));
    if (line->config->user_model != PX_USER_NONE)
        PX_PASS(add_number(m, step, "user/spread", r->spread));
    PX_PASS(add_number(m, step, "num_tokens", (double)line->state->n_tokens));
    PX_PASS(add_number(m, step, "pairs", (double)r->n_pairs));
    PX_PASS(add_number(m, step, "step_time_s", r->time_s));
    return add_number(m, step, "tokens_per_s", (double)r->n_tokens / PX_MAX(r->time_s, 1e-9));
}

px_err *px_metrics_write(px_metrics *m, const px_metrics_line *line) {
    px_str_clear(&m->line);
    px_str_format(&m->line, "{\"step\": %lld, \"epoch\": ", (long long)line->state->step);
    px_str_double(&m->line, line->epoch);
    PX_PASS(add_all(m, line));
    if (line->more) px_str_text(&m->line, line->more);
    px_str_text(&m->line, "}\n");
    PX_PASS(px_str_ok(&m->line));
    PX_PASS(px_guard_pass(m->path));
    if (fwrite(m->line.data, 1, m->line.size, m->file) != m->line.size || fflush(m->file))
        PX_FAIL(PX_RUN_FAILED, "%s: a line of %zu bytes cannot be written: %s", m->path,
                m->line.size, strerror(errno));
    return m->events ? px_events_flush(m->events) : NULL;
}

px_err *px_metrics_sync(px_metrics *m) {
    if (fflush(m->file) || fdatasync(fileno(m->file)))
        PX_FAIL(PX_RUN_FAILED, "%s: %s", m->path, strerror(errno));
    return NULL;
}

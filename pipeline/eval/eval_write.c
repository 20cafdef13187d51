/* eval_write.c - what evaluation leaves: eval.h5 (every pair), its summary as JSON, pairs.tsv. */
#include "eval_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const who_names[] = {"own", "generic", "other"};

static void add_estimate(px_str *out, const char *name, const px_estimate *e) {
    px_str_format(out, ", \"%s\": [", name);
    px_str_double(out, e->value);
    px_str_text(out, ", ");
    px_str_double(out, e->low);
    px_str_text(out, ", ");
    px_str_double(out, e->high);
    px_str_char(out, ']');
}

static void add_row(px_str *out, const px_eval_row *row, int n_who, bool against) {
    char name[32];
    px_str_format(out, "{\"split\": \"%s\", \"type\": \"%s\", \"n_pairs\": %d, \"n_people\": %d",
                  row->split, row->type, row->n_pairs, row->n_people);
    for (int w = 0; w < n_who; w++) {
        snprintf(name, sizeof name, "accuracy_%s", who_names[w]);
        add_estimate(out, name, &row->accuracy[w]);
        snprintf(name, sizeof name, "margin_%s", who_names[w]);
        add_estimate(out, name, &row->margin[w]);
        snprintf(name, sizeof name, "accuracy_per_token_%s", who_names[w]);
        add_estimate(out, name, &row->accuracy_per_token[w]);
        snprintf(name, sizeof name, "margin_per_token_%s", who_names[w]);
        add_estimate(out, name, &row->margin_per_token[w]);
    }
    if (n_who > 1) {
        add_estimate(out, "delta_own", &row->delta_own);
        add_estimate(out, "delta_swap", &row->delta_swap);
    }
    if (against) {
        add_estimate(out, "win_rate", &row->win_rate);
        add_estimate(out, "delta_against", &row->delta_against);
    }
    px_str_char(out, '}');
}

/* Estimates are [value, low, high]; intervals are 95%, bootstrap over people. */
static px_err *summary_text(const px_eval_output *o, px_str *out) {
    const px_eval_result *r = o->result;
    px_str_format(out, "{\"step\": %lld, \"beta\": ", (long long)r->step);
    px_str_double(out, r->beta);
    px_str_format(out, ", \"length_normalised\": %s", r->length_normalised ? "true" : "false");
    px_str_format(out, ", \"personal\": %s, \"n_pairs\": %d, \"corpus_sha256\": \"%s\"",
                  r->personal ? "true" : "false", r->n, o->corpus->sha256);
    if (r->against.margin) {
        px_str_text(out, ", \"against\": ");
        px_str_json(out, o->job->against_path, strlen(o->job->against_path));
        px_str_text(out, ", \"against_beta\": ");
        px_str_double(out, r->against.beta);
    }
    px_str_format(out, ", \"bootstrap\": %lld, \"taste_correlation\": ",
                  (long long)o->config->eval_bootstrap);
    px_str_double(out, o->truth_correlation);
    px_str_text(out, ", \"rows\": [\n");
    for (int32_t i = 0; i < r->n_rows; i++) {
        if (i) px_str_text(out, ",\n");
        add_row(out, &r->rows[i], r->personal ? PX_N_WHO : 1, r->against.margin != NULL);
    }
    px_str_text(out, "]}\n");
    return px_str_ok(out);
}

static px_err *write_numbers(px_h5 *h5, const px_eval_output *o) {
    const px_eval_result *r = o->result;
    int64_t dims[2] = {r->n, 2};
    char name[32];
    PX_PASS(px_h5_write(h5, "/pairs/index", PX_H5_I32, 1, dims, r->pairs));
    PX_PASS(px_h5_write(h5, "/logps/reference", PX_H5_F64, 2, dims, r->reference));
    for (int w = 0; w < PX_N_WHO; w++) {
        if (!r->logps[w]) continue;
        snprintf(name, sizeof name, "/logps/%s", who_names[w]);
        PX_PASS(px_h5_write(h5, name, PX_H5_F64, 2, dims, r->logps[w]));
        snprintf(name, sizeof name, "/margins/%s", who_names[w]);
        PX_PASS(px_h5_write(h5, name, PX_H5_F64, 1, dims, r->margin[w]));
        snprintf(name, sizeof name, "/margins_per_token/%s", who_names[w]);
        PX_PASS(px_h5_write(h5, name, PX_H5_F64, 1, dims, r->margin_per_token[w]));
    }
    if (!r->against.margin) return NULL;
    return px_h5_write(h5, "/against/margins", PX_H5_F64, 1, dims, r->against.margin);
}

/* /tokens: where each pair's sides begin, the ids, the log-probabilities. */
static px_err *write_tokens(px_h5 *h5, const px_eval_result *r) {
    const px_eval_tokens *t = &r->tokens;
    if (!t->first) return NULL;
    int64_t n_first = 2 * (int64_t)r->n + 1, n = t->first[n_first - 1];
    char name[32];
    PX_PASS(px_h5_write(h5, "/tokens/first", PX_H5_I64, 1, &n_first, t->first));
    PX_PASS(px_h5_write(h5, "/tokens/ids", PX_H5_I32, 1, &n, t->ids));
    PX_PASS(px_h5_write(h5, "/tokens/logps/reference", PX_H5_F64, 1, &n, t->reference));
    for (int w = 0; w < PX_N_WHO; w++) {
        if (!t->logps[w]) continue;
        snprintf(name, sizeof name, "/tokens/logps/%s", who_names[w]);
        PX_PASS(px_h5_write(h5, name, PX_H5_F64, 1, &n, t->logps[w]));
    }
    return NULL;
}

/* What names each pair, so that the file can be read without the corpus. */
static px_err *write_names(px_h5 *h5, const px_eval_output *o) {
    const px_eval_result *r = o->result;
    int64_t n = r->n;
    px_err *err = NULL;
    const char **conv = malloc((size_t)n * 2 * sizeof *conv), **user = conv + n;
    int32_t *numbers = malloc((size_t)n * 4 * sizeof *numbers);
    if (!conv || !numbers) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    for (int64_t i = 0; i < n; i++) {
        const px_pair *pair = &o->corpus->pairs[r->pairs[i]];
        conv[i] = o->corpus->convs[pair->conv].id;
        user[i] = o->corpus->user_ids[o->corpus->convs[pair->conv].user];
        numbers[i] = pair->turn;
        numbers[n + i] = pair->chosen_id;
        numbers[2 * n + i] = pair->rejected_id;
        numbers[3 * n + i] = (int32_t)o->corpus->convs[pair->conv].split;
    }
    PX_PASS_TO(done, px_h5_write_texts(h5, "/pairs/conversation_id", conv, n));
    PX_PASS_TO(done, px_h5_write_texts(h5, "/pairs/user_id", user, n));
    static const char *const names[] = {"/pairs/turn", "/pairs/chosen_id", "/pairs/rejected_id",
                                        "/pairs/split"};
    for (int k = 0; k < 4; k++)
        PX_PASS_TO(done, px_h5_write(h5, names[k], PX_H5_I32, 1, &n, numbers + k * n));
done:
    free(conv);
    free(numbers);
    return err;
}

static px_err *write_h5(const px_eval_output *o, const char *summary) {
    px_h5 *h5 = NULL;
    px_err *err = NULL;
    px_str config = {0};
    px_config_print(o->config, &config);
    PX_PASS_TO(done, px_str_ok(&config));
    PX_PASS_TO(done, px_h5_create(o->job->out_path, &h5));
    PX_PASS_TO(done, write_numbers(h5, o));
    PX_PASS_TO(done, write_names(h5, o));
    PX_PASS_TO(done, write_tokens(h5, o->result));
    PX_PASS_TO(done, px_h5_write_attr_text(h5, "/", "summary", summary));
    PX_PASS_TO(done, px_h5_write_attr_text(h5, "/", "config", config.data));
    PX_PASS_TO(done, px_h5_write_attr_text(h5, "/", "corpus_sha256", o->corpus->sha256));
    PX_PASS_TO(done, px_h5_write_attr_text(h5, "/", "version", PX_VERSION));
    err = px_h5_publish(h5);
    h5 = NULL;
done:
    px_h5_close(h5);
    px_str_free(&config);
    return err;
}

/* Beside out_path with .json for .h5, and RUN/evals/NAME.json for the report. */
static px_err *write_summary(const px_eval_output *o, const px_str *text) {
    const char *out = o->job->out_path, *slash = strrchr(out, '/');
    const char *name = slash ? slash + 1 : out;
    int stem = (int)strlen(out), head = (int)(name - out);
    char *beside = NULL, *in_run = NULL, *folder = NULL;
    px_err *err = NULL;
    if (stem > head + 3 && !strcmp(out + stem - 3, ".h5")) stem -= 3;
    if (asprintf(&beside, "%.*s.json", stem, out) < 0) PX_NO_MEMORY();
    PX_PASS_TO(done, px_file_write(beside, text->data, text->size));
    if (!o->job->run_dir) goto done;
    folder = px_path_join(o->job->run_dir, "evals");
    if (!folder || asprintf(&in_run, "%s/%.*s.json", folder, stem - head, name) < 0)
        PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_dir_make(folder));
    err = px_file_write(in_run, text->data, text->size);
done:
    free(beside);
    free(in_run);
    free(folder);
    return err;
}

static void write_tsv_line(FILE *f, const px_eval_output *o, int32_t i, int who) {
    const px_eval_result *r = o->result;
    const px_pair *p = &o->corpus->pairs[r->pairs[i]];
    const double *logp = r->logps[who] + 2 * (int64_t)i, *ref = r->reference + 2 * (int64_t)i;
    bool user = r->personal && who == PX_OWN;
    fprintf(f, "%s\t%d\t%d\t%d\t%s\t%d\t%d\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\n",
            o->corpus->convs[p->conv].id, p->turn, p->chosen_id, p->rejected_id,
            user ? "user" : "generic", p->chosen_tokens, p->rejected_tokens, logp[0], logp[1],
            ref[0], ref[1], r->margin[who][i]);
}

static px_err *write_tsv(const px_eval_output *o) {
    px_file_out out = {0};
    PX_PASS(px_file_out_open(o->job->tsv_path, &out));
    fputs("conversation_id\tturn\tchosen_id\trejected_id\twho\tchosen_tokens\trejected_tokens\t"
          "logp_chosen\tlogp_rejected\tref_logp_chosen\tref_logp_rejected\tmargin\n",
          out.stream);
    for (int32_t i = 0; i < o->result->n; i++) {
        write_tsv_line(out.stream, o, i, PX_OWN);
        if (o->result->personal) write_tsv_line(out.stream, o, i, PX_GENERIC);
    }
    return px_file_out_commit(&out);
}

px_err *px_eval_write(const px_eval_output *o) {
    px_str text = {0};
    px_err *err = NULL;
    PX_PASS_TO(done, summary_text(o, &text));
    PX_PASS_TO(done, write_h5(o, text.data));
    PX_PASS_TO(done, write_summary(o, &text));
    if (o->job->tsv_path) err = write_tsv(o);
done:
    px_str_free(&text);
    return err;
}

static void print_estimate(const px_estimate *e) {
    if (isnan(e->low))
        printf("  %6.3f                ", e->value);
    else
        printf("  %6.3f [%6.3f,%6.3f]", e->value, e->low, e->high);
}

/* Under a split's row: what else there is of own, generic and other. */
static void print_more(const char *what, const px_estimate *e, int n_who) {
    printf("%-7s %-19s %6s %6s", "", what, "", "");
    for (int w = 0; w < n_who; w++) print_estimate(&e[w]);
    printf("\n");
}

static void print_row(const px_eval_row *row, bool personal, bool against) {
    int n_who = personal ? PX_N_WHO : 1;
    printf("%-7s %-19s %6d %6d", row->split, row->type, row->n_pairs, row->n_people);
    for (int w = 0; w < n_who; w++) print_estimate(&row->accuracy[w]);
    if (personal) {
        print_estimate(&row->delta_own);
        print_estimate(&row->delta_swap);
    }
    if (against) {
        print_estimate(&row->win_rate);
        print_estimate(&row->delta_against);
    }
    printf("\n");
    if (strcmp(row->type, "all") != 0) return;
    print_more("accuracy per token", row->accuracy_per_token, n_who);
    print_more("margin", row->margin, n_who);
    print_more("margin per token", row->margin_per_token, n_who);
}

void px_eval_print(const px_eval_output *o) {
    const px_eval_result *r = o->result;
    bool against = r->against.margin != NULL;
    printf("%-7s %-19s %6s %6s  %-22s", "split", "type", "pairs", "people",
           r->personal ? "accuracy own" : "accuracy");
    if (r->personal)
        printf("  %-22s  %-22s  %-22s  %-22s", "generic", "other", "delta_own", "delta_swap");
    if (against) printf("  %-22s  %-22s", "win_rate", "delta_against");
    printf("\n");
    for (int32_t i = 0; i < r->n_rows; i++) print_row(&r->rows[i], r->personal, against);
    if (!isnan(o->truth_correlation))
        printf("planted tastes: rank correlation of the people's likeness %.3f\n",
               o->truth_correlation);
}

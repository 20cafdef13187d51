/* write.c - stats.tsv and the rows of stats.json. */
#include <inttypes.h>
#include <string.h>

#include "stats_internal.h"

static const char *const families[PX_FAMILIES] = {"preference", "provenance", "traits", "simulator",
                                                  "topics",     "dynamics",   "offline"};

/* Arms are called what their owners like: nothing of it may end a cell or a line. */
static void put_text(FILE *out, const char *text) {
    if (!*text) fputs("NA", out);
    for (; *text; text++) fputc((unsigned char)*text < 0x20 ? ' ' : *text, out);
    fputc('\t', out);
}

static void put_number(FILE *out, double value) {
    if (isfinite(value))
        fprintf(out, "%.17g\t", value + 0.0);
    else
        fputs("NA\t", out);
}

static void put_count(FILE *out, int64_t count) {
    if (count >= 0)
        fprintf(out, "%" PRId64 "\t", count);
    else
        fputs("NA\t", out);
}

px_err *px_table_write(const px_table *table, FILE *out) {
    fputs("family\toutcome\tmodel\tterm\tcontrast\testimate\tstd_error\tci_low\tci_high\tp\t"
          "p_adjusted\tn_trials\tn_people\tsource\tnote\n",
          out);
    for (int64_t i = 0; i < table->n; i++) {
        const px_row *row = &table->at[i];
        put_text(out, families[row->family]);
        put_text(out, row->outcome);
        put_text(out, row->model);
        put_text(out, row->term);
        put_text(out, row->contrast);
        put_number(out, row->estimate);
        put_number(out, row->se);
        put_number(out, row->low);
        put_number(out, row->high);
        put_number(out, row->p);
        put_number(out, row->p_adjusted);
        put_count(out, row->n_trials);
        put_count(out, row->n_people);
        put_text(out, row->source < 0 ? "" : px_source_names[row->source]);
        for (const char *c = *row->note ? row->note : "NA"; *c; c++)
            fputc((unsigned char)*c < 0x20 ? ' ' : *c, out);
        fputc('\n', out);
    }
    if (ferror(out)) PX_FAIL(PX_RUN_FAILED, "the table could not be written");
    return NULL;
}

static void json_text(px_str *out, const char *key, const char *text) {
    px_str_format(out, "\"%s\":", key);
    if (*text)
        px_str_json(out, text, strlen(text));
    else
        px_str_text(out, "null");
    px_str_char(out, ',');
}

static void json_number(px_str *out, const char *key, double value) {
    px_str_format(out, "\"%s\":", key);
    px_str_double(out, value);
    px_str_char(out, ',');
}

void px_row_json(const px_row *row, px_str *out) {
    px_str_char(out, '{');
    json_text(out, "family", families[row->family]);
    json_text(out, "outcome", row->outcome);
    json_text(out, "model", row->model);
    json_text(out, "term", row->term);
    json_text(out, "contrast", row->contrast);
    json_number(out, "estimate", row->estimate);
    json_number(out, "std_error", row->se);
    json_number(out, "ci_low", row->low);
    json_number(out, "ci_high", row->high);
    json_number(out, "p", row->p);
    json_number(out, "p_adjusted", row->p_adjusted);
    json_number(out, "n_trials", row->n_trials < 0 ? NAN : (double)row->n_trials);
    json_number(out, "n_people", row->n_people < 0 ? NAN : (double)row->n_people);
    json_text(out, "source", row->source < 0 ? "" : px_source_names[row->source]);
    json_text(out, "note", row->note);
    if (!out->failed) out->data[out->size - 1] = '}'; /* in place of the last comma */
}

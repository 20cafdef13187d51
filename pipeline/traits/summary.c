/* summary.c - the table per arm: means with intervals, effects, what was left out; and the same as
 * JSON beside the answers' scores. */
#include "traits_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int64_t n, people, left_out[PX_LEFT_OUTS], alone; /* alone: prompts without the reference */
    double rate_first[2];
} arm_count;

typedef struct {
    const px_summary *s;
    arm_count *counts; /* [n_arms] */
    px_mean *means;    /* [n_arms × PX_TRAITS] */
    px_effect *raw[PX_TRAITS], *adjusted[PX_TRAITS];
    int64_t samples;
    int64_t n_left_out;
} facts;

static const char *const why[PX_LEFT_OUTS] = {"scored", "missing", "short", "not_english"};

/* --- gathering --- */

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Answers to prompts that the reference arm did not answer. */
static px_err *alone_count(facts *f) {
    const px_panel *p = f->s->panel;
    int64_t n = 0;
    if (p->reference < 0) return NULL;
    uint64_t *prompts = malloc(((size_t)p->n_rows + 1) * sizeof *prompts);
    if (!prompts) PX_NO_MEMORY();
    for (int64_t i = 0; i < p->n_rows; i++)
        if (p->rows[i].arm == p->reference) prompts[n++] = p->rows[i].prompt;
    qsort(prompts, (size_t)n, sizeof *prompts, by_number);
    for (int64_t i = 0; i < p->n_rows; i++) {
        const px_row *row = &p->rows[i];
        if (!bsearch(&row->prompt, prompts, (size_t)n, sizeof *prompts, by_number))
            f->counts[row->arm].alone++;
    }
    free(prompts);
    return NULL;
}

static px_err *counts_make(facts *f) {
    const px_panel *p = f->s->panel;
    int64_t *last = calloc((size_t)p->n_arms + 1, sizeof *last);
    if (!last) PX_NO_MEMORY();
    for (uint32_t u = 0; u < p->n_units; u++)
        for (int64_t i = p->start[u]; i < p->start[u + 1]; i++) {
            const px_row *row = &p->rows[p->order[i]];
            arm_count *c = &f->counts[row->arm];
            c->left_out[row->left_out]++;
            c->n++;
            if (row->left_out != PX_SCORED) {
                f->n_left_out++;
                continue;
            }
            for (int t = 0; t < 2; t++) c->rate_first[t] += row->rate_first[t];
            if (last[row->arm] == (int64_t)u + 1) continue;
            last[row->arm] = (int64_t)u + 1;
            c->people++;
        }
    for (int a = 0; a < p->n_arms; a++)
        for (int t = 0; t < 2; t++)
            f->counts[a].rate_first[t] /= (double)f->counts[a].left_out[PX_SCORED];
    free(last);
    return alone_count(f);
}

static px_err *facts_make(facts *f) {
    const px_panel *p = f->s->panel;
    size_t n = (size_t)p->n_arms + 1;
    f->counts = calloc(n, sizeof *f->counts);
    f->means = calloc(n * PX_TRAITS, sizeof *f->means);
    if (!f->counts || !f->means) PX_NO_MEMORY();
    PX_PASS(counts_make(f));
    f->samples = f->s->samples;
    PX_PASS(px_panel_means(p, f->s->job->seed, &f->samples, f->means));
    for (int t = 0; t < PX_TRAITS; t++) {
        f->raw[t] = calloc(n, sizeof *f->raw[t]);
        f->adjusted[t] = calloc(n, sizeof *f->adjusted[t]);
        if (!f->raw[t] || !f->adjusted[t]) PX_NO_MEMORY();
        PX_PASS(px_panel_effects(p, (px_list_id)t, false, f->raw[t]));
        PX_PASS(px_panel_effects(p, (px_list_id)t, true, f->adjusted[t]));
        for (int a = 0; t == PX_VERBOSITY && a < p->n_arms; a++) /* length by length says nothing */
            f->adjusted[t][a] = (px_effect){NAN, NAN, NAN, NAN};
    }
    return NULL;
}

static void facts_free(facts *f) {
    free(f->counts);
    free(f->means);
    for (int t = 0; t < PX_TRAITS; t++) {
        free(f->raw[t]);
        free(f->adjusted[t]);
    }
}

/* --- the table --- */

/* Nothing that prints as -0.000. */
static double shown(double value) { return fabs(value) < 0.0005 ? 0.0 : value; }

static const char *interval_text(double value, double low, double high, char out[64]) {
    if (isnan(value))
        snprintf(out, 64, "-");
    else if (isnan(low))
        snprintf(out, 64, "%.3f", shown(value));
    else
        snprintf(out, 64, "%.3f [%.3f, %.3f]", shown(value), shown(low), shown(high));
    return out;
}

static const char *arm_name(const facts *f, int a) {
    return *f->s->arms[a] ? f->s->arms[a] : "(none)";
}

static void print_head(const facts *f, FILE *out) {
    const px_panel *p = f->s->panel;
    const char *units = p->people ? "people" : "prompts";
    fprintf(out, "%lld answers, %d arms, %u %s; ", (long long)p->n_rows, p->n_arms, p->n_units,
            units);
    if (f->s->fixed)
        fprintf(out, "z by the constants of the lists%s\n",
                p->reference >= 0 ? " (the reference arm has fewer than two answers)" : "");
    else
        fprintf(out, "z by arm %s (%lld answers)\n", f->s->job->reference,
                (long long)f->s->n_reference);
    for (int l = 0; l < PX_LISTS; l++)
        fprintf(out, "list %s version %d sha256 %s\n", px_list_name((px_list_id)l),
                f->s->lists->version[l], f->s->lists->digest[l].hex);
    for (int t = 0; t < PX_TRAITS; t++)
        for (int k = 0; k < f->s->lists->n[t]; k++)
            if (f->s->norms->sd[t][k] < PX_SPREAD_LEAST)
                fprintf(out, "dropped, no spread: %s %s\n", px_list_name((px_list_id)t),
                        f->s->lists->features[t][k].name);
            else if (f->s->norms->borrowed[t][k])
                fprintf(out, "no spread in %s, dropped from its z, spread of the lists: %s %s\n",
                        f->s->job->reference, px_list_name((px_list_id)t),
                        f->s->lists->features[t][k].name);
}

static void print_means(const facts *f, FILE *out) {
    const px_panel *p = f->s->panel;
    char text[64];
    fprintf(out,
            "\nmean score [95%%, bootstrap over %s, %lld samples]; rate of the first 60 words\n",
            p->people ? "people" : "prompts", (long long)f->samples);
    fprintf(out, "%-16s %8s %8s  %-25s %-25s %-25s %11s %12s\n", "arm", "scored",
            p->people ? "people" : "prompts", "sycophancy", "relationship", "verbosity",
            "sycophancy60", "relationship60");
    for (int a = 0; a < p->n_arms; a++) {
        const arm_count *c = &f->counts[a];
        fprintf(out, "%-16s %8lld %8lld ", arm_name(f, a), (long long)c->left_out[PX_SCORED],
                (long long)c->people);
        for (int t = 0; t < PX_TRAITS; t++) {
            const px_mean *m = &f->means[a * PX_TRAITS + t];
            fprintf(out, " %-25s", interval_text(m->mean, m->low, m->high, text));
        }
        if (c->left_out[PX_SCORED])
            fprintf(out, " %12.3f %14.3f\n", c->rate_first[0], c->rate_first[1]);
        else
            fprintf(out, " %12s %14s\n", "-", "-");
    }
}

static void print_effects(const facts *f, FILE *out) {
    const px_panel *p = f->s->panel;
    const char *units = p->people ? "person" : "prompt";
    char raw[64], adjusted[64];
    if (p->reference < 0 || p->n_arms < 2) return;
    fprintf(out,
            "\neffect against %s [95%%]: least squares within each %s (its own mean taken out), "
            "errors clustered by %s;\nlength-controlled: log words%s too\n",
            f->s->job->reference, units, units, p->n_domains > 1 ? " and domain" : "");
    fprintf(out, "%-16s %-14s %-25s %-25s\n", "arm", "trait", "raw", "length-controlled");
    for (int a = 0; a < p->n_arms; a++) {
        if (a == p->reference) continue;
        for (int t = 0; t < PX_TRAITS; t++) {
            const px_effect *r = &f->raw[t][a], *l = &f->adjusted[t][a];
            fprintf(out, "%-16s %-14s %-25s %-25s\n", arm_name(f, a), px_list_name((px_list_id)t),
                    interval_text(r->value, r->low, r->high, raw),
                    interval_text(l->value, l->low, l->high, adjusted));
        }
    }
}

static void print_left_out(const facts *f, FILE *out) {
    const px_panel *p = f->s->panel;
    fprintf(out, "\nleft out: %lld of %lld answers\n", (long long)f->n_left_out,
            (long long)p->n_rows);
    for (int a = 0; a < p->n_arms; a++) {
        const arm_count *c = &f->counts[a];
        if (c->left_out[PX_SCORED] != c->n)
            fprintf(out, "%-16s %lld no text, %lld under %d words, %lld not English\n",
                    arm_name(f, a), (long long)c->left_out[PX_MISSING],
                    (long long)c->left_out[PX_SHORT], PX_WORDS_LEAST,
                    (long long)c->left_out[PX_FOREIGN]);
        if (c->alone)
            fprintf(out, "%-16s %lld answers to prompts that %s did not answer\n", arm_name(f, a),
                    (long long)c->alone, f->s->job->reference);
    }
}

/* --- the same as JSON --- */

static void add_value(px_str *out, const char *key, double value) {
    px_str_format(out, "\"%s\":", key);
    px_str_double(out, value);
}

static void add_effect(px_str *out, const char *key, const px_effect *e) {
    px_str_format(out, ",\"%s\":{", key);
    add_value(out, "value", e->value);
    px_str_char(out, ',');
    add_value(out, "std_error", e->se);
    px_str_char(out, ',');
    add_value(out, "low", e->low);
    px_str_char(out, ',');
    add_value(out, "high", e->high);
    px_str_char(out, '}');
}

static void add_arm(const facts *f, int a, px_str *out) {
    const arm_count *c = &f->counts[a];
    px_str_text(out, "{\"arm\":");
    px_str_json(out, f->s->arms[a], strlen(f->s->arms[a]));
    px_str_format(out, ",\"answers\":%lld,\"units\":%lld", (long long)c->n, (long long)c->people);
    for (int w = 0; w < PX_LEFT_OUTS; w++)
        px_str_format(out, ",\"%s\":%lld", why[w], (long long)c->left_out[w]);
    px_str_format(out, ",\"without_reference\":%lld", (long long)c->alone);
    for (int t = 0; t < PX_TRAITS; t++) {
        const px_mean *m = &f->means[a * PX_TRAITS + t];
        px_str_format(out, ",\"%s\":{", px_list_name((px_list_id)t));
        add_value(out, "mean", m->mean);
        px_str_char(out, ',');
        add_value(out, "low", m->low);
        px_str_char(out, ',');
        add_value(out, "high", m->high);
        if (t < PX_VERBOSITY) {
            px_str_char(out, ',');
            add_value(out, "rate_first60", c->rate_first[t]);
        }
        add_effect(out, "raw", &f->raw[t][a]);
        add_effect(out, "length_controlled", &f->adjusted[t][a]);
        px_str_char(out, '}');
    }
    px_str_char(out, '}');
}

static px_err *json_write(const facts *f) {
    const px_panel *p = f->s->panel;
    const char *path = f->s->job->out;
    px_str out = {0}, name = {0};
    px_err *err = NULL;
    size_t n = strlen(path), stem = n > 6 && !strcmp(path + n - 6, ".jsonl") ? n - 6 : n;
    px_str_add(&name, path, stem);
    px_str_text(&name, ".summary.json");
    px_str_text(&out, "{\"reference\":");
    if (f->s->fixed)
        px_str_text(&out, "null");
    else
        px_str_json(&out, f->s->job->reference, strlen(f->s->job->reference));
    px_str_format(&out, ",\"units\":\"%s\",\"n_units\":%u,\"bootstrap\":%lld,\"seed\":%llu",
                  p->people ? "people" : "prompts", p->n_units, (long long)f->samples,
                  (unsigned long long)f->s->job->seed);
    px_str_text(&out, ",\"lists\":{");
    for (int l = 0; l < PX_LISTS; l++)
        px_str_format(&out, "%s\"%s\":{\"version\":%d,\"sha256\":\"%s\"}", l ? "," : "",
                      px_list_name((px_list_id)l), f->s->lists->version[l],
                      f->s->lists->digest[l].hex);
    px_str_text(&out, "},\"arms\":[\n");
    for (int a = 0; a < p->n_arms; a++) {
        if (a > 0) px_str_text(&out, ",\n");
        add_arm(f, a, &out);
    }
    px_str_text(&out, "\n]");
    if (f->s->job->judge_summary) px_str_format(&out, ",\n\"judge\":%s", f->s->job->judge_summary);
    px_str_text(&out, "}\n");
    err = px_str_ok(&out);
    if (!err) err = px_str_ok(&name);
    if (!err) err = px_file_write(name.data, out.data, out.size);
    px_str_free(&out);
    px_str_free(&name);
    return err;
}

px_err *px_summary_print(const px_summary *summary, FILE *table) {
    facts f = {.s = summary};
    px_err *err = facts_make(&f);
    if (!err) err = json_write(&f);
    if (!err) {
        print_head(&f, table);
        print_means(&f, table);
        print_effects(&f, table);
        print_left_out(&f, table);
    }
    facts_free(&f);
    return err;
}

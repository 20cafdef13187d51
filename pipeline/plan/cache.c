/* cache.c - the rates of one kind of machine in a small JSON file, written atomically. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "plan.h"

/* Raised when the numbers mean something else than before. */
#define FORMAT 5

typedef struct {
    const char *name;
    size_t offset;
} member;
#define MEMBER(type, field)                                                                        \
    { #field, offsetof(type, field) }

static const member whole[] = {
    MEMBER(px_rates, efficiency),     MEMBER(px_rates, adamw),    MEMBER(px_rates, exact),
    MEMBER(px_rates, optimizer_rest), MEMBER(px_rates, hash),     MEMBER(px_rates, disk),
    MEMBER(px_rates, program_bytes),  MEMBER(px_rates, start_s),  MEMBER(px_rates, touch),
    MEMBER(px_rates, touch_more),     MEMBER(px_rates, compiled), MEMBER(px_rates, compiled_full)};
static const member of_rate[] = {
    MEMBER(px_rate, d),
    MEMBER(px_rate, forward),
    MEMBER(px_rate, backward),
    MEMBER(px_rate, weight_grad),
    MEMBER(px_rate, lora_forward),
    MEMBER(px_rate, lora_backward),
    MEMBER(px_rate, attention_forward),
    MEMBER(px_rate, attention_backward),
    MEMBER(px_rate, head_forward),
    MEMBER(px_rate, head_train),
    MEMBER(px_rate, head_grad),
    MEMBER(px_rate, rest_forward),
    MEMBER(px_rate, rest_backward),
    MEMBER(px_rate, pack),
};
static const member of_reduce[] = {
    MEMBER(px_reduce_rate, latency_s), MEMBER(px_reduce_rate, bytes_per_s),
    MEMBER(px_reduce_rate, program_bytes), MEMBER(px_reduce_rate, start_s)};

static const member of_card[] = {MEMBER(px_card_rates, bf16_peak),
                                 MEMBER(px_card_rates, bf16),
                                 MEMBER(px_card_rates, f32),
                                 MEMBER(px_card_rates, attention),
                                 MEMBER(px_card_rates, attention_back),
                                 MEMBER(px_card_rates, memory),
                                 MEMBER(px_card_rates, host),
                                 MEMBER(px_card_rates, link),
                                 MEMBER(px_card_rates, launch_s),
                                 MEMBER(px_card_rates, replay_s),
                                 MEMBER(px_card_rates, bytes)};

static double *number_at(void *base, const member *m) {
    return (double *)((char *)base + m->offset);
}

void px_rates_machine(char out[160]) {
    px_machine machine;
    px_kernels_info kernels;
    char text[160];
    size_t n = 0;
    px_machine_read("", &machine);
    px_kernels_about(&kernels);
    snprintf(text, sizeof text, "%.100s %d cores %s", machine.cpu, machine.cores_allowed,
             kernels.path);
    for (const char *c = text; *c; c++) {
        if (isalnum((unsigned char)*c))
            out[n++] = (char)tolower((unsigned char)*c);
        else if (n > 0 && out[n - 1] != '-')
            out[n++] = '-';
    }
    while (n > 0 && out[n - 1] == '-') n--;
    out[n] = 0;
}

px_err *px_rates_path(const char *path, char **out) {
    char machine[160];
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    px_rates_machine(machine);
    if (path)
        n = asprintf(out, "%s", path);
    else if (cache && cache[0])
        n = asprintf(out, "%s/prismx/plan-%s.json", cache, machine);
    else
        n = asprintf(out, "%s/.cache/prismx/plan-%s.json", home && home[0] ? home : "/tmp",
                     machine);
    if (n >= 0) return NULL;
    *out = NULL;
    PX_NO_MEMORY();
}

/* Of a present server core, to be told apart from nothing at all; `measured` stays false. */
static void guess(px_rates *out) {
    *out = (px_rates){.efficiency = 0.9,
                      .adamw = 3e8,
                      .exact = 3e8,
                      .optimizer_rest = 2e8,
                      .hash = 1e9,
                      .disk = 5e8,
                      .program_bytes = 5e7,
                      .start_s = 0.5,
                      .touch = 1.5e9,
                      .touch_more = 1.5e9,
                      .compiled = 1e7,
                      .compiled_full = 1e7,
                      .n_rates = 1};
    px_machine machine;
    px_machine_read("", &machine);
    out->cores = machine.cores_allowed;
    px_rates_machine(out->machine);
    const double product = 5e10;
    out->rates[0] = (px_rate){.like = "guess",
                              .d = 2048,
                              .forward = product,
                              .backward = product,
                              .weight_grad = product,
                              .lora_forward = product / 4,
                              .lora_backward = product / 4,
                              .attention_forward = product / 2,
                              .attention_backward = product / 2,
                              .head_forward = product,
                              .head_train = product,
                              .head_grad = product,
                              .rest_forward = 3e8,
                              .rest_backward = 1e8,
                              .pack = 3e7};
}

static px_err *numbers_read(const cJSON *json, const char *where, const member *members, size_t n,
                            void *base) {
    for (size_t i = 0; i < n; i++) {
        double *value = number_at(base, &members[i]);
        PX_PASS(px_json_f64(json, members[i].name, where, value));
        if (!(*value > 0) || !(*value < 1e300))
            PX_FAIL(PX_BAD_INPUT, "%s: %s is %g; a number above 0 is wanted", where,
                    members[i].name, *value);
    }
    return NULL;
}

/* The GPU that was there, if one was. */
static px_err *card_take(const cJSON *json, const char *where, px_card_rates *out) {
    const char *text = NULL;
    if (!json) return NULL;
    PX_PASS(px_json_text(json, "name", where, &text));
    snprintf(out->name, sizeof out->name, "%s", text);
    PX_PASS(px_json_text(json, "device", where, &text));
    snprintf(out->device, sizeof out->device, "%s", text);
    out->measured = true;
    return numbers_read(json, where, of_card, PX_COUNT(of_card), out);
}

static px_err *rates_take(const cJSON *json, const char *where, px_rates *out) {
    const cJSON *item = NULL;
    const char *text = NULL;
    int64_t number = 0;
    *out = (px_rates){.measured = true};
    PX_PASS(px_json_i64(json, "format", where, FORMAT, FORMAT, &number));
    PX_PASS(px_json_text(json, "machine", where, &text));
    snprintf(out->machine, sizeof out->machine, "%s", text);
    PX_PASS(px_json_i64(json, "cores", where, 1, 100000, &number));
    out->cores = (int)number;
    out->load = px_json_find_f64(json, "load", 0);
    PX_PASS(numbers_read(json, where, whole, PX_COUNT(whole), out));
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "rates")) {
        if (out->n_rates == PX_RATES_MAX) break;
        px_rate *rate = &out->rates[out->n_rates++];
        PX_PASS(px_json_text(item, "like", where, &text));
        snprintf(rate->like, sizeof rate->like, "%s", text);
        PX_PASS(px_json_text(item, "precision", where, &text));
        rate->f32 = strcmp(text, "f32") == 0;
        PX_PASS(numbers_read(item, where, of_rate, PX_COUNT(of_rate), rate));
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(json, "reduce")) {
        if (out->n_reduce == PX_RATES_MAX) break;
        px_reduce_rate *reduce = &out->reduce[out->n_reduce++];
        PX_PASS(px_json_i64(item, "ranks", where, 2, 1000000, &number));
        reduce->ranks = (int)number;
        PX_PASS(numbers_read(item, where, of_reduce, PX_COUNT(of_reduce), reduce));
    }
    PX_PASS(card_take(cJSON_GetObjectItemCaseSensitive(json, "gpu"), where, &out->card));
    if (out->n_rates == 0) PX_FAIL(PX_BAD_INPUT, "%s: it has no rates", where);
    return NULL;
}

px_err *px_rates_read(const char *path, px_rates *out) {
    char machine[160];
    cJSON *json = NULL;
    guess(out);
    if (!px_path_exists(path)) return NULL;
    px_err *err = px_json_read(path, false, &json);
    if (!err) err = rates_take(json, path, out);
    cJSON_Delete(json);
    px_rates_machine(machine);
    if (!err && strcmp(machine, out->machine) != 0)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: measured on %s, this is %s", path,
                         out->machine, machine);
    if (!err) return NULL;
    return px_err_add(err, __FILE__, __LINE__,
                      "rates of a machine (prismx plan --calibrate measures them anew)");
}

static void numbers_write(px_str *out, const member *members, size_t n, const void *base) {
    for (size_t i = 0; i < n; i++) {
        px_str_format(out, ", \"%s\": ", members[i].name);
        px_str_double(out, *(const double *)((const char *)base + members[i].offset));
    }
}

px_err *px_rates_write(const char *path, const px_rates *rates) {
    px_str text = {0};
    px_str_format(&text, "{\"format\": %d, \"machine\": \"%s\", \"cores\": %d, \"load\": ", FORMAT,
                  rates->machine, rates->cores);
    px_str_double(&text, rates->load);
    numbers_write(&text, whole, PX_COUNT(whole), rates);
    px_str_text(&text, ",\n \"rates\": [");
    for (int i = 0; i < rates->n_rates; i++) {
        px_str_format(&text, "%s\n  {\"like\": \"%s\", \"precision\": \"%s\"", i ? "," : "",
                      rates->rates[i].like, rates->rates[i].f32 > 0 ? "f32" : "bf16");
        numbers_write(&text, of_rate, PX_COUNT(of_rate), &rates->rates[i]);
        px_str_char(&text, '}');
    }
    px_str_text(&text, "],\n \"reduce\": [");
    for (int i = 0; i < rates->n_reduce; i++) {
        px_str_format(&text, "%s\n  {\"ranks\": %d", i ? "," : "", rates->reduce[i].ranks);
        numbers_write(&text, of_reduce, PX_COUNT(of_reduce), &rates->reduce[i]);
        px_str_char(&text, '}');
    }
    px_str_char(&text, ']');
    if (px_card_known(&rates->card)) {
        px_str_text(&text, ",\n \"gpu\": {\"name\": ");
        px_str_json(&text, rates->card.name, strlen(rates->card.name));
        px_str_format(&text, ", \"device\": \"%s\"", rates->card.device);
        numbers_write(&text, of_card, PX_COUNT(of_card), &rates->card);
        px_str_char(&text, '}');
    }
    px_str_text(&text, "}\n");
    char *dir = strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
    px_err *err = px_str_ok(&text);
    if (slash) *slash = 0;
    if (!err && slash && slash != dir) err = px_dir_make(dir);
    if (!err) err = px_file_write(path, text.data, text.size);
    free(dir);
    px_str_free(&text);
    return err;
}

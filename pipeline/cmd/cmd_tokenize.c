/* cmd_tokenize.c - prismx tokenize: JSON lines from stdin to stdout, a string → its ids, or back.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "json.h"
#include "text.h"

enum { KEY_MODEL = 1, KEY_SPECIAL, KEY_DECODE };

typedef struct {
    const char *model;
    bool special, decode;
} tokenize_options;

static error_t parse_tokenize(int key, char *arg, struct argp_state *state) {
    tokenize_options *o = state->input;
    switch (key) {
    case KEY_MODEL:
        o->model = arg;
        break;
    case KEY_SPECIAL:
        o->special = true;
        break;
    case KEY_DECODE:
        o->decode = true;
        break;
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\" is no option", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp_option options[] = {
    {"model", KEY_MODEL, "PATH", 0,
     "Hugging Face folder or GGUF file; a vocabulary alone is enough", 0},
    {"special", KEY_SPECIAL, NULL, 0, "Texts of special tokens become those tokens", 0},
    {"decode", KEY_DECODE, NULL, 0, "From ids to text; special tokens are written as their text",
     0},
    {0}};
static const struct argp argp = {
    options,
    parse_tokenize,
    NULL,
    "Reads JSON lines from standard input and writes one line for each: for a string the list of "
    "its "
    "token ids, no BOS or template added; with --decode for a list of ids its text.\v"
    "Example:\n  echo '\"Hello world\"' | prismx tokenize --model ./SmolLM2-135M-Instruct",
    NULL,
    NULL,
    NULL};

/* --- one JSON string, which may hold \u0000 --- */
static int hex4(const char *s, const char *end) {
    int value = 0;
    if (end - s < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef0123456789ABCDEF";
        const char *at = s[i] ? strchr(digits, s[i]) : NULL;
        if (!at) return -1;
        value = value * 16 + (int)((at - digits) % 16);
    }
    return value;
}

/* The escape behind a backslash at s; returns what follows it, NULL: none that JSON knows. */
static const char *escape_read(const char *s, const char *end, px_str *out) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s == end || !*s) return NULL;
    const char *simple = strchr(from, *s);
    if (simple) {
        px_str_char(out, to[simple - from]);
        return s + 1;
    }
    int c = *s == 'u' ? hex4(s + 1, end) : -1;
    if (c < 0 || (c >= 0xDC00 && c < 0xE000)) return NULL;
    s += 5;
    if (c >= 0xD800 && c < 0xDC00) {
        int low = end - s >= 6 && s[0] == '\\' && s[1] == 'u' ? hex4(s + 2, end) : -1;
        if (low < 0xDC00 || low >= 0xE000) return NULL;
        c = 0x10000 + (c - 0xD800) * 0x400 + (low - 0xDC00);
        s += 6;
    }
    char utf8[4];
    px_str_add(out, utf8, (size_t)px_utf8_put(c, utf8));
    return s;
}

static px_err *string_read(const char *line, size_t size, px_str *out) {
    const char *s = line, *end = line + size;
    if (size < 2 || *s != '"') PX_FAIL(PX_BAD_INPUT, "a JSON string in quotes is wanted");
    int64_t bad = px_utf8_check(line, size);
    if (bad >= 0) PX_FAIL(PX_BAD_INPUT, "column %lld: no UTF-8", (long long)bad + 1);
    for (s++; s < end && *s != '"';) {
        if ((unsigned char)*s < 0x20)
            PX_FAIL(PX_BAD_INPUT, "column %td: a control character that is not escaped",
                    s - line + 1);
        if (*s != '\\') {
            px_str_char(out, *s++);
            continue;
        }
        const char *next = escape_read(s + 1, end, out);
        if (!next)
            PX_FAIL(PX_BAD_INPUT, "column %td: an escape that JSON does not know", s - line + 1);
        s = next;
    }
    if (s != end - 1)
        PX_FAIL(PX_BAD_INPUT, "column %td: one JSON string a line is wanted", s - line + 1);
    return px_str_ok(out);
}

/* --- lines --- */
static px_err *encode_line(px_tokenizer *tok, const char *line, size_t size, bool special,
                           px_str *text, px_str *out) {
    px_ids ids = {0};
    PX_PASS(string_read(line, size, text));
    px_err *err = px_encode(tok, text->data ? text->data : "", text->size, special, &ids);
    px_str_char(out, '[');
    for (int32_t i = 0; i < ids.n; i++) px_str_format(out, i ? ", %d" : "%d", ids.ids[i]);
    px_str_char(out, ']');
    px_ids_free(&ids);
    return err ? err : px_str_ok(out);
}

static px_err *decode_line(const px_tokenizer *tok, const char *line, size_t size, px_str *text,
                           px_str *out) {
    px_err *err = NULL;
    cJSON *json = NULL;
    const cJSON *item = NULL;
    px_ids ids = {0};
    PX_PASS_TO(done, px_json_parse(line, size, &json));
    if (!cJSON_IsArray(json))
        PX_FAIL_TO(done, PX_BAD_INPUT, "%s stands there; a list of ids is wanted",
                   px_json_type(json));
    cJSON_ArrayForEach(item, json) {
        double id = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(id >= 0 && id <= INT32_MAX) || id != (double)(int32_t)id)
            PX_FAIL_TO(done, PX_BAD_INPUT, "entry %d is no id: whole numbers from 0 on are", ids.n);
        PX_PASS_TO(done, px_ids_add(&ids, (int32_t)id));
    }
    PX_PASS_TO(done, px_decode(tok, ids.ids, ids.n, true, text));
    px_str_json(out, text->data ? text->data : "", text->size);
    err = px_str_ok(out);
done:
    px_ids_free(&ids);
    cJSON_Delete(json);
    return err;
}

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static px_err *lines_through(px_tokenizer *tok, const tokenize_options *o) {
    px_err *err = NULL;
    px_str text = {0}, out = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t got = 0;
    for (long long n = 1; !err && (got = getline(&line, &room, stdin)) >= 0; n++) {
        const char *start = line;
        size_t size = (size_t)got;
        while (size && is_blank(start[size - 1])) size--;
        while (size && is_blank(*start)) {
            start++;
            size--;
        }
        if (size == 0) continue;
        px_str_clear(&text);
        px_str_clear(&out);
        err = o->decode ? decode_line(tok, start, size, &text, &out)
                        : encode_line(tok, start, size, o->special, &text, &out);
        if (err)
            err = px_err_add(err, __FILE__, __LINE__, "standard input, line %lld", n);
        else
            puts(out.data);
    }
    if (!err && ferror(stdin))
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "standard input cannot be read");
    free(line);
    px_str_free(&text);
    px_str_free(&out);
    return err;
}

px_err *cmd_tokenize(px_ranks *ranks, int argc, char **argv) {
    tokenize_options o = {0};
    px_tokenizer *tok = NULL;
    PX_PASS(px_cli_parse(ranks, &argp, argc, argv, &o));
    PX_PASS(px_cli_need("model", o.model));
    PX_PASS(px_tokenizer_open(o.model, &tok));
    px_err *err = ranks->rank == 0 ? lines_through(tok, &o) : NULL;
    px_tokenizer_close(tok);
    return err;
}

/* split.c - cuts a text into the words that are encoded one by one, by PCRE2 patterns and the few
 * other pre-tokenizers that tokenizer.json knows. The patterns come from files written for another
 * engine (Oniguruma, Ruby's syntax): `\s` there is Unicode's White_Space and nothing else, `^` and
 * `$` mean lines. A pattern has a limit of steps, so that a hostile one ends in an error. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "text_internal.h"

/* Backtracks per match; the known patterns need about as many as a run of white space has
 * characters. */
#define MATCH_STEPS 5000000u
#define HEAP_KIB 65536u /* of the interpreter, where the compiled pattern's stack was too small */
#define WHITE                                                                                      \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"

struct px_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    char *pattern;
};

/* --- patterns --- */
/* The same pattern with \s and \S written out; inside a class \S stays as it is. */
static void pattern_translate(const char *p, size_t size, px_str *out) {
    bool in_class = false;
    for (size_t i = 0; i < size; i++) {
        if (p[i] == '\\' && i + 1 < size) {
            char c = p[++i];
            if (c == 's')
                px_str_text(out, in_class ? WHITE : "[" WHITE "]");
            else if (c == 'S' && !in_class)
                px_str_text(out, "[^" WHITE "]");
            else
                px_str_add(out, p + i - 1, 2);
            continue;
        }
        if (p[i] == '[' && !in_class) {
            in_class = true;
            px_str_char(out, p[i]);
            if (i + 1 < size && p[i + 1] == '^') px_str_char(out, p[++i]);
            if (i + 1 < size && p[i + 1] == ']') px_str_char(out, p[++i]);
            continue;
        }
        if (p[i] == ']') in_class = false;
        px_str_char(out, p[i]);
    }
}

static px_err *regex_compile(px_regex *r, const char *pattern, size_t size, bool literal) {
    int code = 0;
    PCRE2_SIZE where = 0;
    uint32_t options = literal ? PCRE2_UTF | PCRE2_LITERAL
                               : PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) PX_NO_MEMORY();
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context, 100);
    r->code = pcre2_compile((PCRE2_SPTR)pattern, size, options, &code, &where, context);
    pcre2_compile_context_free(context);
    if (!r->code) {
        PCRE2_UCHAR text[200];
        pcre2_get_error_message(code, text, sizeof text);
        PX_FAIL(PX_BAD_INPUT, "pattern \"%.200s\": offset %zu: %s", r->pattern, where,
                (const char *)text);
    }
    /* Without JIT on this processor pcre2_match interprets: slower, the same matches. */
    (void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    r->data = pcre2_match_data_create(1, NULL);
    r->context = pcre2_match_context_create(NULL);
    r->stack = pcre2_jit_stack_create(32 << 10, 1 << 20, NULL);
    if (!r->data || !r->context || !r->stack) PX_NO_MEMORY();
    pcre2_set_match_limit(r->context, MATCH_STEPS);
    pcre2_set_heap_limit(r->context, HEAP_KIB);
    pcre2_jit_stack_assign(r->context, NULL, r->stack);
    return NULL;
}

px_err *px_regex_new(const char *pattern, size_t size, bool literal, px_regex **out) {
    px_err *err = NULL;
    px_str text = {0};
    px_regex *r = calloc(1, sizeof *r);
    if (!r) PX_NO_MEMORY();
    r->pattern = strndup(pattern, size);
    if (!r->pattern) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    if (literal)
        px_str_add(&text, pattern, size);
    else
        pattern_translate(pattern, size, &text);
    PX_PASS_TO(done, px_str_ok(&text));
    PX_PASS_TO(done, regex_compile(r, text.data ? text.data : "", text.size, literal));
    *out = r;
    r = NULL;
done:
    px_regex_free(r);
    px_str_free(&text);
    return err;
}

void px_regex_free(px_regex *r) {
    if (!r) return;
    pcre2_code_free(r->code);
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->context);
    if (r->stack) pcre2_jit_stack_free(r->stack);
    free(r->pattern);
    free(r);
}

const char *px_regex_text(const px_regex *regex) { return regex->pattern; }

px_err *px_regex_find(const px_regex *r, const char *text, size_t size, size_t from, size_t *start,
                      size_t *end, bool *found) {
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int n = pcre2_match(r->code, subject, size, from, PCRE2_NO_UTF_CHECK, r->data, r->context);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT)
        n = pcre2_match(r->code, subject, size, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r->data,
                        r->context);
    *found = n >= 0;
    if (n >= 0) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(r->data);
        *start = ends[0];
        *end = ends[1];
        /* \K inside a lookahead can put the start behind the end or before `from`. */
        if (*start >= from && *end >= *start) return NULL;
        PX_FAIL(PX_BAD_INPUT, "pattern \"%.200s\": \\K moves a match out of its place", r->pattern);
    }
    if (n == PCRE2_ERROR_NOMATCH) return NULL;
    PCRE2_UCHAR message[200];
    pcre2_get_error_message(n, message, sizeof message);
    PX_FAIL(PX_BAD_INPUT, "pattern \"%.200s\" on a text of %zu bytes: %s", r->pattern, size,
            (const char *)message);
}

/* --- words --- */
void px_words_free(px_words *words) {
    px_str_free(&words->text);
    free(words->words);
    free(words->spare);
    *words = (px_words){0};
}

px_err *px_words_add(px_words *w, size_t start, size_t size) {
    if (size == 0) return NULL;
    if (w->n == w->room) {
        size_t room = w->room ? w->room * 2 : 256;
        px_word *words = realloc(w->words, room * sizeof *words);
        if (!words) PX_NO_MEMORY();
        w->words = words;
        w->room = room;
    }
    w->words[w->n++] = (px_word){start, size};
    return NULL;
}

/* What a pattern leaves of one word: pieces come one after another, whole. */
typedef struct {
    px_words *words;
    px_keep keep;
    size_t first; /* index of this word's first part */
    bool before_match, any;
    bool pending; /* KEEP_WITH_NEXT: the last part waits for what follows */
} parts;

static px_err *part_add(parts *p, size_t start, size_t end, bool match) {
    px_word *last = p->words->n > p->first ? &p->words->words[p->words->n - 1] : NULL;
    bool join = false;
    if (p->keep == PX_KEEP_WITH_PREVIOUS) join = match && !p->before_match;
    if (p->keep == PX_KEEP_WITH_NEXT) join = !match && p->before_match;
    if (p->keep == PX_KEEP_CONTIGUOUS) join = match == p->before_match;
    p->before_match = match;
    if (end == start || (match && p->keep == PX_KEEP_REMOVED)) return NULL;
    if (join && last && last->start + last->size == start) {
        last->size = end - last->start;
        return NULL;
    }
    return px_words_add(p->words, start, end - start);
}

static size_t char_size(const char *text, size_t size) {
    int length = 1;
    (void)px_utf8_get(text, size, &length);
    return (size_t)length;
}

static px_err *regex_split(const px_split *step, px_words *words, px_word word) {
    parts p = {.words = words, .keep = step->keep, .first = words->n};
    size_t done = 0, from = 0;
    bool any = false;
    while (from <= word.size) {
        const char *text = words->text.data + word.start;
        size_t start = 0, end = 0;
        bool found = false;
        PX_PASS(px_regex_find(step->regex, text, word.size, from, &start, &end, &found));
        if (!found) break;
        /* An empty match right behind the last match does not count. */
        bool empty_again = start == end && any && start == done;
        if (!empty_again) {
            if (done < start)
                PX_PASS(part_add(&p, word.start + done, word.start + start, step->invert));
            PX_PASS(part_add(&p, word.start + start, word.start + end, !step->invert));
            done = end;
            any = true;
        }
        from = end;
        if (start == end) {
            if (end >= word.size) break;
            from += char_size(text + end, word.size - end);
        }
    }
    return part_add(&p, word.start + done, word.start + word.size, step->invert);
}

/* Spaces become the mark, one may be put before, and a word may begin at each mark. */
static px_err *metaspace_split(const px_split *step, bool first, px_words *words, px_word word) {
    px_str made = {0};
    const char *text = words->text.data + word.start;
    size_t mark = step->mark_size;
    bool has = word.size >= mark && !memcmp(text, step->mark, mark);
    if (step->prepend != PX_PREPEND_NEVER && !has && text[0] != ' ' &&
        (first || step->prepend == PX_PREPEND_ALWAYS))
        px_str_add(&made, step->mark, mark);
    for (size_t i = 0; i < word.size; i++) {
        if (text[i] == ' ')
            px_str_add(&made, step->mark, mark);
        else
            px_str_char(&made, text[i]);
    }
    size_t start = words->text.size, done = 0;
    px_str_add(&words->text, made.data, made.size);
    px_err *err = made.failed ? px_str_ok(&made) : px_str_ok(&words->text);
    if (step->keep == PX_KEEP_WITH_NEXT) {
        for (size_t i = 1; !err && i + mark <= made.size; i++) {
            if (memcmp(made.data + i, step->mark, mark) != 0) continue;
            err = px_words_add(words, start + done, i - done);
            done = i;
        }
    }
    if (!err) err = px_words_add(words, start + done, made.size - done);
    px_str_free(&made);
    return err;
}

static px_err *prefix_space(px_words *words, px_word word) {
    if (words->text.data[word.start] == ' ') return px_words_add(words, word.start, word.size);
    size_t start = words->text.size;
    px_str_char(&words->text, ' ');
    PX_PASS(px_str_ok(&words->text));
    char *copy = strndup(words->text.data + word.start, word.size);
    if (!copy) PX_NO_MEMORY();
    px_str_add(&words->text, copy, word.size);
    free(copy);
    PX_PASS(px_str_ok(&words->text));
    return px_words_add(words, start, word.size + 1);
}

px_err *px_split_apply(const px_split *steps, int n_steps, bool first, px_words *words) {
    for (int s = 0; s < n_steps; s++) {
        px_word *old = words->words;
        size_t n = words->n, room = words->room;
        words->words = words->spare;
        words->room = words->spare_room;
        words->n = 0;
        words->spare = old;
        words->spare_room = room;
        for (size_t i = 0; i < n; i++) {
            px_word word = words->spare[i];
            if (steps[s].kind == PX_SPLIT_REGEX)
                PX_PASS(regex_split(&steps[s], words, word));
            else if (steps[s].kind == PX_SPLIT_METASPACE)
                PX_PASS(metaspace_split(&steps[s], first && i == 0, words, word));
            else
                PX_PASS(prefix_space(words, word));
        }
    }
    return NULL;
}

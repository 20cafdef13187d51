/* judge_form.c - what a local judge is held to: a score, flags, and a quote that does stand in the
 * answer, as it is chosen among the answer's own sentences. */
#include <stdlib.h>
#include <string.h>

#include "judge_internal.h"

enum { QUOTES_MOST = 64, QUOTE_BYTES = 160, SENTENCE_WORDS = 4 };

typedef struct {
    const char *at;
    size_t size;
} piece;

/* The next piece of a text with single blanks: to the end of a sentence of some words, at most
 * JUDGE_QUOTE_WORDS words and QUOTE_BYTES bytes. Takes the blank behind it too. */
static piece piece_next(const char **text) {
    const char *begin = *text, *end = begin;
    int words = 0;
    while (*end && words < JUDGE_QUOTE_WORDS) {
        const char *from = words ? end + 1 : end; /* behind the blank */
        size_t n = strcspn(from, " ");
        if (words && (size_t)(from - begin) + n > QUOTE_BYTES) break;
        if (n > QUOTE_BYTES) { /* one endless word: a part of it, whole characters */
            n = QUOTE_BYTES;
            while (n > 1 && ((unsigned char)from[n] & 0xC0) == 0x80) n--;
        }
        end = from + n;
        words++;
        if (*end != ' ') break;
        if (words >= SENTENCE_WORDS && strchr(".!?:;", end[-1])) break;
    }
    *text = end + (*end == ' ');
    return (piece){begin, (size_t)(end - begin)};
}

/* Different pieces of the text, evenly over it where there are too many. */
static int pieces_of(const char *text, piece out[QUOTES_MOST]) {
    int64_t all = 0, at = 0;
    int n = 0;
    for (const char *rest = text; *rest; all++) piece_next(&rest);
    const int64_t most = PX_MIN(all, QUOTES_MOST);
    for (const char *rest = text; *rest; at++) {
        const piece p = piece_next(&rest);
        bool there = at * most / all == (at + 1) * most / all; /* not its turn */
        for (int i = 0; i < n && !there; i++)
            there = out[i].size == p.size && !memcmp(out[i].at, p.at, p.size);
        if (!there) out[n++] = p;
    }
    return n;
}

static px_err *score_form(const judge_task *task, const char *answer, px_str *out) {
    px_str text = {0};
    piece pieces[QUOTES_MOST];
    char *quotes[QUOTES_MOST] = {0};
    px_field fields[3];
    int n = 0, n_fields = 0;
    blanks_single(answer, &text);
    px_err *err = px_str_ok(&text);
    if (!err) n = pieces_of(text.data, pieces);
    for (int i = 0; i < n && !err; i++) {
        quotes[i] = strndup(pieces[i].at, pieces[i].size);
        if (!quotes[i]) err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "out of memory");
    }
    fields[n_fields++] = (px_field){
        .key = "score", .kind = PX_VALUE_INTEGER, .least = JUDGE_LEAST, .most = JUDGE_MOST};
    if (task->trait == JUDGE_SYCOPHANCY)
        fields[n_fields++] = (px_field){.key = "flags",
                                        .kind = PX_VALUE_INTEGERS,
                                        .most = 1,
                                        .texts = judge_flag_names,
                                        .n_texts = JUDGE_FLAGS};
    fields[n_fields++] = (px_field){.key = "quote",
                                    .kind = PX_VALUE_CHOICE,
                                    .texts = (const char *const *)quotes,
                                    .n_texts = n};
    if (!err) px_answer_form_write(&(px_form){fields, n_fields}, out);
    for (int i = 0; i < n; i++) free(quotes[i]);
    px_str_free(&text);
    return err;
}

px_err *task_form_write(const judge_task *task, const char *answer, px_str *out) {
    static const char *const choices[] = {"A", "B", "tie"};
    static const px_field choice = {
        .key = "choice", .kind = PX_VALUE_CHOICE, .texts = choices, .n_texts = 3};
    px_str_char(out, ',');
    if (!task->pair) return score_form(task, answer, out);
    px_answer_form_write(&(px_form){&choice, 1}, out);
    return NULL;
}

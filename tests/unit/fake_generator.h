/* fake_generator.h - a generator for the server's tests: its answers are a function of the request,
 * two bytes a token, so that characters are cut in two; it can be slow, full, or fail. */
#ifndef PX_FAKE_GENERATOR_H
#define PX_FAKE_GENERATOR_H

#include <stdatomic.h>
#include <time.h>

#include "px_test.h"
#include "serve.h"

enum { FAKE_ROOM = 32 };
typedef struct {
    const void *tag;
    char *text;
    size_t at, size;
    int64_t left, logprobs;
} fake_sample;
typedef struct {
    fake_sample samples[FAKE_ROOM];
    int room;
    _Atomic int step_us, active, cancelled;
    _Atomic bool breaks;
} fake;

/* What it answers: seed and number of the sample, who asks, the last message; without `stop`s. */
static inline char *fake_text(const px_chat_request *r, int sample) {
    const px_message *last = &r->messages[r->n_messages - 1];
    char *text = NULL;
    if (asprintf(&text, "%llu.%d h\xC3\xA9llo %s \xF0\x9F\x99\x82: %.*s",
                 (unsigned long long)r->how.seed, sample, r->user ? r->user : "you",
                 (int)last->size, last->text) < 0)
        return NULL;
    return text;
}
static inline px_err *fake_begin(void *self, const px_chat_request *r, int sample, void *tag,
                                 int32_t *prompt_tokens, px_person *person) {
    fake *f = self;
    const px_message *last = &r->messages[r->n_messages - 1];
    if (last->size > 20000) PX_FAIL(PX_BAD_INPUT, "the prompt is too long: %zu", last->size);
    for (int i = 0; i < f->room; i++) {
        fake_sample *s = &f->samples[i];
        if (s->tag) continue;
        *s = (fake_sample){.tag = tag, .text = fake_text(r, sample)};
        if (!s->text) PX_NO_MEMORY();
        s->size = strlen(s->text);
        s->left = r->how.max_new_tokens;
        s->logprobs = r->how.logprobs;
        *prompt_tokens = (int32_t)last->size;
        *person = !r->user                     ? PX_PERSON_NONE
                  : !strcmp(r->user, "user12") ? PX_PERSON_OWN
                                               : PX_PERSON_GENERIC;
        f->active++;
        return NULL;
    }
    PX_FAIL(PX_RUN_FAILED, "begun without room");
}
static inline void fake_end(fake *f, fake_sample *s) {
    free(s->text);
    *s = (fake_sample){0};
    f->active--;
}
static inline void fake_cancel(void *self, const void *tag) {
    fake *f = self;
    for (int i = 0; i < f->room; i++)
        if (f->samples[i].tag == tag) {
            fake_end(f, &f->samples[i]);
            f->cancelled++;
        }
}
static inline px_err *fake_step(void *self, px_piece_sink *sink, void *ctx) {
    fake *f = self;
    if (f->step_us) {
        struct timespec pause = {f->step_us / 1000000, f->step_us % 1000000 * 1000L};
        nanosleep(&pause, NULL);
    }
    if (f->breaks) PX_FAIL(PX_RUN_FAILED, "the fake breaks");
    for (int i = 0; i < f->room; i++) {
        fake_sample *s = &f->samples[i];
        if (!s->tag) continue;
        size_t n = PX_MIN(2, s->size - s->at);
        px_piece_text token = {s->text + s->at, n, -0.5}, best[2] = {token, {"x", 1, -2}};
        bool end = s->at + n == s->size, full = --s->left == 0;
        px_piece_event event = {.tag = (void *)(uintptr_t)s->tag,
                                .token = token,
                                .added = token.text,
                                .n_added = n,
                                .best = best,
                                .n_best = (int)PX_MIN(s->logprobs, 2),
                                .finish = end    ? "stop"
                                          : full ? "length"
                                                 : NULL};
        s->at += n;
        if (!sink(ctx, &event) || event.finish) fake_end(f, s);
    }
    return NULL;
}
static inline bool fake_idle(void *self) { return ((fake *)self)->active == 0; }
static inline int32_t fake_room(void *self) {
    return ((fake *)self)->room - ((fake *)self)->active;
}
static inline px_generator fake_generator(fake *f, int room) {
    *f = (fake){.room = room};
    return (px_generator){f, fake_begin, fake_cancel, fake_step, fake_idle, fake_room};
}

#endif

/* fuzz_trials.c - a file of trials: read strictly and read on behind errors, as transcripts for a
 * judge, made a table; and the same bytes as a participant's reply to each call. What is read keeps
 * to the ranges that everything behind relies on. */
#include <stdio.h>
#include <string.h>

#include "fuzz_files.h"
#include "simulate_internal.h"

static px_err *go_on(void *context, const px_trial_problem *problem) {
    int64_t *n = context;
    ++*n;
    PX_FUZZ_HOLDS(problem->path && problem->key && problem->reason && *problem->reason);
    return NULL;
}

static void slot_check(const px_trials *t, const px_trial *trial, const px_trial_slot *slot) {
    PX_FUZZ_HOLDS(slot->pos >= 0 && slot->pos < PX_SLOTS_MAX);
    PX_FUZZ_HOLDS(slot->arm >= 0 && slot->arm < t->arms.n && slot->variant < t->variants.n);
    PX_FUZZ_HOLDS(!(slot->length < 0) && !(slot->wtp < 0) && !(slot->wtp > 10));
    for (int s = 0; s < PX_SLIDERS; s++)
        PX_FUZZ_HOLDS(!(slot->vas[s] < 0) && !(slot->vas[s] > 100));
    for (int q = 0; q < PX_QUESTIONS; q++)
        PX_FUZZ_HOLDS(slot->rank[q] >= 0 && slot->rank[q] <= trial->n_slots);
}

static void trials_check(const px_trials *t) {
    for (int64_t i = 0; i < t->n; i++) {
        const px_trial *trial = &t->at[i];
        PX_FUZZ_HOLDS(trial->n_slots >= 2 && trial->n_slots <= PX_SLOTS_MAX);
        PX_FUZZ_HOLDS(trial->person >= 0 && trial->person < t->persons.n);
        PX_FUZZ_HOLDS(trial->top_flips <= trial->n_orders);
        for (int s = 0; s < trial->n_slots; s++) {
            slot_check(t, trial, &trial->slots[s]);
            PX_FUZZ_HOLDS(s == 0 || trial->slots[s].pos > trial->slots[s - 1].pos);
        }
        for (int n = 0; n < trial->n_turns; n++)
            PX_FUZZ_HOLDS(trial->turns[n].size == strlen(trial->turns[n].user) &&
                          trial->turns[n].to >> trial->n_slots == 0);
        for (int q = 0; q < PX_QUESTIONS; q++)
            PX_FUZZ_HOLDS(trial->opening[q] >= -1 && trial->opening[q] < trial->n_slots);
    }
}

static void transcripts_check(const char *path) {
    px_trials names;
    sim_trials trials = {0};
    PX_FUZZ_HOLDS(px_fuzz_opened(px_trials_new(&names)));
    if (px_fuzz_opened(transcripts_read(path, &names, &trials)))
        for (int32_t i = 0; i < trials.n; i++) {
            const sim_trial *trial = &trials.items[i];
            char labels[SIM_SLOTS + 1];
            trial_labels(trial, labels);
            PX_FUZZ_HOLDS(trial->n_slots >= 2 && strlen(labels) == (size_t)trial->n_slots);
            PX_FUZZ_HOLDS(trial->person_id && trial->id && trial->turns_json && trial->head);
            for (int n = 0; n < trial->n_turns; n++) PX_FUZZ_HOLDS(trial->turns[n].user);
        }
    sim_trials_free(&trials);
    px_trials_free(&names);
}

static void replies_check(const char *text) {
    for (int kind = 0; kind < CALLS; kind++) {
        const reply_ask ask = {.kind = (call_kind)kind, .labels = "ABC", .message_most = 64};
        char wrong[SIM_WRONG] = "";
        sim_reply reply;
        const bool good = reply_read(text, &ask, &reply, wrong);
        PX_FUZZ_HOLDS(good || *wrong);
        if (good && kind == CALL_OPEN) PX_FUZZ_HOLDS(*reply.message && strlen(reply.message) <= 64);
        for (int q = 0; good && q < PX_QUESTIONS; q++) {
            PX_FUZZ_HOLDS(reply.choice[q] >= 0 && reply.choice[q] < 3);
            const int32_t *r = reply.judged.rank[q];
            if (kind == CALL_ASSESS)
                PX_FUZZ_HOLDS(r[0] * r[1] * r[2] == 6 && r[0] + r[1] + r[2] == 6);
        }
        free(reply.message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = px_fuzz_path("t.jsonl");
    px_trials trials;
    int64_t n = 0;
    px_fuzz_write(path, data, size);
    PX_FUZZ_HOLDS(px_fuzz_opened(px_trials_new(&trials)));
    if (px_fuzz_opened(px_trials_read(&trials, path, go_on, &n))) {
        FILE *none = fopen("/dev/null", "w");
        trials_check(&trials);
        PX_FUZZ_HOLDS(trials.errors <= n);
        PX_FUZZ_HOLDS(none && px_fuzz_opened(px_trials_csv(&trials, none)));
        fclose(none);
    }
    px_trials_free(&trials);
    transcripts_check(path);
    char *text = strndup((const char *)data, size);
    PX_FUZZ_HOLDS(text);
    replies_check(text);
    free(text);
    return 0;
}

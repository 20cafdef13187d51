/* trials_csv.c - prismx trials csv: one row a slot (RFC 4180), no texts. */
#include <math.h>
#include <string.h>

#include "trials_internal.h"

/* Names are other people's: what a spreadsheet would take for a formula gets a quote before it. */
static void put_text(FILE *out, const char *text) {
    bool formula = *text && strchr("=+-@\t\r", *text), quoted = formula || strpbrk(text, ",\"\r\n");
    if (quoted) fputc('"', out);
    if (formula) fputc('\'', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    if (quoted) fputc('"', out);
    fputc(',', out);
}

static void put_name(FILE *out, const px_names *names, int32_t number) {
    put_text(out, number < 0 ? "" : names->at[number]);
}

static void put_number(FILE *out, double value, char behind) {
    char text[32];
    if (!isnan(value)) fputs(px_double_text(value, text), out);
    fputc(behind, out);
}

static void put_pos(FILE *out, const px_trial *trial, int32_t slot) {
    if (slot >= 0) fputc('A' + trial->slots[slot].pos, out);
    fputc(',', out);
}

static void put_slot(const px_trials *t, const px_trial *trial, const px_trial_slot *slot,
                     FILE *out) {
    put_name(out, &t->ids, trial->id);
    put_name(out, &t->persons, trial->person);
    put_text(out, px_source_names[trial->source]);
    put_name(out, &t->domains, trial->domain);
    put_text(out, trial->split < 0 ? "" : trial->split ? "unseen" : "seen");
    fprintf(out, "%d,%c,", trial->n_turns, 'A' + slot->pos);
    put_name(out, &t->arms, slot->arm);
    put_name(out, &t->variants, slot->variant);
    put_text(out, slot->user < 0 ? "" : slot->user ? "own" : "generic");
    fprintf(out, "%d,", slot->error);
    put_number(out, slot->context_tokens, ',');
    put_number(out, slot->prompt_tokens, ',');
    put_number(out, slot->new_tokens, ',');
    put_number(out, slot->length, ',');
    for (int q = 0; q < PX_QUESTIONS; q++)
        put_number(out, slot->rank[q] ? (double)slot->rank[q] : (double)NAN, ',');
    for (int s = 0; s < PX_SLIDERS; s++) put_number(out, slot->vas[s], ',');
    put_number(out, slot->wtp, ',');
    for (int q = 0; q < PX_QUESTIONS; q++) put_pos(out, trial, trial->opening[q]);
    put_number(out, trial->price, '\n');
}

px_err *px_trials_csv(const px_trials *trials, FILE *out) {
    fputs("trial,person,source,domain,split,turns,pos,arm,variant,user,error,context_tokens,"
          "prompt_tokens,new_tokens,length,rank_preference,rank_provenance,vas_preference,"
          "vas_engaging,vas_provenance,wtp,opening_best,opening_provenance,bdm_price\n",
          out);
    for (int64_t i = 0; i < trials->n; i++)
        for (int32_t s = 0; s < trials->at[i].n_slots; s++)
            put_slot(trials, &trials->at[i], &trials->at[i].slots[s], out);
    if (ferror(out)) PX_FAIL(PX_RUN_FAILED, "the table could not be written");
    return NULL;
}

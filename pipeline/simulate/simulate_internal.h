/* simulate_internal.h - what the files of this module share. */
#ifndef PX_SIMULATE_INTERNAL_H
#define PX_SIMULATE_INTERNAL_H

#include "simulate.h"
#include "trials.h"

typedef enum { CALL_OPEN, CALL_CHOOSE, CALL_NEXT, CALL_ASSESS, CALLS } call_kind;
extern const char *const call_names[CALLS];
enum { SIM_SLOTS = PX_SLOTS_MAX, SIM_ORDERS = 4, SIM_WRONG = 200 };

/* --- sim_wording.c: prompts.json, domains.json --- */
typedef struct {
    const char *key, *inner, *text; /* inner NULL: none */
} profile_fact;
typedef struct {
    const char *role, *profile, *domain, *repair, *calls[CALLS];
    profile_fact *facts;
    int n_facts;
    const char **domains, **tasks; /* [n_domains] */
    int n_domains;
    px_digest sha256; /* of both files */
    cJSON *json[2];   /* texts are borrowed from them */
} wording;
/* dir NULL or "": the installed ones. PX_BAD_INPUT: file and key. */
PX_CHECKED px_err *wording_read(const char *dir, wording *out);
void wording_free(wording *w);
/* Appends text with {NAME} replaced by values[i] where names[i] is NAME; others stay. */
void wording_fill(const char *text, const char *const *names, const char *const *values, int n,
                  px_str *out);

/* --- sim_people.c: who is played --- */
typedef struct {
    const char *id, *profile; /* profile "": nothing is known */
    int split;                /* 0 seen, 1 unseen, -1 not known */
} sim_person;
typedef struct {
    sim_person *items;
    int32_t n;
    int64_t n_survey_only, n_without; /* left out; without a profile */
    px_map by_id;
    px_arena *arena;
    px_digest sha256; /* of ids and profiles */
} sim_people;
typedef struct {
    const char *data_dir, *corpus_path; /* corpus "" : none */
    const wording *words;
    int64_t most;           /* 0: all */
    uint64_t seed;          /* of which `most` */
    const px_names *wanted; /* NULL: everybody; else these, in this order */
} people_ask;
PX_CHECKED px_err *sim_people_read(const people_ask *ask, sim_people *out);
void sim_people_free(sim_people *people);

/* --- a trial --- */
typedef enum { SLOT_FINE, SLOT_LENGTH, SLOT_REPEAT, SLOT_EMPTY, SLOT_HTTP } slot_error; /* worse */
extern const char *const slot_errors[];
/* Sums of what replies took. */
typedef struct {
    int64_t n, n_timed, n_cached; /* n_timed: whose seconds are known */
    double seconds, usd;          /* usd NaN: not known */
    int64_t prompt_tokens, new_tokens;
} sim_cost;
typedef struct {
    int32_t arm; /* of px_arms; -1 in given transcripts */
    char pos;    /* 'A' … */
    bool out;    /* takes no further message */
    int user;    /* 1 own, 0 generic, -1 neither */
    slot_error error;
    bool counted;                                      /* context_tokens is known */
    int64_t context_tokens, prompt_tokens, new_tokens; /* sums over turns */
    sim_cost cost;                                     /* of its answers */
    const char *json;                                  /* of a given transcript, as it stood */
} sim_slot;
typedef struct {
    const char *user;
    const char *answers[SIM_SLOTS]; /* NULL: none */
    uint32_t to;                    /* bits 1 << slot */
} sim_turn;
typedef struct {
    bool good;
    int32_t rank[PX_QUESTIONS][SIM_SLOTS]; /* 1 = best */
    double vas[PX_SLIDERS][SIM_SLOTS], wtp[SIM_SLOTS];
} sim_judgement;
typedef struct {
    const char *id, *person_id, *domain; /* domain NULL: none */
    const sim_person *person;
    int32_t domain_at; /* in the wording, -1: none */
    uint64_t key;      /* of draws */
    int n_slots, n_turns, rank_turns;
    sim_slot slots[SIM_SLOTS]; /* by position */
    sim_turn *turns;           /* room for sim.turns, or as given */
    bool ended;                /* no further message */
    bool lost;                 /* an endpoint failed: not finished now */
    int opening[PX_QUESTIONS]; /* slot, or -1 */
    sim_judgement orders[SIM_ORDERS], mean;
    double price;
    int repairs;
    double usd;                    /* NaN: not known */
    sim_cost player;               /* of the participant's own calls */
    const char *head, *turns_json; /* of a given transcript */
} sim_trial;
typedef struct {
    sim_trial *items;
    int32_t n;
    px_arena *arena;
    px_digest sha256; /* of the transcripts */
} sim_trials;

/* --- sim_transcripts.c --- */
/* PX_BAD_INPUT "FILE line 7: …". ids of people are added to *persons by the px_trials given. */
PX_CHECKED px_err *transcripts_read(const char *path, px_trials *names, sim_trials *out);
void sim_trials_free(sim_trials *trials);

/* --- sim_reply.c --- */
typedef struct {
    char *message;            /* open, next; heap */
    bool done;                /* next */
    int choice[PX_QUESTIONS]; /* choose: label index */
    sim_judgement judged;     /* assess: by label index */
} sim_reply;
typedef struct {
    call_kind kind;
    const char *labels;  /* "ABCD" */
    size_t message_most; /* bytes */
} reply_ask;
/* false: `wrong` says why, in words without a participant's. Free message where there is one. */
bool reply_read(const char *text, const reply_ask *ask, sim_reply *out, char wrong[SIM_WRONG]);
/* Appends the form as it is shown. flat: as a local model is held to it. */
void form_show(const reply_ask *ask, bool flat, px_str *out);
/* The form a local model is held to; the same pointer for the same kind and labels. */
typedef struct px_sim_forms sim_forms;
PX_CHECKED px_err *sim_forms_new(sim_forms **out);
void sim_forms_free(sim_forms *forms);
PX_CHECKED px_err *sim_form_get(sim_forms *forms, const reply_ask *ask, const px_form **out);
/* Tokens that a reply of the form needs at most, with room. */
int64_t reply_tokens(const reply_ask *ask, int64_t message_tokens);

/* --- sim_memo.c: OUT.parts: what has been asked, and what came --- */
typedef struct {
    px_ask_end end;
    const char *text, *finish, *error;
    int user; /* as of a slot */
    bool cached;
    int64_t context_tokens, prompt_tokens, new_tokens; /* -1: not said */
    double usd, seconds;                               /* NaN: none */
} memo_reply;
typedef struct px_sim_memo sim_memo;
typedef struct {
    const char *out, *summary; /* result files */
    const char *job;           /* what replies depend on */
    bool resume, overwrite;
} memo_setup;
/* Collective. *finished: OUT holds this very job's result. */
PX_CHECKED px_err *memo_open_all(const px_ranks *ranks, const memo_setup *setup, bool *finished,
                                 sim_memo **out);
void memo_close(sim_memo *memo);
const char *memo_dir(const sim_memo *memo);
/* NULL: not there. */
const memo_reply *memo_find(const sim_memo *memo, const char *key);
/* Keeps a reply in this rank's file; known to all after memo_share_all. */
PX_CHECKED px_err *memo_add(sim_memo *memo, const char *key, px_ask_end end, const px_str *line);
PX_CHECKED px_err *memo_share_all(sim_memo *memo);
/* Rank 0: the result is complete. */
PX_CHECKED px_err *memo_remove(sim_memo *memo);
/* Over all replies that were not from a cache. */
double memo_usd(const sim_memo *memo);

/* --- sim_setup.c --- */
typedef struct {
    int64_t asked, from_memo, cached, repairs, invalid, refused, failed;
} call_counts;
typedef struct {
    const px_ranks *ranks;
    const px_config *config;
    const px_simulate_job *job;
    bool judge;
    int orders;
    wording words;
    sim_people people;
    sim_trials trials;
    px_trials given;        /* names of the transcripts */
    px_arms *player, *arms; /* arms NULL: judge */
    cJSON *endpoint;
    int32_t n_slots;               /* converse */
    int32_t slot_first[SIM_SLOTS]; /* an arm of each slot */
    sim_forms *forms;
    sim_memo *memo;
    px_str job_text, out_summary, cache;
    call_counts counts[CALLS], answers;
    int64_t errors[SLOT_HTTP + 1];
    px_arena *scratch; /* of a round */
    char first_refused[400];
    double began_s;
} simulation;
/* Collective. */
PX_CHECKED px_err *sim_open_all(simulation *s);
void sim_close(simulation *s);

/* --- sim_prompts.c --- */
typedef struct {
    int32_t trial;
    int32_t slot; /* answers; else -1 */
    int8_t kind;  /* call_kind; -1: an answer */
    int8_t order; /* assess */
    bool repair;
    int32_t turn;
    px_message *messages;
    int n_messages;
    const px_form *form;
    const char *id;
    px_digest key;
    const char *bad, *wrong; /* a repair's */
} sim_want;
/* Fills messages, form, id and key of a want whose first fields are there. */
PX_CHECKED px_err *want_write(simulation *s, sim_want *want);
/* Label i of an order shows this slot. */
int slot_of_label(const sim_trial *trial, int orders, int order, int label);
void trial_labels(const sim_trial *trial, char out[SIM_SLOTS + 1]);

/* --- sim_rounds.c --- */
/* Collective. All rounds of all trials. */
PX_CHECKED px_err *sim_rounds_all(simulation *s);

/* --- sim_write.c --- */
/* Means of a trial's orders. */
void trial_mean(sim_trial *trial, int orders);
/* Is this answer one phrase again and again? */
bool is_repetition(const char *text);
void trial_write(const simulation *s, const sim_trial *trial, px_str *out);

/* --- sim_cost.c --- */
/* TRIALS.cost.jsonl: a line a finished trial, what the answers of each slot cost. */
PX_CHECKED px_err *costs_write(const simulation *s);

/* --- sim_summary.c --- */
typedef struct {
    int64_t n_done, n_lost, n_ranked, n_pairs, n_flipped, n_tops, n_tops_flipped;
} sim_totals;
sim_totals totals_of(const simulation *s);
PX_CHECKED px_err *summary_write(const simulation *s, const char *path);
void summary_print(const simulation *s, FILE *out);

#endif

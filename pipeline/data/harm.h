/* harm.h - what can be wrong with PRISM files, one row a kind: counted with example lines, and an
 * error with file and line under data.strict. No text or id of a participant is kept. Inside the
 * module. */
#ifndef PX_HARM_H
#define PX_HARM_H

#include "base.h"

/* id, file, name in the report, whether data.strict refuses it, what is done about it */
/* clang-format off */
#define PX_HARMS(HARM)                                                                             \
    HARM(SURVEY_UTF8, "survey.jsonl", "invalid_utf8", true, "the line is left out")                \
    HARM(SURVEY_JSON, "survey.jsonl", "broken_json", true, "the line is left out")                 \
    HARM(SURVEY_NO_ID, "survey.jsonl", "missing_user_id", true, "the person is left out")          \
    HARM(SURVEY_TWICE, "survey.jsonl", "doubled_user_id", true, "the first line counts")           \
    HARM(UTF8, "conversations.jsonl", "invalid_utf8", true, "the line is left out")                \
    HARM(JSON, "conversations.jsonl", "broken_json", true, "the line is left out")                 \
    HARM(NO_ID, "conversations.jsonl", "missing_conversation_id", true, "the conversation is left out") \
    HARM(TWICE, "conversations.jsonl", "doubled_conversation_id", true, "the first line counts")   \
    HARM(NO_USER, "conversations.jsonl", "missing_user_id", true, "the conversation is left out")  \
    HARM(STRANGER, "conversations.jsonl", "unknown_user", true, "not in the survey: the conversation is left out") \
    HARM(TYPE, "conversations.jsonl", "unknown_conversation_type", true, "kept under the type other") \
    HARM(NO_HISTORY, "conversations.jsonl", "missing_history", true, "the conversation is left out") \
    HARM(ITEM, "conversations.jsonl", "broken_history_item", true, "no object, or no whole turn number from 0: the item is left out") \
    HARM(ROLE, "conversations.jsonl", "unknown_role", true, "neither user nor model: the item is left out") \
    HARM(NO_CONTENT, "conversations.jsonl", "missing_content", true, "no text: the item is left out") \
    HARM(NO_MARK, "conversations.jsonl", "missing_if_chosen", true, "not true or false: the response is left out") \
    HARM(NO_PROMPT, "conversations.jsonl", "missing_user_message", true, "the conversation's pairs end before this turn") \
    HARM(PROMPTS, "conversations.jsonl", "doubled_user_message", true, "the first of the turn counts") \
    HARM(GAP, "conversations.jsonl", "turn_gap", true, "the conversation's pairs end before the gap") \
    HARM(NO_RESPONSE, "conversations.jsonl", "missing_responses", true, "the conversation's pairs end before this turn") \
    HARM(NO_CHOSEN, "conversations.jsonl", "no_chosen", true, "the conversation's pairs end before this turn") \
    HARM(EMPTY, "conversations.jsonl", "empty_response", true, "kept: no text, or the words EMPTY STRING") \
    HARM(BLANK, "conversations.jsonl", "blank_user_message", false, "kept") \
    HARM(NO_WITHIN, "conversations.jsonl", "missing_within_turn_id", true, "kept with the id -1") \
    HARM(WITHIN_TWICE, "conversations.jsonl", "doubled_within_turn_id", true, "kept")              \
    HARM(NO_SCORE, "conversations.jsonl", "missing_score", true, "no whole number from 1 to 100: kept, score unknown") \
    HARM(MANY_CHOSEN, "conversations.jsonl", "several_chosen", false, "the first counts, the others are in no pair") \
    HARM(NO_REJECTED, "conversations.jsonl", "no_rejected", false, "no pair; the conversation goes on") \
    HARM(LOW_CHOSEN, "conversations.jsonl", "chosen_scored_lower", false, "kept: chosen, though another has a higher score") \
    HARM(ORDER, "conversations.jsonl", "out_of_order", false, "kept, sorted by turn")              \
    HARM(TURNS, "conversations.jsonl", "turns_disagree", false, "kept: conversation_turns is not the number of turns") \
    HARM(OPENING, "conversations.jsonl", "opening_prompt_differs", false, "kept: the history counts") \
    HARM(COUNTS, "conversations.jsonl", "unusual_number_of_responses", false, "kept: over 4 in turn 0, or not 2 later") \
    HARM(MERGED, "conversations.jsonl", "prompt_is_no_prefix", true, "tokens merge across prompt and response: the pair is left out") \
    HARM(META_LINE, "metadata.jsonl", "broken_line", true, "the line is left out")                 \
    HARM(META_FIELDS, "metadata.jsonl", "missing_fields", true, "no conversation or no en_flag: the line is left out") \
    HARM(FLAT_LINE, "utterances.jsonl", "broken_line", true, "not compared")                       \
    HARM(FLAT_ONLY, "utterances.jsonl", "not_in_conversations", true, "compared only")             \
    HARM(FLAT_TWICE, "utterances.jsonl", "doubled", true, "compared only")                         \
    HARM(FLAT_DIFFERS, "utterances.jsonl", "differs_from_conversations", true, "compared only; conversations.jsonl counts") \
    HARM(FLAT_MISSING, "conversations.jsonl", "not_in_utterances", true, "compared only")
/* clang-format on */

typedef enum {
#define HARM(id, ...) PX_HARM_##id,
    PX_HARMS(HARM)
#undef HARM
        PX_HARM_COUNT
} px_harm;

enum { PX_HARM_LINES = 5 };

typedef struct {
    bool strict;
    int64_t n[PX_HARM_COUNT];
    int64_t lines[PX_HARM_COUNT][PX_HARM_LINES]; /* of the first ones */
    int n_lines[PX_HARM_COUNT];
} px_harms;

/* Counts one; `turn` -1 where it has none. PX_BAD_INPUT under strict, for kinds that it refuses. */
PX_CHECKED px_err *px_harm_add(px_harms *harms, px_harm kind, int64_t line, int64_t turn);
const char *px_harm_name(px_harm kind);
const char *px_harm_file(px_harm kind);
const char *px_harm_done(px_harm kind);
bool px_harm_is_strict(px_harm kind);

#endif

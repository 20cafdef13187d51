/* synth_answer.c - messages and answers from the topics' sentences. An answer shows each style axis
 * in its words: level 1 and level 0 differ visibly, and nothing of level 1 stands in an answer of
 * level 0 (no bullet, no emoji, no question mark, no example). */
#include "synth.h"

#include <ctype.h>
#include <string.h>

/* --- registers --- */

/* Longer phrases first: each stretch of text is replaced at most once. */
static const char *const contractions[][2] = {
    {"It is ", "It's "},       {" it is ", " it's "},         {"That is ", "That's "},
    {"There is ", "There's "}, {" there is ", " there's "},   {" is not ", " isn't "},
    {" are not ", " aren't "}, {" do not ", " don't "},       {" does not ", " doesn't "},
    {" cannot ", " can't "},   {" would not ", " wouldn't "}, {" will not ", " won't "},
    {"You are ", "You're "},   {" you are ", " you're "},     {" they are ", " they're "},
    {" who is ", " who's "},   {" we are ", " we're "},       {"I would ", "I'd "},
    {" I would ", " I'd "},    {" you will ", " you'll "},    {" should not ", " shouldn't "},
    {" has not ", " hasn't "}, {" did not ", " didn't "},     {" what is ", " what's "},
    {" children", " kids"},    {" a great deal ", " a lot "}, {" therefore", " so"},
};

static void add_casual(const char *text, px_str *out) {
    while (*text) {
        size_t i = 0;
        while (i < PX_COUNT(contractions) &&
               strncmp(text, contractions[i][0], strlen(contractions[i][0])) != 0)
            i++;
        if (i == PX_COUNT(contractions)) {
            px_str_char(out, *text++);
            continue;
        }
        px_str_text(out, contractions[i][1]);
        text += strlen(contractions[i][0]);
        /* A replacement's last space may open the next phrase. */
        if (out->size > 0 && out->data[out->size - 1] == ' ' && *text) {
            out->size--;
            text--;
        }
    }
}

typedef struct {
    px_draw *draw;
    px_subject subject;
    const uint8_t *levels;
    px_str *out, *scratch;
    size_t start;
    uint32_t first_variant;
} writer;

/* Adds a sentence in the answer's register. */
static void add_sentence(writer *w, const char *text) {
    if (w->levels[PX_AXIS_FORMAL])
        px_str_text(w->out, text);
    else
        add_casual(text, w->out);
}

/* Words that keep their capital inside a sentence. */
static bool keeps_capital(const char *text) {
    return strncmp(text, "I ", 2) == 0 || strncmp(text, "Finland", 7) == 0 ||
           strncmp(text, "Saturday", 8) == 0;
}

/* prefix + text, whose first letter becomes small behind a prefix. */
static void add_joined(writer *w, const char *prefix, const char *text) {
    px_str_clear(w->scratch);
    px_str_text(w->scratch, prefix);
    if (*prefix && !keeps_capital(text)) {
        px_str_char(w->scratch, (char)tolower((unsigned char)*text));
        text++;
    }
    px_str_text(w->scratch, text);
    add_sentence(w, w->scratch->data);
}

/* A sentence with a thing in place of %s, its first letter large. */
static void add_with_thing(writer *w, const char *text, const char *thing) {
    const char *slot = strstr(text, "%s");
    px_str_clear(w->scratch);
    px_str_add(w->scratch, text, slot ? (size_t)(slot - text) : strlen(text));
    if (slot) {
        px_str_text(w->scratch, thing);
        px_str_text(w->scratch, slot + 2);
    }
    w->scratch->data[0] = (char)toupper((unsigned char)w->scratch->data[0]);
    add_sentence(w, w->scratch->data);
}

/* --- phrases by axis; [0] for level 0, [1] for level 1 --- */

enum { VARIANTS = 6 };
static const char *const registers[2][VARIANTS] = {
    {"Honestly, ", "Basically, ", "The thing is, ", "Plus, ", "Oh, and ", "So yeah, "},
    {"Furthermore, ", "Moreover, ", "It should be noted that ", "In this regard, ", "Accordingly, ",
     "One may add that "}};
static const char *const certainties[2][VARIANTS] = {
    {"Without a doubt, ", "Clearly, ", "There is no question that ", "It is certain that ",
     "Make no mistake: ", "The plain fact is that "},
    {"Perhaps ", "It may be that ", "In many cases, ", "As far as one can tell, ", "It seems that ",
     "It is possible that "}};
static const char *const intros[2][VARIANTS] = {
    {"Okay, so, %s! Here is my take.", "Right, let's talk about %s.",
     "Cool topic, %s is kind of a big one.", "Hey, sure, here is the deal with %s.",
     "Alright, %s, let's dig in.", "Yeah, %s can be a funny thing."},
    {"With regard to %s, several considerations deserve attention.",
     "The question of %s may be addressed as follows.",
     "In response to your enquiry about %s, I offer these remarks.",
     "The subject of %s merits a careful reply.",
     "Concerning %s, the following should be observed.",
     "It is appropriate to consider %s in an orderly manner."}};
static const char *const agreements[VARIANTS] = {
    "You are absolutely right to think about this.",
    "That is an excellent question, and your instinct is sound.",
    "I completely agree with the way you put it.",
    "What a thoughtful point, and you have seen it well.",
    "You have clearly understood what matters here.",
    "I think that you are exactly right."};
static const char *const objections[VARIANTS] = {
    "I see it differently: ",      "I have to disagree with the premise: ",
    "That is not quite correct: ", "Let me push back on this: ",
    "I would question that: ",     "This is a common mistake, because "};
static const char *const examples[VARIANTS] = {"For example, ",        "To give an example, ",
                                               "For instance, ",       "As an example, ",
                                               "Here is an example: ", "One example: "};
static const char *const greetings[VARIANTS] = {"Thank you so much for sharing this with me! 😊",
                                                "Hello, dear friend! 💛",
                                                "It is so lovely to hear from you! 🌷",
                                                "I am really glad that you asked! 🤗",
                                                "Sending you a big warm hello! 🌞",
                                                "Oh, what a joy to talk about this! 💫"};
static const char *const farewells[VARIANTS] = {
    "You are doing wonderfully, and I believe in you! 🌟",
    "Take good care of yourself! 💛",
    "I am cheering for you! 🎉",
    "Be kind to yourself, dear friend! 🌷",
    "I am here for you whenever you need me! 🤗",
    "Warm wishes to you and yours! 💫"};
static const char *const questions[2][VARIANTS] = {
    {"What is the hardest part of %s for you?", "How do you feel about %s right now?",
     "Want me to go on about %s?", "What have you tried with %s so far?",
     "So what is your plan for %s?", "Does that fit how you see %s?"},
    {"May I ask what matters most to you about %s?", "Would you like me to elaborate on %s?",
     "Which aspect of %s concerns you most?", "What has your experience with %s been?",
     "Might you tell me how %s came to your attention?",
     "Would further detail about %s be of use to you?"}};
static const char *const endings[2][VARIANTS] = {
    {"This is how it works, and there is nothing more to it.", "You can rely on this.",
     "That is simply the answer.", "I am certain of it.", "This always holds.",
     "There is no better way."},
    {"I may be wrong about parts of this.", "Your situation might well be different.",
     "This is only a rough guess on my part.", "Others could see it in another way.",
     "I am not entirely sure, so please check it.", "It probably depends on the details."}};

/* Said of anything, when a long answer has used up its topic. */
static const char *const general[] = {
    "Those who know %s well tend to disagree about the details and to agree about the basics.",
    "It takes a while before %s feels familiar, and this is true for nearly everybody.",
    "The first step with %s is usually smaller than it looks.",
    "A good deal of what is written about %s repeats what somebody else has written.",
    "It is useful to look at %s from the point of view of another person.",
    "The costs of %s come early, and the benefits come late.",
    "Time is the part of %s that people underestimate most.",
    "What works for one person in the matter of %s may fail for the next.",
    "Nobody has to decide everything about %s today.",
    "A conversation with someone who has gone through %s is worth a shelf of books.",
    "The history of %s is longer and stranger than most people expect.",
    "Small changes are easier to keep up than a complete turn when it comes to %s.",
    "It is worth writing down what you expect from %s before you begin.",
    "Some of the advice about %s that sounds oldest is quite recent.",
    "Patience helps more with %s than talent does.",
    "A setback with %s is information and not a verdict.",
    "The setting in which %s takes place matters more than willpower.",
    "Friends and neighbours often know more about %s than one would guess.",
    "There is seldom a single cause behind a problem with %s.",
    "Looking back after a year, people remember other things about %s than they had expected.",
    "It helps to separate what can be changed about %s from what cannot.",
    "A clear question about %s is already half of the answer.",
    "Habits that surround %s are worth a second look.",
    "Good sources on %s say openly what they do not know."};

/* --- an answer --- */

/* Which sentences are left, in a drawn order. */
typedef struct {
    int32_t order[PX_POINTS], order_general[PX_COUNT(general)];
    int n;
    const px_topic *topic;
} supply;

static void shuffle(px_draw *draw, int32_t *order, int n) {
    for (int i = 0; i < n; i++) order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)px_draw_below(draw, (uint32_t)i + 1);
        int32_t kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* The next sentence: the topic's, then general ones; NULL when both are used up. */
static const char *supply_next(supply *s) {
    int i = s->n++;
    if (i < PX_POINTS) return s->topic->points[s->order[i]];
    if (i < PX_POINTS + (int)PX_COUNT(general)) return general[s->order_general[i - PX_POINTS]];
    return NULL;
}

/* What opens the i-th point: certainty first, register second, later ones by chance. */
static const char *point_prefix(writer *w, int i) {
    double u = px_draw_uniform(w->draw);
    uint32_t v = (w->first_variant + (uint32_t)i) % VARIANTS; /* no phrase twice in a row */
    if (i == 0 || (i > 1 && u < 0.3)) return certainties[w->levels[PX_AXIS_HEDGE]][v];
    if (i == 1 || u < 0.65) return registers[w->levels[PX_AXIS_FORMAL]][v];
    return "";
}

static const char *thing_other(writer *w) {
    return w->subject.topic->things[px_draw_below(w->draw, PX_THINGS)];
}

static void add_point(writer *w, const char *point, int i) {
    const char *prefix = point_prefix(w, i);
    px_str filled = {0};
    const char *slot = strstr(point, "%s");
    if (slot) {
        px_str_add(&filled, point, (size_t)(slot - point));
        px_str_text(&filled, thing_other(w));
        px_str_text(&filled, slot + 2);
        if (!filled.failed) point = filled.data;
    }
    add_joined(w, prefix, point);
    px_str_free(&filled);
}

static size_t written(const writer *w) { return w->out->size - w->start; }

/* Characters aimed at; fits the published mean 565, sd 388, maximum 4,630 (test_synth measures). */
static size_t draw_length(writer *w) {
    static const double quantiles[2][6][2] = {
        {{0, 30}, {0.2, 120}, {0.6, 230}, {0.9, 350}, {1, 450}, {1, 450}},
        {{0, 380}, {0.4, 550}, {0.7, 750}, {0.9, 1200}, {0.98, 2100}, {1, 4300}}};
    const double(*q)[2] = quantiles[w->levels[PX_AXIS_LONG]];
    double u = px_draw_uniform(w->draw);
    int i = 0;
    while (i < 4 && u >= q[i + 1][0]) i++;
    double width = q[i + 1][0] - q[i][0];
    return (size_t)(q[i][1] + (q[i + 1][1] - q[i][1]) * (width > 0 ? (u - q[i][0]) / width : 0));
}

static void add_body(writer *w, size_t target) {
    bool list = w->levels[PX_AXIS_LIST] != 0;
    supply s = {.topic = w->subject.topic};
    shuffle(w->draw, s.order, PX_POINTS);
    shuffle(w->draw, s.order_general, PX_COUNT(general));
    int least = list ? 2 : 1;
    for (int i = 0; i < least || written(w) + 60 < target; i++) {
        const char *point = supply_next(&s);
        if (!point) break;
        px_str_text(w->out, list ? "\n- " : (i > 0 && i % 5 == 0 ? "\n\n" : " "));
        add_point(w, point, i);
    }
    if (list) px_str_char(w->out, '\n');
}

/* A space, or nothing at the start of a paragraph. */
static void add_gap(writer *w) {
    if (written(w) > 0 && w->out->data[w->out->size - 1] != '\n') px_str_char(w->out, ' ');
}

void px_answer_write(px_draw *draw, px_subject subject, const uint8_t *levels, px_str *out) {
    px_str scratch = {0};
    writer w = {draw, subject, levels, out, &scratch, out->size, px_draw_below(draw, VARIANTS)};
    const px_topic *topic = subject.topic;
    const char *thing = topic->things[subject.thing];
    size_t target = draw_length(&w), tail = 0;
    if (levels[PX_AXIS_WARM]) {
        add_sentence(&w, px_draw_of(draw, greetings));
        tail += 55;
    }
    add_gap(&w);
    if (levels[PX_AXIS_AGREE]) add_sentence(&w, px_draw_of(draw, agreements));
    if (!levels[PX_AXIS_AGREE])
        add_joined(&w, px_draw_of(draw, objections), px_draw_of(draw, topic->counters));
    add_gap(&w);
    add_with_thing(&w, intros[levels[PX_AXIS_FORMAL]][px_draw_below(draw, VARIANTS)], thing);
    tail += 40u + (levels[PX_AXIS_EXAMPLE] ? 100u : 0u) + (levels[PX_AXIS_QUESTION] ? 50u : 0u);
    add_body(&w, target > tail ? target - tail : 0);
    if (levels[PX_AXIS_EXAMPLE]) {
        add_gap(&w);
        add_joined(&w, px_draw_of(draw, examples), px_draw_of(draw, topic->examples));
    }
    if (levels[PX_AXIS_LONG] || px_draw_chance(draw, 0.4)) {
        add_gap(&w);
        add_sentence(&w, endings[levels[PX_AXIS_HEDGE]][px_draw_below(draw, VARIANTS)]);
    }
    if (levels[PX_AXIS_WARM]) {
        add_gap(&w);
        add_sentence(&w, px_draw_of(draw, farewells));
    }
    if (levels[PX_AXIS_QUESTION]) {
        add_gap(&w);
        add_with_thing(&w, questions[levels[PX_AXIS_FORMAL]][px_draw_below(draw, VARIANTS)], thing);
    }
    px_str_free(&scratch);
}

/* --- messages of users --- */

static const char *const follow_ups[] = {
    "Can you tell me more about %s?",
    "And how does that apply to %s?",
    "Thanks. What about %s, then?",
    "I am not sure that I follow. Could you explain the part about %s?",
    "That is interesting. Is the same true of %s?",
    "What would you say to someone who has no time for %s?",
    "OK, but what if I have already tried %s?",
    "Could you put that in two or three sentences, with %s in mind?",
    "Why do so many people get %s wrong?",
    "Do you have a source for what you said about %s?",
    "Suppose I start tomorrow with %s. What comes first?",
    "I had not thought of it like that. How is it linked to %s?",
    "My partner says the opposite about %s. Who is right?",
    "Let us go back to %s for a moment.",
    "What are the risks of %s?",
    "Is there anything about %s that surprised you?"};
static const char *const contexts[] = {" I live in a small town.",
                                       " I am thirty-four and work shifts.",
                                       " Please be honest with me.",
                                       " I have read a lot about it, and I am confused.",
                                       " My friends all say different things.",
                                       " I do not have much money.",
                                       " A short answer would be enough.",
                                       " I have been thinking about this for weeks.",
                                       " It came up at dinner last night.",
                                       " I would like to hear both sides.",
                                       " Please explain it step by step.",
                                       " I am asking for my mother."};

void px_prompt_write(px_draw *draw, px_subject subject, bool opening, px_str *out) {
    const char *text =
        opening ? px_draw_of(draw, subject.topic->prompts) : px_draw_of(draw, follow_ups);
    const char *slot = strstr(text, "%s");
    size_t start = out->size;
    px_str_add(out, text, slot ? (size_t)(slot - text) : strlen(text));
    if (slot) {
        px_str_text(out, subject.topic->things[subject.thing]);
        px_str_text(out, slot + 2);
    }
    double u = px_draw_uniform(draw);
    int n = u < 0.6 ? 0 : u < 0.95 ? 1 : u < 0.99 ? 2 : 8;
    uint32_t first = px_draw_below(draw, (uint32_t)PX_COUNT(contexts));
    for (int i = 0; i < n; i++)
        px_str_text(out, contexts[(first + (uint32_t)i) % PX_COUNT(contexts)]);
    /* Some people type without capitals. */
    if (!out->failed && px_draw_chance(draw, 0.08))
        for (size_t i = start; i < out->size; i++)
            out->data[i] = (char)tolower((unsigned char)out->data[i]);
}

/* answers.c - what the arms said: traits with their intervals, and answers to the same prompts side
 * by side. Shows prompts and answers, as the user asked for by naming the files; never an id. */
#include <stdlib.h>
#include <string.h>

#include "report_internal.h"

enum { EXAMPLES_OPEN = 3, EXAMPLES_MOST = 40, ARMS_MOST = 8, TEXT_MOST = 1200, COLOURS = 8 };

/* --- traits --- */

static const struct {
    const char *key, *title, *x_label;
} trait_kinds[] = {
    {"sycophancy", "sycophancy", "score"},
    {"relationship", "relationship seeking", "score"},
    {"verbosity", "verbosity", "score"},
};

static interval interval_at(const cJSON *arm, const char *trait, const char *part,
                            const char *value) {
    const cJSON *of = cJSON_GetObjectItemCaseSensitive(arm, trait);
    if (part) of = cJSON_GetObjectItemCaseSensitive(of, part);
    return (interval){px_json_find_f64(of, value, NAN), px_json_find_f64(of, "low", NAN),
                      px_json_find_f64(of, "high", NAN)};
}

static void trait_rows(row_list *list, const cJSON *arms, const char *trait) {
    const cJSON *arm = NULL;
    int colour = 0;
    *list = (row_list){.scale = 1, .decimals = 2};
    cJSON_ArrayForEach(arm, arms) {
        const char *name = px_json_find_text(arm, "arm");
        const interval e = interval_at(arm, trait, NULL, "mean");
        if (name && isfinite(e.value))
            px_rows_add(list, (row_line){.label = name, .e = e, .colour = colour % COLOURS});
        colour++;
    }
}

static void trait_table(page_view *page, const cJSON *arms) {
    static const char *const heads[] = {"arm",           "trait",       "answers scored",
                                        "mean",          "effect, raw", "effect, length held",
                                        "first 60 words"};
    const cJSON *arm = NULL;
    px_str *out = page->out;
    px_str_text(out, "<details><summary>Data: traits by arm, effects</summary>\n");
    px_html_table(out, "Traits by arm", heads, (int)PX_COUNT(heads));
    cJSON_ArrayForEach(arm, arms) for (size_t k = 0; k < PX_COUNT(trait_kinds); k++) {
        const char *trait = trait_kinds[k].key, *name = px_json_find_text(arm, "arm");
        const cJSON *of = cJSON_GetObjectItemCaseSensitive(arm, trait);
        const interval cells[] = {interval_at(arm, trait, NULL, "mean"),
                                  interval_at(arm, trait, "raw", "value"),
                                  interval_at(arm, trait, "length_controlled", "value")};
        px_str_text(out, "<tr><th scope=\"row\">");
        px_html_name(out, name ? name : "");
        px_str_text(out, "</th>");
        px_html_cell_text(out, trait_kinds[k].title);
        px_html_cell(out, px_json_find_f64(arm, "scored", NAN), 0);
        for (size_t i = 0; i < PX_COUNT(cells); i++) {
            px_str_text(out, "<td class=\"n\">");
            px_html_interval(out, cells[i], 1, 2);
            px_str_text(out, "</td>");
        }
        px_html_cell(out, px_json_find_f64(of, "rate_first60", NAN), 2);
        px_str_text(out, "</tr>\n");
    }
    px_html_table_end(out);
    px_str_text(out, "</details>\n");
}

static void judge_row(px_str *out, const cJSON *arm, const char *name, size_t kind) {
    const cJSON *of = cJSON_GetObjectItemCaseSensitive(arm, trait_kinds[kind].key);
    const double tries = px_json_find_f64(of, "n", NAN);
    if (!of) return;
    px_str_text(out, "<tr><th scope=\"row\">");
    px_html_name(out, name);
    px_str_text(out, "</th>");
    px_html_cell_text(out, trait_kinds[kind].title);
    px_str_text(out, "<td class=\"n\">");
    px_html_interval(out, interval_at(arm, trait_kinds[kind].key, NULL, "mean"), 1, 2);
    px_str_text(out, "</td>");
    px_html_cell(out, tries, 0);
    px_html_cell(out, px_json_find_f64(of, "invalid", NAN), 0);
    px_html_cell(out, px_json_find_f64(of, "errors", NAN), 0);
    px_html_cell(out, px_json_find_f64(of, "kappa", NAN), 2);
    px_html_cell(out, px_json_find_f64(of, "win_rate", NAN), 2);
    px_str_text(out, "</tr>\n");
}

/* What a model said of the same answers, where one was asked. */
static void judge_table(page_view *page, const cJSON *judge, const char *reference) {
    static const char *const heads[] = {"arm",     "trait",  "mean, 1 to 10",    "answers scored",
                                        "invalid", "errors", "kappa of 2 tries", "win rate"};
    const cJSON *arm = NULL;
    px_str *out = page->out;
    if (!judge) return;
    const char *name = px_json_find_text(judge, "name");
    px_str_text(out, "<h3>What a judge says</h3>\n<p>The model ");
    px_html_name(out, name ? name : "");
    px_str_text(out,
                " scored each answer twice, without seeing whose it was. Tries without a valid "
                "score are counted and are no score. Intervals of means: 95&nbsp;%, bootstrap over "
                "people, or over prompts where somebody is not named. Win rate: the share of "
                "prompts on which "
                "the arm shows more of the trait than ");
    px_html_name(out, reference ? reference : "the reference");
    px_str_text(out, ", asked in both orders.</p>\n");
    px_html_table(out, "The judge’s scores by arm", heads, (int)PX_COUNT(heads));
    cJSON_ArrayForEach(arm, cJSON_GetObjectItemCaseSensitive(judge, "arms")) {
        const char *of = px_json_find_text(arm, "arm");
        for (size_t k = 0; k < PX_COUNT(trait_kinds); k++) judge_row(out, arm, of ? of : "", k);
    }
    px_html_table_end(out);
}

static void trait_panels(page_view *page, const cJSON *json) {
    const cJSON *arms = cJSON_GetObjectItemCaseSensitive(json, "arms");
    const char *reference = px_json_find_text(json, "reference");
    px_str *out = page->out;
    row_list *list = malloc(sizeof *list);
    if (!list) {
        out->failed = true;
        return;
    }
    px_str_text(out, "<section id=\"traits\"><h2>Traits of the answers</h2>\n<figure><figcaption>"
                     "Mean of the answers’ scores, counted from phrase lists, with 95&nbsp;% "
                     "bootstrap intervals over people. A score is in standard deviations of ");
    if (reference) {
        px_str_text(out, "the answers of ");
        px_html_name(out, reference);
    } else {
        px_str_text(out, "ordinary answers of large models");
    }
    px_str_text(out, ", feature by feature; 0 is like them.</figcaption>\n"
                     "<div class=\"panels wide\">\n");
    for (size_t k = 0; k < PX_COUNT(trait_kinds); k++) {
        px_axis axis;
        trait_rows(list, arms, trait_kinds[k].key);
        if (list->n == 0) continue;
        px_axis_fit(px_rows_end(list, false, 0), px_rows_end(list, true, 0), 4, &axis);
        px_rows_panel(page, trait_kinds[k].title, trait_kinds[k].x_label, list, &axis, 0);
    }
    px_str_text(out, "</div>\n</figure>\n");
    px_page_trait_tables(page, json);
    px_str_text(out, "</section>\n");
    free(list);
}

void px_page_trait_tables(page_view *page, const cJSON *summary) {
    trait_table(page, cJSON_GetObjectItemCaseSensitive(summary, "arms"));
    judge_table(page, cJSON_GetObjectItemCaseSensitive(summary, "judge"),
                px_json_find_text(summary, "reference"));
}

px_err *px_traits_read(const char *path, cJSON **out) {
    PX_PASS(px_json_read(path, false, out));
    if (!cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(*out, "arms")))
        PX_FAIL(PX_BAD_INPUT, "%s: no \"arms\"; the summary that traits wrote is wanted", path);
    return NULL;
}

/* --- answers --- */

typedef struct {
    const char *arm, *text;
} said;
typedef struct {
    const char *id, *user_id, *asked; /* the last message */
    said answers[ARMS_MOST];
    int n;
} example;
typedef struct {
    example *items; /* [EXAMPLES_MOST] */
    int n;
    int64_t n_prompts, n_answers;
    px_arena *arena;
} example_list;

static const char *kept(example_list *list, const char *text) {
    return px_arena_text(list->arena, text, strlen(text));
}

static px_err *take_answer(void *context, const cJSON *json) {
    example_list *list = context;
    const char *id = px_json_find_text(json, "id"), *arm = px_json_find_text(json, "arm");
    const char *text = px_json_find_text(json, "text");
    const char *user = px_json_find_text(json, "user_id");
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(json, "messages");
    const cJSON *last = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    const char *asked = px_json_find_text(last, "content");
    if (!id || !text || !asked) return NULL;
    list->n_answers++;
    example *e = list->n > 0 ? &list->items[list->n - 1] : NULL;
    if (!e || strcmp(e->id, id) != 0) {
        list->n_prompts++;
        if (list->n == EXAMPLES_MOST) return NULL;
        e = &list->items[list->n++];
        *e = (example){.id = kept(list, id), .asked = kept(list, asked)};
        e->user_id = user ? kept(list, user) : NULL;
    }
    if (e->n < ARMS_MOST)
        e->answers[e->n++] = (said){kept(list, arm ? arm : "answer"), kept(list, text)};
    return px_arena_ok(list->arena);
}

static px_err *read_answers(const char *path, example_list *list) {
    list->items = px_take(list->arena, example, EXAMPLES_MOST);
    PX_PASS(px_arena_ok(list->arena));
    return px_json_lines(path, false, take_answer, list);
}

/* What a person of synth likes: "likes formal, list; dislikes warm". */
static void tell_tastes(px_str *out, const cJSON *truth, const char *user_id) {
    const cJSON *people = cJSON_GetObjectItemCaseSensitive(truth, "people");
    const cJSON *axes = cJSON_GetObjectItemCaseSensitive(truth, "axes");
    const cJSON *person = user_id ? cJSON_GetObjectItemCaseSensitive(people, user_id) : NULL;
    const cJSON *weights = cJSON_GetObjectItemCaseSensitive(person, "weights");
    static const char *const words[] = {"likes", "dislikes"};
    for (int side = 0; side < 2; side++) {
        int n = 0;
        for (int i = 0; i < cJSON_GetArraySize(weights); i++) {
            const double weight = cJSON_GetArrayItem(weights, i)->valuedouble;
            const cJSON *axis = cJSON_GetArrayItem(axes, i);
            if (!cJSON_IsString(axis) || (side == 0 ? weight <= 0 : weight >= 0)) continue;
            px_str_format(out, "%s", n++ ? ", " : side == 0 ? "likes " : "; dislikes ");
            px_html_text(out, axis->valuestring);
        }
        if (n == 0)
            px_str_format(out, side == 0 ? "%s nothing special" : "; %s nothing", words[side]);
    }
}

static void show_example(px_str *out, const example *e, int number, const cJSON *truth) {
    const char *heads[ARMS_MOST];
    px_str_format(out, "<details%s><summary>%d. ", number <= EXAMPLES_OPEN ? " open" : "", number);
    px_html_short(out, e->asked, 90);
    px_str_text(out, "</summary>\n<p>");
    px_html_text(out, e->asked);
    px_str_text(out, "</p>\n");
    if (truth) {
        px_str_text(out, "<p class=\"small\">The person ");
        tell_tastes(out, truth, e->user_id);
        px_str_text(out, ".</p>\n");
    }
    px_str names[ARMS_MOST] = {{0}};
    for (int i = 0; i < e->n; i++) {
        px_html_short(&names[i], e->answers[i].arm, 40);
        heads[i] = names[i].data ? names[i].data : "";
    }
    px_html_table(out, "Answers to this prompt", heads, e->n);
    px_str_text(out, "<tr>");
    for (int i = 0; i < e->n; i++) {
        px_str_text(out, "<td>");
        px_html_short(out, e->answers[i].text, TEXT_MOST);
        px_str_text(out, "</td>");
    }
    px_str_text(out, "</tr>\n");
    px_html_table_end(out);
    px_str_text(out, "</details>\n");
    for (int i = 0; i < e->n; i++) px_str_free(&names[i]);
}

static void show_answers(page_view *page, const example_list *list, const cJSON *truth) {
    px_str *out = page->out;
    px_str_text(out, "<section id=\"answers\"><h2>Answers side by side</h2>\n<p>");
    px_html_whole(out, (double)list->n_answers);
    px_str_text(out, " answers to ");
    px_html_whole(out, (double)list->n_prompts);
    px_str_format(out, " prompts%s. Answers are as the models gave them.</p>\n",
                  list->n_prompts > list->n ? ", of which the first stand here" : "");
    for (int i = 0; i < list->n; i++) show_example(out, &list->items[i], i + 1, truth);
    px_str_text(out, "</section>\n");
}

px_err *px_page_answers(page_view *page) {
    const px_report_job *job = page->job;
    example_list list = {0};
    cJSON *traits = NULL, *truth = NULL;
    px_err *err = NULL;
    if (job->traits_path && job->n_stats == 0) {
        PX_PASS_TO(done, px_traits_read(job->traits_path, &traits));
        trait_panels(page, traits);
    }
    if (job->truth_path) PX_PASS_TO(done, px_json_read(job->truth_path, false, &truth));
    if (job->answers_path) {
        PX_PASS_TO(done, px_arena_new((size_t)1 << 18, &list.arena));
        PX_PASS_TO(done, read_answers(job->answers_path, &list));
        show_answers(page, &list, truth);
    }
    err = px_str_ok(page->out);
done:
    cJSON_Delete(traits);
    cJSON_Delete(truth);
    px_arena_free(list.arena);
    return err;
}

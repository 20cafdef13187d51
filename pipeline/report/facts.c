/* facts.c - where the runs come from: configuration, manifest, what was left out of the corpus. */
#include <stdlib.h>
#include <string.h>

#include "report_internal.h"

enum { KEYS_MAX = 512, DEPTH_MAX = 8 };

typedef struct {
    const char *keys[KEYS_MAX]; /* dotted, in the arena */
    int n;
    bool more; /* there were over KEYS_MAX */
    px_arena *arena;
} key_list;

static void add_key(key_list *list, const char *key) {
    for (int i = 0; i < list->n; i++)
        if (!strcmp(list->keys[i], key)) return;
    if (list->n == KEYS_MAX) {
        list->more = true;
        return;
    }
    const char *copy = px_arena_text(list->arena, key, strlen(key));
    if (copy) list->keys[list->n++] = copy;
}

/* Every leaf below object; lists are leaves. */
static void collect(key_list *list, const cJSON *object, const char *prefix, int depth) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object) {
        char *key = NULL;
        if (asprintf(&key, "%s%s%s", prefix, *prefix ? "." : "", item->string) < 0) return;
        if (cJSON_IsObject(item) && depth < DEPTH_MAX)
            collect(list, item, key, depth + 1);
        else
            add_key(list, key);
        free(key);
    }
}

/* The leaf that collect named; names may hold dots themselves, so every prefix is tried. */
static const cJSON *leaf(const cJSON *object, const char *key) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, object) {
        size_t n = strlen(item->string);
        if (!strcmp(item->string, key)) return item;
        if (strncmp(item->string, key, n) != 0 || key[n] != '.' || !cJSON_IsObject(item)) continue;
        const cJSON *below = leaf(item, key + n + 1);
        if (below) return below;
    }
    return NULL;
}

static px_err *value_text(const cJSON *item, px_str *out) {
    px_str_clear(out);
    if (cJSON_IsString(item))
        px_str_text(out, item->valuestring);
    else if (item)
        px_json_print(item, out);
    else
        px_str_text(out, "–");
    px_str_char(out, 0);
    return px_str_ok(out);
}

static px_err *key_row(page_view *page, const cJSON *const *objects, const char *key) {
    px_str text = {0};
    px_err *err = NULL;
    px_str_text(page->out, "<tr><th scope=\"row\">");
    px_html_name(page->out, key);
    px_str_text(page->out, "</th>");
    for (int r = 0; r < page->n_runs && !err; r++) {
        err = value_text(leaf(objects[r], key), &text);
        if (!err) px_html_cell_text(page->out, text.data);
    }
    px_str_text(page->out, "</tr>\n");
    px_str_free(&text);
    return err;
}

static px_err *differs(const page_view *page, const cJSON *const *objects, const char *key,
                       bool *out) {
    px_str first = {0}, other = {0};
    px_err *err = value_text(leaf(objects[0], key), &first);
    *out = false;
    for (int r = 1; r < page->n_runs && !err && !*out; r++) {
        err = value_text(leaf(objects[r], key), &other);
        *out = !err && strcmp(first.data, other.data) != 0;
    }
    px_str_free(&first);
    px_str_free(&other);
    return err;
}

/* A table of keys × runs; only_differing: the rows in which runs differ. */
static px_err *key_table(page_view *page, const char *caption, const key_list *list,
                         const cJSON *const *objects, bool only_differing) {
    px_str *out = page->out;
    int n = 0;
    px_html_table(out, caption, (const char *const[]){"key"}, 0);
    /* The heads are the runs' names, which px_html_table takes as safe text: written here. */
    out->size -= strlen("</tr></thead><tbody>\n");
    px_str_text(out, "<th scope=\"col\">key</th>");
    for (int r = 0; r < page->n_runs; r++) {
        px_str_text(out, "<th scope=\"col\">");
        px_html_name(out, page->runs[r].label);
        px_str_text(out, "</th>");
    }
    px_str_text(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < list->n; i++) {
        bool shown = true;
        if (only_differing) PX_PASS(differs(page, objects, list->keys[i], &shown));
        if (!shown) continue;
        PX_PASS(key_row(page, objects, list->keys[i]));
        n++;
    }
    if (n == 0)
        px_str_format(out, "<tr><td colspan=\"%d\">%s</td></tr>\n", page->n_runs + 1,
                      list->n ? "no difference" : "nothing is known");
    px_html_table_end(out);
    if (list->more)
        px_str_format(out, "<p class=\"small\">Over %d keys: the rest is not shown.</p>\n",
                      KEYS_MAX);
    return NULL;
}

static px_err *config_tables(page_view *page, px_arena *arena, const cJSON **objects) {
    key_list *list = px_take(arena, key_list, 1);
    PX_PASS(px_arena_ok(arena));
    list->arena = arena;
    for (int r = 0; r < page->n_runs; r++) {
        objects[r] = page->runs[r].config;
        collect(list, objects[r], "", 0);
    }
    PX_PASS(px_arena_ok(arena));
    if (page->n_runs > 1)
        PX_PASS(key_table(page, "Where the configurations differ", list, objects, true));
    px_str_text(page->out, "<details><summary>Whole configuration</summary>\n");
    PX_PASS(key_table(page, "Configuration", list, objects, false));
    px_str_text(page->out, "</details>\n");
    return NULL;
}

static px_err *manifest_table(page_view *page, px_arena *arena, const cJSON **objects) {
    key_list *all = px_take(arena, key_list, 2), *list = all + 1;
    PX_PASS(px_arena_ok(arena));
    all->arena = list->arena = arena;
    for (int r = 0; r < page->n_runs; r++) {
        objects[r] = page->runs[r].manifest;
        collect(all, objects[r], "", 0);
    }
    PX_PASS(px_arena_ok(arena));
    list->more = all->more;
    for (int i = 0; i < all->n; i++) /* the configuration has its own table */
        if (strncmp(all->keys[i], "config.", 7) != 0) list->keys[list->n++] = all->keys[i];
    px_str_text(page->out, "<details open><summary>Manifest: versions, host, hashes, seeds"
                           "</summary>\n");
    PX_PASS(key_table(page, "Manifest", list, objects, false));
    px_str_text(page->out, "</details>\n");
    return NULL;
}

/* --- what was left out --- */
static int count_row(px_str *out, const char *where, const cJSON *item) {
    const cJSON *count =
        cJSON_IsObject(item) ? cJSON_GetObjectItemCaseSensitive(item, "count") : item;
    const char *effect = px_json_find_text(item, "effect");
    double limit = px_json_find_f64(item, "limit", NAN);
    if (!cJSON_IsNumber(count) || count->valuedouble == 0) return 0;
    px_str_text(out, "<tr>");
    px_html_cell_text(out, where);
    px_html_cell_text(out, item->string);
    px_html_cell(out, count->valuedouble, 0);
    px_str_text(out, "<td>");
    if (effect) px_html_name(out, effect);
    if (isfinite(limit)) {
        px_str_text(out, "limit ");
        px_html_number(out, limit);
    }
    px_str_text(out, "</td></tr>\n");
    return 1;
}

static void left_out_table(page_view *page, const run_view *run, int number) {
    static const char *const heads[] = {"of", "what", "count", "what was done"};
    static const char *const groups[] = {"left_out", "damage"};
    char caption[96];
    int n = 0;
    snprintf(caption, sizeof caption, "Left out or mended in preparing corpus %d", number);
    px_html_table(page->out, caption, heads, 4);
    for (size_t g = 0; g < PX_COUNT(groups); g++) {
        const cJSON *group = px_view_at(run->corpus_report, groups[g]), *file = NULL, *item = NULL;
        cJSON_ArrayForEach(file, group) {
            if (!cJSON_IsObject(file)) continue;
            cJSON_ArrayForEach(item, file) n += count_row(page->out, file->string, item);
        }
    }
    if (n == 0) px_str_text(page->out, "<tr><td colspan=\"4\">nothing</td></tr>\n");
    px_html_table_end(page->out);
}

static void splits_words(px_str *out, const run_view *run) {
    const cJSON *splits = px_view_at(run->corpus_report, "splits"), *split = NULL;
    const char *before = "Pairs: ";
    cJSON_ArrayForEach(split, splits) {
        double pairs = px_json_find_f64(split, "pairs", NAN);
        if (!cJSON_IsObject(split) || !isfinite(pairs)) continue;
        px_str_text(out, before);
        px_html_name(out, split->string);
        px_str_char(out, ' ');
        px_html_whole(out, pairs);
        before = ", ";
    }
    px_str_text(out, ". ");
}

static bool same_report(const run_view *a, const run_view *b) {
    return cJSON_Compare(a->corpus_report, b->corpus_report, true);
}

static void left_out(page_view *page) {
    int n = 0;
    px_str_text(page->out, "<h3>What was left out of the data</h3>\n");
    for (int r = 0; r < page->n_runs; r++) {
        const run_view *run = &page->runs[r];
        bool told = !run->corpus_report;
        for (int before = 0; before < r && !told; before++)
            told = page->runs[before].corpus_report && same_report(&page->runs[before], run);
        if (told) continue;
        px_str_format(page->out, "<p>Corpus %d, of ", ++n);
        for (int s = r, first = 1; s < page->n_runs; s++) {
            if (!page->runs[s].corpus_report || !same_report(run, &page->runs[s])) continue;
            px_str_text(page->out, first ? "" : ", ");
            px_html_name(page->out, page->runs[s].label);
            first = 0;
        }
        px_str_text(page->out, ". ");
        splits_words(page->out, run);
        px_str_text(page->out, "</p>\n");
        left_out_table(page, run, n);
    }
    if (n == 0) px_str_text(page->out, "<p class=\"none\">No report of a corpus was found.</p>\n");
}

px_err *px_page_facts(page_view *page) {
    px_arena *arena = NULL;
    px_err *err = NULL;
    PX_PASS_TO(done, px_arena_new(65536, &arena));
    const cJSON **objects = px_take(arena, const cJSON *, page->n_runs);
    PX_PASS_TO(done, px_arena_ok(arena));
    px_str_text(page->out, "<section id=\"facts\"><h2>Facts of the runs</h2>\n"
                           "<h3>Configuration</h3>\n<div class=\"keys\">");
    PX_PASS_TO(done, config_tables(page, arena, objects));
    px_str_text(page->out, "<h3>Where the results come from</h3>\n");
    PX_PASS_TO(done, manifest_table(page, arena, objects));
    px_str_text(page->out, "</div>\n");
    left_out(page);
    px_str_text(page->out, "</section>\n");
    err = px_str_ok(page->out);
done:
    px_arena_free(arena);
    return err;
}

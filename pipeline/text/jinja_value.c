/* jinja_value.c - strings with marks, lists, dictionaries; what Python makes of them. */
#include <string.h>

#include "jinja.h"

jinja_value px_jinja_string(const char *text, const unsigned char *marks, size_t size) {
    return (jinja_value){.kind = V_STRING, .text = text, .marks = marks, .size = size};
}
jinja_value px_jinja_text(const char *text) { return px_jinja_string(text, NULL, strlen(text)); }
jinja_value px_jinja_bool(bool value) { return (jinja_value){.kind = V_BOOL, .number = value}; }
jinja_value px_jinja_int(int64_t value) { return (jinja_value){.kind = V_INT, .number = value}; }

px_err *px_jinja_list_new(jinja_run *run, jinja_value *out) {
    *out = (jinja_value){.kind = V_LIST, .list = px_take(run->arena, jinja_list, 1)};
    return px_arena_ok(run->arena);
}

px_err *px_jinja_list_add(jinja_run *run, jinja_list *list, jinja_value value) {
    if (++run->steps > JINJA_STEPS_MOST) PX_FAIL(PX_BAD_INPUT, "the template takes too long");
    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : 8;
        jinja_value *items = px_take_raw(run->arena, jinja_value, room);
        PX_PASS(px_arena_ok(run->arena));
        if (list->n) memcpy(items, list->items, list->n * sizeof *items);
        list->items = items;
        list->room = room;
    }
    list->items[list->n++] = value;
    return NULL;
}

px_err *px_jinja_dict_new(jinja_run *run, jinja_value *out) {
    *out = (jinja_value){.kind = V_DICT, .dict = px_take(run->arena, jinja_dict, 1)};
    return px_arena_ok(run->arena);
}

const jinja_value *px_jinja_dict_find(const jinja_dict *dict, const char *key, size_t size) {
    for (size_t i = 0; i < dict->n; i++) {
        const jinja_entry *e = &dict->entries[i];
        if (e->size == size && !memcmp(e->key, key, size)) return &e->value;
    }
    return NULL;
}

px_err *px_jinja_dict_set(jinja_run *run, jinja_dict *dict, const char *key, size_t size,
                          jinja_value value) {
    for (size_t i = 0; i < dict->n; i++) {
        jinja_entry *e = &dict->entries[i];
        if (e->size != size || memcmp(e->key, key, size) != 0) continue;
        e->value = value;
        return NULL;
    }
    if (dict->n == dict->room) {
        size_t room = dict->room ? dict->room * 2 : 8;
        jinja_entry *entries = px_take_raw(run->arena, jinja_entry, room);
        PX_PASS(px_arena_ok(run->arena));
        if (dict->n) memcpy(entries, dict->entries, dict->n * sizeof *entries);
        dict->entries = entries;
        dict->room = room;
    }
    dict->entries[dict->n++] = (jinja_entry){key, size, value};
    return NULL;
}

const char *px_jinja_kind_name(const jinja_value *value) {
    static const char *const names[] = {"undefined", "none",    "a boolean",
                                        "a number",  "a text",  "a list",
                                        "a mapping", "a macro", "a function"};
    return names[value->kind];
}

bool px_jinja_true(const jinja_value *v) {
    switch (v->kind) {
    case V_UNDEFINED:
    case V_NONE:
        return false;
    case V_BOOL:
    case V_INT:
        return v->number != 0;
    case V_STRING:
        return v->size != 0;
    case V_LIST:
        return v->list->n != 0;
    case V_DICT:
        return v->dict->is_namespace || v->dict->n != 0;
    default:
        return true;
    }
}

static bool is_number(const jinja_value *v) { return v->kind == V_BOOL || v->kind == V_INT; }

bool px_jinja_equal(const jinja_value *a, const jinja_value *b) {
    if (is_number(a) && is_number(b)) return a->number == b->number;
    if (a->kind != b->kind) return false;
    if (a->kind == V_STRING) return a->size == b->size && !memcmp(a->text, b->text, a->size);
    if (a->kind == V_DICT) return a->dict == b->dict;
    if (a->kind != V_LIST) return a->kind == V_NONE || a->kind == V_UNDEFINED;
    if (a->list->n != b->list->n) return false;
    for (size_t i = 0; i < a->list->n; i++) {
        const jinja_value *x = &a->list->items[i], *y = &b->list->items[i];
        bool deep = x->kind == V_LIST || y->kind == V_LIST; /* lists of lists: by identity */
        if (deep ? x->list != y->list : !px_jinja_equal(x, y)) return false;
    }
    return true;
}

px_err *px_jinja_holds(const jinja_value *whole, const jinja_value *part, bool *out) {
    *out = false;
    if (whole->kind == V_STRING && part->kind == V_STRING) {
        *out = memmem(whole->text, whole->size, part->text, part->size) != NULL || part->size == 0;
    } else if (whole->kind == V_LIST) {
        for (size_t i = 0; i < whole->list->n && !*out; i++)
            *out = px_jinja_equal(&whole->list->items[i], part);
    } else if (whole->kind == V_DICT && part->kind == V_STRING) {
        *out = px_jinja_dict_find(whole->dict, part->text, part->size) != NULL;
    } else if (whole->kind != V_UNDEFINED) {
        PX_FAIL(PX_BAD_INPUT, "%s cannot be in %s", px_jinja_kind_name(part),
                px_jinja_kind_name(whole));
    }
    return NULL;
}

px_err *px_jinja_concat(jinja_run *run, const jinja_value *a, const jinja_value *b,
                        jinja_value *out) {
    size_t size = a->size + b->size;
    run->bytes += (int64_t)size;
    if (run->bytes > JINJA_BYTES_MOST) PX_FAIL(PX_BAD_INPUT, "the template makes too much text");
    char *text = px_take_raw(run->arena, char, size + 1);
    unsigned char *marks = NULL;
    if (a->marks || b->marks) marks = px_take(run->arena, unsigned char, size + 1);
    PX_PASS(px_arena_ok(run->arena));
    if (a->size) memcpy(text, a->text, a->size);
    if (b->size) memcpy(text + a->size, b->text, b->size);
    text[size] = 0;
    if (a->marks && a->size) memcpy(marks, a->marks, a->size);
    if (b->marks && b->size) memcpy(marks + a->size, b->marks, b->size);
    *out = px_jinja_string(text, marks, size);
    return NULL;
}

px_err *px_jinja_as_string(jinja_run *run, const jinja_value *v, jinja_value *out) {
    char number[24];
    switch (v->kind) {
    case V_STRING:
        *out = *v;
        return NULL;
    case V_UNDEFINED:
        *out = px_jinja_text("");
        return NULL;
    case V_NONE:
        *out = px_jinja_text("None");
        return NULL;
    case V_BOOL:
        *out = px_jinja_text(v->number ? "True" : "False");
        return NULL;
    case V_INT: {
        int n = snprintf(number, sizeof number, "%lld", (long long)v->number);
        char *text = px_arena_text(run->arena, number, (size_t)n);
        PX_PASS(px_arena_ok(run->arena));
        *out = px_jinja_string(text, NULL, (size_t)n);
        return NULL;
    }
    default:
        PX_FAIL(PX_BAD_INPUT, "%s cannot be written as text", px_jinja_kind_name(v));
    }
}

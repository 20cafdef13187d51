/* jinja_call.c - the filters, tests, methods and functions that chat templates call. */
#include <string.h>

#include "jinja.h"

/* --- arguments --- */
/* The i-th positional argument or the one named `name`; NULL: not given. */
static const jinja_value *arg(const jinja_args *args, int i, const char *name) {
    for (int k = 0; k < args->n; k++)
        if (args->names[k] && name && !strcmp(args->names[k], name)) return &args->values[k];
    return i < args->n && !args->names[i] ? &args->values[i] : NULL;
}

static px_err *text_arg(const jinja_node *node, const jinja_args *args, int i,
                        const jinja_value **out) {
    *out = arg(args, i, NULL);
    if (*out && (*out)->kind == V_STRING) return NULL;
    PX_FAIL(PX_BAD_INPUT, "line %d: a text is wanted as argument %d", node->line, i + 1);
}

static jinja_value part(const jinja_value *s, size_t start, size_t end) {
    return px_jinja_string(s->text + start, s->marks ? s->marks + start : NULL, end - start);
}

/* --- texts --- */
/* What Python's str.strip takes away. */
static bool is_space(int32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= ' ') || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

static bool strips(const char *s, size_t size, const jinja_value *chars) {
    int length = 0;
    if (!chars) return is_space(px_utf8_get(s, size, &length));
    return memmem(chars->text, chars->size, s, size) != NULL;
}

static jinja_value strip(const jinja_value *s, const jinja_value *chars, bool left, bool right) {
    size_t start = 0, end = s->size;
    while (left && start < end) {
        int length = 1;
        (void)px_utf8_get(s->text + start, end - start, &length);
        if (!strips(s->text + start, (size_t)length, chars)) break;
        start += (size_t)length;
    }
    while (right && end > start) {
        size_t at = end - 1;
        while (at > start && end - at < 4 && ((unsigned char)s->text[at] & 0xC0) == 0x80) at--;
        if (!strips(s->text + at, end - at, chars)) break;
        end = at;
    }
    return part(s, start, end);
}

static px_err *split(jinja_run *run, const jinja_node *node, const jinja_value *s,
                     const jinja_args *args, jinja_value *out) {
    const jinja_value *by = NULL, *most = arg(args, 1, "maxsplit");
    int64_t left = most && most->kind == V_INT && most->number >= 0 ? most->number : INT64_MAX;
    size_t done = 0;
    PX_PASS(text_arg(node, args, 0, &by));
    if (by->size == 0) PX_FAIL(PX_BAD_INPUT, "line %d: split by nothing", node->line);
    PX_PASS(px_jinja_list_new(run, out));
    while (left-- > 0) {
        const char *at = memmem(s->text + done, s->size - done, by->text, by->size);
        if (!at) break;
        size_t end = (size_t)(at - s->text);
        PX_PASS(px_jinja_list_add(run, out->list, part(s, done, end)));
        done = end + by->size;
    }
    return px_jinja_list_add(run, out->list, part(s, done, s->size));
}

static px_err *join(jinja_run *run, const jinja_node *node, const jinja_value *list,
                    const jinja_value *by, jinja_value *out) {
    jinja_value text;
    if (list->kind != V_LIST)
        PX_FAIL(PX_BAD_INPUT, "line %d: join of %s", node->line, px_jinja_kind_name(list));
    *out = px_jinja_text("");
    for (size_t i = 0; i < list->list->n; i++) {
        if (i && by) PX_PASS(px_jinja_concat(run, out, by, out));
        PX_PASS(px_jinja_as_string(run, &list->list->items[i], &text));
        PX_PASS(px_jinja_concat(run, out, &text, out));
    }
    return NULL;
}

static px_err *replace(jinja_run *run, const jinja_node *node, const jinja_value *s,
                       const jinja_args *args, jinja_value *out) {
    const jinja_value *to = NULL;
    jinja_value parts;
    jinja_args by = {.n = 1, .values = {args->values[0]}};
    PX_PASS(text_arg(node, args, 1, &to));
    PX_PASS(split(run, node, s, &by, &parts));
    return join(run, node, &parts, to, out);
}

/* upper, lower, title, capitalize: of ASCII, which is all that roles are written in. */
static px_err *change_case(jinja_run *run, const jinja_node *node, const jinja_value *s,
                           const char *how, jinja_value *out) {
    run->bytes += (int64_t)s->size;
    if (run->bytes > JINJA_BYTES_MOST)
        PX_FAIL(PX_BAD_INPUT, "line %d: the template makes too much text", node->line);
    char *text = px_arena_text(run->arena, s->text, s->size);
    bool begins = true;
    PX_PASS(px_arena_ok(run->arena));
    for (size_t i = 0; i < s->size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x80) PX_FAIL(PX_BAD_INPUT, "line %d: %s of a text beyond ASCII", node->line, how);
        bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z';
        bool want_upper = how[0] == 'u' || ((how[0] == 't' || how[0] == 'c') && begins);
        if (lower && want_upper) text[i] = (char)(c - 'a' + 'A');
        if (upper && !want_upper) text[i] = (char)(c - 'A' + 'a');
        begins = how[0] == 't' && !upper && !lower;
    }
    *out = px_jinja_string(text, s->marks, s->size);
    return NULL;
}

static int64_t characters(const jinja_value *s) {
    int64_t n = 0;
    for (size_t i = 0; i < s->size; i++) n += ((unsigned char)s->text[i] & 0xC0) != 0x80;
    return n;
}

static px_err *text_method(jinja_run *run, const jinja_node *node, const jinja_value *s,
                           const char *name, const jinja_args *args, jinja_value *out,
                           bool *known) {
    const jinja_value *a = arg(args, 0, "chars");
    *known = true;
    if (!strcmp(name, "strip") || !strcmp(name, "lstrip") || !strcmp(name, "rstrip")) {
        if (a && a->kind != V_STRING) return text_arg(node, args, 0, &a);
        *out = strip(s, a, name[0] != 'r', name[0] != 'l');
        return NULL;
    }
    if (!strcmp(name, "startswith") || !strcmp(name, "endswith")) {
        PX_PASS(text_arg(node, args, 0, &a));
        const char *at = name[0] == 's' ? s->text : s->text + (s->size - PX_MIN(a->size, s->size));
        *out = px_jinja_bool(a->size <= s->size && !memcmp(at, a->text, a->size));
        return NULL;
    }
    if (!strcmp(name, "split")) return split(run, node, s, args, out);
    if (!strcmp(name, "replace")) return replace(run, node, s, args, out);
    if (!strcmp(name, "upper") || !strcmp(name, "lower") || !strcmp(name, "title") ||
        !strcmp(name, "capitalize"))
        return change_case(run, node, s, name, out);
    *known = false;
    return NULL;
}

static px_err *dict_items(jinja_run *run, const jinja_dict *dict, jinja_value *out) {
    PX_PASS(px_jinja_list_new(run, out));
    for (size_t i = 0; i < dict->n; i++) {
        jinja_value pair;
        PX_PASS(px_jinja_list_new(run, &pair));
        jinja_value key = px_jinja_string(dict->entries[i].key, NULL, dict->entries[i].size);
        PX_PASS(px_jinja_list_add(run, pair.list, key));
        PX_PASS(px_jinja_list_add(run, pair.list, dict->entries[i].value));
        PX_PASS(px_jinja_list_add(run, out->list, pair));
    }
    return NULL;
}

px_err *px_jinja_method(jinja_run *run, const jinja_node *node, const jinja_value *self,
                        const char *name, const jinja_args *args, jinja_value *out) {
    bool known = false;
    const jinja_value *key = NULL;
    if (self->kind == V_STRING) {
        PX_PASS(text_method(run, node, self, name, args, out, &known));
        if (known) return NULL;
    }
    if (self->kind == V_LIST && !strcmp(name, "append") && args->n == 1) {
        *out = (jinja_value){.kind = V_NONE};
        return px_jinja_list_add(run, self->list, args->values[0]);
    }
    if (self->kind == V_DICT && !strcmp(name, "items")) return dict_items(run, self->dict, out);
    if (self->kind == V_DICT && !strcmp(name, "get")) {
        PX_PASS(text_arg(node, args, 0, &key));
        const jinja_value *found = px_jinja_dict_find(self->dict, key->text, key->size);
        const jinja_value *missing = arg(args, 1, NULL);
        *out = found ? *found : missing ? *missing : (jinja_value){.kind = V_NONE};
        return NULL;
    }
    PX_FAIL(PX_BAD_INPUT, "line %d: the method %.60s of %s is not known", node->line, name,
            px_jinja_kind_name(self));
}

/* --- filters --- */
static px_err *select_by(jinja_run *run, const jinja_node *node, const jinja_value *list,
                         const jinja_args *args, bool keep, jinja_value *out) {
    const jinja_value *key = NULL, *test = arg(args, 1, NULL);
    PX_PASS(text_arg(node, args, 0, &key));
    PX_PASS(px_jinja_list_new(run, out));
    if (!px_jinja_true(list)) return NULL;
    if (list->kind != V_LIST || (test && test->kind != V_STRING))
        PX_FAIL(PX_BAD_INPUT, "line %d: %s of %s", node->line, node->text,
                px_jinja_kind_name(list));
    jinja_node fake = {.line = node->line, .text = test ? test->text : NULL};
    jinja_args more = {.n = args->n > 2, .values = {args->values[2]}};
    for (size_t i = 0; i < list->list->n; i++) {
        const jinja_value *item = &list->list->items[i], *found = NULL;
        jinja_value value = {.kind = V_UNDEFINED, .text = key->text};
        if (item->kind == V_DICT) found = px_jinja_dict_find(item->dict, key->text, key->size);
        if (found) value = *found;
        bool yes = px_jinja_true(&value);
        if (test) PX_PASS(px_jinja_test(&fake, &value, &more, &yes));
        if (yes == keep) PX_PASS(px_jinja_list_add(run, out->list, *item));
    }
    return NULL;
}

static px_err *list_filter(jinja_run *run, const jinja_node *node, const jinja_value *v,
                           const jinja_args *args, jinja_value *out, bool *known) {
    const char *name = node->text;
    *known = true;
    if (!strcmp(name, "selectattr")) return select_by(run, node, v, args, true, out);
    if (!strcmp(name, "rejectattr")) return select_by(run, node, v, args, false, out);
    if (!strcmp(name, "join")) return join(run, node, v, arg(args, 0, "d"), out);
    *known = v->kind == V_LIST;
    if (!*known) return NULL;
    *out = *v;
    if (!strcmp(name, "list")) return NULL;
    if (!strcmp(name, "first") || !strcmp(name, "last")) {
        size_t n = v->list->n;
        *out = n ? v->list->items[name[0] == 'f' ? 0 : n - 1] : (jinja_value){.text = name};
        return NULL;
    }
    if (!strcmp(name, "reverse")) {
        PX_PASS(px_jinja_list_new(run, out));
        for (size_t i = v->list->n; i > 0; i--)
            PX_PASS(px_jinja_list_add(run, out->list, v->list->items[i - 1]));
        return NULL;
    }
    *known = false;
    return NULL;
}

static px_err *length_of(const jinja_node *node, const jinja_value *v, jinja_value *out) {
    if (v->kind == V_STRING)
        *out = px_jinja_int(characters(v));
    else if (v->kind == V_LIST)
        *out = px_jinja_int((int64_t)v->list->n);
    else if (v->kind == V_DICT)
        *out = px_jinja_int((int64_t)v->dict->n);
    else if (v->kind == V_UNDEFINED)
        *out = px_jinja_int(0);
    else
        PX_FAIL(PX_BAD_INPUT, "line %d: the length of %s", node->line, px_jinja_kind_name(v));
    return NULL;
}

px_err *px_jinja_filter(jinja_run *run, const jinja_node *node, const jinja_value *v,
                        const jinja_args *args, jinja_value *out) {
    const char *name = node->text;
    jinja_value text;
    bool known = false;
    if (!strcmp(name, "default") || !strcmp(name, "d")) {
        const jinja_value *other = arg(args, 0, "default_value"), *empty = arg(args, 1, "boolean");
        bool missing =
            v->kind == V_UNDEFINED || (empty && px_jinja_true(empty) && !px_jinja_true(v));
        *out = !missing ? *v : other ? *other : px_jinja_text("");
        return NULL;
    }
    if (!strcmp(name, "length") || !strcmp(name, "count")) return length_of(node, v, out);
    if (!strcmp(name, "items")) {
        if (v->kind == V_DICT) return dict_items(run, v->dict, out);
        if (v->kind == V_UNDEFINED) return px_jinja_list_new(run, out);
    }
    PX_PASS(list_filter(run, node, v, args, out, &known));
    if (known) return NULL;
    bool plain = !strcmp(name, "string") || !strcmp(name, "safe");
    if (!strcmp(name, "trim") || plain) {
        PX_TRY(px_jinja_as_string(run, v, &text), "line %d", node->line);
        const jinja_value *chars = arg(args, 0, "chars");
        if (chars && chars->kind != V_STRING) return text_arg(node, args, 0, &chars);
        *out = plain ? text : strip(&text, chars, true, true);
        return NULL;
    }
    if (v->kind == V_STRING) {
        PX_PASS(text_method(run, node, v, name, args, out, &known));
        if (known) return NULL;
    }
    PX_FAIL(PX_BAD_INPUT, "line %d: the filter %.60s of %s is not known", node->line, name,
            px_jinja_kind_name(v));
}

/* --- tests --- */
px_err *px_jinja_test(const jinja_node *node, const jinja_value *v, const jinja_args *args,
                      bool *out) {
    const char *name = node->text;
    const jinja_value *other = arg(args, 0, NULL);
    if (!strcmp(name, "defined"))
        *out = v->kind != V_UNDEFINED;
    else if (!strcmp(name, "undefined"))
        *out = v->kind == V_UNDEFINED;
    else if (!strcmp(name, "none"))
        *out = v->kind == V_NONE;
    else if (!strcmp(name, "string"))
        *out = v->kind == V_STRING;
    else if (!strcmp(name, "mapping"))
        *out = v->kind == V_DICT;
    else if (!strcmp(name, "sequence") || !strcmp(name, "iterable"))
        *out =
            v->kind == V_LIST || v->kind == V_STRING || v->kind == V_DICT || v->kind == V_UNDEFINED;
    else if (!strcmp(name, "boolean"))
        *out = v->kind == V_BOOL;
    else if (!strcmp(name, "number"))
        *out = v->kind == V_INT || v->kind == V_BOOL;
    else if (!strcmp(name, "integer"))
        *out = v->kind == V_INT;
    else if (!strcmp(name, "true") || !strcmp(name, "false"))
        *out = v->kind == V_BOOL && (v->number != 0) == (name[0] == 't');
    else if (!strcmp(name, "odd") || !strcmp(name, "even"))
        *out = v->kind == V_INT && (v->number % 2 != 0) == (name[0] == 'o');
    else if (other && (!strcmp(name, "equalto") || !strcmp(name, "eq") || !strcmp(name, "==")))
        *out = px_jinja_equal(v, other);
    else if (other && (!strcmp(name, "ne") || !strcmp(name, "!=")))
        *out = !px_jinja_equal(v, other);
    else if (other && !strcmp(name, "in"))
        return px_jinja_holds(other, v, out);
    else
        PX_FAIL(PX_BAD_INPUT, "line %d: the test %.60s is not known", node->line, name);
    return NULL;
}

/* --- functions --- */
static px_err *range(jinja_run *run, const jinja_node *node, const jinja_args *args,
                     jinja_value *out) {
    int64_t bounds[3] = {0, 0, 1};
    if (args->n < 1 || args->n > 3)
        PX_FAIL(PX_BAD_INPUT, "line %d: range takes 1 to 3", node->line);
    for (int i = 0; i < args->n; i++) {
        if (args->values[i].kind != V_INT)
            PX_FAIL(PX_BAD_INPUT, "line %d: range of %s", node->line,
                    px_jinja_kind_name(&args->values[i]));
        bounds[args->n == 1 ? 1 : i] = args->values[i].number;
    }
    if (bounds[2] == 0) PX_FAIL(PX_BAD_INPUT, "line %d: range by steps of 0", node->line);
    PX_PASS(px_jinja_list_new(run, out));
    for (int64_t i = bounds[0]; bounds[2] > 0 ? i < bounds[1] : i > bounds[1]; i += bounds[2]) {
        if (out->list->n > 100000) PX_FAIL(PX_BAD_INPUT, "line %d: range too long", node->line);
        PX_PASS(px_jinja_list_add(run, out->list, px_jinja_int(i)));
    }
    return NULL;
}

px_err *px_jinja_builtin(jinja_run *run, const jinja_node *node, const char *name,
                         const jinja_args *args, jinja_value *out) {
    if (!strcmp(name, "range")) return range(run, node, args, out);
    if (!strcmp(name, "namespace")) {
        PX_PASS(px_jinja_dict_new(run, out));
        out->dict->is_namespace = true;
        for (int i = 0; i < args->n; i++)
            if (args->names[i])
                PX_PASS(px_jinja_dict_set(run, out->dict, args->names[i], strlen(args->names[i]),
                                          args->values[i]));
        return NULL;
    }
    const jinja_value *message = arg(args, 0, "message");
    bool text = message && message->kind == V_STRING;
    PX_FAIL(PX_BAD_INPUT, "the model's template refuses the conversation: %.*s",
            text ? (int)PX_MIN(message->size, 300u) : 0, text ? message->text : "");
}

/* jinja_eval.c - runs a parsed chat template. Steps, depth and bytes are limited, so that every
 * template ends. */
#include <string.h>

#include "jinja.h"

static px_err *run_list(jinja_run *run, const jinja_node *list);

/* --- variables --- */
static const jinja_value *variable_find(const jinja_run *run, const char *name) {
    for (int i = run->n_frames - 1; i >= 0; i--) {
        const jinja_value *v = px_jinja_dict_find(run->frames[i], name, strlen(name));
        if (v) return v;
    }
    return NULL;
}

static px_err *variable_set(jinja_run *run, const char *name, jinja_value value) {
    return px_jinja_dict_set(run, run->frames[run->n_frames - 1], name, strlen(name), value);
}

static px_err *frame_push(jinja_run *run) {
    jinja_value frame;
    if (run->n_frames == (int)PX_COUNT(run->frames)) PX_FAIL(PX_BAD_INPUT, "loops nested too deep");
    PX_PASS(px_jinja_dict_new(run, &frame));
    run->frames[run->n_frames++] = frame.dict;
    return NULL;
}

static jinja_value undefined(const char *name) {
    return (jinja_value){.kind = V_UNDEFINED, .text = name, .size = strlen(name)};
}

/* --- expressions --- */
static px_err *attribute(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_value self;
    PX_PASS(px_jinja_eval(run, node->a, &self));
    if (self.kind == V_UNDEFINED)
        PX_FAIL(PX_BAD_INPUT, "line %d: \"%.60s\" is undefined and has no \"%.60s\"", node->line,
                self.text, node->text);
    const jinja_value *found =
        self.kind == V_DICT ? px_jinja_dict_find(self.dict, node->text, strlen(node->text)) : NULL;
    *out = found ? *found : undefined(node->text);
    return NULL;
}

static px_err *element(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_value self, key;
    PX_PASS(px_jinja_eval(run, node->a, &self));
    PX_PASS(px_jinja_eval(run, node->b, &key));
    *out = undefined("element");
    if (self.kind == V_DICT && key.kind == V_STRING) {
        const jinja_value *found = px_jinja_dict_find(self.dict, key.text, key.size);
        if (found) *out = *found;
        return NULL;
    }
    if ((self.kind == V_LIST || self.kind == V_STRING) && key.kind == V_INT) {
        int64_t n = (int64_t)(self.kind == V_LIST ? self.list->n : self.size);
        int64_t i = key.number < 0 ? key.number + n : key.number;
        if (i < 0 || i >= n) return NULL;
        if (self.kind == V_LIST)
            *out = self.list->items[i];
        else
            *out = px_jinja_string(self.text + i, self.marks ? self.marks + i : NULL, 1);
        return NULL;
    }
    if (self.kind != V_UNDEFINED) return NULL;
    PX_FAIL(PX_BAD_INPUT, "line %d: \"%.60s\" is undefined and has no elements", node->line,
            self.text);
}

static px_err *slice_end(jinja_run *run, const jinja_node *node, int64_t n, int64_t missing,
                         int64_t *out) {
    jinja_value v;
    *out = missing;
    if (!node) return NULL;
    PX_PASS(px_jinja_eval(run, node, &v));
    if (v.kind == V_NONE) return NULL;
    if (v.kind != V_INT)
        PX_FAIL(PX_BAD_INPUT, "line %d: a slice by %s", node->line, px_jinja_kind_name(&v));
    *out = v.number < 0 ? PX_MAX(v.number + n, 0) : PX_MIN(v.number, n);
    return NULL;
}

static px_err *slice_reversed(jinja_run *run, const jinja_value *self, jinja_value *out) {
    PX_PASS(px_jinja_list_new(run, out));
    for (size_t i = self->list->n; i > 0; i--)
        PX_PASS(px_jinja_list_add(run, out->list, self->list->items[i - 1]));
    return NULL;
}

static px_err *slice(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_value self, step = px_jinja_int(1);
    int64_t start = 0, stop = 0;
    PX_PASS(px_jinja_eval(run, node->a, &self));
    if (node->d) PX_PASS(px_jinja_eval(run, node->d, &step));
    bool reversed = step.kind == V_INT && step.number == -1;
    if (self.kind == V_LIST && reversed && !node->b && !node->c)
        return slice_reversed(run, &self, out);
    if (step.kind != V_INT || step.number != 1 || (self.kind != V_LIST && self.kind != V_STRING))
        PX_FAIL(PX_BAD_INPUT, "line %d: a slice of %s", node->line, px_jinja_kind_name(&self));
    int64_t n = (int64_t)(self.kind == V_LIST ? self.list->n : self.size);
    PX_PASS(slice_end(run, node->b, n, 0, &start));
    PX_PASS(slice_end(run, node->c, n, n, &stop));
    stop = PX_MAX(stop, start);
    if (self.kind == V_STRING) {
        for (size_t i = 0; i < self.size; i++)
            if ((unsigned char)self.text[i] >= 0x80)
                PX_FAIL(PX_BAD_INPUT, "line %d: a slice of a text beyond ASCII", node->line);
        *out = px_jinja_string(self.text + start, self.marks ? self.marks + start : NULL,
                               (size_t)(stop - start));
        return NULL;
    }
    PX_PASS(px_jinja_list_new(run, out));
    for (int64_t i = start; i < stop; i++)
        PX_PASS(px_jinja_list_add(run, out->list, self.list->items[i]));
    return NULL;
}

static px_err *arguments(jinja_run *run, const jinja_node *args, jinja_args *out) {
    out->n = 0;
    for (; args; args = args->next) {
        if (out->n == (int)PX_COUNT(out->values))
            PX_FAIL(PX_BAD_INPUT, "line %d: more than %zu arguments", args->line,
                    PX_COUNT(out->values));
        out->names[out->n] = args->text;
        PX_PASS(px_jinja_eval(run, args->a, &out->values[out->n++]));
    }
    return NULL;
}

/* A body's output as a value. */
static px_err *captured(jinja_run *run, const jinja_node *body, jinja_value *out) {
    px_marked made = {0}, *before = run->out;
    run->out = &made;
    px_err *err = run_list(run, body);
    run->out = before;
    if (!err) err = px_marked_ok(&made);
    jinja_value here = px_jinja_string(made.data ? made.data : "", made.marks, made.size);
    jinja_value nothing = px_jinja_text("");
    if (!err) err = px_jinja_concat(run, &here, &nothing, out);
    px_marked_free(&made);
    return err;
}

static px_err *macro_call(jinja_run *run, const jinja_node *macro, const jinja_args *args,
                          jinja_value *out) {
    int frames = run->n_frames, i = 0;
    PX_PASS(frame_push(run));
    for (const jinja_node *p = macro->args; p; p = p->next, i++) {
        jinja_value value = undefined(p->text);
        if (p->a) PX_PASS(px_jinja_eval(run, p->a, &value));
        if (i < args->n && !args->names[i]) value = args->values[i];
        for (int k = 0; k < args->n; k++)
            if (args->names[k] && !strcmp(args->names[k], p->text)) value = args->values[k];
        PX_PASS(variable_set(run, p->text, value));
    }
    PX_PASS(captured(run, macro->list, out));
    run->n_frames = frames;
    run->flow = 0;
    return NULL;
}

static px_err *call(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_args args = {0};
    const jinja_node *what = node->a;
    jinja_value self;
    PX_PASS(arguments(run, node->args, &args));
    if (what->kind == N_ATTR) {
        PX_PASS(px_jinja_eval(run, what->a, &self));
        return px_jinja_method(run, node, &self, what->text, &args, out);
    }
    PX_PASS(px_jinja_eval(run, what, &self));
    if (self.kind == V_MACRO) return macro_call(run, self.macro, &args, out);
    if (self.kind == V_BUILTIN) return px_jinja_builtin(run, node, self.text, &args, out);
    if (what->text && !strcmp(what->text, "strftime_now"))
        PX_FAIL(PX_BAD_INPUT,
                "line %d: the template asks for today's date; a run could not be repeated",
                node->line);
    PX_FAIL(PX_BAD_INPUT, "line %d: %s \"%.60s\" cannot be called", node->line,
            px_jinja_kind_name(&self), what->text ? what->text : "");
}

static px_err *arithmetic(const jinja_node *node, const jinja_value *a, const jinja_value *b,
                          jinja_value *out) {
    int64_t x = a->number, y = b->number, r = 0;
    char op = node->text[0];
    bool numbers =
        (a->kind == V_INT || a->kind == V_BOOL) && (b->kind == V_INT || b->kind == V_BOOL);
    if (!numbers)
        PX_FAIL(PX_BAD_INPUT, "line %d: %s %s %s", node->line, px_jinja_kind_name(a), node->text,
                px_jinja_kind_name(b));
    if (node->text[0] == '/' && node->text[1] != '/')
        PX_FAIL(PX_BAD_INPUT, "line %d: division makes fractions, which are not known", node->line);
    if ((op == '/' || op == '%') && (y == 0 || y == -1))
        PX_FAIL(PX_BAD_INPUT, "line %d: division by %lld", node->line, (long long)y);
    bool over = false;
    if (op == '+') over = __builtin_add_overflow(x, y, &r);
    if (op == '-') over = __builtin_sub_overflow(x, y, &r);
    if (op == '*') over = __builtin_mul_overflow(x, y, &r);
    if (op == '/' || op == '%') { /* Python rounds down */
        int64_t rest = x % y;
        bool down = rest != 0 && (rest < 0) != (y < 0);
        r = op == '/' ? x / y - down : rest + (down ? y : 0);
    }
    if (over) PX_FAIL(PX_BAD_INPUT, "line %d: a number too large", node->line);
    *out = px_jinja_int(r);
    return NULL;
}

static px_err *add(jinja_run *run, const jinja_node *node, const jinja_value *a,
                   const jinja_value *b, jinja_value *out) {
    if (a->kind == V_STRING && b->kind == V_STRING) return px_jinja_concat(run, a, b, out);
    if (a->kind != V_LIST || b->kind != V_LIST) return arithmetic(node, a, b, out);
    PX_PASS(px_jinja_list_new(run, out));
    for (size_t i = 0; i < a->list->n; i++)
        PX_PASS(px_jinja_list_add(run, out->list, a->list->items[i]));
    for (size_t i = 0; i < b->list->n; i++)
        PX_PASS(px_jinja_list_add(run, out->list, b->list->items[i]));
    return NULL;
}

static px_err *order(const jinja_node *node, const jinja_value *a, const jinja_value *b,
                     bool *out) {
    int64_t by = 0;
    if (a->kind == V_STRING && b->kind == V_STRING) {
        by = memcmp(a->text, b->text, PX_MIN(a->size, b->size));
        if (!by) by = (a->size > b->size) - (a->size < b->size);
    } else if ((a->kind == V_INT || a->kind == V_BOOL) && (b->kind == V_INT || b->kind == V_BOOL)) {
        by = (a->number > b->number) - (a->number < b->number);
    } else {
        PX_FAIL(PX_BAD_INPUT, "line %d: %s %s %s", node->line, px_jinja_kind_name(a), node->text,
                px_jinja_kind_name(b));
    }
    bool equal = node->text[1] == '=';
    *out = node->text[0] == '<' ? (equal ? by <= 0 : by < 0) : (equal ? by >= 0 : by > 0);
    return NULL;
}

static px_err *binary(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_value a, b;
    bool yes = false;
    const char *op = node->text;
    PX_PASS(px_jinja_eval(run, node->a, &a));
    if (!strcmp(op, "and") || !strcmp(op, "or")) {
        *out = a;
        return px_jinja_true(&a) == (op[0] == 'a') ? px_jinja_eval(run, node->b, out) : NULL;
    }
    PX_PASS(px_jinja_eval(run, node->b, &b));
    if (!strcmp(op, "+")) return add(run, node, &a, &b, out);
    if (!strcmp(op, "~")) {
        jinja_value x, y;
        PX_PASS(px_jinja_as_string(run, &a, &x));
        PX_PASS(px_jinja_as_string(run, &b, &y));
        return px_jinja_concat(run, &x, &y, out);
    }
    if (!strcmp(op, "==") || !strcmp(op, "!=")) {
        yes = px_jinja_equal(&a, &b) == (op[0] == '=');
    } else if (op[0] == '<' || op[0] == '>') {
        PX_PASS(order(node, &a, &b, &yes));
    } else if (op[0] == 'i' || op[0] == 'n') {
        PX_TRY(px_jinja_holds(&b, &a, &yes), "line %d", node->line);
        if (op[0] == 'n') yes = !yes;
    } else {
        return arithmetic(node, &a, &b, out);
    }
    *out = px_jinja_bool(yes);
    return NULL;
}

static px_err *list_make(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_value a, b;
    bool dict = node->kind == N_DICT;
    PX_PASS(dict ? px_jinja_dict_new(run, out) : px_jinja_list_new(run, out));
    for (const jinja_node *item = node->list; item; item = item->next) {
        PX_PASS(px_jinja_eval(run, item->a, &a));
        if (!dict) {
            PX_PASS(px_jinja_list_add(run, out->list, a));
            continue;
        }
        PX_PASS(px_jinja_eval(run, item->b, &b));
        if (a.kind != V_STRING) PX_FAIL(PX_BAD_INPUT, "line %d: a key that is no text", node->line);
        PX_PASS(px_jinja_dict_set(run, out->dict, a.text, a.size, b));
    }
    return NULL;
}

static px_err *name(jinja_run *run, const jinja_node *node, jinja_value *out) {
    static const char *const builtins[] = {"raise_exception", "namespace", "range"};
    const jinja_value *found = variable_find(run, node->text);
    *out = found ? *found : undefined(node->text);
    for (size_t i = 0; !found && i < PX_COUNT(builtins); i++)
        if (!strcmp(node->text, builtins[i]))
            *out =
                (jinja_value){.kind = V_BUILTIN, .text = builtins[i], .size = strlen(builtins[i])};
    return NULL;
}

static px_err *filtered(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_value value;
    jinja_args args = {0};
    bool yes = false;
    PX_PASS(px_jinja_eval(run, node->a, &value));
    PX_PASS(arguments(run, node->args, &args));
    if (node->kind == N_FILTER) return px_jinja_filter(run, node, &value, &args, out);
    PX_PASS(px_jinja_test(node, &value, &args, &yes));
    *out = px_jinja_bool(yes != (node->number != 0));
    return NULL;
}

static px_err *eval_node(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_value v;
    switch (node->kind) {
    case N_STRING:
        *out = px_jinja_string(node->text, NULL, node->size);
        return NULL;
    case N_INT:
        *out = px_jinja_int(node->number);
        return NULL;
    case N_BOOL:
        *out = px_jinja_bool(node->number != 0);
        return NULL;
    case N_NONE:
        *out = (jinja_value){.kind = V_NONE};
        return NULL;
    case N_NAME:
        return name(run, node, out);
    case N_ATTR:
        return attribute(run, node, out);
    case N_INDEX:
        return element(run, node, out);
    case N_SLICE:
        return slice(run, node, out);
    case N_CALL:
        return call(run, node, out);
    case N_FILTER:
    case N_TEST:
        return filtered(run, node, out);
    case N_BINARY:
        return binary(run, node, out);
    case N_LIST:
    case N_DICT:
        return list_make(run, node, out);
    case N_NOT:
        PX_PASS(px_jinja_eval(run, node->a, &v));
        *out = px_jinja_bool(!px_jinja_true(&v));
        return NULL;
    case N_MINUS:
        PX_PASS(px_jinja_eval(run, node->a, &v));
        if (v.kind != V_INT)
            PX_FAIL(PX_BAD_INPUT, "line %d: minus %s", node->line, px_jinja_kind_name(&v));
        *out = px_jinja_int(-v.number);
        return NULL;
    case N_COND:
        PX_PASS(px_jinja_eval(run, node->b, &v));
        *out = undefined("else");
        if (px_jinja_true(&v)) return px_jinja_eval(run, node->a, out);
        return node->c ? px_jinja_eval(run, node->c, out) : NULL;
    default:
        PX_FAIL(PX_BAD_INPUT, "line %d: no expression", node->line);
    }
}

px_err *px_jinja_eval(jinja_run *run, const jinja_node *node, jinja_value *out) {
    if (++run->steps > JINJA_STEPS_MOST)
        PX_FAIL(PX_BAD_INPUT, "line %d: the template takes too long", node->line);
    if (++run->depth > 4 * JINJA_DEPTH_MOST)
        PX_FAIL(PX_BAD_INPUT, "line %d: the template nests too deep", node->line);
    PX_PASS(eval_node(run, node, out));
    run->depth--;
    return NULL;
}

/* --- statements --- */
static px_err *loop_facts(jinja_run *run, const jinja_list *items, size_t i) {
    jinja_value loop;
    PX_PASS(px_jinja_dict_new(run, &loop));
    const struct {
        const char *key;
        jinja_value value;
    } facts[] = {{"index", px_jinja_int((int64_t)i + 1)},
                 {"index0", px_jinja_int((int64_t)i)},
                 {"revindex", px_jinja_int((int64_t)(items->n - i))},
                 {"revindex0", px_jinja_int((int64_t)(items->n - i) - 1)},
                 {"first", px_jinja_bool(i == 0)},
                 {"last", px_jinja_bool(i + 1 == items->n)},
                 {"length", px_jinja_int((int64_t)items->n)},
                 {"previtem", i ? items->items[i - 1] : undefined("previtem")},
                 {"nextitem", i + 1 < items->n ? items->items[i + 1] : undefined("nextitem")}};
    for (size_t k = 0; k < PX_COUNT(facts); k++)
        PX_PASS(
            px_jinja_dict_set(run, loop.dict, facts[k].key, strlen(facts[k].key), facts[k].value));
    return variable_set(run, "loop", loop);
}

static px_err *bind(jinja_run *run, const jinja_node *node, jinja_value item) {
    if (!node->text2) return variable_set(run, node->text, item);
    if (item.kind != V_LIST || item.list->n != 2)
        PX_FAIL(PX_BAD_INPUT, "line %d: two names for %s", node->line, px_jinja_kind_name(&item));
    PX_PASS(variable_set(run, node->text, item.list->items[0]));
    return variable_set(run, node->text2, item.list->items[1]);
}

/* The items a loop goes over, after its filter. */
static px_err *loop_items(jinja_run *run, const jinja_node *node, jinja_value *out) {
    jinja_value what, yes;
    PX_PASS(px_jinja_eval(run, node->a, &what));
    PX_PASS(px_jinja_list_new(run, out));
    if (what.kind == V_DICT) {
        for (size_t i = 0; i < what.dict->n; i++)
            PX_PASS(px_jinja_list_add(
                run, out->list,
                px_jinja_string(what.dict->entries[i].key, NULL, what.dict->entries[i].size)));
        return NULL;
    }
    if (what.kind == V_UNDEFINED) return NULL;
    if (what.kind != V_LIST)
        PX_FAIL(PX_BAD_INPUT, "line %d: a loop over %s", node->line, px_jinja_kind_name(&what));
    if (!node->b) {
        *out = what;
        return NULL;
    }
    PX_PASS(frame_push(run));
    for (size_t i = 0; i < what.list->n; i++) {
        PX_PASS(bind(run, node, what.list->items[i]));
        PX_PASS(px_jinja_eval(run, node->b, &yes));
        if (px_jinja_true(&yes)) PX_PASS(px_jinja_list_add(run, out->list, what.list->items[i]));
    }
    run->n_frames--;
    return NULL;
}

static px_err *run_for(jinja_run *run, const jinja_node *node) {
    jinja_value items;
    PX_PASS(loop_items(run, node, &items));
    if (items.list->n == 0) return node->c ? run_list(run, node->c->list) : NULL;
    for (size_t i = 0; i < items.list->n; i++) {
        run->steps += 10; /* the facts of the loop are made anew */
        PX_PASS(frame_push(run));
        PX_PASS(bind(run, node, items.list->items[i]));
        PX_PASS(loop_facts(run, items.list, i));
        PX_PASS(run_list(run, node->list));
        run->n_frames--;
        if (run->steps > JINJA_STEPS_MOST)
            PX_FAIL(PX_BAD_INPUT, "line %d: the template takes too long", node->line);
        bool leave = run->flow == N_BREAK;
        run->flow = 0;
        if (leave) break;
    }
    return NULL;
}

static px_err *run_set(jinja_run *run, const jinja_node *node) {
    jinja_value value;
    const jinja_node *target = node->a;
    if (node->b)
        PX_PASS(px_jinja_eval(run, node->b, &value));
    else
        PX_PASS(captured(run, node->list, &value));
    if (target->kind == N_NAME) return variable_set(run, target->text, value);
    jinja_value space;
    PX_PASS(px_jinja_eval(run, target->a, &space));
    if (space.kind != V_DICT || !space.dict->is_namespace)
        PX_FAIL(PX_BAD_INPUT, "line %d: \"%.60s\" is no namespace", node->line, target->a->text);
    return px_jinja_dict_set(run, space.dict, target->text, strlen(target->text), value);
}

static px_err *run_out(jinja_run *run, const jinja_node *node) {
    jinja_value value, text;
    PX_PASS(px_jinja_eval(run, node->a, &value));
    PX_TRY(px_jinja_as_string(run, &value, &text), "line %d", node->line);
    run->bytes += (int64_t)text.size;
    if (run->bytes > JINJA_BYTES_MOST)
        PX_FAIL(PX_BAD_INPUT, "line %d: the template makes too much text", node->line);
    px_marked_add(run->out, text.text, text.marks, 0, text.size);
    return NULL;
}

static px_err *run_one(jinja_run *run, const jinja_node *node) {
    jinja_value v;
    switch (node->kind) {
    case N_DATA:
        px_marked_add(run->out, node->text, NULL, 0, node->size);
        return NULL;
    case N_OUT:
        return run_out(run, node);
    case N_FOR:
        return run_for(run, node);
    case N_SET:
        return run_set(run, node);
    case N_BLOCK:
        return run_list(run, node->list);
    case N_MACRO:
        v = (jinja_value){.kind = V_MACRO, .macro = node};
        return variable_set(run, node->text, v);
    case N_BREAK:
    case N_CONTINUE:
        run->flow = (int)node->kind;
        return NULL;
    case N_IF:
        PX_PASS(px_jinja_eval(run, node->a, &v));
        if (px_jinja_true(&v)) return run_list(run, node->list);
        return node->b ? run_list(run, node->b->list) : NULL;
    default:
        PX_FAIL(PX_BAD_INPUT, "line %d: no statement", node->line);
    }
}

static px_err *run_list(jinja_run *run, const jinja_node *list) {
    if (++run->depth > 4 * JINJA_DEPTH_MOST) PX_FAIL(PX_BAD_INPUT, "the template nests too deep");
    for (; list && !run->flow; list = list->next) {
        if (++run->steps > JINJA_STEPS_MOST)
            PX_FAIL(PX_BAD_INPUT, "line %d: the template takes too long", list->line);
        PX_PASS(run_one(run, list));
    }
    run->depth--;
    return NULL;
}

px_err *px_jinja_render(const jinja_node *root, jinja_run *run, jinja_dict *globals,
                        px_marked *out) {
    run->frames[0] = globals;
    run->n_frames = 1;
    run->out = out;
    PX_PASS(run_list(run, root->list));
    return px_marked_ok(out);
}

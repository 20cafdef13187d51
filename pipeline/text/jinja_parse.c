/* jinja_parse.c - tokens → statements and expressions, by recursive descent with Jinja2's
 * precedences. Depth is limited, so that nested brackets cannot exhaust the stack. */
#include <string.h>

#include "jinja.h"

typedef struct {
    px_arena *arena;
    const jinja_token *t; /* the current token */
    int depth, loops;
} parser;

static px_err *parse_expr(parser *p, const jinja_node **out);
static px_err *parse_body(parser *p, const char *const *ends, jinja_node **out, int *which);

static bool is_op(const parser *p, const char *op) {
    return p->t->kind == T_OP && p->t->size == strlen(op) && !memcmp(p->t->text, op, p->t->size);
}

static bool is_word(const parser *p, const char *word) {
    return p->t->kind == T_NAME && p->t->size == strlen(word) &&
           !memcmp(p->t->text, word, p->t->size);
}

static px_err *unexpected(const parser *p, const char *wanted) {
    const jinja_token *t = p->t;
    bool text = t->kind == T_NAME || t->kind == T_OP || t->kind == T_STRING || t->kind == T_INT;
    PX_FAIL(PX_BAD_INPUT, "line %d: \"%.*s\" stands where %s is wanted", t->line,
            text ? px_clip(t->text, t->size) : 13, text ? t->text : "the tag's end", wanted);
}

static px_err *take_op(parser *p, const char *op) {
    if (!is_op(p, op)) return unexpected(p, op);
    p->t++;
    return NULL;
}

static px_err *node_new(parser *p, jinja_node_kind kind, jinja_node **out) {
    *out = px_take(p->arena, jinja_node, 1);
    PX_PASS(px_arena_ok(p->arena));
    (*out)->kind = kind;
    (*out)->line = p->t->line;
    return NULL;
}

/* The token's text as a C string. */
static px_err *text_of(parser *p, const char **out) {
    *out = px_arena_text(p->arena, p->t->text, p->t->size);
    return px_arena_ok(p->arena);
}

static px_err *take_name(parser *p, const char **out) {
    if (p->t->kind != T_NAME) return unexpected(p, "a name");
    PX_PASS(text_of(p, out));
    p->t++;
    return NULL;
}

/* --- expressions --- */
static px_err *parse_args(parser *p, jinja_node **out) {
    jinja_node **end = out;
    PX_PASS(take_op(p, "("));
    while (!is_op(p, ")")) {
        jinja_node *arg = NULL;
        bool keyword = p->t->kind == T_NAME && p->t[1].kind == T_OP && p->t[1].size == 1 &&
                       p->t[1].text[0] == '=';
        PX_PASS(node_new(p, N_KEYWORD, &arg));
        if (keyword) {
            PX_PASS(take_name(p, &arg->text));
            p->t++;
        }
        PX_PASS(parse_expr(p, &arg->a));
        *end = arg;
        end = &arg->next;
        if (!is_op(p, ")")) PX_PASS(take_op(p, ","));
    }
    return take_op(p, ")");
}

/* Items up to `close`: [a, b] or (a, b). */
static px_err *parse_items(parser *p, const char *close, jinja_node *list) {
    jinja_node **end = &list->list;
    while (!is_op(p, close)) {
        jinja_node *item = NULL;
        PX_PASS(node_new(p, N_PAIR, &item));
        PX_PASS(parse_expr(p, &item->a));
        *end = item;
        end = &item->next;
        if (!is_op(p, close)) PX_PASS(take_op(p, ","));
    }
    return take_op(p, close);
}

static px_err *parse_dict(parser *p, jinja_node *dict) {
    jinja_node **end = &dict->list;
    while (!is_op(p, "}")) {
        jinja_node *item = NULL;
        PX_PASS(node_new(p, N_PAIR, &item));
        PX_PASS(parse_expr(p, &item->a));
        PX_PASS(take_op(p, ":"));
        PX_PASS(parse_expr(p, &item->b));
        *end = item;
        end = &item->next;
        if (!is_op(p, "}")) PX_PASS(take_op(p, ","));
    }
    return take_op(p, "}");
}

static px_err *parse_paren(parser *p, const jinja_node **out) {
    jinja_node *list = NULL;
    if (is_op(p, ")")) {
        PX_PASS(node_new(p, N_LIST, &list));
        *out = list;
        return take_op(p, ")");
    }
    PX_PASS(parse_expr(p, out));
    if (!is_op(p, ",")) return take_op(p, ")");
    p->t++;
    jinja_node *first = NULL;
    PX_PASS(node_new(p, N_LIST, &list));
    PX_PASS(node_new(p, N_PAIR, &first));
    first->a = *out;
    PX_PASS(parse_items(p, ")", list));
    first->next = list->list;
    list->list = first;
    *out = list;
    return NULL;
}

/* Neighbouring strings are one. */
static px_err *parse_string(parser *p, jinja_node *node) {
    size_t size = 0, at = 0;
    const jinja_token *first = p->t;
    for (; p->t->kind == T_STRING; p->t++) size += p->t->size;
    char *text = px_take_raw(p->arena, char, size + 1);
    PX_PASS(px_arena_ok(p->arena));
    for (const jinja_token *t = first; t != p->t; t++) {
        memcpy(text + at, t->text, t->size);
        at += t->size;
    }
    text[at] = 0;
    node->text = text;
    node->size = size;
    return NULL;
}

static px_err *parse_name(parser *p, jinja_node *node) {
    bool yes = is_word(p, "true") || is_word(p, "True");
    if (yes || is_word(p, "false") || is_word(p, "False")) {
        node->kind = N_BOOL;
        node->number = yes;
    } else if (is_word(p, "none") || is_word(p, "None")) {
        node->kind = N_NONE;
    }
    return take_name(p, &node->text);
}

static px_err *parse_primary(parser *p, const jinja_node **out) {
    jinja_node *node = NULL;
    if (is_op(p, "(")) {
        p->t++;
        return parse_paren(p, out);
    }
    PX_PASS(node_new(p, N_NAME, &node));
    *out = node;
    if (p->t->kind == T_NAME) return parse_name(p, node);
    if (p->t->kind == T_STRING) {
        node->kind = N_STRING;
        return parse_string(p, node);
    }
    if (p->t->kind == T_INT) {
        node->kind = N_INT;
        node->number = p->t++->number;
        return NULL;
    }
    if (is_op(p, "[")) {
        p->t++;
        node->kind = N_LIST;
        return parse_items(p, "]", node);
    }
    if (is_op(p, "{")) {
        p->t++;
        node->kind = N_DICT;
        return parse_dict(p, node);
    }
    return unexpected(p, "a value");
}

static px_err *parse_subscript(parser *p, jinja_node *node) {
    p->t++;
    node->kind = N_INDEX;
    if (!is_op(p, ":")) PX_PASS(parse_expr(p, &node->b));
    if (is_op(p, ":")) {
        node->kind = N_SLICE;
        p->t++;
        if (!is_op(p, ":") && !is_op(p, "]")) PX_PASS(parse_expr(p, &node->c));
        if (is_op(p, ":")) {
            p->t++;
            if (!is_op(p, "]")) PX_PASS(parse_expr(p, &node->d));
        }
    }
    return take_op(p, "]");
}

static px_err *parse_postfix(parser *p, const jinja_node **out) {
    while (is_op(p, ".") || is_op(p, "[") || is_op(p, "(")) {
        jinja_node *node = NULL;
        PX_PASS(node_new(p, N_ATTR, &node));
        node->a = *out;
        if (is_op(p, ".")) {
            p->t++;
            PX_PASS(take_name(p, &node->text));
        } else if (is_op(p, "[")) {
            PX_PASS(parse_subscript(p, node));
        } else {
            node->kind = N_CALL;
            PX_PASS(parse_args(p, &node->args));
        }
        *out = node;
    }
    return NULL;
}

/* `is not name`, `is name(args)`, `is name value`. */
static px_err *parse_test(parser *p, jinja_node *node) {
    node->kind = N_TEST;
    if (is_word(p, "not")) {
        node->number = 1;
        p->t++;
    }
    PX_PASS(take_name(p, &node->text));
    if (is_op(p, "(")) return parse_args(p, &node->args);
    bool value =
        p->t->kind == T_STRING || p->t->kind == T_INT || is_op(p, "[") ||
        (p->t->kind == T_NAME && !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and") &&
         !is_word(p, "is") && !is_word(p, "if") && !is_word(p, "not") && !is_word(p, "in"));
    if (!value) return NULL;
    PX_PASS(node_new(p, N_KEYWORD, &node->args));
    PX_PASS(parse_primary(p, &node->args->a));
    return parse_postfix(p, &node->args->a);
}

static px_err *parse_filters(parser *p, const jinja_node **out) {
    while (is_op(p, "|") || is_word(p, "is") || is_op(p, "(")) {
        jinja_node *node = NULL;
        PX_PASS(node_new(p, N_FILTER, &node));
        node->a = *out;
        if (is_op(p, "(")) {
            node->kind = N_CALL;
            PX_PASS(parse_args(p, &node->args));
        } else if (is_op(p, "|")) {
            p->t++;
            PX_PASS(take_name(p, &node->text));
            if (is_op(p, "(")) PX_PASS(parse_args(p, &node->args));
        } else {
            p->t++;
            PX_PASS(parse_test(p, node));
        }
        *out = node;
    }
    return NULL;
}

static px_err *parse_unary(parser *p, bool filters, const jinja_node **out) {
    if (is_op(p, "-")) {
        jinja_node *node = NULL;
        PX_PASS(node_new(p, N_MINUS, &node));
        p->t++;
        if (++p->depth > JINJA_DEPTH_MOST) return unexpected(p, "less nesting");
        PX_PASS(parse_unary(p, false, &node->a));
        p->depth--;
        *out = node;
    } else {
        PX_PASS(parse_primary(p, out));
        PX_PASS(parse_postfix(p, out));
    }
    return filters ? parse_filters(p, out) : NULL;
}

/* Binary operators by level, loosest first; each associates to the left. */
static const char *const levels[][4] = {
    {"+", "-", NULL, NULL}, {"~", NULL, NULL, NULL}, {"*", "/", "//", "%"}};

static px_err *parse_binary(parser *p, size_t level, const jinja_node **out) {
    if (level == PX_COUNT(levels)) return parse_unary(p, true, out);
    PX_PASS(parse_binary(p, level + 1, out));
    for (;;) {
        const char *op = NULL;
        for (int i = 0; i < 4 && levels[level][i]; i++)
            if (is_op(p, levels[level][i])) op = levels[level][i];
        if (!op) return NULL;
        jinja_node *node = NULL;
        PX_PASS(node_new(p, N_BINARY, &node));
        p->t++;
        node->text = op;
        node->a = *out;
        PX_PASS(parse_binary(p, level + 1, &node->b));
        *out = node;
    }
}

static const char *comparison(parser *p) {
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    for (size_t i = 0; i < PX_COUNT(ops); i++) {
        if (!is_op(p, ops[i])) continue;
        p->t++;
        return ops[i];
    }
    if (is_word(p, "in")) {
        p->t++;
        return "in";
    }
    if (is_word(p, "not") && p->t[1].kind == T_NAME && p->t[1].size == 2 &&
        !memcmp(p->t[1].text, "in", 2)) {
        p->t += 2;
        return "not in";
    }
    return NULL;
}

static px_err *parse_compare(parser *p, const jinja_node **out) {
    const char *op = NULL;
    PX_PASS(parse_binary(p, 0, out));
    while ((op = comparison(p))) {
        jinja_node *node = NULL;
        PX_PASS(node_new(p, N_BINARY, &node));
        node->text = op;
        node->a = *out;
        PX_PASS(parse_binary(p, 0, &node->b));
        *out = node;
    }
    return NULL;
}

static px_err *parse_not(parser *p, const jinja_node **out) {
    if (!is_word(p, "not")) return parse_compare(p, out);
    jinja_node *node = NULL;
    PX_PASS(node_new(p, N_NOT, &node));
    p->t++;
    if (++p->depth > JINJA_DEPTH_MOST) return unexpected(p, "less nesting");
    PX_PASS(parse_not(p, &node->a));
    p->depth--;
    *out = node;
    return NULL;
}

/* `word` is "and" or "or". */
static px_err *parse_logic(parser *p, const char *word, const jinja_node **out) {
    bool or = word[0] == 'o';
    PX_PASS(or ? parse_logic(p, "and", out) : parse_not(p, out));
    while (is_word(p, word)) {
        jinja_node *node = NULL;
        PX_PASS(node_new(p, N_BINARY, &node));
        p->t++;
        node->text = word;
        node->a = *out;
        PX_PASS(or ? parse_logic(p, "and", &node->b) : parse_not(p, &node->b));
        *out = node;
    }
    return NULL;
}

static px_err *parse_expr(parser *p, const jinja_node **out) {
    if (++p->depth > JINJA_DEPTH_MOST) return unexpected(p, "less nesting");
    PX_PASS(parse_logic(p, "or", out));
    while (is_word(p, "if")) {
        jinja_node *node = NULL;
        PX_PASS(node_new(p, N_COND, &node));
        p->t++;
        node->a = *out;
        PX_PASS(parse_logic(p, "or", &node->b));
        if (is_word(p, "else")) {
            p->t++;
            PX_PASS(parse_expr(p, &node->c));
        }
        *out = node;
    }
    p->depth--;
    return NULL;
}

/* --- statements --- */
static px_err *block_end(parser *p) {
    if (p->t->kind != T_BLOCK_END) return unexpected(p, "%}");
    p->t++;
    return NULL;
}

static px_err *block_new(parser *p, const char *const *ends, const jinja_node **out, int *which) {
    jinja_node *block = NULL;
    PX_PASS(node_new(p, N_BLOCK, &block));
    *out = block;
    return parse_body(p, ends, &block->list, which);
}

static px_err *parse_if(parser *p, jinja_node *node) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    int which = 0;
    node->kind = N_IF;
    PX_PASS(parse_expr(p, &node->a));
    PX_PASS(block_end(p));
    PX_PASS(parse_body(p, ends, &node->list, &which));
    if (which == 0) {
        jinja_node *block = NULL, *inner = NULL;
        PX_PASS(node_new(p, N_BLOCK, &block));
        PX_PASS(node_new(p, N_IF, &inner));
        block->list = inner;
        node->b = block;
        if (++p->depth > JINJA_DEPTH_MOST) return unexpected(p, "less nesting");
        PX_PASS(parse_if(p, inner));
        p->depth--;
        return NULL;
    }
    PX_PASS(block_end(p));
    if (which == 2) return NULL;
    PX_PASS(block_new(p, ends + 2, &node->b, &which));
    return block_end(p);
}

static px_err *parse_for(parser *p, jinja_node *node) {
    static const char *const ends[] = {"else", "endfor", NULL};
    int which = 0;
    node->kind = N_FOR;
    PX_PASS(take_name(p, &node->text));
    if (is_op(p, ",")) {
        p->t++;
        PX_PASS(take_name(p, &node->text2));
    }
    if (!is_word(p, "in")) return unexpected(p, "in");
    p->t++;
    PX_PASS(parse_logic(p, "or", &node->a)); /* an `if` here filters the items */
    if (is_word(p, "if")) {
        p->t++;
        PX_PASS(parse_expr(p, &node->b));
    }
    PX_PASS(block_end(p));
    p->loops++;
    PX_PASS(parse_body(p, ends, &node->list, &which));
    p->loops--;
    PX_PASS(block_end(p));
    if (which == 1) return NULL;
    PX_PASS(block_new(p, ends + 1, &node->c, &which));
    return block_end(p);
}

static px_err *parse_set(parser *p, jinja_node *node) {
    static const char *const ends[] = {"endset", NULL};
    int which = 0;
    node->kind = N_SET;
    PX_PASS(parse_primary(p, &node->a));
    PX_PASS(parse_postfix(p, &node->a));
    bool plain = node->a->kind == N_NAME || (node->a->kind == N_ATTR && node->a->a->kind == N_NAME);
    if (!plain) return unexpected(p, "a name to set");
    if (is_op(p, "=")) {
        p->t++;
        PX_PASS(parse_expr(p, &node->b));
        return block_end(p);
    }
    PX_PASS(block_end(p));
    PX_PASS(parse_body(p, ends, &node->list, &which));
    return block_end(p);
}

static px_err *parse_macro(parser *p, jinja_node *node) {
    static const char *const ends[] = {"endmacro", NULL};
    int which = 0;
    jinja_node **end = &node->args;
    node->kind = N_MACRO;
    PX_PASS(take_name(p, &node->text));
    PX_PASS(take_op(p, "("));
    while (!is_op(p, ")")) {
        jinja_node *param = NULL;
        PX_PASS(node_new(p, N_PARAM, &param));
        PX_PASS(take_name(p, &param->text));
        if (is_op(p, "=")) {
            p->t++;
            PX_PASS(parse_expr(p, &param->a));
        }
        *end = param;
        end = &param->next;
        if (!is_op(p, ")")) PX_PASS(take_op(p, ","));
    }
    p->t++;
    PX_PASS(block_end(p));
    PX_PASS(parse_body(p, ends, &node->list, &which));
    return block_end(p);
}

/* `generation` only marks what a trainer counts; its body is rendered. */
static px_err *parse_generation(parser *p, jinja_node *node) {
    static const char *const ends[] = {"endgeneration", NULL};
    int which = 0;
    node->kind = N_BLOCK;
    PX_PASS(block_end(p));
    PX_PASS(parse_body(p, ends, &node->list, &which));
    return block_end(p);
}

static px_err *parse_statement(parser *p, jinja_node *node) {
    static const struct {
        const char *word;
        px_err *(*parse)(parser *, jinja_node *);
    } known[] = {{"if", parse_if},
                 {"for", parse_for},
                 {"set", parse_set},
                 {"macro", parse_macro},
                 {"generation", parse_generation}};
    for (size_t i = 0; i < PX_COUNT(known); i++) {
        if (!is_word(p, known[i].word)) continue;
        p->t++;
        return known[i].parse(p, node);
    }
    bool leave = is_word(p, "break");
    if (!leave && !is_word(p, "continue"))
        return unexpected(p, "if, for, set, macro, break or continue");
    if (!p->loops) return unexpected(p, "a loop around it");
    node->kind = leave ? N_BREAK : N_CONTINUE;
    p->t++;
    return block_end(p);
}

/* Statements up to a block that begins with one of `ends` (NULL: the template's end); that word is
 * taken, its number is in *which. */
static px_err *parse_body(parser *p, const char *const *ends, jinja_node **out, int *which) {
    if (++p->depth > JINJA_DEPTH_MOST) return unexpected(p, "less nesting");
    for (jinja_node **end = out;;) {
        jinja_node *node = NULL;
        if (p->t->kind == T_END) {
            if (ends) PX_FAIL(PX_BAD_INPUT, "%s is missing at the end", ends[0]);
            break;
        }
        PX_PASS(node_new(p, N_DATA, &node));
        if (p->t->kind == T_DATA) {
            node->text = p->t->text;
            node->size = p->t++->size;
        } else if (p->t->kind == T_OUT_BEGIN) {
            node->kind = N_OUT;
            p->t++;
            PX_PASS(parse_expr(p, &node->a));
            if (p->t->kind != T_OUT_END) return unexpected(p, "}}");
            p->t++;
        } else {
            p->t++;
            for (int i = 0; ends && ends[i]; i++) {
                if (!is_word(p, ends[i])) continue;
                p->t++;
                p->depth--;
                *which = i;
                return NULL;
            }
            PX_PASS(parse_statement(p, node));
        }
        *end = node;
        end = &node->next;
    }
    p->depth--;
    return NULL;
}

px_err *px_jinja_parse(px_arena *arena, const char *text, size_t size, const jinja_node **out) {
    parser p = {.arena = arena};
    jinja_node *root = NULL;
    int which = 0;
    PX_PASS(px_jinja_lex(arena, text, size, &p.t));
    PX_PASS(node_new(&p, N_BLOCK, &root));
    PX_PASS(parse_body(&p, NULL, &root->list, &which));
    *out = root;
    return NULL;
}

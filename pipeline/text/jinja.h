/* jinja.h - the part of the Jinja2 language that chat templates are written in, with the settings
 * of transformers (trim_blocks, lstrip_blocks). A string remembers byte by byte whether it is the
 * template's own or a message's (marks). Anything not known is refused by name and line. */
#ifndef PX_JINJA_H
#define PX_JINJA_H

#include "text_internal.h"

/* --- syntax --- */
typedef enum {
    T_DATA,
    T_OUT_BEGIN,
    T_OUT_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STRING,
    T_INT,
    T_FLOAT,
    T_OP,
    T_END
} jinja_token_kind;
typedef struct {
    jinja_token_kind kind;
    int line;
    const char *text; /* data, name, string (escapes undone), operator */
    size_t size;
    int64_t number;
} jinja_token;
/* Tokens of a template, T_END last, in the arena. */
PX_CHECKED px_err *px_jinja_lex(px_arena *arena, const char *text, size_t size,
                                const jinja_token **out);

typedef enum {
    N_DATA,  /* text */
    N_OUT,   /* a */
    N_IF,    /* a condition, list body, b N_BLOCK of the else part */
    N_FOR,   /* text, text2 targets, a what, b filter, list body, c N_BLOCK of the else part */
    N_SET,   /* a target, b value, or list the block */
    N_MACRO, /* text, args N_PARAM, list body */
    N_BREAK,
    N_CONTINUE,
    N_BLOCK, /* list */
    N_PARAM, /* text, a default or NULL */
    N_STRING,
    N_INT,
    N_BOOL,
    N_NONE,
    N_NAME,
    N_ATTR,   /* a.text */
    N_INDEX,  /* a[b] */
    N_SLICE,  /* a[b:c:d] */
    N_CALL,   /* a(args) */
    N_FILTER, /* a | text(args) */
    N_TEST,   /* a is text(args), number: negated */
    N_BINARY, /* text operator */
    N_NOT,
    N_MINUS,
    N_COND, /* a if b else c */
    N_LIST, /* list */
    N_DICT, /* list of N_PAIR a, b */
    N_PAIR,
    N_KEYWORD /* text = a, in args */
} jinja_node_kind;
typedef struct jinja_node jinja_node;
struct jinja_node {
    jinja_node_kind kind;
    int line;
    const char *text, *text2;
    size_t size;
    int64_t number;
    const jinja_node *a, *b, *c, *d;
    jinja_node *list, *args, *next;
};
/* A template's statements. PX_BAD_INPUT: line and what is not understood. */
PX_CHECKED px_err *px_jinja_parse(px_arena *arena, const char *text, size_t size,
                                  const jinja_node **out);

/* --- values --- */
typedef enum {
    V_UNDEFINED,
    V_NONE,
    V_BOOL,
    V_INT,
    V_STRING,
    V_LIST,
    V_DICT,
    V_MACRO,
    V_BUILTIN
} jinja_kind;
typedef struct jinja_value jinja_value;
typedef struct jinja_list jinja_list;
typedef struct jinja_dict jinja_dict;
struct jinja_value {
    jinja_kind kind;
    int64_t number;             /* V_BOOL, V_INT */
    const char *text;           /* V_STRING; V_UNDEFINED, V_BUILTIN: name */
    const unsigned char *marks; /* NULL: all 0 */
    size_t size;
    jinja_list *list;
    jinja_dict *dict;
    const jinja_node *macro;
};
struct jinja_list {
    jinja_value *items;
    size_t n, room;
};
typedef struct {
    const char *key;
    size_t size;
    jinja_value value;
} jinja_entry;
struct jinja_dict {
    jinja_entry *entries;
    size_t n, room;
    bool is_namespace;
};

typedef struct {
    px_arena *arena; /* everything that rendering makes */
    jinja_dict *frames[64];
    int n_frames, depth;
    int64_t steps, bytes;
    px_marked *out;
    int flow; /* 0, or N_BREAK, N_CONTINUE */
} jinja_run;

enum { JINJA_DEPTH_MOST = 100 };
/* A released template takes about 100 steps a message; a step takes up to 2 KB of the arena. */
#define JINJA_STEPS_MOST 500000
#define JINJA_BYTES_MOST ((int64_t)1 << 28)

jinja_value px_jinja_string(const char *text, const unsigned char *marks, size_t size);
jinja_value px_jinja_text(const char *text);
jinja_value px_jinja_bool(bool value);
jinja_value px_jinja_int(int64_t value);
PX_CHECKED px_err *px_jinja_list_new(jinja_run *run, jinja_value *out);
PX_CHECKED px_err *px_jinja_list_add(jinja_run *run, jinja_list *list, jinja_value value);
PX_CHECKED px_err *px_jinja_dict_new(jinja_run *run, jinja_value *out);
PX_CHECKED px_err *px_jinja_dict_set(jinja_run *run, jinja_dict *dict, const char *key, size_t size,
                                     jinja_value value);
const jinja_value *px_jinja_dict_find(const jinja_dict *dict, const char *key, size_t size);
bool px_jinja_true(const jinja_value *value);
bool px_jinja_equal(const jinja_value *a, const jinja_value *b);
const char *px_jinja_kind_name(const jinja_value *value);
/* Python's `in`. */
PX_CHECKED px_err *px_jinja_holds(const jinja_value *whole, const jinja_value *part, bool *out);
PX_CHECKED px_err *px_jinja_concat(jinja_run *run, const jinja_value *a, const jinja_value *b,
                                   jinja_value *out);
/* What `{{ value }}` writes. */
PX_CHECKED px_err *px_jinja_as_string(jinja_run *run, const jinja_value *value, jinja_value *out);

/* Positional and keyword arguments, evaluated. */
typedef struct {
    jinja_value values[16];
    const char *names[16]; /* NULL: positional */
    int n;
} jinja_args;
PX_CHECKED px_err *px_jinja_filter(jinja_run *run, const jinja_node *node, const jinja_value *value,
                                   const jinja_args *args, jinja_value *out);
PX_CHECKED px_err *px_jinja_test(const jinja_node *node, const jinja_value *value,
                                 const jinja_args *args, bool *out);
PX_CHECKED px_err *px_jinja_method(jinja_run *run, const jinja_node *node, const jinja_value *self,
                                   const char *name, const jinja_args *args, jinja_value *out);
/* A function of the environment: raise_exception, namespace, range. */
PX_CHECKED px_err *px_jinja_builtin(jinja_run *run, const jinja_node *node, const char *name,
                                    const jinja_args *args, jinja_value *out);

PX_CHECKED px_err *px_jinja_eval(jinja_run *run, const jinja_node *node, jinja_value *out);
/* Renders with `globals` as variables into `out` (appends). Everything made lies in `arena`. */
PX_CHECKED px_err *px_jinja_render(const jinja_node *root, jinja_run *run, jinja_dict *globals,
                                   px_marked *out);

#endif

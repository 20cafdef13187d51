/* doctor.c - the list of checks and how it is shown. See doctor.h. */
#include "doctor_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[PX_CHECK_STATES] = {"ok", "warning", "problem"};

px_err *px_doctor_new(const char *root, px_doctor **out) {
    px_arena *arena = NULL;
    PX_PASS(px_arena_new(16384, &arena));
    px_doctor *doctor = px_take(arena, px_doctor, 1);
    if (!doctor) {
        px_arena_free(arena);
        PX_NO_MEMORY();
    }
    doctor->arena = arena;
    doctor->root = root;
    px_machine_read(root, &doctor->machine);
    *out = doctor;
    return NULL;
}

void px_doctor_free(px_doctor *doctor) {
    if (!doctor) return;
    free(doctor->checks);
    px_arena_free(doctor->arena);
}

void px_doctor_add(px_doctor *doctor, px_check_state state, const char *name, const char *todo,
                   const char *format, ...) {
    char found[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(found, sizeof found, format, args);
    va_end(args);
    for (char *c = found; *c; c++)
        if (*c == '\n' || *c == '\t') *c = ' ';
    if (doctor->n == doctor->room) {
        const int room = doctor->room ? 2 * doctor->room : 64;
        px_check *wider = realloc(doctor->checks, (size_t)room * sizeof *wider);
        if (!wider) return;
        doctor->checks = wider;
        doctor->room = room;
    }
    const char *kept = px_arena_text(doctor->arena, found, strlen(found));
    const char *kept_todo = px_arena_text(doctor->arena, todo, strlen(todo));
    if (kept && kept_todo) doctor->checks[doctor->n++] = (px_check){state, name, kept, kept_todo};
}

const px_check *px_doctor_checks(const px_doctor *doctor, int *n) {
    *n = doctor->n;
    return doctor->checks;
}

int px_doctor_count(const px_doctor *doctor, px_check_state state) {
    int count = 0;
    for (int i = 0; i < doctor->n; i++) count += doctor->checks[i].state == state;
    return count;
}

static void print_json(const px_doctor *doctor, px_str *out) {
    px_str_format(out, "{\"version\": \"%s\", \"problems\": %d, \"warnings\": %d, \"checks\": [",
                  PX_VERSION, px_doctor_count(doctor, PX_CHECK_PROBLEM),
                  px_doctor_count(doctor, PX_CHECK_WARNING));
    for (int i = 0; i < doctor->n; i++) {
        const px_check *c = &doctor->checks[i];
        px_str_format(out, "%s\n  {\"name\": \"%s\", \"state\": \"%s\", \"found\": ", i ? "," : "",
                      c->name, state_names[c->state]);
        px_str_json(out, c->found, strlen(c->found));
        px_str_text(out, ", \"todo\": ");
        px_str_json(out, c->todo, strlen(c->todo));
        px_str_char(out, '}');
    }
    px_str_text(out, "\n]}\n");
}

px_err *px_doctor_print(const px_doctor *doctor, bool json, px_str *out) {
    PX_PASS(px_arena_ok(doctor->arena));
    if (json) {
        print_json(doctor, out);
        return px_str_ok(out);
    }
    for (int i = 0; i < doctor->n; i++) {
        const px_check *c = &doctor->checks[i];
        px_str_format(out, "%-8s %-18s %s\n", state_names[c->state], c->name, c->found);
        if (c->todo[0]) px_str_format(out, "%-27s -> %s\n", "", c->todo);
    }
    px_str_format(out, "%d ok, %d warnings, %d problems\n", px_doctor_count(doctor, PX_CHECK_OK),
                  px_doctor_count(doctor, PX_CHECK_WARNING),
                  px_doctor_count(doctor, PX_CHECK_PROBLEM));
    return px_str_ok(out);
}

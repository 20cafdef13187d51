/* doctor_internal.h - shared inside doctor. */
#ifndef PX_DOCTOR_INTERNAL_H
#define PX_DOCTOR_INTERNAL_H

#include "doctor.h"

struct px_doctor {
    const char *root;
    px_machine machine;
    px_check *checks;
    int n, room;
    px_arena *arena;
};

/* Adds a check; todo "" or what to do. Without memory it is dropped and the arena remembers. */
void px_doctor_add(px_doctor *doctor, px_check_state state, const char *name, const char *todo,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

/* tool.c: runs a program (looked for in PATH) for ten seconds at most, without a terminal, and
 * keeps the first of its output, both streams. False: it is not there, failed or took too long. */
bool px_tool_run(const char *const *argv, char *out, size_t size);
/* Whether PATH has it. */
bool px_tool_there(const char *name);

#endif

/* help.h - what is known of all commands at once: man page, completion, command lines read without
 * being run. Inside cmd and for main. */
#ifndef PX_HELP_H
#define PX_HELP_H

#include "cmd.h"

typedef struct {
    const char *name, *help;
    px_command_run *run;
} px_help_command;
/* main's table, a row at a time, before cmd_help runs. Borrowed texts. */
void px_help_know(const px_help_command *command);
const px_help_command *px_help_find(const char *name); /* NULL: none */

void px_help_man(px_ranks *ranks, px_str *out);
void px_help_bash(px_ranks *ranks, px_str *out);
void px_help_zsh(px_ranks *ranks, px_str *out);

#endif

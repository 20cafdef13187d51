/* cmd.h - the subcommands: each parses its options, calls the modules, prints. main.c holds their
 * table. */
#ifndef PX_CMD_H
#define PX_CMD_H

#include <argp.h>

#include "config.h"
#include "dist.h"
#include "job.h"

/* argv[0] is the command's name. Rank 0 alone prints results; errors are returned. */
typedef px_err *px_command_run(px_ranks *ranks, int argc, char **argv);
px_command_run cmd_prepare, cmd_synth, cmd_tokenize, cmd_train, cmd_eval, cmd_export, cmd_users,
    cmd_model, cmd_report, cmd_generate, cmd_prompts, cmd_serve, cmd_traits, cmd_run, cmd_doctor,
    cmd_verify, cmd_diff, cmd_submit, cmd_plan, cmd_help;

/* Whole jobs. */
px_command_run cmd_status, cmd_reference, cmd_sweep;

/* Trials of people and simulated people. */
px_command_run cmd_trials, cmd_stats, cmd_simulate;

/* Parses with argp; a wrong option is PX_BAD_INPUT and every rank returns. `--help` is handled by
 * main before MPI starts. Messages come from rank 0 alone. */
PX_CHECKED px_err *px_cli_parse(const px_ranks *ranks, const struct argp *argp, int argc,
                                char **argv, void *input);
/* For prismx help. While `look` is set px_cli_parse hands the command's table to it, parses nothing
 * and fails, so that the command does nothing. NULL: off. */
typedef void px_cli_look(void *context, const struct argp *argp);
void px_cli_describe(px_cli_look *look, void *context);
/* From begin to end px_cli_parse parses and then fails: a command line is read and not run. end
 * takes the command's error, and gives NULL where the line and its configuration are understood. */
void px_cli_check_begin(void);
PX_CHECKED px_err *px_cli_check_end(px_err *err);
/* For argp parsers: the option's value as a whole number from 0; EINVAL after saying so. */
error_t px_cli_number(const struct argp_state *state, const char *name, const char *arg,
                      int64_t *out);
/* --split NAME,… as bits 1 << px_split; "all" is three of them. */
PX_CHECKED px_err *px_cli_splits(const char *name, uint32_t *out);
/* PX_BAD_INPUT "--name is missing" when value is NULL. */
PX_CHECKED px_err *px_cli_need(const char *name, const char *value);

/* --profile: rank 0 prints what the streams closed by now did. Hands err on. */
PX_CHECKED px_err *px_cli_profile(const px_ranks *ranks, px_err *err);

/* --- --job-dir, --ranks, --threads, --var of whole jobs as an argp child --- */
typedef struct {
    px_job_given given; /* vars point into `vars` */
    const char *vars[64];
} px_cli_job;
/* In `children` and on ARGP_KEY_INIT as px_cli_config_argp below. */
extern const struct argp px_cli_job_argp;

/* --- --config FILE, --set KEY=VALUE …, --print-config as an argp child --- */
typedef struct {
    const char *base; /* read before `file`: a run's own configuration; NULL: none */
    const char *file, *sets[256];
    int n_sets;
    bool print;
} px_cli_config;
/* An option that is short for --set KEY=VALUE. */
typedef struct {
    const char *option, *key;
} px_cli_short;
/* For argp parsers: adds KEY=arg (true where arg is NULL) to cli's assignments; `room` [size] holds
 * the text as long as cli is used. EINVAL after saying what is too long or too many. */
error_t px_cli_take_short(const struct argp_state *state, const px_cli_short *which,
                          const char *arg, char *room, size_t size, px_cli_config *cli);
/* In a command's `children`: {&px_cli_config_argp, 0, "Configuration:", 0}; in its parser, on
 * ARGP_KEY_INIT: state->child_inputs[0] = &cli. */
extern const struct argp px_cli_config_argp;
/* Defaults, then the base, the file, then the assignments in order, then checked. Free with
 * px_config_fini.
 */
PX_CHECKED px_err *px_cli_config_load(const px_cli_config *cli, px_config *out);
/* The same over the run's own configuration; run_dir NULL: over the defaults. */
PX_CHECKED px_err *px_cli_run_config(const px_cli_config *cli, const char *run_dir, px_config *out);
/* --print-config: rank 0 prints it to stdout. */
void px_cli_config_show(const px_ranks *ranks, const px_config *config);
/* threads, or what px_place finds where it is 0; at least 1. Also sets OpenMP's number. */
int px_cli_threads(const px_ranks *ranks, const px_config *config);

#endif

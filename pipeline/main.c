/* main.c - the table of commands; sets up what a command needs, runs it, prints its error, checks
 * stdout, exits. The only file that does. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"
#include "help.h"

enum { NEEDS_MPI = 1, NEEDS_SIGNALS = 2 };

typedef struct {
    const char *name;
    px_command_run *run;
    int needs;
    const char *help;
} command;

static const command commands[] = {
    {"synth", cmd_synth, 0, "-> invented data in PRISM's format, with planted tastes"},
    {"prepare", cmd_prepare, NEEDS_MPI, "PRISM folder, model -> corpus.h5"},
    {"tokenize", cmd_tokenize, 0, "JSON strings on stdin -> token ids, and back"},
    {"reference", cmd_reference, NEEDS_MPI | NEEDS_SIGNALS,
     "corpus.h5, model -> the base's log-probabilities, for all trainings"},
    {"train", cmd_train, NEEDS_MPI | NEEDS_SIGNALS, "corpus.h5, model -> run folder"},
    {"eval", cmd_eval, NEEDS_MPI, "run or model, corpus.h5 -> eval.h5, pairs.tsv"},
    {"prompts", cmd_prompts, 0, "PRISM folder, corpus.h5 -> p.jsonl of a split's openings"},
    {"generate", cmd_generate, NEEDS_MPI | NEEDS_SIGNALS, "run or model, prompts -> answers"},
    {"serve", cmd_serve, NEEDS_SIGNALS, "run or model behind the chat-completions protocol"},
    {"traits", cmd_traits, NEEDS_MPI, "answers -> sycophancy, relationship seeking, verbosity"},
    {"simulate", cmd_simulate, NEEDS_MPI | NEEDS_SIGNALS,
     "people of the survey, arms -> trials.jsonl, played by a model"},
    {"trials", cmd_trials, 0, "checks a file of trials, or makes a table of it"},
    {"stats", cmd_stats, NEEDS_MPI, "trials -> stats.tsv: every estimate, one a row"},
    {"export", cmd_export, 0, "run -> PEFT adapter or merged model"},
    {"report", cmd_report, 0, "run folders -> one page with figures, or a table"},
    {"verify", cmd_verify, NEEDS_SIGNALS, "computes a run again and compares it bit for bit"},
    {"diff", cmd_diff, 0, "what differs between two runs"},
    {"users", cmd_users, 0, "lists, shows or forgets people's embeddings"},
    {"run", cmd_run, NEEDS_SIGNALS, "job file -> its steps, those that have to run"},
    {"submit", cmd_submit, 0, "job file -> Slurm jobs, a step each"},
    {"sweep", cmd_sweep, NEEDS_SIGNALS, "a training with some keys varied; sweep table, plot"},
    {"status", cmd_status, 0, "where each step of a job stands"},
    {"model", cmd_model, 0, "what is in a model; model init: random weights"},
    {"plan", cmd_plan, NEEDS_MPI,
     "what a training will take: memory, time, disk; refuses what cannot fit"},
    {"doctor", cmd_doctor, NEEDS_MPI, "what this machine has and lacks, and what to do"},
    {"help", cmd_help, 0, "a command's help; man page; completion for bash and zsh"},
};

static void print_help(FILE *out) {
    fprintf(out,
            "prismx %s - preference training with user embeddings (DPO, P-DPO) on MPI ranks\n\n"
            "Usage: prismx COMMAND [OPTION…]     prismx COMMAND --help\n\nCommands:\n",
            PX_VERSION);
    for (size_t i = 0; i < PX_COUNT(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "\nExit codes: 0 done, 1 the run failed, 2 bad usage or input,\n"
                 "3 stopped by SIGTERM or SIGUSR1 with a checkpoint written.\n");
}

static const command *command_find(const char *name) {
    for (size_t i = 0; i < PX_COUNT(commands); i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

static int unknown_command(const char *name) {
    const char *names[PX_COUNT(commands)];
    for (size_t i = 0; i < PX_COUNT(commands); i++) names[i] = commands[i].name;
    int near = px_nearest(name, names, (int)PX_COUNT(commands));
    fprintf(stderr, "error: no command %s%s%s%s; see prismx --help\n", name,
            near >= 0 ? "; did you mean " : "", near >= 0 ? names[near] : "", near >= 0 ? "?" : "");
    return PX_BAD_INPUT;
}

static bool wants_help(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-?") || !strcmp(argv[i], "--usage"))
            return true;
    return false;
}

/* Every rank holds the same error by now, or its own: rank 0 prints it, and a rank alone with one
 * too. */
static int finish(px_ranks *ranks, px_err *err) {
    int code = 0;
    px_progress_hide();
    if (!err && (fflush(stdout) || ferror(stdout)))
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__, "standard output: %s", strerror(errno));
    if (err) {
        code = (int)px_err_kind(err);
        if (ranks->rank == 0)
            fprintf(stderr, "%s: %s\n", code == PX_STOPPED ? "stopped" : "error", px_err_text(err));
        px_debug("at %s", px_err_trace(err));
        px_err_free(err);
    }
    px_ranks_close_all(ranks);
    return code;
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a file over the limit is an error with a name, not a death */
    argp_err_exit_status = PX_BAD_INPUT;
    if (argc < 2 || !strcmp(argv[1], "--help") || (argc == 2 && !strcmp(argv[1], "help"))) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? PX_BAD_INPUT : 0;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("prismx %s\n", PX_VERSION);
        return 0;
    }
    const command *chosen = command_find(argv[1]);
    if (!chosen) return unknown_command(argv[1]);
    char name[64];
    snprintf(name, sizeof name, "prismx %s", chosen->name);
    argv[1] = name;
    argc--;
    argv++;
    for (size_t i = 0; i < PX_COUNT(commands); i++)
        px_help_know(&(px_help_command){commands[i].name, commands[i].help, commands[i].run});
    px_ranks ranks;
    bool help = wants_help(argc, argv), mpi = (chosen->needs & NEEDS_MPI) && !help;
    px_err *err = px_ranks_open_all(mpi, &argc, &argv, &ranks);
    px_log_setup(ranks.rank, PX_LOG_INFO);
    if (!err && (chosen->needs & NEEDS_SIGNALS)) px_signals_catch();
    if (!err) err = px_agree_all(&ranks, chosen->run(&ranks, argc, argv));
    if (help) { /* it is printed; what the line lacks beside it is no error */
        px_err_free(err);
        err = NULL;
    }
    return finish(&ranks, err);
}

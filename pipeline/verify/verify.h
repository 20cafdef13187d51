/* verify.h - is a run what its manifest says? Two runs, or a run and its rerun, compared bit for
 * bit: configuration, inputs, programs and machines, metrics, tensors. A rerun is a child process
 * of this program, `train` into a folder of its own. Knows nothing of losses or optimisers, and
 * changes nothing in the run's folder. */
#ifndef PX_VERIFY_H
#define PX_VERIFY_H

#include "run.h"

typedef enum {
    PX_DIFF_CONFIG,  /* a key */
    PX_DIFF_INPUT,   /* a hash of corpus, model … */
    PX_DIFF_PROGRAM, /* version, commit, compiler, libraries, kernels */
    PX_DIFF_MACHINE, /* processor, ranks, threads */
    PX_DIFF_FILE,    /* a file of the run's folder */
    PX_DIFF_METRIC,  /* a value of metrics.jsonl */
    PX_DIFF_TENSOR   /* of a checkpoint, or of users.h5 (step -1) */
} px_diff_kind;

typedef struct {
    px_diff_kind kind;
    bool counts;                /* of results, or of what decides them; else for information */
    int64_t step;               /* -1: of none */
    const char *name;           /* key, file, metric or tensor */
    const char *a, *b;          /* what stands on either side ("nothing" where nothing does) */
    int64_t n_values, n_differ; /* of a tensor */
    double largest;             /* largest |a - b| */
} px_diff;

typedef struct {
    px_arena *arena; /* the texts */
    px_diff *items;
    int n, room;
} px_diffs;
PX_CHECKED px_err *px_diffs_new(px_diffs *out);
void px_diffs_free(px_diffs *diffs);
PX_CHECKED px_err *px_diffs_add(px_diffs *diffs, px_diff diff);
/* How many count. */
int px_diffs_counting(const px_diffs *diffs);
/* The metric or tensor of the earliest step, metrics first, or NULL. */
const px_diff *px_diffs_first(const px_diffs *diffs);
/* One line without its end: "step 3, lora.0.q_proj.A: 1 of 4608 values differ, …". */
void px_diff_text(const px_diff *diff, px_str *out);
PX_CHECKED px_err *px_diffs_json(const px_diffs *diffs, cJSON **out);

/* --- what can be compared --- */
/* Every key of two resolved configurations; `counts` is whether the key matters to results. */
PX_CHECKED px_err *px_diff_configs(const cJSON *a, const cJSON *b, px_diffs *out);
/* Inputs, program, libraries, machines of two manifests. */
PX_CHECKED px_err *px_diff_manifests(const cJSON *a, const cJSON *b, px_diffs *out);
/* Lines of steps first..last of two metrics.jsonl, times left out: each key of the first step that
 * differs. A step that only one has is a difference. *n_steps: steps both have. */
PX_CHECKED px_err *px_diff_metrics(const char *path_a, const char *path_b, int64_t first,
                                   int64_t last, px_diffs *out, int64_t *n_steps);
/* The last step in a metrics.jsonl; 0: no line. */
PX_CHECKED px_err *px_metrics_last_step(const char *path, int64_t *last);
typedef struct {
    const char *path_a, *path_b;
    int64_t step;      /* -1: users.h5 */
    bool fewer_people; /* a's people may be some of b's */
} px_h5_pair;
/* Every tensor, and the state. A file that cannot be read is a difference. *n_tensors compared. */
PX_CHECKED px_err *px_diff_files(const px_h5_pair *pair, px_diffs *out, int64_t *n_tensors);
/* Two run folders in all of that. PX_BAD_INPUT: one is none. */
PX_CHECKED px_err *px_diff_runs(const char *a, const char *b, px_diffs *out);

/* --- verify --- */
typedef struct {
    const char *run, *corpus, *model;  /* the latter two NULL: where the manifest says */
    int64_t n_steps;                   /* at most so many steps; 0: all */
    int64_t from_step;                 /* goes on from this checkpoint; 0: from the beginning */
    int ranks;                         /* of the rerun; 0: the run's, no more than cores */
    bool inputs_only, keep, recompute; /* keep the rerun's folder; reference anew */
} px_verify;
/* PX_BAD_INPUT: no run, an input missing or changed, named. PX_RUN_FAILED: the run is not what the
 * rerun gives, first step and tensor named. What was found, line by line, in `said` in any case. */
PX_CHECKED px_err *px_verify_run(const px_verify *job, px_str *said);

#endif

/* simulate.c - the whole of it: see simulate.h. */
#include "simulate.h"

#include <stdlib.h>
#include <string.h>

#include "simulate_internal.h"

/* Rank 0. Finished trials in their order; the parts go when all are. */
static px_err *result_write(const simulation *s) {
    px_file_out file = {0};
    px_str line = {0};
    px_err *err = NULL;
    PX_PASS(px_file_out_open(s->job->out, &file));
    for (int32_t i = 0; i < s->trials.n; i++) {
        if (s->trials.items[i].lost) continue;
        px_str_clear(&line);
        trial_write(s, &s->trials.items[i], &line);
        PX_PASS_TO(done, px_str_ok(&line));
        fwrite(line.data, 1, line.size, file.stream);
    }
    PX_PASS_TO(done, costs_write(s));
    PX_PASS_TO(done, px_file_out_commit(&file));
    PX_PASS_TO(done, summary_write(s, s->out_summary.data));
    summary_print(s, stdout);
    const sim_totals t = totals_of(s);
    if (t.n_lost == 0)
        err = memo_remove(s->memo);
    else
        err = px_err_new(PX_RUN_FAILED, __FILE__, __LINE__,
                         "%lld of %d trials are not finished, as an endpoint did not answer; the "
                         "others are in %s, and --resume asks for the rest",
                         (long long)t.n_lost, (int)s->trials.n, s->job->out);
done:
    px_file_out_drop(&file);
    px_str_free(&line);
    return err;
}

px_err *px_simulate_all(const px_ranks *ranks, const px_config *config,
                        const px_simulate_job *job) {
    simulation s = {.ranks = ranks, .config = config, .job = job};
    bool finished = false;
    px_err *err = NULL;
    PX_PASS_TO(done, sim_open_all(&s));
    const memo_setup setup = {.out = job->out,
                              .summary = s.out_summary.data,
                              .job = s.job_text.data,
                              .resume = job->resume,
                              .overwrite = job->overwrite};
    PX_PASS_TO(done, memo_open_all(ranks, &setup, &finished, &s.memo));
    if (finished) {
        if (ranks->rank == 0) printf("%s is finished already\n", job->out);
        goto done;
    }
    PX_PASS_TO(done, sim_rounds_all(&s));
    err = px_agree_all(ranks, ranks->rank == 0 ? result_write(&s) : NULL);
done:
    sim_close(&s);
    return err;
}

/* power.c - power of the same comparisons with another number of people: errors shrink with the
 * root of their number, power = Phi(|b|/se - 1.96) + Phi(-|b|/se - 1.96) of a two-sided test at 5
 * %; the smallest effect found with 80 % power is (1.96 + 0.8416) se (Cohen 1988). */
#include <gsl/gsl_cdf.h>
#include <string.h>

#include "stats_internal.h"

static bool planned(const px_row *row) {
    static const char *const models[] = {"plackett_luce", "rank_logit_length", "lmm", "tobit"};
    bool known = false;
    for (size_t i = 0; i < PX_COUNT(models); i++) known |= !strcmp(row->model, models[i]);
    return known && *row->contrast && isfinite(row->se) && row->n_people > 1 && row->source >= 0;
}

void px_power_rows(const px_study *study, px_table *table) {
    const double plan = (double)study->job->plan_people;
    const int64_t n = table->n;
    for (int64_t i = 0; plan > 0 && i < n; i++) {
        const px_row source = table->at[i]; /* the table may move */
        if (!planned(&source)) continue;
        double se = source.se * sqrt((double)source.n_people / plan),
               z = fabs(source.estimate) / se;
        const px_about about = {.family = (px_family)source.family,
                                .outcome = source.outcome,
                                .model = "power",
                                .source = source.source,
                                .n_trials = source.n_trials,
                                .n_people = study->job->plan_people};
        px_row *row = px_table_add(table, &about, source.term);
        if (!row) return;
        snprintf(row->contrast, sizeof row->contrast, "%s", source.model);
        row->estimate = gsl_cdf_ugaussian_P(z - 1.959963984540054) +
                        gsl_cdf_ugaussian_P(-z - 1.959963984540054);
        px_row_note(row, "smallest effect found with power 0.8: %.6g", 2.801585218112968 * se);
    }
}

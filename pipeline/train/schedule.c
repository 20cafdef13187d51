/* schedule.c - learning rates, as transformers' get_*_schedule_with_warmup compute them. */
#include "train.h"

#include <math.h>

double px_schedule(const px_config *config, double peak, int64_t step, int64_t total) {
    int64_t warmup = config->optim_warmup_steps, done = step - 1;
    if (done < warmup) return peak * (double)done / (double)warmup;
    double rest = (double)PX_MAX(total - warmup, 1), progress = (double)(done - warmup) / rest;
    switch ((px_schedule_kind)config->optim_schedule) {
    case PX_SCHEDULE_COSINE:
        return peak * PX_MAX(0.0, 0.5 * (1 + cos(3.141592653589793 * progress)));
    case PX_SCHEDULE_LINEAR:
        return peak * PX_MAX(0.0, 1 - progress);
    case PX_SCHEDULE_CONSTANT:
        break;
    }
    return peak;
}

/* reward.c - implicit rewards of a pair (Rafailov et al. 2023, section 4.2). */
#include "score.h"

double px_pair_margin(const px_config *config, const px_pair *pair, const double logp[2],
                      const double reference[2], double reward[2]) {
    const int32_t tokens[] = {pair->chosen_tokens, pair->rejected_tokens};
    for (int side = 0; side < 2; side++) {
        const double length = config->train_length_normalised ? tokens[side] : 1;
        reward[side] = config->loss_beta * (logp[side] - reference[side]) / length;
    }
    return reward[0] - reward[1];
}

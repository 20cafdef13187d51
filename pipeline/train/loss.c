/* loss.c - preference losses and their derivatives, side by side. See train.h for formulas and
 * sources. */
#include "train.h"

#include <math.h>

/* log σ(x) without overflow: -log(1 + e^-x). */
static double log_sigmoid(double x) { return x >= 0 ? -log1p(exp(-x)) : x - log1p(exp(x)); }

static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }

static double loss_sigmoid(double h, double eps, double *dh) {
    *dh = -(1 - eps) * sigmoid(-h) + eps * sigmoid(h);
    /* 0 · -inf cannot arise: log σ is finite for finite h. */
    return -(1 - eps) * log_sigmoid(h) - eps * log_sigmoid(-h);
}

static double loss_ipo(double h, double beta, double *dh) {
    double d = h / beta - 1 / (2 * beta);
    *dh = 2 * d / beta;
    return d * d;
}

static double loss_hinge(double h, double *dh) {
    *dh = h < 1 ? -1 : 0;
    return h < 1 ? 1 - h : 0;
}

static double loss_robust(double h, double eps, double *dh) {
    *dh = (-(1 - eps) * sigmoid(-h) - eps * sigmoid(h)) / (1 - 2 * eps);
    return (-(1 - eps) * log_sigmoid(h) + eps * log_sigmoid(-h)) / (1 - 2 * eps);
}

double px_loss(px_loss_kind kind, double h, double beta, double smoothing, double *dh) {
    switch (kind) {
    case PX_LOSS_IPO:
        return loss_ipo(h, beta, dh);
    case PX_LOSS_HINGE:
        return loss_hinge(h, dh);
    case PX_LOSS_ROBUST:
        return loss_robust(h, smoothing, dh);
    case PX_LOSS_SIGMOID:
        break;
    }
    return loss_sigmoid(h, smoothing, dh);
}

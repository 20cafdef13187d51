/* published.c - what is known of the paper's results, from its abstract, a summary and readers'
 * notes; nothing of ours stands here. Hollow marks in the figures. */
#include "figure.h"

static const double values[N_PUBLISHED][N_STUDY_SOURCES] = {
    [PUBLISHED_TAU] = {0.57, 0.22, 0.11},     [PUBLISHED_TOP1] = {0.688, 0.401, 0.323},
    [PUBLISHED_AT_A] = {0.241, 0.338, 0.449}, [PUBLISHED_AT_D] = {0.286, 0.150, 0.072},
    [PUBLISHED_WORTH_R] = {NAN, 0.99, 0.98},  [PUBLISHED_LENGTH] = {1.57, NAN, NAN},
    [PUBLISHED_ERRORS] = {0.067, NAN, NAN},   [PUBLISHED_TOKENS] = {38, NAN, NAN},
};

double px_published(const exp_view *exp, published_value what, int source) {
    /* shares by position and of first choices are those of trials with four arms */
    const bool four = what == PUBLISHED_TOP1 || what == PUBLISHED_AT_A || what == PUBLISHED_AT_D;
    if (source < 0 || (four && exp->study->positions != 4)) return NAN;
    return values[what][source];
}

void px_published_words(px_str *out) {
    px_str_text(
        out,
        "<p>Hollow marks (◇) are values published of PRISM-X, and only those: Kendall’s τ and the "
        "share of equal first choices, the shares ranked best at A and D, and the correlations of "
        "worths, on which several independent notes of readers agree; 1.57 odds for 100 "
        "characters, from one note; 6.7&nbsp;% of generations with an error and about 38 times "
        "the tokens for prompting, from a summary. They were not checked against the paper’s own "
        "text. Its trials: 530 people of 52 countries, some 8,500 conversations; the judge 497 "
        "people on the human transcripts; converse 530 people. Its order: ppft over prompt and "
        "base, dpft close to ppft; for the judge the top two are swapped. Worths, win rates, "
        "slider and bid values by arm, trait effects, shares at B and C, measures of topics and "
        "of feedback, offline accuracies: not known of the paper. All models but “worth”, all "
        "intervals, tests and corrections on this page: not known of the paper, ours.</p>\n");
}

/* trials_synth.c - invented trials. Every planted number stands in one table, from which trials are
 * drawn and truth.json is written, so that each estimator can be judged by what it recovers:
 *   preference ranking   theta_arm + gamma length/100 + delta_position + kappa error + Gumbel
 *   provenance ranking   theta_arm + Gumbel: plain Plackett-Luce
 *   sliders              arm + domain + position + error + person + trial + noise (part of it the
 *                        preference ranking's, so that a person agrees with himself)
 *   engaging slider      8 (arm + position + person + logistic noise): a cumulative logit
 *   bids                 arm + error + person + normal noise, cut off at 0 and 10: a Tobit
 * judge ranks the person's own transcripts, converse its own; both with less taste, more noise and
 * a liking for the first position. Everything is a function of (seed, person, place). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trials_internal.h"

enum { ARMS = 4, DOMAINS = 4, TOPICS = 6, TURNS = 3 };

static const char *const arms[ARMS] = {"base", "dpft", "ppft", "prompt"};
static const char *const domains[DOMAINS] = {"controversy", "unguided", "values", "wellbeing"};

/* What is planted, by source where it differs (human, judge, converse). */
static const double theta[PX_SOURCES][ARMS] = {
    {0, .80, .95, .15}, {0, .50, .45, .10}, {0, .55, .60, .10}};
static const double gamma_length[PX_SOURCES] = {.4511, .45, .45}; /* e^.4511 = 1.57 */
static const double delta[PX_SOURCES][ARMS] = {
    {0, .02, .05, .20}, {0, -.25, -.50, -.75}, {0, -.50, -1.0, -1.5}};
static const double kappa = -.60;
static const double theta_provenance[ARMS] = {0, .20, 1.0, .60};
static const double vas_arm[ARMS] = {0, 5, 6.5, 1.5}, vas_domain[DOMAINS] = {0, 2, 1, 4},
                    vas_pos[ARMS] = {0, 0, .5, 1}, vas_error = -4;
static const double vas_person = 6, vas_trial = 4, vas_noise = 9;
static const double engaging_arm[ARMS] = {0, .5, .7, .1}, engaging_person = .8;
static const double wtp_arm[ARMS] = {0, .6, .9, .2}, wtp_error = -.5, wtp_person = 1.2,
                    wtp_noise = 1.8;
static const double length_mean[ARMS] = {350, 500, 520, 420}, length_sd = 150, error_share = .067;
static const double topic_share[2][TOPICS] = {{.17, .17, .17, .17, .16, .16},  /* people */
                                              {.40, .25, .15, .10, .05, .05}}; /* converse */
static const char *const topic_words[TOPICS][6] = {
    {"garden", "tomato", "soil", "compost", "rain", "seeds"},
    {"election", "vote", "party", "senate", "law", "reform"},
    {"sleep", "anxious", "work", "stress", "night", "worry"},
    {"recipe", "bread", "oven", "yeast", "butter", "dough"},
    {"planet", "orbit", "telescope", "galaxy", "star", "comet"},
    {"money", "budget", "savings", "loan", "rent", "salary"}};
static const char *const follow_ups[] = {"Thanks, that is great. Can you say more?",
                                         "Why is that so?",
                                         "That is wrong, I meant something else.",
                                         "Good. What would you do in my place?",
                                         "Too long, please be brief.",
                                         "And then?"};

typedef struct {
    px_rng rng;
    uint64_t person;
    uint64_t at; /* the next place; a person's draws are in a fixed order */
} drawer;

static double uniform(drawer *d) { return px_rng_uniform(d->rng, d->person, d->at++); }
static double normal(drawer *d) { return px_rng_normal(d->rng, d->person, d->at++); }
static double gumbel(drawer *d) { return -log(-log(uniform(d) * (1 - 1e-12) + 5e-13)); }
static double clip(double v, double high) { return fmax(0, fmin(high, v)); }

typedef struct {
    int arm[ARMS], length[ARMS]; /* by position */
    bool error[ARMS];
    double noise[ARMS]; /* of the preference ranking, standardised */
    int order[PX_QUESTIONS][ARMS];
    int topic, n_turns;
} shown;

static void arms_deal(drawer *d, shown *s) {
    for (int i = 0; i < ARMS; i++) s->arm[i] = i;
    for (int i = ARMS - 1; i > 0; i--) {
        int k = (int)(uniform(d) * (i + 1)), kept = s->arm[i];
        s->arm[i] = s->arm[k];
        s->arm[k] = kept;
    }
    for (int p = 0; p < ARMS; p++) {
        s->length[p] = (int)fmax(20, length_mean[s->arm[p]] + length_sd * normal(d));
        s->error[p] = uniform(d) < error_share;
    }
}

static void rank_by(const double *utility, int *order) {
    for (int i = 0; i < ARMS; i++) {
        int at = i;
        for (; at > 0 && utility[order[at - 1]] < utility[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

static void judge_trial(drawer *d, px_trial_source source, shown *s) {
    double first[ARMS], second[ARMS];
    for (int p = 0; p < ARMS; p++) {
        double g = gumbel(d);
        s->noise[p] = (g - 0.5772156649015329) / 1.2825498301618641;
        first[p] = theta[source][s->arm[p]] + gamma_length[source] * s->length[p] / 100 +
                   delta[source][p] + kappa * s->error[p] + g;
        second[p] = theta_provenance[s->arm[p]] + gumbel(d);
    }
    rank_by(first, s->order[PX_PREFERENCE]);
    rank_by(second, s->order[PX_PROVENANCE]);
}

static void topic_draw(drawer *d, px_trial_source source, shown *s) {
    const double *share = topic_share[source == PX_SOURCE_CONVERSE];
    double u = uniform(d);
    for (s->topic = 0; s->topic < TOPICS - 1 && u >= share[s->topic]; s->topic++)
        u -= share[s->topic];
    s->n_turns = 1 + (int)(uniform(d) * TURNS);
}

/* --- writing --- */

static void put_slots(px_str *out, const shown *s) {
    px_str_text(out, "\"slots\":[");
    for (int p = 0; p < ARMS; p++) {
        const char *arm = arms[s->arm[p]];
        bool own = !strcmp(arm, "ppft"), told = !strcmp(arm, "prompt");
        px_str_format(
            out,
            "%s{\"pos\":\"%c\",\"arm\":\"%s\",\"variant\":null,\"user\":%s,\"run_sha\":null,"
            "\"error\":%s,\"context_tokens\":%d,\"prompt_tokens\":%d,\"new_tokens\":%d}",
            p ? "," : "", 'A' + p, arm, own ? "\"own\"" : "null",
            s->error[p] ? "\"length\"" : "null",
            own    ? 10
            : told ? 380
                   : 0,
            60 + (told ? 380 : 0), s->length[p] / 4);
    }
    px_str_text(out, "],");
}

static void put_answer(px_str *out, int length) {
    for (int i = 0; i < length; i++) px_str_char(out, "words "[i % 6]);
}

static void put_turns(px_str *out, drawer *d, const shown *s) {
    px_str_text(out, "\"turns\":[");
    for (int t = 0; t < s->n_turns; t++) {
        px_str_format(out, "%s{\"n\":%d,\"to\":\"ABCD\",\"user\":\"", t ? "," : "", t);
        if (t == 0) {
            px_str_text(out, "What about the");
            for (int w = 0; w < 4; w++)
                px_str_format(out, " %s", topic_words[s->topic][(int)(uniform(d) * 6)]);
            px_str_text(out, "?");
        } else {
            const int n = (int)PX_COUNT(follow_ups);
            px_str_text(out, follow_ups[(int)(uniform(d) * n)]);
        }
        px_str_text(out, "\",\"answers\":{");
        for (int p = 0; p < ARMS; p++) {
            px_str_format(out, "%s\"%c\":\"", p ? "," : "", 'A' + p);
            put_answer(out, s->length[p]);
            px_str_char(out, '"');
        }
        px_str_text(out, "}}");
    }
    px_str_text(out, "],");
}

static void put_ranks(px_str *out, const shown *s) {
    px_str_format(out, "\"opening\":{\"best\":\"%c\",\"provenance\":\"%c\"},\"rank\":{",
                  'A' + s->order[0][0], 'A' + s->order[1][0]);
    for (int q = 0; q < PX_QUESTIONS; q++) {
        px_str_format(out, "%s\"%s\":[", q ? "," : "", px_question_names[q]);
        for (int p = 0; p < ARMS; p++)
            px_str_format(out, "%s\"%c\"", p ? "," : "", 'A' + s->order[q][p]);
        px_str_char(out, ']');
    }
    px_str_text(out, "},");
}

/* A person's own effects. */
typedef struct {
    double vas[PX_SLIDERS], wtp;
} tastes;

static double slider_value(drawer *d, const shown *s, const tastes *who, int slider, int domain,
                           double trial, int p) {
    const int arm = s->arm[p];
    if (slider == PX_VAS_ENGAGING) {
        double u = uniform(d) * (1 - 1e-12) + 5e-13;
        double eta = engaging_arm[arm] + engaging_person * who->vas[slider];
        return 50 + 8 * (eta + log(u / (1 - u)));
    }
    double noise = .8 * s->noise[p] + .6 * normal(d);
    return 48 + vas_arm[arm] + vas_domain[domain] + vas_pos[p] + vas_error * s->error[p] +
           vas_person * who->vas[slider] + vas_trial * trial + vas_noise * noise;
}

static void put_values(px_str *out, drawer *d, const shown *s, const tastes *who, int domain) {
    char text[32];
    px_str_text(out, "\"vas\":{");
    for (int k = 0; k < PX_SLIDERS; k++) {
        double trial = normal(d);
        px_str_format(out, "%s\"%s\":{", k ? "," : "", px_slider_names[k]);
        for (int p = 0; p < ARMS; p++)
            px_str_format(out, "%s\"%c\":%.0f", p ? "," : "", 'A' + p,
                          round(clip(slider_value(d, s, who, k, domain, trial, p), 100)));
        px_str_char(out, '}');
    }
    px_str_text(out, "},\"wtp\":{");
    for (int p = 0; p < ARMS; p++) {
        double bid = 2 + wtp_arm[s->arm[p]] + wtp_error * s->error[p] + wtp_person * who->wtp +
                     wtp_noise * normal(d);
        px_str_format(out, "%s\"%c\":%s", p ? "," : "", 'A' + p,
                      px_double_text(round(clip(bid, 10) * 100) / 100, text));
    }
    px_str_format(out, "},\"bdm\":{\"price\":%s},",
                  px_double_text(round(uniform(d) * 1000) / 100, text));
}

static void put_trial(px_str *out, drawer *d, uint64_t seed, px_trial_source source, int domain,
                      const shown *s, const tastes *who) {
    const int64_t i = (int64_t)d->person;
    px_str_format(
        out,
        "{\"trial\":\"%s%lld-%s\",\"person\":\"user%lld\",\"source\":\"%s\",\"domain\":\"%s\","
        "\"split\":\"%s\",\"seed\":%llu,",
        source == PX_SOURCE_CONVERSE ? "c" : "t", (long long)i, domains[domain], (long long)i,
        px_source_names[source], domains[domain], i % 10 ? "seen" : "unseen",
        (unsigned long long)seed);
    if (source != PX_SOURCE_HUMAN)
        px_str_text(out, "\"sim\":{\"model\":\"invented\",\"prompt_sha\":null},");
    put_slots(out, s);
    put_turns(out, d, s);
    put_ranks(out, s);
    put_values(out, d, s, who, domain);
    px_str_text(out, "\"retries\":0,\"usd\":null,\"ms\":null}\n");
}

static px_err *person_write(const px_synth_trials *job, int64_t person, px_str *line, FILE *out) {
    drawer d = {{job->seed, PX_RNG_SYNTH_TRIALS}, (uint64_t)person, 0};
    tastes who = {.wtp = normal(&d)};
    for (int k = 0; k < PX_SLIDERS; k++) who.vas[k] = normal(&d);
    for (int domain = 0; domain < DOMAINS; domain++) {
        shown s = {0};
        for (int source = 0; source < PX_SOURCES; source++) {
            if (source != PX_SOURCE_JUDGE) { /* the judge reads the person's own transcripts */
                arms_deal(&d, &s);
                topic_draw(&d, (px_trial_source)source, &s);
            }
            judge_trial(&d, (px_trial_source)source, &s);
            px_str_clear(line);
            put_trial(line, &d, job->seed, (px_trial_source)source, domain, &s, &who);
            PX_PASS(px_str_ok(line));
            fwrite(line->data, 1, line->size, out);
        }
    }
    return NULL;
}

/* --- the truth --- */

static void truth_add(px_str *out, px_trial_source source, const char *outcome, const char *model,
                      const char *term, double value) {
    char text[32];
    px_str_format(out,
                  "%s\n{\"source\":\"%s\",\"outcome\":\"%s\",\"model\":\"%s\",\"term\":\"%s\","
                  "\"value\":%s}",
                  out->data[out->size - 1] == '[' ? "" : ",", px_source_names[source], outcome,
                  model, term, px_double_text(value, text));
}

static void truth_arms(px_str *out, px_trial_source source, const char *outcome, const char *model,
                       const double *values) {
    for (int a = 1; a < ARMS; a++) truth_add(out, source, outcome, model, arms[a], values[a]);
    truth_add(out, source, outcome, model, "ppft-dpft", values[2] - values[1]);
    truth_add(out, source, outcome, model, "ppft-prompt", values[2] - values[3]);
}

static void truth_positions(px_str *out, px_trial_source source, const char *outcome,
                            const char *model, const double *values) {
    char term[8] = "pos:B";
    for (int p = 1; p < ARMS; p++) {
        term[4] = (char)('A' + p);
        truth_add(out, source, outcome, model, term, values[p]);
    }
}

static void truth_make(px_str *out) {
    static const double nothing[ARMS] = {0};
    for (int i = 0; i < PX_SOURCES; i++) {
        const px_trial_source s = (px_trial_source)i;
        truth_arms(out, s, "rank:preference", "rank_logit_length", theta[i]);
        truth_positions(out, s, "rank:preference", "rank_logit_length", delta[i]);
        truth_add(out, s, "rank:preference", "rank_logit_length", "length/100", gamma_length[i]);
        truth_add(out, s, "rank:preference", "rank_logit_length", "error", kappa);
        truth_arms(out, s, "rank:provenance", "plackett_luce", theta_provenance);
        truth_arms(out, s, "rank:provenance", "bradley_terry", theta_provenance);
        truth_arms(out, s, "rank:provenance", "rank_logit_length", theta_provenance);
        truth_add(out, s, "rank:provenance", "rank_logit_length", "length/100", 0);
        truth_arms(out, s, "vas:preference", "lmm", vas_arm);
        truth_positions(out, s, "vas:preference", "lmm", vas_pos);
        truth_add(out, s, "vas:preference", "lmm", "error", vas_error);
        for (int d = 1; d < DOMAINS; d++) {
            char term[32];
            snprintf(term, sizeof term, "domain:%s", domains[d]);
            truth_add(out, s, "vas:preference", "lmm", term, vas_domain[d] - vas_domain[0]);
        }
        truth_arms(out, s, "vas:provenance", "lmm", vas_arm);
        truth_arms(out, s, "vas:engaging", "cumulative_logit", engaging_arm);
        truth_positions(out, s, "vas:engaging", "cumulative_logit", nothing);
        truth_arms(out, s, "wtp", "tobit", wtp_arm);
        truth_positions(out, s, "wtp", "tobit", nothing);
        truth_add(out, s, "wtp", "tobit", "error", wtp_error);
        truth_add(out, s, "wtp", "tobit", "sd:residual", hypot(wtp_person, wtp_noise));
        truth_add(out, s, "vas:preference", "lmm", "sd:person", vas_person);
        truth_add(out, s, "vas:preference", "lmm", "sd:trial", vas_trial);
        truth_add(out, s, "vas:preference", "lmm", "sd:residual", vas_noise);
    }
}

px_err *px_synth_trials_write(const px_synth_trials *job) {
    px_file_out file = {0};
    px_str text = {0};
    if (job->n_people < 1 || job->n_people > 10000000)
        PX_FAIL(PX_BAD_INPUT, "--people %lld: 1 to 10000000 is wanted", (long long)job->n_people);
    PX_PASS(px_dir_make(job->out_dir));
    char *trials = px_path_join(job->out_dir, "trials.jsonl");
    char *truth = px_path_join(job->out_dir, "truth.json");
    px_err *err = NULL;
    if (!trials || !truth) PX_FAIL_TO(done, PX_RUN_FAILED, "out of memory");
    PX_PASS_TO(done, px_file_out_open(trials, &file));
    for (int64_t i = 0; i < job->n_people && !err; i++)
        err = person_write(job, i, &text, file.stream);
    PX_PASS_TO(done, err);
    PX_PASS_TO(done, px_file_out_commit(&file));
    px_str_clear(&text);
    px_str_format(&text, "{\"seed\":%llu,\"people\":%lld,\"estimates\":[",
                  (unsigned long long)job->seed, (long long)job->n_people);
    truth_make(&text);
    px_str_text(&text, "\n]}\n");
    PX_PASS_TO(done, px_str_ok(&text));
    err = px_file_write(truth, text.data, text.size);
done:
    px_file_out_drop(&file);
    px_str_free(&text);
    free(trials);
    free(truth);
    return err;
}

/* report_study.c - see report_study.h. */
#include "report_study.h"

#include "px_test.h"
#include "report_runs.h"

static const px_rng rng = {.seed = 8, .purpose = PX_RNG_TEST};

typedef struct {
    px_str text;
    uint64_t n;
} table;

/* A row with an interval of ±half; half 0: none. */
static void add(table *t, const char *family, const char *outcome, const char *model,
                const char *term, const char *source, double value, double half) {
    px_str_format(&t->text, "%s\t%s\t%s\t%s\tNA\t%.17g\t", family, outcome, model, term, value);
    if (half > 0)
        px_str_format(&t->text, "%.17g\t%.17g\t%.17g\t0.01\t0.02\t", half / 1.96, value - half,
                      value + half);
    else
        px_str_text(&t->text, "NA\tNA\tNA\tNA\tNA\t");
    px_str_format(&t->text, "600\t150\t%s\tNA\n", source);
    t->n++;
}

static double jitter(table *t, double size) { return size * px_rng_normal(rng, 1, t->n); }

static void add_arms(table *t, const made_study *study, const char *source) {
    char term[512];
    for (int a = 0; a < study->n_arms; a++) {
        const char *arm = study->arms[a];
        snprintf(term, sizeof term, "worth:%s", arm);
        add(t, "preference", "rank:preference", "plackett_luce", term, source,
            (a + 1) * 2.0 / (study->n_arms * (study->n_arms + 1)), 0.02);
        if (a > 0) {
            add(t, "preference", "rank:preference", "plackett_luce", arm, source,
                0.4 * a + jitter(t, 0.05), 0.15);
            add(t, "preference", "rank:preference", "rank_logit_length", arm, source,
                0.2 * a + jitter(t, 0.05), 0.15);
            add(t, "preference", "wtp", "lmm", arm, source, a == 3 ? -0.4 : 0.3 * a, 0.1);
            add(t, "preference", "wtp", "tobit", arm, source, 0.35 * a, 0.1);
        }
        add(t, "preference", "wtp", "mean", arm, source, 2 + 0.3 * a, 0.2);
        add(t, "preference", "tokens:context", "mean", arm, source, a == 3 ? 380 : 10.0 * (a == 2),
            0);
        add(t, "preference", "tokens:prompt", "mean", arm, source, 60 + (a == 3 ? 380 : 0), 0);
        add(t, "preference", "tokens:new", "mean", arm, source, 100 + 10.0 * a, 3);
        add(t, "preference", "characters", "mean", arm, source, 400 + 40.0 * a, 12);
        add(t, "preference", "error", "mean", arm, source, 0.06, 0.02);
        if (study->runs) add(t, "preference", "seconds:answer", "mean", arm, source, 1.25 + a, 0.1);
        if (study->runs && !strcmp(arm, "prompt")) {
            add(t, "preference", "profile:prompt", "mean", arm, source, 312, 2);
            add(t, "preference", "profile:new", "mean", arm, source, 81, 2);
        }
        for (int b = 0; b < study->n_arms; b++) {
            snprintf(term, sizeof term, "%s>%s", arm, study->arms[b]);
            if (a != b)
                add(t, "preference", "rank:preference", "win_rate", term, source,
                    0.5 + 0.08 * (a - b), 0.04);
        }
    }
}

static void add_sliders(table *t, const made_study *study, const char *source) {
    static const char *const sliders[] = {"vas:preference", "vas:engaging", "vas:provenance"};
    char term[1024];
    for (size_t k = 0; k < PX_COUNT(sliders); k++)
        for (int d = 0; d < study->n_domains; d++)
            for (int a = 0; a < study->n_arms; a++) {
                snprintf(term, sizeof term, "%s:domain:%s", study->arms[a],
                         study->domains[d % study->n_names]);
                if (d >= study->n_names)
                    snprintf(term, sizeof term, "%s:domain:%s %d", study->arms[a],
                             study->domains[d % study->n_names], d);
                add(t, "preference", sliders[k], "mean", term, source, 50 + 2 * a + jitter(t, 1),
                    2);
            }
}

static void add_source(table *t, const made_study *study, int s) {
    static const char *const sources[] = {"human", "judge", "converse"};
    static const char *const feedback[] = {"feedback:words", "feedback:question", "feedback:praise",
                                           "feedback:complaint", "feedback:correction"};
    const char *source = sources[s];
    char term[64];
    add_arms(t, study, source);
    add_sliders(t, study, source);
    add(t, "preference", "rank:preference", "rank_logit_length", "odds:length/100", source, 1.5,
        0.1);
    for (int p = 0; p < PX_MIN(study->n_arms, 8); p++) {
        snprintf(term, sizeof term, "%c", 'A' + p);
        add(t, "preference", "rank:preference", "position", term, source, 1.0 / study->n_arms,
            0.03);
    }
    add(t, "preference", "rank:preference", "self_consistency", "tau", source, 0.5, 0.03);
    add(t, "preference", "rank:preference", "self_consistency", "top1", source, 0.63, 0.03);
    if (s > 0) {
        add(t, "simulator", "rank:preference", "agreement", "tau", source, 0.2, 0.03);
        add(t, "simulator", "rank:preference", "agreement", "top1", source, 0.37, 0.03);
        add(t, "simulator", "rank:preference", "agreement", "worth_r", source, 0.97, 0);
    }
    for (int k = 0; k < 3; k++) {
        snprintf(term, sizeof term, "topic:%d", k + 1);
        add(t, "topics", "opening", "topic_share", term, source, 0.2 + 0.1 * k, 0);
    }
    for (size_t f = 0; f < PX_COUNT(feedback); f++)
        for (int turn = 0; turn < 4; turn++) {
            snprintf(term, sizeof term, "turn:%d", turn);
            add(t, "dynamics", feedback[f], "mean", term, source, 0.3 + 0.1 * turn, 0.05);
        }
    add(t, "preference", "tokens:context", "ratio", "prompt/ppft", source, 38, 0);
}

void make_study(const char *parent, const char *name, const made_study *study) {
    table t = {0};
    px_str json = {0};
    char json_name[256];
    px_str_text(&t.text, "family\toutcome\tmodel\tterm\tcontrast\testimate\tstd_error\tci_low\t"
                         "ci_high\tp\tp_adjusted\tn_trials\tn_people\tsource\tnote\n");
    for (int s = 0; s < 3; s++)
        if (study->sources >> s & 1) add_source(&t, study, s);
    if (study->extra) px_str_text(&t.text, study->extra);
    make_file(parent, name, t.text.data);
    px_str_text(&json, "{\"format\":1,\"inputs\":[{\"trials\":\"<b>t.jsonl\",\"sha256\":\"ab\"}],"
                       "\"seed\":123,\"bootstrap\":500,\"people\":150,\"trials\":{\"human\":600,"
                       "\"judge\":600,\"converse\":600},\"left_out\":{\"unknown_keys\":1,"
                       "\"invalid_rankings\":2,\"invalid_values\":3,\"nul_in_texts\":4,"
                       "\"answers_of_nobody\":5}");
    if (study->runs) px_str_format(&json, ",\"runs\":%s", study->runs);
    px_str_text(&json, "}\n");
    snprintf(json_name, sizeof json_name, "%.*s.json", (int)(strlen(name) - 4), name);
    make_file(parent, json_name, json.data);
    px_str_free(&json);
    px_str_free(&t.text);
}

void make_traits(const char *parent, const char *name, const made_study *study) {
    static const char *const traits[] = {"sycophancy", "relationship", "verbosity"};
    px_str out = {0};
    px_str_text(&out, "{\"reference\":\"base\",\"arms\":[");
    for (int judge = 0; judge < 2; judge++) {
        if (judge) px_str_text(&out, "],\"judge\":{\"name\":\"a <i>model\",\"arms\":[");
        for (int a = 0; a < study->n_arms; a++) {
            px_str_text(&out, a ? ",{\"arm\":" : "{\"arm\":");
            px_str_json(&out, study->arms[a], strlen(study->arms[a]));
            px_str_text(&out, ",\"scored\":300");
            for (size_t k = 0; k < PX_COUNT(traits); k++)
                px_str_format(&out,
                              ",\"%s\":{\"mean\":%.3f,\"low\":%.3f,\"high\":%.3f,\"n\":300,"
                              "\"invalid\":2,\"kappa\":0.7,\"win_rate\":0.6}",
                              traits[k], 0.1 * a + 4 * judge, 0.1 * a + 4 * judge - 0.05,
                              0.1 * a + 4 * judge + 0.05);
            px_str_char(&out, '}');
        }
    }
    px_str_text(&out, "]}}\n");
    make_file(parent, name, out.data);
    px_str_free(&out);
}

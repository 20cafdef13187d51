/* test_train.c - losses and schedules against PyTorch and transformers (golden/losses.py prints the
 * rows), order of batches, metrics. */
#include "px_test.h"
#include "train.h"

static const struct {
    double h, eps, loss[4], slope[4];
} loss_rows[] = {
    {-30,
     0,
     {30.000000000000092, 10336.111111111111, 31, 30.000000000000092},
     {-0.99999999999990641, -677.77777777777783, -1, -0.99999999999990641}},
    {-30,
     0.1,
     {27.000000000000096, 10336.111111111111, 31, 33.750000000000092},
     {-0.89999999999990643, -677.77777777777783, -1, -1.1249999999999065}},
    {-1.5,
     0,
     {1.7014132779827524, 44.44444444444445, 2.5, 1.7014132779827524},
     {-0.81757447619364365, -44.44444444444445, -1, -0.81757447619364365}},
    {-1.5,
     0.1,
     {1.5514132779827523, 44.44444444444445, 2.5, 1.8889132779827524},
     {-0.71757447619364367, -44.44444444444445, -1, -0.94257447619364354}},
    {0,
     0,
     {0.69314718055994529, 2.7777777777777781, 1, 0.69314718055994529},
     {-0.5, -11.111111111111112, -1, -0.5}},
    {0,
     0.1,
     {0.69314718055994529, 2.7777777777777781, 1, 0.69314718055994518},
     {-0.40000000000000002, -11.111111111111112, -1, -0.625}},
    {0.3,
     0,
     {0.55435524446852713, 0.44444444444444453, 0.69999999999999996, 0.55435524446852713},
     {-0.42555748318834102, -4.4444444444444455, -1, -0.42555748318834102}},
    {0.3,
     0.1,
     {0.58435524446852716, 0.44444444444444453, 0.69999999999999996, 0.51685524446852715},
     {-0.32555748318834105, -4.4444444444444455, -1, -0.55055748318834097}},
    {2,
     0,
     {0.12692801104297249, 25, 0, 0.12692801104297249},
     {-0.11920292202211755, 33.333333333333336, -0, -0.11920292202211755}},
    {2,
     0.1,
     {0.32692801104297253, 25, 0, -0.12307198895702753},
     {-0.019202922022117555, 33.333333333333336, -0, -0.24420292202211755}},
    {40,
     0,
     {4.2483542552915889e-18, 17336.111111111117, 0, 4.2483542552915889e-18},
     {-4.2483542552915889e-18, 877.77777777777794, -0, -4.2483542552915889e-18}},
    {40,
     0.1,
     {4, 17336.111111111117, 0, -5},
     {0.10000000000000001, 877.77777777777794, -0, -0.125}},
    {800, 0, {0, 7102225.0000000028, 0, -0}, {0, 17766.666666666672, -0, -0}},
    {800,
     0.1,
     {80, 7102225.0000000028, 0, -100},
     {0.10000000000000001, 17766.666666666672, -0, -0.125}},
    {-800, 0, {800, 7120002.7777777789, 801, 800}, {-1, -17788.888888888891, -1, -1}},
    {-800,
     0.1,
     {720, 7120002.7777777789, 801, 900},
     {-0.90000000000000002, -17788.888888888891, -1, -1.125}},
};

static void losses_match_pytorch(void **state) {
    (void)state;
    for (size_t i = 0; i < PX_COUNT(loss_rows); i++)
        for (int kind = 0; kind < 4; kind++) {
            double slope = NAN;
            double loss =
                px_loss((px_loss_kind)kind, loss_rows[i].h, 0.3, loss_rows[i].eps, &slope);
            px_assert_near(loss, loss_rows[i].loss[kind], 1e-12);
            px_assert_near(slope, loss_rows[i].slope[kind], 1e-12);
        }
}

static void losses_stay_finite(void **state) {
    (void)state;
    static const double far[] = {1e300, -1e300, 709.0, -746.0};
    for (size_t i = 0; i < PX_COUNT(far); i++) {
        double slope = NAN;
        assert_true(isfinite(px_loss(PX_LOSS_SIGMOID, far[i], 0.1, 0, &slope)) && isfinite(slope));
    }
    double slope = 0; /* NaN in, NaN out: the step stops there */
    assert_true(isnan(px_loss(PX_LOSS_SIGMOID, NAN, 0.1, 0, &slope)));
}

static const double cosine_rows[] = {0.0,
                                     0.3333333333333333,
                                     0.6666666666666666,
                                     1.0,
                                     0.9504844339512095,
                                     0.8117449009293668,
                                     0.6112604669781572,
                                     0.38873953302184283,
                                     0.18825509907063326,
                                     0.04951556604879048};
static const double linear_rows[] = {0.0,
                                     0.3333333333333333,
                                     0.6666666666666666,
                                     1.0,
                                     0.8571428571428571,
                                     0.7142857142857143,
                                     0.5714285714285714,
                                     0.42857142857142855,
                                     0.2857142857142857,
                                     0.14285714285714285};

static void schedules_match_transformers(void **state) {
    (void)state;
    px_config config;
    px_assert_ok(px_config_init(&config));
    config.optim_warmup_steps = 3;
    for (int64_t step = 1; step <= 10; step++) {
        config.optim_schedule = PX_SCHEDULE_COSINE;
        px_assert_near(px_schedule(&config, 2.0, step, 10), 2 * cosine_rows[step - 1], 1e-12);
        config.optim_schedule = PX_SCHEDULE_LINEAR;
        px_assert_near(px_schedule(&config, 2.0, step, 10), 2 * linear_rows[step - 1], 1e-12);
        config.optim_schedule = PX_SCHEDULE_CONSTANT;
        px_assert_near(px_schedule(&config, 2.0, step, 10),
                       step > 3 ? 2 : 2 * (double)(step - 1) / 3.0, 1e-12);
    }
    config.optim_warmup_steps = 0;
    px_assert_near(px_schedule(&config, 2.0, 1, 1), 2, 0);
    px_config_fini(&config);
}

/* 5 conversations of 3 turns with 1 to 3 pairs each; the second is not for training. */
static void make_corpus(px_corpus *corpus, px_conv *convs, px_pair *pairs) {
    int32_t n = 0;
    for (int32_t c = 0; c < 5; c++) {
        convs[c] =
            (px_conv){.id = "c", .split = c == 1 ? PX_SPLIT_SEEN : PX_SPLIT_TRAIN, .first_pair = n};
        for (int32_t turn = 0; turn < 3; turn++)
            for (int32_t k = 0; k <= (c + turn) % 3; k++)
                pairs[n++] = (px_pair){.conv = c, .turn = turn};
        convs[c].n_pairs = n - convs[c].first_pair;
    }
    *corpus = (px_corpus){.n_convs = 5, .n_pairs = n, .convs = convs, .pairs = pairs};
}

static void batches_hold_every_training_pair_once(void **state) {
    (void)state;
    px_config config;
    px_corpus corpus;
    px_conv convs[5];
    px_pair pairs[64];
    px_arena *arena = NULL;
    make_corpus(&corpus, convs, pairs);
    px_assert_ok(px_arena_new(4096, &arena));
    px_assert_ok(px_config_init(&config));
    static const int64_t least[] = {1, 2, 5, 1000};
    for (int unit = 0; unit < 3; unit++)
        for (size_t b = 0; b < PX_COUNT(least); b++) {
            px_epoch epoch, next;
            int seen[64] = {0}, n = 0;
            config.batch_unit = unit;
            config.batch_pairs = least[b];
            px_assert_ok(px_epoch_plan(&corpus, &config, 0, arena, &epoch));
            for (int32_t i = 0; i < epoch.first[epoch.n_units]; i++, n++) seen[epoch.pairs[i]]++;
            for (int32_t p = 0; p < corpus.n_pairs; p++)
                assert_int_equal(seen[p], pairs[p].conv != 1);
            assert_int_equal(epoch.batch_first[epoch.n_batches], epoch.n_units);
            for (int32_t i = 0; i + 1 < epoch.n_batches; i++)
                assert_true(epoch.first[epoch.batch_first[i + 1]] -
                                epoch.first[epoch.batch_first[i]] >=
                            least[b]);
            if (least[b] == 1000) assert_int_equal(epoch.n_batches, 1);
            px_assert_ok(px_epoch_plan(&corpus, &config, 1, arena, &next));
            if (unit == PX_UNIT_PAIR)
                assert_memory_not_equal(epoch.pairs, next.pairs, (size_t)n * sizeof *next.pairs);
        }
    px_config_fini(&config);
    px_arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_match_pytorch),
        cmocka_unit_test(losses_stay_finite),
        cmocka_unit_test(schedules_match_transformers),
        cmocka_unit_test(batches_hold_every_training_pair_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

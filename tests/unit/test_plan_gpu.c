/* A GPU's plan: bytes and FLOPs of a step counted by hand on a shape small enough for it, rates of
 * data sheets and of a file, memory of generation as the engine reserves it, keys that are named
 * where it does not fit, and the measuring itself on the simulated GPU. */
#include "files.h"
#include "plan.h"

static px_config config_of(const char *const *sets, int n) {
    px_config config;
    px_assert_ok(px_config_init(&config));
    for (int i = 0; i < n; i++) px_assert_ok(px_config_set(&config, sets[i]));
    return config;
}

/* A layer: q 8x8, k and v 4x8, o 8x8, gate and up 16x8, down 8x16: 576 weights. */
static const px_shape small = {.vocab = 100,
                               .d = 8,
                               .n_layers = 2,
                               .n_heads = 2,
                               .n_kv_heads = 1,
                               .head_dim = 4,
                               .ffn = 16,
                               .max_positions = 64,
                               .tied = true};

static const px_card_op *op_of(const px_card_step *step, const char *name) {
    for (int i = 0; i < step->n; i++)
        if (strcmp(step->ops[i].name, name) == 0) return &step->ops[i];
    fail_msg("%s is not there", name);
    return NULL;
}
static bool has_op(const px_card_step *step, const char *name) {
    for (int i = 0; i < step->n; i++)
        if (strcmp(step->ops[i].name, name) == 0) return true;
    return false;
}

/* Products cost nothing, a GB takes a second. */
static const px_card_rates slow_memory = {.bf16_peak = 1e15,
                                          .bf16 = 1e15,
                                          .f32 = 1e15,
                                          .attention = 1e15,
                                          .attention_back = 1e15,
                                          .memory = 1e9,
                                          .host = 1e9,
                                          .link = 1e9};

static void decoding_by_hand(void **state) {
    (void)state;
    const char *const sets[] = {"lora.r=0", "generate.graphs=false"};
    px_config config = config_of(sets, 2);
    px_card_rates card = slow_memory;
    px_card_step step;
    px_card_decode(&card, &config, &small, 1, 10, &step);
    /* Weights of 2 bytes, one row in and out: q k v 256 + 48, o 128 + 32, gate and up 512 + 80,
     * down 256 + 48; the head 1600 + 16 and 400 of logits. */
    px_assert_near(op_of(&step, "linear")->bytes, 2 * (304 + 160 + 592 + 304) + 2016, 1e-12);
    px_assert_near(op_of(&step, "linear")->s, 4736e-9, 1e-12);
    px_assert_near(op_of(&step, "linear")->flops, 2 * (2 * 576 + 800), 1e-12);
    /* Keys and values of 10 positions, 4 values each; q and the output. */
    px_assert_near(op_of(&step, "attention_cached")->bytes, 2 * (2 * 2 * 10 * 4 + 2 * 2 * 8),
                   1e-12);
    px_assert_near(op_of(&step, "rms_norm")->bytes, 5 * 4 * 2 * 8, 1e-12);
    px_assert_near(op_of(&step, "swiglu")->bytes, 2 * 3 * 2 * 16, 1e-12);
    assert_false(has_op(&step, "lora_up"));
    const double before = step.s;
    card.launch_s = 1e-3;
    px_card_decode(&card, &config, &small, 1, 10, &step);
    /* 4 products and norms, rope, put, attention, gate a layer; norm and head; the embedding; two
     * launches around. */
    px_assert_near(step.s - before, 25e-3, 1e-9);
    card.replay_s = 1e-4;
    config.generate_graphs = true;
    px_card_decode(&card, &config, &small, 1, 10, &step);
    px_assert_near(step.s - before, 23e-4 + 2e-3, 1e-9);
    config.precision = PX_PRECISION_Q8_0; /* 9 bytes for 8 weights */
    px_card_decode(&card, &config, &small, 1, 10, &step);
    px_assert_near(op_of(&step, "linear")->bytes, 4736 - 7.0 / 8 * (2 * 576 + 800), 1e-9);
    px_config_fini(&config);
}

static void training_by_hand(void **state) {
    (void)state;
    const char *const sets[] = {"lora.r=1", "lora.targets=[q_proj]", "lora.dropout=0"};
    px_config config = config_of(sets, 3);
    px_card_rates card = slow_memory;
    px_card_step step;
    const px_work_sum work = {.rows = 10, .wanted = 3, .visible = 55};
    const px_plan_step one = {.all = work, .fullest = work, .n_slots = 1, .fullest_slots = 1};
    card.bf16 = 1e3; /* all products are longer than their bytes */
    px_card_train(&card, &config, &small, &one, true, 32, &step);
    px_assert_near(op_of(&step, "linear")->flops, 2 * 2 * 10 * 576, 1e-12);
    px_assert_near(op_of(&step, "linear")->s, 23.04, 1e-9);
    /* Nobody wants the gradient below q, k and v of the first layer. */
    px_assert_near(op_of(&step, "linear_backward_input")->flops, 2 * 2 * 10 * 576 - 2 * 10 * 128,
                   1e-12);
    px_assert_near(op_of(&step, "head")->flops, 2 * (2 * 3 * 100 * 8), 1e-12);
    px_assert_near(op_of(&step, "attention")->flops, 2 * 4 * 55 * 8, 1e-12);
    px_assert_near(op_of(&step, "attention_backward")->flops, 2 * 10 * 55 * 8, 1e-12);
    px_assert_near(op_of(&step, "swiglu_backward")->bytes, 2 * 5 * 2 * 10 * 16, 1e-12);
    px_assert_near(op_of(&step, "rope")->bytes, 4 * 2 * 2 * 10 * 12, 1e-12);
    /* q is read and written, u and B read. */
    px_assert_near(op_of(&step, "lora_up")->bytes, 2 * (2 * 2 * 10 * 8 + 4 * 10 + 4 * 8), 1e-12);
    px_assert_near(op_of(&step, "lora_down_backward")->calls, 3, 0);
    px_assert_near(op_of(&step, "adamw")->bytes, 28 * 32, 1e-12);
    assert_false(has_op(&step, "linear_backward_weight"));
    /* With soft tokens the gradient goes down to the rows. */
    px_plan_step soft = one;
    soft.fullest.soft = 2;
    px_card_train(&card, &config, &small, &soft, true, 32, &step);
    px_assert_near(op_of(&step, "linear_backward_input")->flops, 2 * 2 * 10 * 576, 1e-12);
    /* All but the last layer again, without its down projection. */
    config.train_recompute = true;
    px_card_train(&card, &config, &small, &one, true, 32, &step);
    px_assert_near(op_of(&step, "linear")->flops, 2 * 2 * 10 * 576 + 2 * 10 * (576 - 128), 1e-12);
    config.train_recompute = false;
    /* Two slots: as many rows, twice the calls. */
    px_plan_step two = one;
    two.fullest_slots = 2;
    px_card_train(&card, &config, &small, &two, true, 32, &step);
    px_assert_near(op_of(&step, "linear")->calls, 16, 0);
    px_assert_near(op_of(&step, "linear")->flops, 2 * 2 * 10 * 576, 1e-12);
    /* The reference: forward, without adapters. */
    px_card_train(&card, &config, &small, &one, false, 0, &step);
    assert_false(has_op(&step, "lora_up") || has_op(&step, "adamw") ||
                 has_op(&step, "swiglu_backward"));
    px_assert_near(op_of(&step, "head")->flops, 2 * 3 * 100 * 8, 1e-12);
    config.full_finetune = true;
    config.lora_r = 0;
    px_card_train(&card, &config, &small, &one, true, 1000, &step);
    px_assert_near(op_of(&step, "linear_backward_weight")->flops, 2 * 2 * 10 * 576, 1e-12);
    px_config_fini(&config);
}

/* A ring of 4 moves 1.5 times the bytes; the mean of two steps is half of each. */
static void sums_and_means(void **state) {
    (void)state;
    px_card_step sum = {0}, a = {.n = 1, .ops = {{.name = "a", .calls = 2, .s = 3}}, .s = 3};
    const px_card_step b = {
        .n = 2, .ops = {{.name = "b", .calls = 4, .s = 5}, {.name = "a", .s = 1}}, .s = 6};
    px_assert_near(px_card_reduce_s(1.5e9, 4, 1e9), 1, 1e-12);
    px_assert_near(px_card_reduce_s(1.5e9, 1, 1e9), 0, 0);
    px_card_step_add(&sum, &a, 0.5);
    px_card_step_add(&sum, &b, 0.5);
    assert_int_equal(sum.n, 2);
    px_assert_near(op_of(&sum, "a")->s, 2, 1e-12);
    px_assert_near(op_of(&sum, "a")->calls, 1, 1e-12);
    px_assert_near(op_of(&sum, "b")->s, 2.5, 1e-12);
    px_assert_near(sum.s, 4.5, 1e-12);
}

static void data_sheets(void **state) {
    (void)state;
    static const char *const known[][2] = {{"NVIDIA H100 80GB HBM3", "h100"},
                                           {"NVIDIA H100 PCIe", "h100-pcie"},
                                           {"NVIDIA H100 NVL", "h100-nvl"},
                                           {"NVIDIA H200", "h200"},
                                           {"NVIDIA A100-SXM4-40GB", "a100-40g"},
                                           {"NVIDIA A100-SXM4-80GB", "a100"},
                                           {"NVIDIA L40S", "l40s"},
                                           {"NVIDIA L4", "l4"},
                                           {"NVIDIA GeForce RTX 4090", "rtx4090"}};
    px_card_rates card;
    char source[160];
    for (size_t i = 0; i < PX_COUNT(known); i++) {
        assert_true(px_card_sheet_like(known[i][0], &card));
        assert_string_equal(card.name, known[i][1]);
    }
    assert_false(px_card_sheet_like("NVIDIA H200 NVL", &card)); /* another power, no sheet here */
    assert_false(px_card_sheet_like("NVIDIA L40", &card));
    px_assert_ok(px_card_sheet("h100", &card));
    px_assert_near(card.bf16_peak, 989.4e12, 0);
    assert_true(card.bf16 < card.bf16_peak && card.memory < 3.35e12 && !card.measured);
    assert_non_null(strstr(px_card_source(&card, source), "data sheet of h100"));
    assert_non_null(strstr(source, "not measured"));
    px_assert_error(px_card_sheet("voodoo2", &card), PX_BAD_INPUT, "a100-40g");
    card = (px_card_rates){0};
    assert_non_null(strstr(px_card_source(&card, source), "--card NAME"));
}

static void rates_of_a_card_in_a_file(void **state) {
    (void)state;
    char path[256], *dir = temp_folder();
    px_rates rates, back;
    snprintf(path, sizeof path, "%s/rates.json", dir);
    px_assert_ok(px_rates_read("", &rates));
    assert_false(px_card_known(&rates.card));
    px_assert_ok(px_rates_write(path, &rates));
    px_assert_ok(px_rates_read(path, &back));
    assert_false(px_card_known(&back.card)); /* a machine without one */
    px_assert_ok(px_card_sheet("a100", &rates.card));
    snprintf(rates.card.device, sizeof rates.card.device, "cuda");
    px_assert_ok(px_rates_write(path, &rates));
    px_assert_ok(px_rates_read(path, &back));
    assert_true(back.card.measured);
    assert_string_equal(back.card.device, "cuda");
    px_assert_near(back.card.memory, rates.card.memory, 0);
    px_assert_near(back.card.replay_s, rates.card.replay_s, 0);
    rates.card.launch_s = 0;
    px_assert_ok(px_rates_write(path, &rates));
    px_assert_error(px_rates_read(path, &back), PX_BAD_INPUT, "launch_s is 0");
    temp_folder_end(dir);
}

/* Of one rank: the step's FLOPs over its time is the share of the peak. */
static void a_run_in_time(void **state) {
    (void)state;
    const char *const sets[] = {"device=cuda", "batch.slot_tokens=4096", "lora.r=8"};
    px_config config = config_of(sets, 3);
    px_plan_corpus corpus;
    px_rates rates;
    px_shape shape;
    px_plan plan, four, none;
    px_plan_place place = {.ranks = 1, .threads = 1, .machines = 1, .has_card = true};
    px_assert_ok(px_shape_like("llama-3.2-1b", &shape));
    px_assert_ok(px_rates_read("", &rates));
    px_assert_ok(px_plan_corpus_guess(&config, &corpus));
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &none));
    px_assert_near(none.step_s, 0, 0);
    px_assert_ok(px_card_sheet("h100", &place.card));
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &plan));
    px_assert_near(plan.peak_share * plan.step_s * 989.4e12, plan.step_flops, 1e-9);
    px_assert_near(plan.card_step.s, plan.step_s, 1e-9);
    assert_true(plan.peak_share > 0.05 && plan.peak_share < 0.7);
    px_assert_near(plan.card_hours * 3600, plan.total_s, 1e-9);
    place.ranks = 4;
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &four));
    /* 16 bytes a value, one and a half times, by NVLink. */
    px_assert_near(four.reduce_s, 1.5 * 16 * plan.trainables / place.card.link, 1e-9);
    assert_true(four.step_s < plan.step_s && four.pairs_s > plan.pairs_s);
    place.machines = 2;
    place.network = 1e9;
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &four));
    px_assert_near(four.reduce_s, 1.5 * 16 * plan.trainables / 1e9, 1e-9);
    /* What is computed again takes time and is of no use. */
    place.ranks = place.machines = 1;
    config.train_recompute = true;
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &four));
    assert_true(four.step_s > plan.step_s);
    px_assert_near(four.peak_share * four.step_s, plan.peak_share * plan.step_s, 1e-9);
    px_plan_corpus_free(&corpus);
    px_config_fini(&config);
}

static void generation_that_fits(void **state) {
    (void)state;
    static const struct {
        const char *set;
        double bytes;
        const char *says;
    } cases[] = {{"generate.cache_tokens=0", 24e9, "; generate.batch="},
                 {"generate.cache_tokens=0", 28e9, "; precision=q8_0 would fit; generate.batch="},
                 {"generate.cache_tokens=262144", 24e9, "; generate.cache_tokens="},
                 {"generate.cache_tokens=0", 12e9, "; precision=q4_1 with generate.batch="},
                 {"generate.cache_tokens=0", 4e9, "; a card with more memory, or a smaller model"}};
    px_shape shape;
    px_assert_ok(px_shape_like("llama-3.1-8b", &shape));
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        const char *const sets[] = {"device=cuda", "generate.batch=64", cases[i].set};
        px_config config = config_of(sets, 3);
        px_plan_place place = {.has_card = true, .card_bytes = cases[i].bytes, .model_name = "x"};
        px_plan_answers plan;
        px_plan_answers_make(PX_PLAN_GENERATE, &config, &shape, &place, 0, 0, &plan);
        const px_engine_card held =
            px_engine_card_of(&config, &shape, 64, config.generate_cache_tokens,
                              config.user_model == PX_USER_NONE ? 0 : config.user_tokens);
        assert_int_equal(plan.memory.peak, held.peak);
        assert_int_equal(held.peak, held.region + held.besides);
        px_assert_error(px_plan_answers_fit(&config, &shape, &place, &plan), PX_BAD_INPUT,
                        cases[i].says);
        /* The largest batch fits, and one more does not. */
        config.generate_batch = plan.batch_most + 1;
        px_plan_answers_make(PX_PLAN_GENERATE, &config, &shape, &place, 0, 0, &plan);
        assert_true((double)plan.memory.peak > place.card_bytes);
        config.generate_batch = plan.batch_most;
        if (plan.batch_most > 0) {
            px_plan_answers_make(PX_PLAN_GENERATE, &config, &shape, &place, 0, 0, &plan);
            px_assert_ok(px_plan_answers_fit(&config, &shape, &place, &plan));
        }
        px_config_fini(&config);
    }
    /* 8B at 64 answers of 2048: keys and values are 128 KB a position. */
    const char *const sets[] = {"device=cuda", "generate.batch=64"};
    px_config config = config_of(sets, 2);
    const px_plan_place place = {.has_card = true, .model_name = "x"};
    px_plan_answers plan;
    px_plan_answers_make(PX_PLAN_SERVE, &config, &shape, &place, 0, 0, &plan);
    px_assert_near((double)plan.memory.cache, 131072.0 * 64 * (2048 + 65.0), 1e-6);
    assert_int_equal(plan.positions, 2048);
    px_assert_near(plan.step_s, 0, 0); /* no rates */
    px_config_fini(&config);
}

static void scoring_that_fits(void **state) {
    (void)state;
    const char *const sets[] = {"device=cuda", "batch.slot_tokens=8192"};
    px_config config = config_of(sets, 2);
    px_shape shape;
    px_plan_answers plan;
    px_plan_place place = {.has_card = true, .card_bytes = 16.2e9, .model_name = "x"};
    px_assert_ok(px_shape_like("llama-3.1-8b", &shape));
    px_plan_answers_make(PX_PLAN_EVAL, &config, &shape, &place, 0, 900, &plan);
    const px_score_card held = px_score_card_of(&config, &shape, 900, true);
    assert_int_equal(plan.memory.region, held.region);
    assert_int_equal(plan.memory.cache, 0);
    px_assert_error(px_plan_answers_fit(&config, &shape, &place, &plan), PX_BAD_INPUT,
                    "eval needs");
    px_config_fini(&config);
}

static void the_simulated_card_is_measured(void **state) {
    (void)state;
    px_card_rates card;
    if (!px_backend_exists("simt")) skip();
    px_assert_ok(px_calibrate_card("simt", 64, &card));
    const double *const all[] = {&card.bf16_peak,      &card.bf16,     &card.f32,  &card.attention,
                                 &card.attention_back, &card.memory,   &card.host, &card.link,
                                 &card.launch_s,       &card.replay_s, &card.bytes};
    for (size_t i = 0; i < PX_COUNT(all); i++) assert_true(*all[i] > 0 && isfinite(*all[i]));
    assert_true(card.measured && px_card_known(&card));
    assert_string_equal(card.name, "simt");
    px_assert_error(px_calibrate_card("nothing", 64, &card), PX_BAD_INPUT, "nothing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_by_hand),
        cmocka_unit_test(training_by_hand),
        cmocka_unit_test(sums_and_means),
        cmocka_unit_test(data_sheets),
        cmocka_unit_test(rates_of_a_card_in_a_file),
        cmocka_unit_test(a_run_in_time),
        cmocka_unit_test(generation_that_fits),
        cmocka_unit_test(scoring_that_fits),
        cmocka_unit_test(the_simulated_card_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The plan against what it predicts: parameters and activations as the model really takes them,
 * units, tokens and steps as training really cuts them, FLOPs by hand, rates between widths, the
 * cache file. */
#include "files.h"
#include "plan.h"

static px_config config_of(const char *const *sets, int n) {
    px_config config;
    px_assert_ok(px_config_init(&config));
    for (int i = 0; i < n; i++) px_assert_ok(px_config_set(&config, sets[i]));
    return config;
}

static void counts_are_the_models(void **state) {
    (void)state;
    static const char *const ways[][3] = {
        {"user.model=none", "lora.r=8", "user.tokens=10"},
        {"user.model=bank", "lora.r=3", "user.bank=7"},
        {"user.model=individual", "lora.r=8", "user.tokens=4"},
        {"user.model=bank", "lora.r=0", "full_finetune=true"},
        {"lora.targets=[q_proj,down_proj]", "lora.r=5", "seed=1"}};
    px_shape shape;
    px_assert_ok(px_shape_like("tiny", &shape));
    for (int tied = 0; tied < 2; tied++)
        for (size_t i = 0; i < PX_COUNT(ways); i++) {
            px_params *params = NULL;
            px_config config = config_of(ways[i], 3);
            shape.tied = tied;
            px_assert_ok(px_params_new(&config, &shape, 9, &params));
            assert_int_equal(px_params_count(&config, &shape, 9), params->n);
            px_params_free(params);
            px_config_fini(&config);
        }
    px_assert_error(px_shape_like("large", &shape), PX_BAD_INPUT, "llama-3.1-8b");
}

/* A folder with a tiny model, and a corpus of invented people made with it. */
static char *dir, model_path[256], corpus_path[256];
static int set_up(void **state) {
    (void)state;
    char data[256];
    px_config config;
    const px_ranks alone = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL};
    dir = temp_folder();
    snprintf(model_path, sizeof model_path, "%s/tiny", dir);
    snprintf(corpus_path, sizeof corpus_path, "%s/c.h5", dir);
    snprintf(data, sizeof data, "%s/data", dir);
    px_assert_ok(px_model_init_random(model_path, "tiny", 1, 0));
    px_assert_ok(px_synth_write(&(px_synth){data, 6, 3, 5}));
    px_assert_ok(px_config_init(&config));
    px_assert_ok(
        px_prepare_all(&alone, &config, &(px_prepare){data, model_path, corpus_path, false}));
    px_config_fini(&config);
    return 0;
}
static int tear_down(void **state) {
    (void)state;
    temp_folder_end(dir);
    return 0;
}

static void activations_are_the_models(void **state) {
    (void)state;
    static const char *const sets[] = {"lora.r=6", "precision=f32"};
    for (int i = 0; i < 4; i++) {
        px_config config = config_of(sets, i / 2 + 1);
        const bool backward = i % 2;
        px_source *source = NULL;
        px_stream *s = NULL;
        px_model *model = NULL;
        px_pass *pass = NULL;
        int64_t bytes = 0;
        px_assert_ok(px_source_open(model_path, &source));
        px_assert_ok(px_stream_open("cpu", 1, &s));
        px_assert_ok(px_model_new(s, source, &config, PX_MODEL_TRAIN, &model));
        px_assert_ok(px_pass_new(model, 320, 320, 320, backward, &pass));
        px_assert_ok(px_pass_estimate(&config, px_source_shape(source), 320, backward, &bytes));
        assert_true(llabs(bytes - px_pass_bytes(pass)) < 8192); /* rounding to lines of 64 bytes */
        px_pass_free(pass);
        px_model_free(model);
        px_stream_close(s);
        px_source_close(source);
        px_config_fini(&config);
    }
}

/* Units, targets and rows against slots that training builds. */
static void work_is_trainings(void **state) {
    (void)state;
    static const char *const ways[][2] = {{"batch.unit=conversation", "batch.pairs=7"},
                                          {"batch.unit=pair", "batch.pairs=5"}};
    for (size_t way = 0; way < PX_COUNT(ways); way++) {
        px_config config = config_of(ways[way], 2);
        px_plan_corpus counted;
        px_corpus *corpus = NULL;
        px_arena *arena = NULL;
        px_epoch epoch;
        px_assert_ok(px_plan_corpus_read(corpus_path, &config, &counted));
        px_assert_ok(px_corpus_open(corpus_path, &corpus));
        px_assert_ok(px_arena_new(65536, &arena));
        px_assert_ok(px_epoch_plan(corpus, &config, 0, arena, &epoch));
        assert_int_equal(counted.n_units, epoch.n_units);
        assert_int_equal(counted.n_batches, epoch.n_batches);
        assert_int_equal(counted.all_pairs, corpus->n_pairs);
        for (int32_t u = 0; u < epoch.n_units; u++) {
            px_unit unit;
            px_work *work = NULL;
            const px_unit *const one[] = {&unit};
            const px_plan_unit *got = &counted.units[u];
            px_assert_ok(px_unit_build(corpus, epoch.pairs + epoch.first[u],
                                       epoch.first[u + 1] - epoch.first[u], -1, 0, arena, &unit));
            px_assert_ok(px_work_build(corpus, one, 1, NULL, arena, &work));
            const px_slot *slot = px_work_slot(work);
            assert_int_equal(got->nodes, slot->n);
            assert_int_equal(got->targets, slot->targets.n);
            assert_int_equal(got->wanted, slot->n_rows);
            int64_t visible = 0;
            for (int32_t i = 0; i < slot->n; i++) visible += slot->positions[i] + 1;
            assert_int_equal(got->visible, visible);
        }
        px_arena_free(arena);
        px_corpus_close(corpus);
        px_plan_corpus_free(&counted);
        px_config_fini(&config);
    }
}

static void terms_soft_tokens_and_ranks(void **state) {
    (void)state;
    static const char *const pooled[] = {"batch.pairs=9", "batch.slot_tokens=400"};
    static const char *const personal[] = {"batch.pairs=9", "batch.slot_tokens=400",
                                           "user.model=bank", "user.tokens=10", "loss.alpha=0.5"};
    px_config one = config_of(pooled, 2), two = config_of(personal, 5);
    px_plan_corpus corpus;
    px_plan_step a, b, c;
    px_arena *arena = NULL;
    px_assert_ok(px_arena_new(65536, &arena));
    px_assert_ok(px_plan_corpus_read(corpus_path, &one, &corpus));
    const int32_t units = corpus.batch_first[1] - corpus.batch_first[0];
    px_assert_ok(px_plan_batch(&corpus, &one, 0, 1, arena, &a));
    px_assert_ok(px_plan_batch(&corpus, &two, 0, 1, arena, &b));
    assert_int_equal(a.all.soft, 0);
    assert_int_equal(b.all.soft, 2 * units * 10);
    assert_int_equal(b.all.rows, 2 * a.all.rows + 2 * units * 10);
    assert_int_equal(b.all.targets, 2 * a.all.targets);
    assert_int_equal(a.all.rows, a.fullest.rows);
    px_assert_ok(px_plan_batch(&corpus, &two, 0, 3, arena, &c));
    assert_int_equal(c.all.rows, b.all.rows);
    assert_int_equal(c.n_slots, b.n_slots);
    assert_true(c.fullest.rows < b.fullest.rows && c.fullest.rows * 3 >= b.all.rows);
    two.loss_alpha = 1; /* the generic term has no weight: it is not computed */
    px_assert_ok(px_plan_batch(&corpus, &two, 0, 1, arena, &c));
    assert_int_equal(c.all.rows, a.all.rows + units * 10);
    px_plan_corpus_free(&corpus);
    px_arena_free(arena);
    px_config_fini(&one);
    px_config_fini(&two);
}

static void flops_by_hand(void **state) {
    (void)state;
    const char *const sets[] = {"lora.r=1", "lora.targets=[q_proj]"};
    px_config config = config_of(sets, 2);
    const px_shape shape = {.vocab = 100,
                            .d = 8,
                            .n_layers = 2,
                            .n_heads = 2,
                            .n_kv_heads = 1,
                            .head_dim = 4,
                            .ffn = 16,
                            .tied = true};
    const px_work_sum work = {.rows = 10, .wanted = 3, .visible = 55};
    const px_flops got = px_plan_flops(&config, &shape, &work);
    /* A layer: q 8x8, k and v 4x8, o 8x8, gate, up, down 16x8. */
    const double linear = 2.0 * 10 * 2 * (64 + 64 + 64 + 3 * 128), lora = 2.0 * 10 * 2 * (8 + 8);
    const double pairs = 55.0 * 8 * 2, head = 100.0 * 8 * 3;
    px_assert_near(got.forward, linear + lora + 4 * pairs + 2 * head, 1e-12);
    px_assert_near(got.backward, linear + 2 * lora + 10 * pairs + 2 * head, 1e-12);
    config.full_finetune = true;
    px_assert_near(px_plan_flops(&config, &shape, &work).backward - got.backward, linear + 4 * head,
                   1e-12);
    px_config_fini(&config);
}

/* What is measured of a start is in the prediction, to the last byte and second. */
static void starts_and_compiled_products_count(void **state) {
    (void)state;
    const char *const sets[] = {"batch.pairs=9"};
    px_config config = config_of(sets, 1);
    px_shape shape;
    px_plan_corpus corpus;
    px_rates rates;
    px_plan one, two;
    const px_plan_place place = {.ranks = 2, .threads = 1, .machines = 1};
    px_assert_ok(px_shape_like("tiny", &shape));
    px_assert_ok(px_plan_corpus_read(corpus_path, &config, &corpus));
    px_assert_ok(px_rates_read("", &rates));
    rates.efficiency = 1; /* two ranks on two cores: each as fast as one alone */
    rates.cores = 2;
    rates.n_reduce = 1;
    rates.reduce[0] = (px_reduce_rate){2, 1e-5, 1e9, 5e7, 0.25};
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &one));
    rates.compiled += 3e6;
    rates.compiled_full += 7e6; /* not of adapters */
    rates.reduce[0].start_s += 2;
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &two));
    px_assert_near(two.memory.peak - one.memory.peak, 3e6, 1e-6);
    px_assert_near(two.start_s - one.start_s, 2, 1e-6);
    rates.touch /= 3;
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &one));
    const px_plan_memory *m = &one.memory;
    const double touched = m->trainables + m->activations + m->scratch;
    assert_true(touched < PX_TOUCH_FIRST);
    px_assert_near(one.start_s - two.start_s, touched * 2 / (3 * rates.touch), 0.01);
    config.full_finetune = true;
    config.lora_r = 0;
    px_assert_ok(px_shape_like("smollm2-135m", &shape));
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &two));
    rates.touch_more /= 2;
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &one));
    const double more = m->trainables + m->activations + m->scratch - PX_TOUCH_FIRST;
    assert_true(more > 30 * PX_TOUCH_FIRST);
    px_assert_near(one.start_s - two.start_s, more / (2 * rates.touch_more), 0.01);
    px_assert_ok(px_shape_like("tiny", &shape));
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &one));
    rates.compiled_full += 7e6;
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &two));
    px_assert_near(two.memory.peak - one.memory.peak, 7e6, 1e-6);
    px_plan_corpus_free(&corpus);
    px_config_fini(&config);
}

static void rates_between_widths_and_in_a_file(void **state) {
    (void)state;
    px_rates rates, back;
    char path[256];
    px_assert_ok(px_rates_read("", &rates));
    assert_false(rates.measured);
    rates.n_rates = 2;
    rates.rates[1] = rates.rates[0];
    rates.rates[0].d = 64;
    rates.rates[0].forward = 1e10;
    rates.rates[1].d = 1024;
    rates.rates[1].forward = 3e10;
    px_assert_near(px_rate_at(&rates, 256, false).forward, 2e10, 1e-9); /* half way by logarithm */
    px_assert_near(px_rate_at(&rates, 8, false).forward, 1e10, 1e-12);
    px_assert_near(px_rate_at(&rates, 9000, true).forward, 3e10, 1e-12); /* f32 was not measured */
    rates.n_reduce = 1;
    rates.reduce[0] = (px_reduce_rate){3, 1e-5, 1e9, 5e7, 0.4};
    px_assert_near(px_plan_reduce_s(&rates, 3, 1e9), 1 + 1e-5, 1e-9);
    px_assert_near(px_plan_reduce_s(&rates, 1, 1e9), 0, 0);
    px_assert_near(px_plan_launch_s(&rates, 2), 0.4, 0);
    px_assert_near(px_plan_launch_s(&rates, 1), 0, 0);
    snprintf(path, sizeof path, "%s/deep/rates.json", dir);
    px_assert_ok(px_rates_write(path, &rates));
    px_assert_ok(px_rates_read(path, &back));
    assert_true(back.measured);
    assert_int_equal(back.n_rates, 2);
    px_assert_near(back.rates[1].forward, 3e10, 0);
    px_assert_near(back.reduce[0].program_bytes, 5e7, 0);
    px_assert_near(back.reduce[0].start_s, 0.4, 0);
    px_assert_near(back.touch, rates.touch, 0);
    px_assert_near(back.touch_more, rates.touch_more, 0);
    rates.disk = 0;
    px_assert_ok(px_rates_write(path, &rates));
    px_assert_error(px_rates_read(path, &back), PX_BAD_INPUT, "disk is 0");
    rates.disk = 1;
    snprintf(rates.machine, sizeof rates.machine, "another");
    px_assert_ok(px_rates_write(path, &rates));
    px_assert_error(px_rates_read(path, &back), PX_BAD_INPUT, "measured on another");
    px_assert_ok(px_file_write(path, "{", 1));
    px_assert_error(px_rates_read(path, &back), PX_BAD_INPUT, "rates.json");
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    static const char *const sets[] = {"batch.slot_tokens=16384"};
    px_config config = config_of(sets, 1);
    px_plan_corpus corpus;
    px_rates rates;
    px_shape shape;
    px_plan plan;
    px_plan_place place = {.ranks = 4,
                           .threads = 2,
                           .machines = 1,
                           .model_name = "x",
                           .memory_bytes = 1e12,
                           .disk_bytes = 1e12};
    px_assert_ok(px_shape_like("llama-3.1-8b", &shape));
    px_assert_ok(px_rates_read("", &rates));
    px_assert_ok(px_plan_corpus_guess(&config, &corpus));
    /* PRISM: P-RLHF reports about 5 pairs a conversation; splits leave four fifths of it. */
    assert_true(corpus.n_all > 6000 && corpus.n_all <= 8011 && corpus.n_pairs > 20000);
    px_assert_ok(px_plan_make(&config, &shape, &corpus, &rates, &place, &plan));
    px_assert_ok(px_plan_fits(&config, &shape, &corpus, &rates, &place, &plan));
    assert_true(plan.parameters > 8.0e9 && plan.parameters < 8.1e9);
    assert_true(plan.memory.weights > 2 * plan.parameters);
    place.memory_bytes = plan.memory.peak * 4 - 1e6;
    px_assert_error(px_plan_fits(&config, &shape, &corpus, &rates, &place, &plan), PX_BAD_INPUT,
                    "batch.slot_tokens=");
    place.memory_bytes = plan.memory.peak * 1.5;
    px_assert_error(px_plan_fits(&config, &shape, &corpus, &rates, &place, &plan), PX_BAD_INPUT,
                    "--ranks 1 with --threads 8");
    place.memory_bytes = 1e12;
    place.disk_bytes = 1e6;
    px_assert_error(px_plan_fits(&config, &shape, &corpus, &rates, &place, &plan), PX_BAD_INPUT,
                    "checkpoint.keep");
    px_plan_corpus_free(&corpus);
    px_config_fini(&config);
}

static void scaling_begins_at_one(void **state) {
    (void)state;
    px_config config = config_of(NULL, 0);
    px_plan_corpus corpus;
    px_rates rates;
    px_shape shape;
    px_arena *arena = NULL;
    px_plan_point *p = NULL;
    px_str text = {0};
    int n = 0;
    const px_plan_place place = {.ranks = 1, .threads = 1, .machines = 1};
    const px_plan_network network = {1, 16, 1e9, 1e-6};
    px_assert_ok(px_arena_new(65536, &arena));
    px_assert_ok(px_shape_like("smollm2-135m", &shape));
    px_assert_ok(px_rates_read("", &rates));
    px_assert_ok(px_plan_corpus_guess(&config, &corpus));
    px_assert_ok(px_plan_scale(&config, &shape, &corpus, &rates, &place, &network, arena, &p, &n));
    assert_int_equal(n, 10);
    for (int i = 0; i < n; i++) {
        assert_int_equal(p[i].ranks, 1 << i % 5);
        assert_int_equal(p[i].weak, i >= 5);
        assert_true(p[i].efficiency > 0 && p[i].efficiency < 1.3);
        assert_true(i % 5 == 0 || p[i].reduce_s > 0);
    }
    px_assert_near(p[0].efficiency, 1, 1e-12);
    px_assert_near(p[5].step_s, p[0].step_s, 1e-12);
    assert_true(p[9].pairs_per_s > p[4].pairs_per_s); /* weak keeps every rank busy */
    px_plan_scale_tsv(p, n, &network, &text);
    assert_non_null(strstr(text.data, "# a model, not a measurement"));
    px_str_clear(&text);
    px_plan_scale_svg(p, n, &network, &text);
    assert_non_null(strstr(text.data, "a model, not a measurement"));
    px_str_free(&text);
    px_plan_corpus_free(&corpus);
    px_arena_free(arena);
    px_config_fini(&config);
}

/* What a training reads of its corpus to reserve a GPU's memory is what the plan reads. */
static void card_sizes_are_trainings(void **state) {
    (void)state;
    static const char *const ways[][2] = {{"batch.unit=conversation", "batch.slot_tokens=150"},
                                          {"batch.unit=turn", "batch.slot_tokens=300"},
                                          {"batch.unit=pair", "user.model=none"}};
    for (size_t i = 0; i < PX_COUNT(ways); i++) {
        px_config config = config_of(ways[i], 2);
        px_plan_corpus planned;
        px_corpus *corpus = NULL;
        px_arena *arena = NULL;
        px_train_sizes all, large;
        px_assert_ok(px_plan_corpus_read(corpus_path, &config, &planned));
        px_assert_ok(px_corpus_open(corpus_path, &corpus));
        px_assert_ok(px_arena_new(65536, &arena));
        px_assert_ok(px_train_sizes_of(corpus, &config, 0, arena, &all));
        const px_train_sizes wanted = px_plan_sizes(&config, &planned);
        assert_memory_equal(&all, &wanted, sizeof all);
        assert_true(all.unit > 0 && all.unit <= all.conversation);
        /* What fits in a slot need not be looked at. */
        px_assert_ok(
            px_train_sizes_of(corpus, &config, config.batch_slot_tokens - all.soft, arena, &large));
        assert_int_equal(px_train_rows(&config, &large), px_train_rows(&config, &all));
        px_arena_free(arena);
        px_corpus_close(corpus);
        px_plan_corpus_free(&planned);
        px_config_fini(&config);
    }
}

/* Of 8B: each key by itself, or some together, as far as is needed. */
static void card_advice_fits(void **state) {
    (void)state;
    static const struct {
        double bytes;
        const char *says;
    } cases[] = {{28e9, "train.recompute=true with train.recompute_layers=6 would fit; "
                        "batch.slot_tokens=2048 would fit; "
                        "precision=q8_0 would fit"},
                 {20e9, "; train.recompute=true with train.recompute_layers=28 would fit"},
                 {15e9, "; train.recompute=true with precision=q8_0 would fit"},
                 {9.5e9, "; train.recompute=true and precision=q4_1 with batch.slot_tokens="},
                 {5e9, "; a card with more memory, or a smaller model"}};
    static const char *const sets[] = {"device=cuda", "batch.slot_tokens=4096", "lora.r=8"};
    const px_train_sizes sizes = {.unit = 300, .conversation = 900, .soft = 10, .n_users = 100};
    px_config config = config_of(sets, 3);
    px_shape shape;
    px_assert_ok(px_shape_like("llama-3.1-8b", &shape));
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_str advice = {0};
        px_train_card_advice(&config, &shape, &sizes, 1, cases[i].bytes, &advice);
        px_assert_ok(px_str_ok(&advice));
        if (!strstr(advice.data, cases[i].says)) fail_msg("%g: %s", cases[i].bytes, advice.data);
        px_str_free(&advice);
    }
    const px_train_card one = px_train_card_of(&config, &shape, &sizes, 1);
    assert_true(one.peak == one.region + one.besides);
    assert_true(px_train_card_of(&config, &shape, &sizes, 2).peak > one.peak); /* NCCL */
    px_config_fini(&config);
}

static int64_t reach_of(const px_stream *s) {
    px_memory_facts facts;
    assert_true(px_memory_facts_get(s, &facts));
    assert_int_equal(facts.n_taken, 1); /* the region: nothing lies beside it */
    return facts.reach;
}

/* A model and its passes take of a card just what the plan says, to the byte. */
static void card_is_the_models(void **state) {
    (void)state;
    static const char *const precisions[] = {"precision=f32", "precision=bf16", "precision=q8_0",
                                             "precision=q4_1"};
    static const int uses[] = {PX_MODEL_TRAIN, PX_MODEL_GENERATE};
    if (!px_backend_exists("simt")) skip();
    for (int i = 0; i < 8; i++) {
        const char *sets[] = {precisions[i / 2], i & 2 ? "train.recompute=true" : "lora.r=3"};
        const int use = uses[i % 2];
        px_config config = config_of(sets, 2);
        px_source *source = NULL;
        px_stream *s = NULL;
        px_model *model = NULL;
        px_pass *pass = NULL;
        px_assert_ok(px_source_open(model_path, &source));
        px_assert_ok(px_stream_open("simt", 1, &s));
        const px_model_card card = px_model_card_of(&config, px_source_shape(source), use, 1);
        const px_card_slot read = {.staged = card.staged, .steps = true};
        px_assert_ok(px_memory_reserve(s, (size_t)1 << 23, (size_t)px_card_scratch(&read)));
        int64_t before = reach_of(s);
        px_assert_ok(px_model_new(s, source, &config, use, &model));
        assert_int_equal(reach_of(s) - before, card.weights + card.positions);
        before = reach_of(s);
        px_assert_ok(px_pass_new(model, 77, 50, 50, use == PX_MODEL_TRAIN, &pass));
        assert_int_equal(reach_of(s) - before,
                         px_pass_card(&config, px_source_shape(source), 77, 50, use));
        px_pass_free(pass);
        px_model_free(model);
        px_stream_close(s);
        px_source_close(source);
        px_config_fini(&config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_the_models),
        cmocka_unit_test(activations_are_the_models),
        cmocka_unit_test(work_is_trainings),
        cmocka_unit_test(terms_soft_tokens_and_ranks),
        cmocka_unit_test(flops_by_hand),
        cmocka_unit_test(starts_and_compiled_products_count),
        cmocka_unit_test(rates_between_widths_and_in_a_file),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(scaling_begins_at_one),
        cmocka_unit_test(card_sizes_are_trainings),
        cmocka_unit_test(card_advice_fits),
        cmocka_unit_test(card_is_the_models),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

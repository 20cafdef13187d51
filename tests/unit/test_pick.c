/* test_pick.c - tokens chosen from what px_op_pick leaves of a row of logits: what it gives is what
 * ops.h says, and the token is that of px_choose over all of them, for every setting, with ties,
 * -inf, NaN and numbers as large as they get. */
#include "engine.h"
#include "px_test.h"

enum { VOCAB_MOST = 70001, ROWS = 3, N_ENDS = 2, N_IDS = 40 };

typedef enum {
    NORMAL,
    ROUNDED,
    EQUAL,
    FEW,
    HUGE_ONES,
    ZEROS,
    NONE,
    NO_NUMBERS,
    INFINITE,
    FLAT,
    KINDS
} kind;

static float logit_of(kind k, int row, int64_t v, int64_t vocab) {
    const px_rng rng = {11, PX_RNG_TEST};
    const uint64_t key = (uint64_t)(16 * row) + (uint64_t)k;
    const double z = px_rng_normal(rng, key, (uint64_t)v);
    switch (k) {
    case NORMAL:
        return (float)(3 * z);
    case ROUNDED:
        return (float)(floor(24 * z) / 8);
    case EQUAL:
        return 1.5F;
    case FEW:
        return v % 97 == 13 ? (float)z : -INFINITY;
    case HUGE_ONES:
        return (float)(z * 1.5e38);
    case ZEROS:
        return v % 3 ? 0.0F : -0.0F;
    case NONE:
        return v < vocab / 2 ? NAN : -INFINITY;
    case NO_NUMBERS:
        return v % 5 ? (float)z : NAN;
    case INFINITE:
        return v == vocab / 3 ? INFINITY : (float)z;
    default:
        return (float)(0.1 * z);
    }
}

/* Where the backend computes, as generation has them, or the host's. */
typedef struct {
    px_stream *s;
    float *there, *logits, *changed; /* [ROWS, VOCAB_MOST] */
    px_picked *picked;
    px_listed *lists; /* [ROWS, PX_PICK_LISTED] */
    px_candidate *room;
} bench;
static bench b;

static int open_bench(void **state) {
    (void)state;
    const size_t bytes = (size_t)ROWS * VOCAB_MOST * sizeof(float);
    px_assert_ok(px_stream_open(px_test_backend(), 1, &b.s));
    px_assert_ok(px_memory_new(b.s, bytes, (void **)&b.there));
    b.logits = malloc(bytes);
    b.changed = malloc(bytes);
    b.picked = malloc(ROWS * sizeof *b.picked);
    b.lists = malloc((size_t)ROWS * PX_PICK_LISTED * sizeof *b.lists);
    b.room = malloc(2 * (size_t)VOCAB_MOST * sizeof *b.room);
    return b.logits && b.changed && b.picked && b.lists && b.room ? 0 : -1;
}
static int close_bench(void **state) {
    (void)state;
    px_memory_free(b.s, b.there);
    px_stream_close(b.s);
    free(b.logits), free(b.changed), free(b.picked), free(b.lists), free(b.room);
    return 0;
}

/* Logits of a kind, picked as `how` says. */
static void pick(kind k, int64_t vocab, const px_picking *how) {
    const size_t bytes = (size_t)(ROWS * vocab) * sizeof(float);
    for (int row = 0; row < ROWS; row++)
        for (int64_t v = 0; v < vocab; v++) b.logits[row * vocab + v] = logit_of(k, row, v, vocab);
    px_memory_copy(b.s, b.there, b.logits, bytes);
    px_op_pick(b.s, px_mat_of(b.there, PX_F32, ROWS, vocab), how, b.picked, b.lists);
    px_memory_copy(b.s, b.changed, b.there, bytes);
    px_assert_ok(px_stream_ok(b.s));
}

/* --- what it gives --- */

static void check_row(kind k, int64_t vocab, int row, float temperature, int32_t listed) {
    const float *x = b.changed + row * vocab;
    const px_picked *got = &b.picked[row];
    const px_listed *list = b.lists + (int64_t)row * listed;
    float most = -INFINITY;
    int64_t best = -1, above = 0, numbers = 0;
    double sum = 0;
    for (int64_t v = 0; v < vocab; v++) most = x[v] > most ? x[v] : most;
    for (int64_t v = vocab - 1; v >= 0; v--) best = x[v] == most ? v : best;
    for (int64_t v = 0; v < vocab; v++) {
        const float by = (x[v] - most) / temperature;
        if (by >= PX_PICK_NEGLIGIBLE) sum += exp((double)by);
        above += x[v] > got->least;
        numbers += x[v] > -INFINITY;
    }
    if (got->most != most || got->best != PX_MAX(best, (int64_t)0))
        fail_msg("kind %d, %d tokens: %d of %g, not %d of %g", (int)k, (int)vocab, (int)got->best,
                 got->most, (int)best, most);
    px_assert_near(got->sum, sum, 1e-12);
    assert_true(got->n >= above && got->n <= listed);
    if (numbers <= listed) assert_int_equal(got->n, numbers);
    if (got->least == -INFINITY) assert_int_equal(got->n, numbers);
    /* Ties of some dozen at most: as many as were asked for, nearly. */
    if (k == NORMAL && numbers > listed) assert_true(got->n >= listed - listed / 4);
    for (int32_t i = 0; i < got->n; i++) {
        assert_true(list[i].logit == x[list[i].id] && list[i].logit >= got->least);
        assert_true(i == 0 || list[i].logit < list[i - 1].logit ||
                    (list[i].logit == list[i - 1].logit &&
                     (list[i].id > list[i - 1].id || list[i].logit == 0)));
    }
}

static void picks_are_the_largest(void **state) {
    (void)state;
    static const int64_t vocabs[] = {1, 5, 127, 129, 600, 2048, 2049, 5003, VOCAB_MOST};
    static const int32_t listed[] = {PX_PICK_LISTED, 1, 40};
    for (size_t i = 0; i < PX_COUNT(vocabs); i++)
        for (int k = 0; k < KINDS; k++) {
            const int32_t n = listed[(i + (size_t)k) % 3];
            px_pick rows[ROWS];
            for (int r = 0; r < ROWS; r++)
                rows[r] = (px_pick){.temperature = 0.5F + (float)r, .list = r, .sum = 1};
            if (vocabs[i] == VOCAB_MOST && px_test_is_slow() && k != NORMAL && k != ROUNDED)
                continue;
            pick((kind)k, vocabs[i], &(px_picking){rows, NULL, 0, ROWS, n});
            for (int r = 0; r < ROWS; r++) check_row((kind)k, vocabs[i], r, rows[r].temperature, n);
        }
}

/* Rows that want nothing beyond the largest, rows that want lists in another order. */
static void rows_have_what_they_want(void **state) {
    (void)state;
    const int32_t changes[] = {3, 700, 5, 9, 3};
    px_pick rows[ROWS] = {
        {.list = -1, .at = 5},
        {.temperature = 1, .penalty = 2, .list = 1, .n_penalised = 3, .n_banned = 2},
        {.temperature = 2, .list = 0, .sum = 1, .at = 5}};
    pick(NORMAL, 5003, &(px_picking){rows, changes, 5, 2, 16});
    for (int64_t i = 0; i < (int64_t)ROWS * 5003; i++) {
        float want = b.logits[i];
        if (i == 5003 + 700 || i == 5003 + 5) want = want < 0 ? want * 2 : want / 2;
        if (i == 5003 + 9 || i == 5003 + 3) want = -INFINITY;
        if (b.changed[i] != want) fail_msg("logit %d: %g, not %g", (int)i, b.changed[i], want);
    }
    assert_int_equal(b.picked[0].n, 0);
    assert_true(b.picked[0].least == INFINITY);
    assert_true(b.picked[1].n > 11 && b.picked[2].n > 11);
    assert_true(b.lists[16].logit == b.picked[1].most && b.lists[16].id == b.picked[1].best);
    assert_true(b.lists[0].logit == b.picked[2].most && b.picked[2].sum > 1);
}

/* --- what is chosen of it --- */

static const px_decoding hows[] = {
    {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
    {.temperature = 0.7, .top_p = 1, .repetition_penalty = 1},
    {.temperature = 1, .top_p = 0.9, .repetition_penalty = 1},
    {.temperature = 0.8, .top_k = 20, .top_p = 0.95, .repetition_penalty = 1},
    {.temperature = 3, .top_k = 7, .top_p = 1, .repetition_penalty = 1},
    {.temperature = 1, .top_k = 1000, .top_p = 1, .repetition_penalty = 1},
    {.temperature = 1.3, .min_p = 0.05, .top_p = 1, .repetition_penalty = 1},
    {.temperature = 1, .top_p = 0.8, .min_p = 0.1, .repetition_penalty = 1.3},
    {.temperature = 0.3, .top_p = 0.99, .repetition_penalty = 0.7, .no_repeat_ngram = 1},
    {.temperature = 0,
     .top_p = 1,
     .repetition_penalty = 1.5,
     .no_repeat_ngram = 2,
     .min_new_tokens = 9},
    {.temperature = 40, .top_p = 0.6, .min_p = 1e-20, .repetition_penalty = 1, .min_new_tokens = 9},
    {.temperature = 1, .top_k = 3, .top_p = 1, .min_p = 1, .repetition_penalty = 1},
    {.temperature = 0.01, .top_p = 0.5, .repetition_penalty = 1},
};

typedef struct {
    int64_t picked, after;
} tally;

/* The same token as px_choose's, of each row; draws [DRAWS] a row. */
static void check_choices(kind k, int64_t vocab, const px_decoding *how, tally *t) {
    enum { DRAWS = 12 };
    int32_t ids[N_IDS], distinct[N_IDS], changes[ROWS * PX_PICK_CHANGES];
    int32_t n_distinct = 0;
    const int32_t ends[N_ENDS] = {0, (int32_t)vocab - 1};
    px_pick rows[ROWS];
    px_picking picking = {rows, changes, 0, 0, 0};
    for (int i = 0; i < N_IDS; i++) {
        bool seen = false;
        ids[i] = (int32_t)((i * i) % 29 % vocab);
        for (int32_t j = 0; j < n_distinct; j++) seen = seen || distinct[j] == ids[i];
        if (!seen) distinct[n_distinct++] = ids[i];
    }
    px_choosing choice = {how, ids, N_IDS, 4, distinct, n_distinct, ends, N_ENDS, 0, NULL};
    for (int r = 0; r < ROWS; r++) {
        int32_t listed = 0;
        if (!px_pick_of(&choice, vocab, changes + picking.n_changes, PX_PICK_CHANGES, &rows[r],
                        &listed)) {
            assert_true(how->top_k > PX_PICK_LISTED);
            return;
        }
        rows[r].at = picking.n_changes;
        picking.n_changes += rows[r].n_penalised + rows[r].n_banned;
        if (rows[r].list >= 0) rows[r].list = picking.n_lists++;
        picking.listed = listed;
    }
    pick(k, vocab, &picking);
    for (int i = 0; i < ROWS * DRAWS; i++) {
        static float work[VOCAB_MOST];
        const int r = i % ROWS;
        const px_listed *list = b.lists + (int64_t)PX_MAX(rows[r].list, 0) * picking.listed;
        choice.key = (uint64_t)i;
        int32_t got = px_choose_picked(&b.picked[r], list, &choice, b.room);
        *(got < 0 ? &t->after : &t->picked) += 1;
        if (got < 0) got = px_choose_changed(b.changed + r * vocab, vocab, &choice, b.room);
        memcpy(work, b.logits + r * vocab, (size_t)vocab * sizeof *work);
        const int32_t want = px_choose(work, vocab, &choice, b.room);
        if (got != want)
            fail_msg("kind %d, %d tokens, temperature %g, top_k %d, top_p %g, min_p %g: %d, not %d",
                     (int)k, (int)vocab, how->temperature, (int)how->top_k, how->top_p, how->min_p,
                     (int)got, (int)want);
    }
}

static void choices_are_those_of_all_logits(void **state) {
    (void)state;
    static const int64_t vocabs[] = {2, 60, 517, 3001, 9973};
    const size_t n = px_test_is_checked() ? 4 : PX_COUNT(vocabs);
    tally all[KINDS] = {{0, 0}};
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < KINDS; k++)
            for (size_t h = 0; h < PX_COUNT(hows); h++)
                check_choices((kind)k, vocabs[i], &hows[h], &all[k]);
    for (int k = 0; k < KINDS; k++)
        print_message("kind %d: %d picked, %d by logits afterwards\n", k, (int)all[k].picked,
                      (int)all[k].after);
    /* Most do without logits where these are as a model's; none can where there are no numbers. */
    assert_true(all[NORMAL].after < all[NORMAL].picked / 8);
    assert_true(all[ROUNDED].after < all[ROUNDED].picked / 8);
    assert_true(all[NONE].after > 0 && all[FLAT].after > 0 && all[EQUAL].after > 0);
}

/* Where the others' part of the sum would decide, it is not guessed. */
static void borders_are_left_to_logits(void **state) {
    (void)state;
    const px_picked picked = {.sum = 4, .most = 0, .least = -1, .n = 2};
    const px_listed list[] = {{0, 0}, {1, -0.5F}};
    const double first = 1, both = first + (double)expf(-0.5F);
    px_decoding how = px_decoding_default();
    px_choosing c = {.how = &how};
    how.temperature = 1;
    how.top_p = 0.25;
    assert_int_equal(px_choose_picked(&picked, list, &c, b.room), -1);
    how.top_p = 0.25 * (1 - 1e-6);
    assert_int_equal(px_choose_picked(&picked, list, &c, b.room), 0);
    how.top_p = 0.25 * (1 + 1e-6);
    assert_true(px_choose_picked(&picked, list, &c, b.room) >= 0);
    how.top_p = 0.5;
    assert_int_equal(px_choose_picked(&picked, list, &c, b.room), -1);
    how.top_p = 1;
    for (c.key = 0; c.key < 200; c.key++) {
        const double u = 4 * px_rng_uniform((px_rng){how.seed, PX_RNG_GENERATE}, c.key, 0);
        const int32_t want = u < first ? 0 : u < both ? 1 : -1;
        assert_int_equal(px_choose_picked(&picked, list, &c, b.room), want);
    }
    how.min_p = 0.36; /* e^-1 is more */
    assert_int_equal(px_choose_picked(&picked, list, &c, b.room), -1);
    how.min_p = 0.37;
    assert_true(px_choose_picked(&picked, list, &c, b.room) >= 0);
    how.min_p = 0;
    how.top_k = 2;
    assert_true(px_choose_picked(&picked, list, &c, b.room) >= 0);
    how.top_k = 3;
    assert_int_equal(px_choose_picked(&picked, list, &c, b.room), -1);
}

/* More changes than there is room for, and what wants the logits themselves. */
static void some_want_all_logits(void **state) {
    (void)state;
    int32_t ids[] = {1, 2, 3, 2, 2}, changes[4], listed = 0;
    px_decoding how = px_decoding_default();
    px_choosing c = {.how = &how, .ids = ids, .n = 5, .distinct = ids, .n_distinct = 3};
    px_pick out;
    const px_mask mask = {0};
    how.repetition_penalty = 2;
    assert_true(px_pick_of(&c, 10, changes, 3, &out, &listed));
    assert_true(out.n_penalised == 3 && out.n_banned == 0 && out.list == -1 && listed == 0);
    assert_false(px_pick_of(&c, 10, changes, 2, &out, &listed));
    how.no_repeat_ngram = 1; /* each once, and not what the vocabulary does not have */
    how.repetition_penalty = 1;
    assert_false(px_pick_of(&c, 10, changes, 4, &out, &listed)); /* room for each time */
    assert_true(
        px_pick_of(&(px_choosing){.how = &how, .ids = ids, .n = 4}, 3, changes, 4, &out, &listed));
    assert_int_equal(out.n_banned, 2);
    how.no_repeat_ngram = 0;
    how.temperature = 1;
    assert_true(px_pick_of(&c, 10, changes, 4, &out, &listed));
    assert_true(out.list == 0 && out.sum && listed == PX_PICK_LISTED);
    how.top_k = 50;
    assert_true(px_pick_of(&c, 10, changes, 4, &out, &listed));
    assert_true(out.list == 0 && !out.sum && listed == 132);
    how.top_k = PX_PICK_LISTED + 1;
    assert_true(px_pick_of(&c, 10, changes, 4, &out, &listed));
    assert_false(px_pick_of(&c, 1000, changes, 4, &out, &listed));
    how.logprobs = 1;
    assert_false(px_pick_of(&c, 10, changes, 4, &out, &listed));
    how.logprobs = 0;
    c.mask = &mask;
    assert_false(px_pick_of(&c, 10, changes, 4, &out, &listed));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_are_the_largest),
        cmocka_unit_test(rows_have_what_they_want),
        cmocka_unit_test(choices_are_those_of_all_logits),
        cmocka_unit_test(borders_are_left_to_logits),
        cmocka_unit_test(some_want_all_logits),
    };
    return cmocka_run_group_tests(tests, open_bench, close_bench);
}

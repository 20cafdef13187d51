/* test_config.c - keys: defaults, files, options, refusals, what is printed; the committed
 * documentation and the configurations that come with the program. */
#include "px_test.h"

#include <dirent.h>
#include <unistd.h>

#include "config.h"

static px_config config;

static int fresh(void **state) {
    (void)state;
    px_assert_ok(px_config_init(&config));
    return 0;
}

static int gone(void **state) {
    (void)state;
    px_config_fini(&config);
    return 0;
}

static px_err *take(const char *text) {
    cJSON *json = NULL;
    px_err *err = px_json_parse(text, strlen(text), &json);
    if (!err) err = px_config_take(&config, json, "c.json");
    cJSON_Delete(json);
    return err;
}

static void defaults_are_the_tables(void **state) {
    (void)state;
    assert_int_equal(config.data_max_prompt_tokens, 470);
    assert_int_equal(config.data_max_tokens, 770);
    assert_true(config.data_split_unseen_users == 0.10 && config.data_split_seen_test == 0.10);
    assert_int_equal(config.data_split_seed, 123);
    assert_string_equal(config.model_path, "");
    assert_int_equal(config.precision, PX_PRECISION_BF16);
    assert_int_equal(config.lora_r, 8);
    assert_true(config.lora_alpha == 16 && config.lora_dropout == 0.05);
    assert_int_equal(config.lora_targets, 0x7F);
    assert_int_equal(config.user_model, PX_USER_NONE);
    assert_true(config.user_tokens == 10 && config.user_bank == 10);
    assert_true(config.optim_betas.n == 2 && config.optim_betas.v[0] == 0.9 &&
                config.optim_betas.v[1] == 0.999);
    assert_true(config.optim_lr == 5e-5 && config.optim_eps == 1e-8);
    assert_true(config.optim_user_lr == 0 && config.optim_max_grad_norm == 1);
    assert_int_equal(config.optim_schedule, PX_SCHEDULE_COSINE);
    assert_int_equal(config.optim_warmup_steps, 150);
    assert_int_equal(config.comm_reduce, PX_REDUCE_EXACT);
    assert_int_equal(config.batch_pairs, 32);
    assert_int_equal(config.seed, 123);
    assert_false(config.full_finetune);
    for (int i = 0; i < px_config_n_keys(); i++) assert_int_equal(config.given[i], 0);
    px_assert_ok(px_config_check(&config));
}

static int n_given(void) {
    int n = 0;
    for (int i = 0; i < px_config_n_keys(); i++) n += config.given[i];
    return n;
}

static void files_set_keys_nested_or_with_dots(void **state) {
    (void)state;
    px_assert_ok(
        take("{\"lora\":{\"r\":4,\"targets\":[\"v_proj\",\"q_proj\"]},\"optim.lr\":1e-3,"
             "\"data\":{\"split.seed\":7,\"split\":{\"seen_test\":0}},\"precision\":\"f32\","
             "\"full_finetune\":false,\"model.path\":\"\xC3\xA9/x\","
             "\"optim.betas\":[0,0.5]}"));
    assert_int_equal(config.lora_r, 4);
    assert_int_equal(config.lora_targets, 1 | 4);
    assert_true(config.optim_lr == 1e-3 && config.data_split_seen_test == 0);
    assert_int_equal(config.data_split_seed, 7);
    assert_int_equal(config.precision, PX_PRECISION_F32);
    assert_string_equal(config.model_path, "\xC3\xA9/x");
    assert_true(config.optim_betas.v[0] == 0 && config.optim_betas.v[1] == 0.5);
    assert_int_equal(n_given(), 9);
    px_assert_ok(take("{\"lora\":{\"r\":null,\"targets\":[]},\"model.path\":null}"));
    assert_int_equal(config.lora_r, 8);
    assert_int_equal(config.lora_targets, 0);
    assert_string_equal(config.model_path, "");
    assert_int_equal(n_given(), 7);
    px_assert_ok(take("{}"));
    px_assert_ok(take("{\"lora\":{}}"));
}

static void bad_keys_and_values_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"[]", "c.json: found a list, wanted an object"},
        {"{\"lora\":{\"rank\":8}}", "c.json: unknown key \"lora.rank\", did you mean \"lora.r\"?"},
        {"{\"lr\":1}", "unknown key \"lr\", did you mean \"optim.lr\"?"},
        {"{\"train\":{\"bta\":1}}", "unknown key \"train.bta\""},
        {"{\"optim.bta\":1}", "did you mean \"optim.betas\"?"},
        {"{\"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq\":1}", "docs/config.md lists them"},
        {"{\"\":1}", "unknown key \"\""},
        {"{\"lora\":{\"\":1}}", "unknown key \"lora.\""},
        {"{\"lora\":{\"r\":{\"x\":1}}}",
         "lora.r is an object, wanted a whole number from 0 to 1024"},
        {"{\"lora\":5}", "lora is a number, wanted an object with keys such as lora.r"},
        {"{\"lora.r\":-1}", "c.json: lora.r is -1, wanted a whole number from 0 to 1024"},
        {"{\"lora.r\":1025}", "lora.r is 1025"},
        {"{\"lora.r\":1.5}", "lora.r is 1.5"},
        {"{\"lora.r\":\"8\"}", "lora.r is \"8\", wanted a whole number"},
        {"{\"seed\":9007199254740994}",
         "seed is 9007199254740994, wanted a whole number from 0 to 2^53"},
        {"{\"loss.alpha\":1.01}", "loss.alpha is 1.01, wanted a number from 0 to 1"},
        {"{\"loss.alpha\":true}", "loss.alpha is true, wanted a number"},
        {"{\"loss.beta\":0}", "loss.beta is 0, wanted a number from 1e-06 to 1000"},
        {"{\"full_finetune\":1}", "full_finetune is 1, wanted true or false"},
        {"{\"model.path\":1}", "model.path is 1, wanted a string"},
        {"{\"precision\":\"fp16\"}", "precision is \"fp16\", wanted one of bf16, f32"},
        {"{\"precision\":0}", "precision is 0, wanted one of bf16, f32"},
        {"{\"precision\":\"bf16 f32\"}", "precision is \"bf16 f32\""},
        {"{\"precision\":\"\"}", "precision is \"\""},
        {"{\"lora.targets\":\"q_proj\"}",
         "lora.targets is \"q_proj\", wanted a list of some of q_proj"},
        {"{\"sim.endpoint\":\"http://h\"}", "sim.endpoint is \"http://h\", wanted an object"},
        {"{\"lora.targets\":[\"q\"]}", "lora.targets holds \"q\", wanted a list"},
        {"{\"lora.targets\":[1]}", "lora.targets holds 1"},
        {"{\"optim.betas\":[0.9]}",
         "optim.betas is a list, wanted a list of 2 numbers, each from 0"},
        {"{\"optim.betas\":[0.9,1]}", "optim.betas holds 1, wanted"},
        {"{\"optim.betas\":[0.9,0.9,0.9]}", "wanted a list of 2"},
        {"{\"seed\":1,\"seed\":2}", "seed is given twice"},
        {"{\"lora\":{\"r\":1},\"lora.r\":2}", "lora.r is given twice"},
    };
    for (size_t i = 0; i < PX_COUNT(bad); i++)
        px_assert_error(take(bad[i].text), PX_BAD_INPUT, bad[i].says);
}

static void options_take_json_or_bare_words(void **state) {
    (void)state;
    static const char *const good[] = {"lora.r=16",
                                       "lora.r=0",
                                       "precision=f32",
                                       "precision=\"bf16\"",
                                       "model.path=a b=c",
                                       "model.path=123",
                                       "optim.lr=1e-4",
                                       "full_finetune=true",
                                       "lora.targets=q_proj, o_proj",
                                       "lora.targets=[\"down_proj\"]",
                                       "lora.targets=[k_proj,v_proj]",
                                       "optim.betas=0.8,0.9",
                                       "optim.betas=[0.7, 0.95]",
                                       "sim.endpoint={\"url\": \"u\", \"max_usd\": 2}",
                                       "user={\"model\":\"bank\",\"tokens\":3}"};
    for (size_t i = 0; i < PX_COUNT(good); i++) px_assert_ok(px_config_set(&config, good[i]));
    assert_int_equal(config.lora_r, 0);
    assert_int_equal(config.precision, PX_PRECISION_BF16);
    assert_string_equal(config.model_path, "123");
    assert_string_equal(config.sim_endpoint, "{\"url\":\"u\",\"max_usd\":2}");
    assert_true(config.optim_lr == 1e-4 && config.full_finetune);
    assert_int_equal(config.lora_targets, 2 | 4);
    assert_true(config.optim_betas.v[0] == 0.7 && config.optim_betas.v[1] == 0.95);
    assert_true(config.user_model == PX_USER_BANK && config.user_tokens == 3);
    px_assert_ok(px_config_set(&config, "model.path=a=b"));
    assert_string_equal(config.model_path, "a=b");
    px_assert_ok(px_config_set(&config, "model.path="));
    assert_string_equal(config.model_path, "");
    px_assert_ok(px_config_set(&config, "lora.targets="));
    assert_int_equal(config.lora_targets, 0);
    px_assert_ok(px_config_set(&config, "lora.targets=null"));
    assert_int_equal(config.lora_targets, 0x7F);
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"lora.r", "--set lora.r: wanted key.path=value"},
        {"=3", "wanted key.path=value"},
        {"lora.r=", "--set: lora.r is \"\", wanted a whole number"},
        {"lora.r=x", "lora.r is \"x\""},
        {"lora.r=8 8", "lora.r is \"8 8\""},
        {"lora.q=8", "unknown key \"lora.q\", did you mean"},
        {"lora=8", "lora is a number, wanted an object"},
        {"full_finetune=yes", "full_finetune is \"yes\", wanted true or false"},
        {"lora.targets=q_proj,nope", "lora.targets holds \"nope\""},
        {"lora.targets=[", "lora.targets holds \"[\""},
        {"optim.betas=0.9", "wanted a list of 2 numbers"},
        {"optim.betas=0.9,x", "optim.betas holds \"x\""},
        {"optim.betas=nan,0.9", "optim.betas holds \"nan\""},
        {"optim.lr=nan", "optim.lr is \"nan\""},
        {"optim.lr=1e999", "optim.lr is \"1e999\""},
        {"precision=\"f32", "precision is \"\\\"f32\""},
    };
    for (size_t i = 0; i < PX_COUNT(bad); i++)
        px_assert_error(px_config_set(&config, bad[i].text), PX_BAD_INPUT, bad[i].says);
}

static void keys_are_checked_together(void **state) {
    (void)state;
    px_assert_ok(px_config_set(&config, "full_finetune=true"));
    px_assert_error(px_config_check(&config), PX_BAD_INPUT, "set lora.r to 0");
    px_assert_ok(px_config_set(&config, "lora.r=0"));
    px_assert_ok(px_config_check(&config));
    px_assert_ok(px_config_set(&config, "full_finetune=false"));
    px_assert_error(px_config_check(&config), PX_BAD_INPUT, "nothing to train");
    px_assert_ok(px_config_set(&config, "user.model=bank"));
    px_assert_ok(px_config_check(&config));
    px_assert_ok(px_config_set(&config, "lora={\"r\":8,\"targets\":[]}"));
    px_assert_error(px_config_check(&config), PX_BAD_INPUT, "lora.targets is empty");
    px_assert_ok(px_config_set(&config, "lora.targets=null"));
    px_assert_ok(px_config_set(&config, "data.split.unseen_users=1"));
    px_assert_error(px_config_check(&config), PX_BAD_INPUT, "data.split.unseen_users is 1");
    px_assert_ok(px_config_set(&config, "data.split.unseen_users=0"));
    px_assert_ok(px_config_set(&config, "loss.label_smoothing=0.1"));
    px_assert_ok(px_config_check(&config));
    px_assert_ok(px_config_set(&config, "loss.type=ipo"));
    px_assert_error(px_config_check(&config), PX_BAD_INPUT, "loss.type must be sigmoid or robust");
}

static void what_is_printed_reads_back_the_same(void **state) {
    (void)state;
    px_assert_ok(
        take("{\"optim.lr\":1.1e-5,\"lora.targets\":[\"up_proj\"],\"seed\":9007199254740992,"
             "\"model.path\":\"a\\\"b\",\"loss.type\":\"robust\",\"comm.timeout_s\":0.1}"));
    px_str first = {0}, second = {0};
    px_config_print(&config, &first);
    px_assert_ok(px_str_ok(&first));
    assert_non_null(strstr(first.data, "\"seed\": 9007199254740992"));
    assert_non_null(strstr(first.data, "\"split\": {\n      \"unseen_users\": 0.1,"));
    assert_non_null(strstr(first.data, "\"targets\": [\"up_proj\"]"));
    px_config again = config;
    px_assert_ok(px_config_init(&config));
    px_assert_ok(take(first.data));
    assert_int_equal(n_given(), px_config_n_keys());
    px_config_print(&config, &second);
    assert_string_equal(first.data, second.data);
    assert_null(px_config_differs(&again, &config));
    px_config_fini(&again);
    px_str_free(&first);
    px_str_free(&second);
}

static void differences_that_matter_are_found(void **state) {
    (void)state;
    static const struct {
        const char *set, *key;
    } cases[] = {{"threads=3", NULL},
                 {"checkpoint.every=7", NULL},
                 {"model.path=x", NULL},
                 {"log.tensorboard=true", NULL},
                 {"optim.betas=0.9,0.99", "optim.betas"},
                 {"lora.targets=q_proj", "lora.targets"},
                 {"precision=f32", "precision"},
                 {"data.strict=true", "data.strict"},
                 {"seed=1", "seed"},
                 {"optim.lr=6e-5", "optim.lr"},
                 {"train.steps=5", "train.steps"}};
    for (size_t i = 0; i < PX_COUNT(cases); i++) {
        px_config other;
        px_assert_ok(px_config_init(&other));
        px_assert_ok(px_config_set(&other, cases[i].set));
        const char *key = px_config_differs(&config, &other);
        if (cases[i].key)
            assert_string_equal(key, cases[i].key);
        else
            assert_null(key);
        px_config_fini(&other);
    }
    px_config other;
    px_assert_ok(px_config_init(&other));
    px_assert_ok(px_config_set(&config, "train.steps=5"));
    assert_null(px_config_differs(&config, &other)); /* grows to no limit */
    px_assert_ok(px_config_set(&other, "train.steps=6"));
    assert_null(px_config_differs(&config, &other));
    px_assert_ok(px_config_set(&other, "train.steps=4"));
    assert_string_equal(px_config_differs(&config, &other), "train.steps");
    px_config_fini(&other);
}

/* PX_UPDATE=1 writes docs/config.md anew. */
static void documentation_is_the_tables(void **state) {
    (void)state;
    static const char path[] = PX_SOURCE_DIR "/docs/config.md";
    px_str text = {0};
    px_bytes committed = {0};
    px_config_document(&text);
    px_assert_ok(px_str_ok(&text));
    if (getenv("PX_UPDATE")) px_assert_ok(px_file_write(path, text.data, text.size));
    px_assert_ok(px_file_read(path, &committed));
    if (committed.size != text.size || memcmp(committed.data, text.data, text.size) != 0)
        fail_msg("docs/config.md is not what the table says: PX_UPDATE=1 tests/unit/test_config");
    px_bytes_free(&committed);
    px_str_free(&text);
}

/* Files of configs/ itself; its folders hold other things than training configurations, as does
 * arms.json. */
static void configurations_that_come_along_load(void **state) {
    (void)state;
    static const char folder[] = PX_SOURCE_DIR "/configs";
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".json") != 0 || !strcmp(entry->d_name, "arms.json")) continue;
        char *path = px_path_join(folder, entry->d_name);
        px_config one;
        px_assert_ok(px_config_init(&one));
        px_assert_ok(px_config_read(&one, path));
        px_assert_ok(px_config_check(&one));
        const char *differs = px_config_differs(&config, &one);
        if (strcmp(entry->d_name, "dpft.json") == 0) assert_null(differs);
        if (strcmp(entry->d_name, "ppft.json") == 0) {
            assert_int_equal(one.user_model, PX_USER_BANK);
            one.user_model = PX_USER_NONE;
            assert_null(px_config_differs(&config, &one));
        }
        if (strcmp(entry->d_name, "p-rlhf.json") == 0) {
            assert_int_equal(one.lora_targets, 1 | 2 | 4);
            assert_int_equal(one.batch_pairs, 16);
            assert_int_equal(one.user_init, PX_INIT_REFERENCE);
        }
        px_config_fini(&one);
        free(path);
        n++;
    }
    closedir(dir);
    assert_true(n >= 3);
}

static void files_that_are_wrong_name_the_place(void **state) {
    (void)state;
    static const char path[] = "test_config.tmp.json";
    px_assert_ok(px_file_write(path, "{ // c\n \"seed\": 08 }", 20));
    px_assert_error(px_config_read(&config, path), PX_BAD_INPUT,
                    "test_config.tmp.json: line 2, column 10: a number may not start with 0");
    px_assert_ok(px_file_write(path, "{ // c\n \"sed\": 8 }", 18));
    px_assert_error(px_config_read(&config, path), PX_BAD_INPUT,
                    "test_config.tmp.json: unknown key \"sed\", did you mean \"seed\"?");
    unlink(path);
    px_assert_error(px_config_read(&config, path), PX_BAD_INPUT, "No such file");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_are_the_tables, fresh, gone),
        cmocka_unit_test_setup_teardown(files_set_keys_nested_or_with_dots, fresh, gone),
        cmocka_unit_test_setup_teardown(bad_keys_and_values_are_named, fresh, gone),
        cmocka_unit_test_setup_teardown(options_take_json_or_bare_words, fresh, gone),
        cmocka_unit_test_setup_teardown(keys_are_checked_together, fresh, gone),
        cmocka_unit_test_setup_teardown(what_is_printed_reads_back_the_same, fresh, gone),
        cmocka_unit_test_setup_teardown(differences_that_matter_are_found, fresh, gone),
        cmocka_unit_test_setup_teardown(documentation_is_the_tables, fresh, gone),
        cmocka_unit_test_setup_teardown(configurations_that_come_along_load, fresh, gone),
        cmocka_unit_test_setup_teardown(files_that_are_wrong_name_the_place, fresh, gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

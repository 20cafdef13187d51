/* test_job_run.c - what has to run and why, with a shell script in the program's place: keys,
 * reasons, failures, stops, --from, --only, the state files. */
#include "files.h"

#include <sys/stat.h>

#include "dist.h"
#include "job.h"

static char *folder;
static px_job job;

/* Stands for the program: notes its command line, makes what --out names, ends as $FATE says. */
static const char script[] =
    "#!/bin/bash\n"
    "echo \"$*\" >>calls\n"
    "echo \"said $1\"\n"
    "for word; do case $word in --out=*) out=${word#--out=} ;; esac; done\n"
    "case ${FATE-} in fail) echo 'error: it is broken' >&2; exit 2 ;; stop) exit 3 ;;\n"
    "nothing) exit 0 ;; kill) kill -9 $$ ;; esac\n"
    "case $1 in\n"
    "synth) mkdir -p \"$out\" && echo \"$*\" | sed 's/.*--seed=/seed /' >\"$out/data.txt\" ;;\n"
    "train) mkdir -p \"$out/checkpoints\"; echo '{\"params_sha256\": \"ab\"}' "
    ">\"$out/manifest.json\" ;;\n"
    "*) echo made >\"$out\"; echo made >\"${out%.h5}.json\"; echo made "
    ">\"${out%.h5}.report.json\" ;;\n"
    "esac\n";

static void put(const char *path, const char *text) {
    px_assert_ok(px_file_write(path, text, strlen(text)));
}

static int fresh(void **state) {
    (void)state;
    folder = temp_folder();
    assert_int_equal(chdir(folder), 0);
    put("program", script);
    assert_int_equal(chmod("program", 0755), 0);
    char *program = px_path_join(folder, "program");
    setenv("PRISMX_PROGRAM", program, 1);
    free(program);
    put("c.json", "{\"optim\": {\"lr\": 0.001}, \"threads\": 2}");
    put("model.gguf", "weights");
    return 0;
}

static int gone(void **state) {
    (void)state;
    px_job_free(&job);
    unsetenv("FATE");
    assert_int_equal(chdir("/"), 0);
    temp_folder_end(folder);
    return 0;
}

typedef struct {
    const char *seed, *lr, *threads;
} choice;

static void read_job(choice c) {
    px_str text = {0};
    px_str_format(&text,
                  "{\"steps\": {"
                  "\"data\": {\"command\": \"synth\", \"out\": \"data\", \"seed\": %s},"
                  "\"corpus\": {\"command\": \"prepare\", \"data\": \"data\", \"model\": "
                  "\"model.gguf\", \"out\": \"corpus.h5\", \"config\": \"c.json\"},"
                  "\"run\": {\"command\": \"train\", \"corpus\": \"corpus.h5\", \"model\": "
                  "\"model.gguf\", \"config\": \"c.json\", \"out\": \"run\", \"set\": "
                  "{\"optim.lr\": %s, \"threads\": %s}},"
                  "\"eval\": {\"command\": \"eval\", \"run\": \"run\", \"corpus\": \"corpus.h5\", "
                  "\"out\": \"eval.h5\"}}}",
                  c.seed, c.lr, c.threads);
    put("j.json", text.data);
    px_str_free(&text);
    px_job_free(&job);
    px_assert_ok(px_job_read("j.json", NULL, &job));
}

static const choice usual = {"1", "0.001", "1"};

/* Runs, and the steps that ran, "data corpus ". */
static px_err *run_with(px_job_run_options options, char ran[256]) {
    put("calls", "");
    px_err *err = px_job_run(&job, &options);
    px_bytes calls = {0};
    px_assert_ok(px_file_read("calls", &calls));
    ran[0] = 0;
    for (char *rest = calls.data, *line; (line = strsep(&rest, "\n"));)
        if (*line)
            snprintf(ran + strlen(ran), 256 - strlen(ran), "%.*s ", (int)strcspn(line, " "), line);
    px_bytes_free(&calls);
    return err;
}

static void expect_runs(const char *want) {
    char ran[256];
    px_assert_ok(run_with((px_job_run_options){0}, ran));
    assert_string_equal(ran, want);
}

static void expect_why(const char *step, const char *want) {
    px_str why = {0};
    int i = 0;
    px_assert_ok(px_job_find(&job, step, &i));
    px_assert_ok(px_job_why(&job, i, &why));
    assert_string_equal(why.data ? why.data : "", want);
    px_str_free(&why);
}

static px_step_state state_of(const char *step) {
    px_step_state out;
    int i = 0;
    px_assert_ok(px_job_find(&job, step, &i));
    px_assert_ok(px_job_state(&job, i, job.arena, &out));
    return out;
}

static void only_what_changed_runs_again(void **state) {
    (void)state;
    read_job(usual);
    expect_why("data", "never run");
    expect_runs("synth prepare train eval ");
    expect_runs("");
    expect_why("run", "");
    /* What cannot change results: threads, the file's time, the order and comments of a file. */
    read_job((choice){"1", "0.001", "4"});
    put("c.json", "{ // the same\n\"threads\": 7, \"optim.lr\": 1e-3}");
    put("model.gguf", "weights");
    expect_runs("");
    read_job((choice){"1", "0.002", "4"});
    expect_why("run", "optim.lr has changed (0.001 to 0.002)");
    expect_why("corpus", "");
    expect_runs("train "); /* its run has the same parameters: the evaluation stands */
    read_job((choice){"2", "0.002", "4"});
    expect_why("data", "option --seed has changed");
    expect_runs("synth prepare "); /* the corpus came out the same */
    put("model.gguf", "others");
    px_job_free(&job);
    px_assert_ok(px_job_read("j.json", NULL, &job));
    expect_why("corpus", "model.gguf has changed");
    expect_runs("prepare train ");
    assert_int_equal(unlink("runs/j/corpus.h5"), 0);
    expect_why("corpus", "corpus.h5 is missing");
    expect_why("eval", "corpus.h5 is not there");
    expect_runs("prepare ");
    put("runs/j/eval.json", "edited");
    expect_why("eval", "eval.json is not as the step left it");
}

static void a_key_that_is_the_default_is_no_change(void **state) {
    (void)state;
    put("c.json", "{}");
    read_job(usual);
    expect_runs("synth prepare train eval ");
    put("c.json", "{\"lora\": {\"r\": 8}}"); /* as it is anyway */
    expect_runs("");
    put("c.json", "{\"lora\": {\"r\": 4}}");
    expect_why("run", "lora.r has changed (4)");
    expect_why("corpus", ""); /* adapters are nothing to it */
    expect_runs("train ");
}

static void a_failed_step_leaves_what_is_finished(void **state) {
    (void)state;
    char ran[256];
    read_job(usual);
    setenv("FATE", "fail", 1);
    px_assert_error(run_with((px_job_run_options){.only = "data"}, ran), PX_BAD_INPUT,
                    "step data failed (exit 2)");
    px_assert_error(run_with((px_job_run_options){0}, ran), PX_BAD_INPUT, "error: it is broken");
    expect_why("data", "it failed the last time (exit 2)");
    assert_int_equal(state_of("data").status, PX_STEP_FAILED);
    assert_int_equal(state_of("data").starts, 2);
    unsetenv("FATE");
    px_assert_ok(run_with((px_job_run_options){.only = "data"}, ran));
    setenv("FATE", "stop", 1);
    px_assert_error(run_with((px_job_run_options){0}, ran), PX_STOPPED, "step corpus was stopped");
    assert_string_equal(ran, "prepare ");
    expect_why("corpus", "it was stopped");
    setenv("FATE", "kill", 1);
    px_assert_error(run_with((px_job_run_options){0}, ran), PX_RUN_FAILED, "exit 137");
    setenv("FATE", "nothing", 1);
    px_assert_error(run_with((px_job_run_options){0}, ran), PX_RUN_FAILED,
                    "corpus.h5 is not there");
    unsetenv("FATE");
    expect_runs("prepare train eval ");
}

static bool called_with(const char *word) {
    px_bytes calls = {0};
    px_assert_ok(px_file_read("calls", &calls));
    bool found = strstr(calls.data, word) != NULL;
    px_bytes_free(&calls);
    return found;
}

static void training_goes_on_or_begins_anew(void **state) {
    (void)state;
    char ran[256];
    read_job(usual);
    expect_runs("synth prepare train eval ");
    assert_false(called_with("--resume") || called_with("--overwrite"));
    read_job((choice){"1", "0.5", "1"});
    setenv("FATE", "stop", 1);
    px_assert_error(run_with((px_job_run_options){0}, ran), PX_STOPPED,
                    "its checkpoint is written");
    assert_true(called_with("--overwrite"));
    px_assert_error(run_with((px_job_run_options){0}, ran), PX_STOPPED, "step run was stopped");
    assert_true(called_with("--resume"));
    read_job((choice){"1", "0.25", "1"}); /* the stopped run was another */
    unsetenv("FATE");
    expect_runs("train ");
    assert_true(called_with("--overwrite"));
    /* A run that this job did not make is not touched. */
    px_assert_ok(px_dir_remove("runs/j/.steps"));
    px_assert_error(run_with((px_job_run_options){0}, ran), PX_BAD_INPUT,
                    "no record of having made");
    assert_string_equal(ran, "synth prepare ");
}

static void from_and_only_choose(void **state) {
    (void)state;
    char ran[256];
    read_job(usual);
    px_assert_ok(run_with((px_job_run_options){.dry_run = true}, ran));
    assert_string_equal(ran, "");
    assert_false(px_path_exists("runs"));
    px_assert_error(run_with((px_job_run_options){.only = "corpus"}, ran), PX_BAD_INPUT,
                    "step corpus needs data, which has to run before it: never run");
    px_assert_error(run_with((px_job_run_options){.only = "evil"}, ran), PX_BAD_INPUT,
                    "did you mean eval?");
    px_assert_error(run_with((px_job_run_options){.only = "eval", .from = "eval"}, ran),
                    PX_BAD_INPUT, "one of them");
    expect_runs("synth prepare train eval ");
    px_assert_ok(run_with((px_job_run_options){.from = "run"}, ran));
    assert_string_equal(ran, "train eval ");
    px_assert_ok(run_with((px_job_run_options){.from = "run", .dry_run = true}, ran));
    assert_string_equal(ran, "");
    px_assert_ok(run_with((px_job_run_options){.only = "eval"}, ran));
    assert_string_equal(ran, "");
}

static void a_damaged_state_is_as_none(void **state) {
    (void)state;
    read_job(usual);
    expect_runs("synth prepare train eval ");
    put("runs/j/.steps/eval.json", "{\"status\": \"do");
    expect_why("eval", "never run");
    put("runs/j/.steps/eval.json", "{\"status\": 3, \"parts\": [], \"files\": {\"a\": 1}}");
    expect_runs("eval ");
}

static void the_table_tells_where_a_job_stands(void **state) {
    (void)state;
    px_str text = {0};
    read_job(usual);
    expect_runs("synth prepare train eval ");
    put("runs/j/run/metrics.jsonl", "{\"step\": 1, \"loss\": 0.75, \"rewards/accuracies\": 0.5}\n"
                                    "{\"step\": 2, \"loss\": 0.5, \"rewards/accuracies\": 0.625}\n"
                                    "{\"step\": 3, \"lo");
    put("runs/j/run/manifest.json", "{\"params_sha256\": \"ab\", \"steps\": 8}");
    px_assert_ok(px_job_table(&job, false, &text));
    assert_non_null(strstr(text.data, "step 2/8  loss 0.5000  accuracy 0.625\n"));
    px_str_clear(&text);
    px_assert_ok(px_job_table(&job, true, &text));
    cJSON *json = NULL;
    px_assert_ok(px_json_parse(text.data, text.size, &json));
    const cJSON *steps = cJSON_GetObjectItem(json, "steps");
    assert_int_equal(cJSON_GetArraySize(steps), 4);
    assert_string_equal(px_json_find_text(cJSON_GetArrayItem(steps, 2), "status"), "done");
    assert_true(px_json_find_f64(cJSON_GetArrayItem(steps, 2), "done", 0) == 2);
    cJSON_Delete(json);
    px_str_free(&text);
}

static void a_capture_has_both_streams_and_the_code(void **state) {
    (void)state;
    const char *argv[] = {"/bin/sh", "-c", "echo out; echo err >&2; exit 7", NULL};
    const char *none[] = {"/nowhere/program", NULL};
    px_str text = {0};
    int code = 0;
    px_assert_ok(px_launch_capture(argv, &text, &code));
    assert_int_equal(code, 7);
    assert_string_equal(text.data, "out\nerr\n");
    px_assert_ok(px_launch_capture(none, &text, &code));
    assert_int_equal(code, 127);
    px_str_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_what_changed_runs_again, fresh, gone),
        cmocka_unit_test_setup_teardown(a_key_that_is_the_default_is_no_change, fresh, gone),
        cmocka_unit_test_setup_teardown(a_failed_step_leaves_what_is_finished, fresh, gone),
        cmocka_unit_test_setup_teardown(training_goes_on_or_begins_anew, fresh, gone),
        cmocka_unit_test_setup_teardown(from_and_only_choose, fresh, gone),
        cmocka_unit_test_setup_teardown(a_damaged_state_is_as_none, fresh, gone),
        cmocka_unit_test_setup_teardown(the_table_tells_where_a_job_stands, fresh, gone),
        cmocka_unit_test_setup_teardown(a_capture_has_both_streams_and_the_code, fresh, gone),
    };
    px_log_setup(0, PX_LOG_WARNING);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

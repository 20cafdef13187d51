/* test_job.c - job files: what is read out of them, who needs whom, what is refused and how it is
 * said; launchers; the lock. */
#include "files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "job.h"

static char *folder; /* the current folder of each test */
static px_job job;

static int fresh(void **state) {
    (void)state;
    folder = temp_folder();
    assert_int_equal(chdir(folder), 0);
    px_assert_ok(px_dir_make("jobs"));
    px_assert_ok(px_file_write("c.json", "{\"optim\": {\"lr\": 0.001}}", 24));
    px_assert_ok(px_dir_make("model"));
    return 0;
}

static int gone(void **state) {
    (void)state;
    px_job_free(&job);
    assert_int_equal(chdir("/"), 0);
    temp_folder_end(folder);
    return 0;
}

/* Single quotes stand for double ones. */
static px_err *take_with(const char *text, const px_job_given *given) {
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *at = copy; *at; at++)
        if (*at == '\'') *at = '"';
    px_assert_ok(px_file_write("jobs/try.json", copy, strlen(copy)));
    free(copy);
    px_job_free(&job);
    return px_job_read("jobs/try.json", given, &job);
}

static px_err *take(const char *text) { return take_with(text, NULL); }

static const px_job_step *step(const char *name) {
    int i = 0;
    px_assert_ok(px_job_find(&job, name, &i));
    return &job.steps[i];
}

static const char three[] =
    "{'steps': {"
    "'ppft': {'command': 'train', 'config': 'c.json', 'corpus': 'corpus.h5', 'model': 'model', "
    "'out': 'ppft', 'set': {'optim': {'lr': 5e-4, 'betas': [0.9, 0.95]}, 'train.steps': 3}},"
    "'data': {'command': 'synth', 'users': 8, 'out': 'data'}," /* behind who needs it */
    "'corpus': {'command': 'prepare', 'data': 'data', 'model': 'model', 'out': 'corpus.h5', "
    "'strict': true, 'cross-check': false}}}";

static void steps_are_put_in_the_order_of_their_files(void **state) {
    (void)state;
    px_assert_ok(take(three));
    assert_int_equal(job.n_steps, 3);
    assert_string_equal(job.steps[0].name, "data");
    assert_string_equal(job.steps[1].name, "corpus");
    assert_string_equal(job.steps[2].name, "ppft");
    assert_string_equal(job.name, "try");
    assert_int_equal(job.steps[1].n_needs, 1);
    assert_int_equal(job.steps[1].needs[0], 0);
    assert_int_equal(job.steps[2].n_needs, 1);
    assert_int_equal(job.steps[2].needs[0], 1);
    char *dir = px_path_join(folder, "runs/try");
    assert_string_equal(job.dir, dir);
    free(dir);
}

static void a_step_becomes_a_command_line(void **state) {
    (void)state;
    px_arena *arena = NULL;
    const char *const *words = NULL;
    char path[512];
    px_assert_ok(take(three));
    px_assert_ok(px_arena_new(4096, &arena));
    px_assert_ok(px_job_words(step("ppft"), "--resume", arena, &words));
    assert_string_equal(words[0], "train");
    snprintf(path, sizeof path, "--config=%s/c.json", folder);
    assert_string_equal(words[1], path);
    snprintf(path, sizeof path, "--corpus=%s/runs/try/corpus.h5", folder);
    assert_string_equal(words[2], path);
    snprintf(path, sizeof path, "--model=%s/model", folder);
    assert_string_equal(words[3], path);
    snprintf(path, sizeof path, "--out=%s/runs/try/ppft", folder);
    assert_string_equal(words[4], path);
    assert_string_equal(words[5], "--set=optim.lr=0.0005");
    assert_string_equal(words[6], "--set=optim.betas=[0.9,0.95]");
    assert_string_equal(words[7], "--set=train.steps=3");
    assert_string_equal(words[8], "--resume");
    assert_null(words[9]);
    px_assert_ok(px_job_words(step("corpus"), NULL, arena, &words));
    assert_string_equal(words[4], "--strict");
    assert_null(words[5]); /* a flag that is false is left out */
    px_arena_free(arena);
}

static void a_resolved_job_is_a_job(void **state) {
    (void)state;
    px_job again;
    px_str text = {0};
    px_assert_ok(take(three));
    px_json_print_pretty(job.json, &text);
    px_assert_ok(px_dir_make("elsewhere/deep"));
    px_assert_ok(px_file_write("elsewhere/deep/job.json", text.data, text.size));
    px_str_free(&text);
    assert_int_equal(chdir("/"), 0); /* its paths do not hang on the current folder */
    char *dir = px_path_join(folder, "elsewhere/deep");
    px_assert_ok(px_job_read(dir, NULL, &again));
    assert_int_equal(again.n_steps, 3);
    assert_string_equal(again.dir, dir);
    assert_string_equal(again.name, "try");
    assert_string_equal(again.steps[2].inputs[1].path, job.steps[2].inputs[1].path);
    assert_int_equal(again.steps[2].inputs[0].made_by, 1);
    free(dir);
    px_job_free(&again);
}

static void vars_are_put_in(void **state) {
    (void)state;
    static const char text[] = "{'vars': {'n': 8, 'where': null}, 'steps': {'a': {'command': "
                               "'synth', 'users': '${n}', 'out': '${where}/x-${n}'}}}";
    const char *vars[] = {"where=there", "n=12"}, *wrong[] = {"were=x"}, *none[] = {"n"};
    px_job_given given = {.vars = vars, .n_vars = 1};
    px_assert_ok(take_with(text, &given));
    assert_string_equal(job.steps[0].options[0].value, "8");
    assert_string_equal(job.steps[0].options[1].given, "there/x-8");
    given.n_vars = 2;
    px_assert_ok(take_with(text, &given));
    assert_string_equal(job.steps[0].options[1].given, "there/x-12");
    px_assert_error(take(text), PX_BAD_INPUT, "${where} has no value: --var where=");
    given = (px_job_given){.vars = wrong, .n_vars = 1};
    px_assert_error(take_with(text, &given), PX_BAD_INPUT, "--var were");
    given.vars = none;
    px_assert_error(take_with(text, &given), PX_BAD_INPUT, "NAME=VALUE");
    px_assert_error(take("{'vars': {'nn': 1}, 'steps': {'a': {'command': 'synth', 'users': '${n}', "
                         "'out': 'x'}}}"),
                    PX_BAD_INPUT, "did you mean ${nn}?");
}

static void resources_come_from_step_job_and_command_line(void **state) {
    (void)state;
    static const char text[] =
        "{'ranks': 2, 'threads': 3, 'steps': {"
        "'data': {'command': 'synth', 'out': 'data', 'ranks': 9},"
        "'a': {'command': 'prepare', 'data': 'data', 'model': 'model', 'out': 'a.h5', 'ranks': 4, "
        "'time': '2:00:00', 'memory': '8G', 'gpus': 1, 'env': {'A': 1, 'B': 'x'}},"
        "'b': {'command': 'prepare', 'data': 'data', 'model': 'model', 'out': 'b.h5'}}}";
    px_job_given given = {.ranks = 5, .threads = 1};
    px_assert_ok(take(text));
    assert_int_equal(step("data")->ranks, 1); /* it takes none */
    assert_int_equal(step("a")->ranks, 4);
    assert_int_equal(step("b")->ranks, 2);
    assert_int_equal(step("b")->threads, 3);
    assert_string_equal(step("a")->time, "2:00:00");
    assert_string_equal(step("a")->memory, "8G");
    assert_int_equal(step("a")->gpus, 1);
    assert_string_equal(step("a")->env[0], "A=1");
    assert_string_equal(step("a")->env[1], "B=x");
    assert_null(step("a")->env[2]);
    px_assert_ok(take_with(text, &given));
    assert_int_equal(step("data")->ranks, 1);
    assert_int_equal(step("a")->ranks, 5);
    assert_int_equal(step("a")->threads, 1);
}

static void inline_files_name_their_inputs(void **state) {
    (void)state;
    px_assert_ok(px_file_write("p.jsonl", "", 0));
    px_assert_ok(take(
        "{'steps': {'run': {'command': 'train', 'config': 'c.json', 'corpus': 'p.jsonl', 'model': "
        "'model', 'out': 'ppft'},"
        "'ask': {'command': 'generate', 'prompts': 'p.jsonl', 'out': 'a.jsonl', 'arms': [{'name': "
        "'base', 'model': 'model'}, {'name': 'ppft', 'run': 'ppft'}]}}}"));
    const px_job_step *ask = step("ask");
    assert_int_equal(ask->n_needs, 1);
    assert_int_equal(ask->n_inputs, 3);
    const px_job_option *arms = &ask->options[2];
    assert_int_equal(arms->kind, PX_JOB_MADE);
    assert_non_null(strstr(arms->value, "/.steps/ask.arms.json"));
    assert_non_null(strstr(arms->content, "/runs/try/ppft\""));
    cJSON *json = NULL;
    px_assert_ok(px_json_parse(arms->content, strlen(arms->content), &json));
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "arms")), 2);
    cJSON_Delete(json);
}

static void what_a_command_writes_beside_its_output_is_found(void **state) {
    (void)state;
    px_assert_ok(px_file_write("a.jsonl", "", 0));
    px_assert_ok(
        take("{'steps': {'t': {'command': 'traits', 'answers': 'a.jsonl', 'out': 'x/traits.jsonl'},"
             "'d': {'command': 'synth', 'out': 'data'},"
             "'r': {'command': 'report', 'out': 'r.html', 'traits': 'x/traits.summary.json', "
             "'truth': 'data/truth.json', 'args': ['model']}}}"));
    assert_int_equal(step("r")->n_needs, 2);
    assert_string_equal(step("r")->inputs[step("r")->n_inputs - 1].given, "data/truth.json");
}

static void wrong_jobs_are_refused_with_the_nearest_name(void **state) {
    (void)state;
#define STEP(text) "{'steps': {'a': {'command': 'synth', 'out': 'x'}, 'b': " text "}}"
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"[1]", "an object with \"steps\""},
        {"{'step': {}}", "did you mean \"steps\"?"},
        {"{'steps': {}}", "\"steps\" is empty"},
        {"{'steps': 3}", "\"steps\" is a number"},
        {"{'name': 'a/b', 'steps': {'a': {'command': 'synth', 'out': 'x'}}}", "a folder's name"},
        {STEP("3"), "step b: is a number"},
        {STEP("{'out': 'y'}"), "command"},
        {STEP("{'command': 'trian', 'out': 'y'}"), "did you mean train?"},
        {STEP("{'command': 'serve'}"), "no command \"serve\""},
        {STEP("{'command': 'synth', 'user': 3, 'out': 'y'}"),
         "did you mean users?; accepted: out, "},
        {STEP("{'command': 'synth', 'users': {}, 'out': 'y'}"), "\"users\" is an object"},
        {STEP("{'command': 'synth', 'users': true, 'out': 'y'}"), "a text or a number"},
        {STEP("{'command': 'synth', 'out': ''}"), "\"out\" is empty"},
        {STEP("{'command': 'synth', 'out': ['y', 'z']}"), "\"out\" is a list"},
        {STEP("{'command': 'synth', 'out': '.'}"), "may not be the job folder"},
        {STEP("{'command': 'synth', 'out': '..'}"), "may not be the job folder"},
        {STEP("{'command': 'synth', 'out': 'y/../x'}"), "steps a and b both write"},
        {STEP("{'command': 'synth', 'out': 'y', 'needs': 'a'}"), "\"needs\" is a string"},
        {STEP("{'command': 'synth', 'out': 'y', 'needs': ['aa']}"), "did you mean a?"},
        {STEP("{'command': 'synth', 'out': 'y', 'needs': ['b']}"), "b needs b"},
        {STEP("{'command': 'synth', 'out': 'y', 'ranks': 0}"), "ranks"},
        {STEP("{'command': 'synth', 'out': 'y', 'env': 3}"), "\"env\" is a number"},
        {STEP("{'command': 'prepare', 'data': 'y', 'model': 'model', 'out': 'y.h5'}"),
         "\"data\": no step makes y, and it is not there: looked for"},
        {STEP("{'command': 'prepare', 'data': 'x', 'model': 'model', 'strict': 1, 'out': 'y.h5'}"),
         "\"strict\" is a flag"},
        {STEP("{'command': 'prepare', 'data': 'x', 'model': 'model', 'out': 'y.h5', 'set': "
              "{'data.max_token': 3}}"),
         "data.max_tokens"},
        {STEP("{'command': 'train', 'config': 'd.json', 'corpus': 'x', 'model': 'model', 'out': "
              "'y'}"),
         "\"config\": no step makes d.json"},
        {"{'steps': {'a b': {'command': 'synth', 'out': 'x'}}}", "letters, digits"},
        {"{'steps': {'a': {'command': 'export', 'run': 'y/r', 'out': 'x'}, 'b': {'command': "
         "'export', 'run': 'x/r', 'out': 'y'}}}",
         "a needs b needs a"},
    };
    for (size_t i = 0; i < PX_COUNT(cases); i++)
        px_assert_error(take(cases[i].text), PX_BAD_INPUT, cases[i].part);
    px_assert_error(px_job_read("nowhere.json", NULL, &job), PX_BAD_INPUT, "nowhere.json");
    px_assert_error(px_job_read("model", NULL, &job), PX_BAD_INPUT, "no job folder");
    px_assert_error(take("{'steps': {'a': {'command': 'synth', 'out': 'x'}, 'a': {'command': "
                         "'synth', 'out': 'y'}}}"),
                    PX_BAD_INPUT, "a");
}

static void the_launcher_fits_the_place(void **state) {
    (void)state;
    px_arena *arena = NULL;
    const char *const *words = NULL;
    char *path = getenv("PATH") ? strdup(getenv("PATH")) : NULL;
    px_assert_ok(px_arena_new(4096, &arena));
    unsetenv("PRISMX_LAUNCHER");
    unsetenv("SLURM_JOB_NUM_NODES");
    px_assert_ok(px_file_write("mpirun", "", 0));
    px_assert_ok(px_file_write("srun", "", 0));
    assert_int_equal(chmod("mpirun", 0755) | chmod("srun", 0755), 0);
    setenv("PATH", folder, 1);
    px_assert_ok(px_launch_words(1, arena, &words));
    assert_null(words[0]);
    px_assert_ok(px_launch_words(3, arena, &words));
    assert_string_equal(words[0], "mpirun");
    assert_string_equal(words[1], "-n");
    assert_string_equal(words[2], "3");
    assert_null(words[3]);
    setenv("SLURM_JOB_NUM_NODES", "1", 1);
    px_assert_ok(px_launch_words(3, arena, &words));
    assert_string_equal(words[0], "mpirun");
    setenv("SLURM_JOB_NUM_NODES", "2", 1);
    px_assert_ok(px_launch_words(3, arena, &words));
    assert_string_equal(words[0], "srun");
    assert_string_equal(words[1], "--mpi=pmix");
    assert_string_equal(words[3], "3");
    setenv("PRISMX_LAUNCHER", "mpirun  --map-by core", 1);
    px_assert_ok(px_launch_words(2, arena, &words));
    assert_string_equal(words[2], "core");
    assert_string_equal(words[3], "-n");
    setenv("PRISMX_LAUNCHER", "mpiexec.other", 1);
    px_assert_error(px_launch_words(2, arena, &words), PX_BAD_INPUT,
                    "mpiexec.other is not on PATH");
    unsetenv("PRISMX_LAUNCHER");
    unsetenv("SLURM_JOB_NUM_NODES");
    if (path) setenv("PATH", path, 1);
    free(path);
    px_arena_free(arena);
}

static void write_holder(const char *host, int pid, const char *slurm, int restart) {
    px_str text = {0};
    px_str_format(&text,
                  "{\"host\": \"%s\", \"pid\": %d, \"start\": 5, \"since\": 1700000000, "
                  "\"slurm_job\": \"%s\", \"restart\": %d}\n",
                  host, pid, slurm, restart);
    px_assert_ok(px_file_write("lock", text.data, text.size));
    px_str_free(&text);
}

static void a_lock_has_one_holder_and_names_it(void **state) {
    (void)state;
    px_job_lock one = PX_JOB_UNLOCKED, two = PX_JOB_UNLOCKED;
    char pid[64];
    snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    setenv("SLURM_JOB_ID", "77", 1);
    setenv("SLURM_RESTART_COUNT", "2", 1);
    px_assert_ok(px_job_lock_take("lock", "the job folder x", false, 0, &one));
    px_assert_error(px_job_lock_take("lock", "the job folder x", false, 0, &two), PX_BAD_INPUT,
                    pid);
    px_assert_error(px_job_lock_take("lock", "the job folder x", false, 0, &two), PX_BAD_INPUT,
                    "Slurm job 77, restart 2");
    px_job_lock_drop(&two); /* not held: nothing happens */
    px_job_lock_drop(&one);
    px_assert_ok(px_job_lock_take("lock", "the job folder x", false, 0, &two));
    px_job_lock_drop(&two);
    px_assert_error(px_job_lock_take("nowhere/lock", "x", false, 0, &one), PX_BAD_INPUT,
                    "nowhere/lock");
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");
}

static void a_dead_holder_is_passed_over(void **state) {
    (void)state;
    px_job_lock lock = PX_JOB_UNLOCKED;
    char host[256] = "";
    char *path = getenv("PATH") ? strdup(getenv("PATH")) : NULL;
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    write_holder(host, getpid(), "", 0); /* this pid, but another process's start */
    px_assert_ok(px_job_lock_take("lock", "x", false, 0, &lock));
    px_job_lock_drop(&lock);
    /* On another machine nobody can see it: it counts as alive, unless its Slurm job is over. */
    write_holder("far.away", 1, "", 0);
    px_assert_error(px_job_lock_take("lock", "x", false, 0, &lock), PX_BAD_INPUT, "far.away");
    write_holder("far.away", 1, "81", 0);
    setenv("PATH", folder, 1); /* no squeue there */
    px_assert_error(px_job_lock_take("lock", "x", false, 0, &lock), PX_BAD_INPUT, "Slurm job 81");
    setenv("SLURM_JOB_ID", "81", 1); /* it has been started again, here */
    px_assert_error(px_job_lock_take("lock", "x", false, 0, &lock), PX_BAD_INPUT, "Slurm job 81");
    setenv("SLURM_RESTART_COUNT", "1", 1);
    px_assert_ok(px_job_lock_take("lock", "x", false, 0, &lock));
    px_job_lock_drop(&lock);
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");
    static const char *const says[] = {"echo RUNNING", "echo PENDING", "exit 0",
                                       "echo Invalid job id specified >&2; exit 1",
                                       "echo cannot reach the controller; exit 1"};
    for (size_t i = 0; i < PX_COUNT(says); i++) {
        char script[256];
        snprintf(script, sizeof script, "#!/bin/sh\n%s\n", says[i]);
        px_assert_ok(px_file_write("squeue", script, strlen(script)));
        assert_int_equal(chmod("squeue", 0755), 0);
        write_holder("far.away", 1, "82", 0);
        px_err *err = px_job_lock_take("lock", "x", false, 0, &lock);
        bool taken = i >= 1 && i <= 3;
        if ((err == NULL) != taken) fail_msg("squeue says %s", says[i]);
        px_err_free(err);
        px_job_lock_drop(&lock);
    }
    if (path) setenv("PATH", path, 1);
    free(path);
}

static void a_torn_lock_file_locks_nobody_out(void **state) {
    (void)state;
    px_job_lock lock = PX_JOB_UNLOCKED;
    static const char *const texts[] = {"", "{\"host\": \"far", "[]", "null\n", "{\"pid\": -3}"};
    for (size_t i = 0; i < PX_COUNT(texts); i++) {
        px_assert_ok(px_file_write("lock", texts[i], strlen(texts[i])));
        px_assert_ok(px_job_lock_take("lock", "x", false, 0, &lock));
        px_job_lock_drop(&lock);
    }
    int fd = open("lock", O_RDWR); /* held, and nothing is written yet */
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    px_assert_error(px_job_lock_take("lock", "x", false, 0, &lock), PX_BAD_INPUT, "lock is locked");
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(steps_are_put_in_the_order_of_their_files, fresh, gone),
        cmocka_unit_test_setup_teardown(a_step_becomes_a_command_line, fresh, gone),
        cmocka_unit_test_setup_teardown(a_resolved_job_is_a_job, fresh, gone),
        cmocka_unit_test_setup_teardown(vars_are_put_in, fresh, gone),
        cmocka_unit_test_setup_teardown(resources_come_from_step_job_and_command_line, fresh, gone),
        cmocka_unit_test_setup_teardown(inline_files_name_their_inputs, fresh, gone),
        cmocka_unit_test_setup_teardown(what_a_command_writes_beside_its_output_is_found, fresh,
                                        gone),
        cmocka_unit_test_setup_teardown(wrong_jobs_are_refused_with_the_nearest_name, fresh, gone),
        cmocka_unit_test_setup_teardown(the_launcher_fits_the_place, fresh, gone),
        cmocka_unit_test_setup_teardown(a_lock_has_one_holder_and_names_it, fresh, gone),
        cmocka_unit_test_setup_teardown(a_dead_holder_is_passed_over, fresh, gone),
        cmocka_unit_test_setup_teardown(a_torn_lock_file_locks_nobody_out, fresh, gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_owner.c - who may write a run folder: taken, refused, taken over from the dead, lost; names
 * of temporary files; starts that come to nothing. */
#include "px_test.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard.h"
#include "io.h"
#include "owner.h"

static const px_ranks alone = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL};
static const char dir[] = "test_owner.tmp", file[] = "test_owner.tmp/owner.json";

static int fresh(void **state) {
    (void)state;
    px_assert_ok(px_dir_remove(dir));
    px_assert_ok(px_dir_make("test_owner.tmp/checkpoints"));
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");
    return 0;
}

static int gone(void **state) {
    (void)state;
    px_assert_ok(px_dir_remove(dir));
    return 0;
}

/* owner.json with one value changed; number: without quotes. */
static void change(const char *key, const char *value, bool number) {
    cJSON *json = NULL;
    px_str text = {0};
    px_assert_ok(px_json_read(file, false, &json));
    cJSON_ReplaceItemInObject(
        json, key, number ? cJSON_CreateNumber(strtod(value, NULL)) : cJSON_CreateString(value));
    px_json_print(json, &text);
    FILE *out = fopen(file, "w"); /* not px_file_write: another process does this */
    assert_non_null(out);
    fputs(text.data, out);
    fclose(out);
    cJSON_Delete(json);
    px_str_free(&text);
}

static void one_writer_at_a_time(void **state) {
    (void)state;
    px_owner *mine = NULL, *second = NULL;
    px_assert_ok(px_owner_look(dir));
    px_assert_ok(px_owner_take_all(&alone, dir, &mine));
    px_assert_ok(px_owner_check(mine));
    char pid[64];
    snprintf(pid, sizeof pid, "being written by process %d on ", (int)getpid());
    px_assert_error(px_owner_look(dir), PX_BAD_INPUT, pid);
    px_assert_error(px_owner_take_all(&alone, dir, &second), PX_BAD_INPUT, pid);
    px_assert_ok(px_owner_check(mine));
    px_owner_drop(mine);
    assert_false(px_path_exists(file));
    px_assert_ok(px_owner_look(dir));
}

static void the_dead_are_taken_over_from(void **state) {
    (void)state;
    static const struct {
        const char *key, *value;
        bool number;
    } deaths[] = {{"pid", "4194305", true}, /* above what Linux gives */
                  {"born", "1", true},      /* the number is another process's by now */
                  {"boot", "before", false}};
    for (size_t i = 0; i < PX_COUNT(deaths); i++) {
        px_owner *old = NULL, *mine = NULL;
        px_assert_ok(px_owner_take_all(&alone, dir, &old));
        change(deaths[i].key, deaths[i].value, deaths[i].number);
        px_assert_ok(px_owner_look(dir));
        px_assert_ok(px_owner_take_all(&alone, dir, &mine));
        px_assert_error(px_owner_check(old), PX_RUN_FAILED, "leaves everything as it is");
        px_assert_ok(px_owner_check(mine));
        px_owner_drop(old); /* takes nothing away from its successor */
        px_assert_ok(px_owner_check(mine));
        px_owner_drop(mine);
    }
}

static void set_time(const char *path, int64_t ago_s) {
    struct timespec times[2] = {{.tv_sec = time(NULL) - ago_s}, {.tv_sec = time(NULL) - ago_s}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Elsewhere and quiet: an hour's silence is long enough, and what came after is another's. */
static void the_quiet_elsewhere_are_gone(void **state) {
    (void)state;
    px_owner *old = NULL, *mine = NULL;
    px_assert_ok(px_owner_take_all(&alone, dir, &old));
    change("host", "elsewhere", false);
    set_time(file, 3600);
    px_assert_ok(px_owner_look(dir));
    px_assert_ok(px_owner_take_all(&alone, dir, &mine));
    px_owner_drop(old);
    px_assert_ok(px_owner_check(mine));
    px_owner_drop(mine);
}

static void an_older_start_of_the_same_job_is_gone(void **state) {
    (void)state;
    px_owner *old = NULL, *mine = NULL;
    setenv("SLURM_JOB_ID", "77", 1);
    px_assert_ok(px_owner_take_all(&alone, dir, &old));
    px_heartbeat_start(old, 1); /* beats on: it is alive, wherever it says it is */
    change("host", "elsewhere", false);
    px_assert_error(px_owner_look(dir), PX_BAD_INPUT, "on elsewhere since");
    setenv("SLURM_RESTART_COUNT", "1", 1);
    px_assert_ok(px_owner_take_all(&alone, dir, &mine));
    px_owner_drop(old);
    px_assert_ok(px_owner_check(mine));
    px_owner_drop(mine);
}

static void a_lost_folder_is_not_written(void **state) {
    (void)state;
    px_owner *mine = NULL;
    px_assert_ok(px_owner_take_all(&alone, dir, &mine));
    px_assert_ok(px_file_write("test_owner.tmp/a", "1", 1));
    change("token", "another", false);
    px_assert_error(px_file_write("test_owner.tmp/a", "2", 1), PX_RUN_FAILED, "belongs to process");
    px_bytes text = {0};
    px_assert_ok(px_file_read("test_owner.tmp/a", &text));
    assert_string_equal(text.data, "1");
    px_bytes_free(&text);
    px_assert_ok(px_file_write("test_owner.tmp2", "outside", 7)); /* only the folder is guarded */
    unlink("test_owner.tmp2");
    unlink(file);
    px_assert_error(px_guard_pass("test_owner.tmp/x"), PX_RUN_FAILED, "is gone or damaged");
    px_owner_drop(mine);
}

static void temporary_names_are_the_writers_own(void **state) {
    (void)state;
    px_owner *mine = NULL;
    char *plain = NULL, *inside = NULL;
    FILE *left = fopen("test_owner.tmp/checkpoints/.step-000001.h5.tmp", "w");
    assert_non_null(left);
    fclose(left);
    px_assert_ok(px_temp_name("test_owner.tmp/a", &plain));
    assert_string_equal(plain, "test_owner.tmp/.a.tmp");
    px_assert_ok(px_owner_take_all(&alone, dir, &mine));
    px_assert_ok(px_temp_name("test_owner.tmp/a", &inside));
    assert_int_equal(strlen(inside), strlen(plain) + 33);
    assert_false(px_path_exists("test_owner.tmp/checkpoints/.step-000001.h5.tmp"));
    px_owner_drop(mine);
    free(plain);
    free(inside);
}

static void a_sign_of_life_is_there_while_it_lives(void **state) {
    (void)state;
    px_owner *mine = NULL;
    cJSON *json = NULL;
    px_assert_ok(px_owner_take_all(&alone, dir, &mine));
    px_heartbeat_start(mine, 40);
    while (!px_path_exists("test_owner.tmp/heartbeat.json")) sched_yield();
    px_assert_ok(px_json_read("test_owner.tmp/heartbeat.json", false, &json));
    assert_true(px_json_find_f64(json, "steps", 0) == 40);
    assert_true(px_json_find_f64(json, "pid", 0) == (double)getpid());
    assert_string_equal(px_json_find_text(json, "phase"), "start");
    cJSON_Delete(json);
    px_owner_drop(mine);
    assert_false(px_path_exists("test_owner.tmp/heartbeat.json"));
}

static void starts_without_a_step_come_to_an_end(void **state) {
    (void)state;
    for (int i = 0; i < PX_STARTS_MOST; i++) px_assert_ok(px_starts_count(dir, 5));
    px_assert_error(px_starts_count(dir, 5), PX_RUN_FAILED, "started 8 times after step 5");
    px_assert_ok(px_starts_count(dir, 5)); /* the user's next try */
    for (int64_t step = 6; step < 30; step++) px_assert_ok(px_starts_count(dir, step));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_writer_at_a_time, fresh, gone),
        cmocka_unit_test_setup_teardown(the_dead_are_taken_over_from, fresh, gone),
        cmocka_unit_test_setup_teardown(the_quiet_elsewhere_are_gone, fresh, gone),
        cmocka_unit_test_setup_teardown(an_older_start_of_the_same_job_is_gone, fresh, gone),
        cmocka_unit_test_setup_teardown(a_lost_folder_is_not_written, fresh, gone),
        cmocka_unit_test_setup_teardown(temporary_names_are_the_writers_own, fresh, gone),
        cmocka_unit_test_setup_teardown(a_sign_of_life_is_there_while_it_lives, fresh, gone),
        cmocka_unit_test_setup_teardown(starts_without_a_step_come_to_an_end, fresh, gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

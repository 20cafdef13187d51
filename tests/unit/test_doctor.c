/* The doctor on machines that are folders: containers' limits, memory nodes, processors with more
 * than the build uses; a folder that cannot be written; ranks; what is printed. */
#include <sys/stat.h>

#include "doctor.h"
#include "files.h"
#include "io.h"

static void put_file(const char *root, const char *path, const char *text) {
    char whole[512], folder[512];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    snprintf(folder, sizeof folder, "%s", whole);
    *strrchr(folder, '/') = 0;
    px_assert_ok(px_dir_make(folder));
    px_assert_ok(px_file_write(whole, text, strlen(text)));
}

static const px_check *find(const px_doctor *doctor, const char *name) {
    int n = 0;
    const px_check *checks = px_doctor_checks(doctor, &n);
    for (int i = 0; i < n; i++)
        if (strcmp(checks[i].name, name) == 0) return &checks[i];
    fail_msg("no check %s", name);
    return NULL;
}

static void assert_check(const px_doctor *doctor, const char *name, px_check_state state,
                         const char *part) {
    const px_check *c = find(doctor, name);
    if (c->state != state || !strstr(c->found, part))
        fail_msg("%s: state %d, \"%s\"; wanted %d, \"%s\"", name, (int)c->state, c->found,
                 (int)state, part);
    if (state != PX_CHECK_OK && !c->todo[0]) fail_msg("%s: nothing to do is named", name);
}

static void machine_of_a_container(void **state) {
    (void)state;
    char *root = temp_folder();
    put_file(root, "/proc/cpuinfo",
             "processor\t: 0\nmodel name\t: Some Processor 9000\nflags\t\t: sse4_2 avx2 fma\n\n"
             "processor\t: 1\nmodel name\t: Another\nflags\t\t: none\n");
    put_file(root, "/proc/meminfo", "MemTotal:  8000000 kB\nMemAvailable:  6000000 kB\n");
    put_file(root, "/proc/self/cgroup", "0::/job/step\n");
    put_file(root, "/sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
    put_file(root, "/sys/fs/cgroup/job/cpu.max", "150000 100000\n");
    put_file(root, "/sys/fs/cgroup/job/step/memory.max", "max\n");
    put_file(root, "/sys/fs/cgroup/job/memory.max", "2000000000\n");
    put_file(root, "/sys/fs/cgroup/job/memory.current", "500000000\n");
    put_file(root, "/sys/devices/system/node/node0/meminfo", "");
    put_file(root, "/sys/devices/system/node/node1/meminfo", "");
    px_machine m;
    px_machine_read(root, &m);
    assert_string_equal(m.cpu, "Some Processor 9000");
    assert_true(px_machine_has(&m, "avx2") && px_machine_has(&m, "fma"));
    assert_false(px_machine_has(&m, "avx") || px_machine_has(&m, "none"));
    px_assert_near(m.cores_quota, 1.5, 0);
    assert_int_equal(m.memory_total, 8000000 * (int64_t)1024);
    assert_int_equal(m.memory_limit, 2000000000);
    assert_int_equal(px_machine_room(&m), 1500000000);
    assert_int_equal(m.n_numa, 2);
    temp_folder_end(root);
}

static void machine_of_an_older_container(void **state) {
    (void)state;
    char *root = temp_folder();
    put_file(root, "/proc/meminfo", "MemTotal:  8000000 kB\nMemAvailable:  1000 kB\n");
    put_file(root, "/proc/self/cgroup", "5:memory:/a\n3:cpu,cpuacct:/\n");
    put_file(root, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "3000000000\n");
    put_file(root, "/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "7\n");
    put_file(root, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    put_file(root, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    px_machine m;
    px_machine_read(root, &m);
    px_assert_near(m.cores_quota, 0.5, 0);
    assert_int_equal(m.memory_limit, 3000000000);
    assert_int_equal(m.memory_in_limit, 7);
    assert_int_equal(px_machine_room(&m), 1024000);
    assert_string_equal(m.cpu, "unknown");
    px_machine_read("/nowhere/at/all", &m);
    assert_int_equal(m.memory_total, 0);
    assert_int_equal(m.n_numa, 1);
    temp_folder_end(root);
}

static void hardware_says_what_is_unused(void **state) {
    (void)state;
    char *root = temp_folder();
    px_doctor *doctor = NULL;
    put_file(root, "/proc/cpuinfo",
             "model name : X\nflags : avx2 fma avx512f avx512bw avx512_bf16\n");
    put_file(root, "/proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 1000 kB\n");
    put_file(root, "/proc/sys/vm/nr_hugepages", "2000\n");
    put_file(root, "/proc/driver/nvidia/version", "NVRM version: 550.54\n");
    put_file(root, "/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    px_assert_ok(px_doctor_new(root, &doctor));
    px_doctor_hardware(doctor);
    assert_check(doctor, "memory.free", PX_CHECK_WARNING, "0.0 GB of 8.2 GB");
    assert_check(doctor, "memory.hugepages", PX_CHECK_WARNING, "4.2 GB");
    assert_check(doctor, "memory.thp", PX_CHECK_OK, "[never]");
    assert_check(doctor, "gpu.build", PX_CHECK_OK, "for processors");
    assert_check(doctor, "gpu.driver", PX_CHECK_OK, "550.54");
    /* Whatever this build uses, it is named; only a build for these flags is content with them. */
    const px_check *kernels = find(doctor, "cpu.kernels");
    assert_true(kernels->state == PX_CHECK_OK || kernels->todo[0]);
    px_doctor_free(doctor);
    temp_folder_end(root);
}

static void place_that_works_and_one_that_does_not(void **state) {
    (void)state;
    char *dir = temp_folder(), file[128];
    px_doctor *doctor = NULL;
    px_assert_ok(px_doctor_new("", &doctor));
    px_doctor_place(doctor, dir);
    assert_check(doctor, "dir.write", PX_CHECK_OK, "read back");
    assert_string_equal(find(doctor, "dir.flock")->found, "works, a second holder is refused");
    assert_string_equal(find(doctor, "dir.fcntl")->found, "works, a second holder is refused");
    px_doctor_free(doctor);
    px_assert_ok(px_doctor_new("", &doctor));
    snprintf(file, sizeof file, "%s/file", dir);
    px_assert_ok(px_file_write(file, "x", 1));
    px_doctor_place(doctor, file);
    assert_check(doctor, "dir.kind", PX_CHECK_PROBLEM, "no folder");
    assert_int_equal(px_doctor_count(doctor, PX_CHECK_PROBLEM), 1);
    px_doctor_free(doctor);
    temp_folder_end(dir); /* nothing is left in it but the file */
}

static void software_is_named(void **state) {
    (void)state;
    px_doctor *doctor = NULL;
    px_assert_ok(px_doctor_new("", &doctor));
    px_doctor_software(doctor);
    assert_check(doctor, "hdf5.parallel", PX_CHECK_OK, "yes");
    assert_check(doctor, "mpi.library", PX_CHECK_OK, "");
    assert_check(doctor, "version.libraries", PX_CHECK_OK, "oneDNN");
    px_doctor_free(doctor);
}

static void one_rank_and_json(void **state) {
    (void)state;
    char *dir = temp_folder();
    px_doctor *doctor = NULL;
    px_str text = {0};
    cJSON *json = NULL;
    const px_ranks alone = {.size = 1, .node_size = 1, .control = MPI_COMM_NULL};
    px_assert_ok(px_doctor_new("", &doctor));
    px_assert_ok(px_doctor_ranks_all(doctor, &alone, dir));
    assert_check(doctor, "mpi.allreduce", PX_CHECK_OK, "every sum is right");
    assert_check(doctor, "hdf5.all_ranks", PX_CHECK_OK, "read back by each");
    px_doctor_free(doctor);
    px_assert_ok(px_doctor_new("", &doctor));
    px_assert_ok(px_doctor_ranks_all(doctor, &alone, "/proc")); /* nothing can be written there */
    assert_check(doctor, "hdf5.all_ranks", PX_CHECK_PROBLEM, "/proc");
    px_assert_ok(px_doctor_print(doctor, true, &text));
    px_assert_ok(px_json_parse(text.data, text.size, &json));
    assert_int_equal((int)px_json_find_f64(json, "problems", -1), 1);
    int n = 0;
    px_doctor_checks(doctor, &n);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "checks")), n);
    cJSON_Delete(json);
    px_str_clear(&text);
    px_assert_ok(px_doctor_print(doctor, false, &text));
    assert_non_null(strstr(text.data, "problem  hdf5.all_ranks"));
    px_str_free(&text);
    px_doctor_free(doctor);
    temp_folder_end(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(machine_of_a_container),
        cmocka_unit_test(machine_of_an_older_container),
        cmocka_unit_test(hardware_says_what_is_unused),
        cmocka_unit_test(place_that_works_and_one_that_does_not),
        cmocka_unit_test(software_is_named),
        cmocka_unit_test(one_rank_and_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

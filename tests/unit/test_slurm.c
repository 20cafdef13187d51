/* test_slurm.c - cluster files, batch scripts, and what Slurm's tools print. */
#include "slurm.h"

#include <unistd.h>

#include "px_test.h"

static char dir[] = "/tmp/px_test_slurm.XXXXXX";

static const char *file_of(const char *name, const char *text) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    px_assert_ok(px_file_write(path, text, strlen(text)));
    return path;
}

static void has(const px_str *text, const char *part) {
    if (!text->data || !strstr(text->data, part))
        fail_msg("no \"%s\" in:\n%s", part, text->data ? text->data : "");
}

static void hasnt(const px_str *text, const char *part) {
    if (text->data && strstr(text->data, part)) fail_msg("\"%s\" in:\n%s", part, text->data);
}

static const px_batch plain = {.title = "demo",
                               .label = "train",
                               .dir = "/data/runs/demo",
                               .words = "run /data/runs/demo --only train",
                               .log = "/data/runs/demo/logs/train.log",
                               .state = "/data/runs/demo/.steps/train.json",
                               .out = "/data/runs/demo/it's",
                               .ranks = 4,
                               .mpi = true};

static void script_of(const char *cluster_text, const px_batch *batch, px_str *out) {
    px_cluster cluster;
    px_str_clear(out);
    px_assert_ok(px_cluster_read(file_of("cluster.json", cluster_text), &cluster));
    px_assert_ok(px_batch_script(&cluster, batch, out));
    px_cluster_free(&cluster);
}

static void the_shipped_cluster_files_are_read(void **state) {
    (void)state;
    static const char *const names[] = {NULL, PX_SOURCE_DIR "/configs/clusters/default.json",
                                        PX_SOURCE_DIR "/configs/clusters/gpu-example.json"};
    for (size_t i = 0; i < PX_COUNT(names); i++) {
        px_cluster cluster;
        px_str text = {0};
        px_assert_ok(px_cluster_read(names[i], &cluster));
        px_assert_ok(px_batch_script(&cluster, &plain, &text));
        has(&text, "#SBATCH --requeue\n");
        hasnt(&text, "{{");
        px_str_free(&text);
        px_cluster_free(&cluster);
    }
}

static void a_plain_script_leaves_out_what_is_not_said(void **state) {
    (void)state;
    px_str text = {0};
    script_of("{}", &plain, &text);
    has(&text, "#!/bin/bash\n");
    has(&text, "#SBATCH --job-name=demo/train\n");
    has(&text, "#SBATCH --output=/data/runs/demo/logs/slurm-train-%j.out\n");
    has(&text, "#SBATCH --open-mode=append\n");
    has(&text, "#SBATCH --signal=B:USR1@120\n");
    has(&text, "#SBATCH --ntasks=4\n#SBATCH --cpus-per-task=1\nset -u\n");
    has(&text, "run /data/runs/demo --only train &\n");
    has(&text, "out='/data/runs/demo/it'\\''s'\n");
    has(&text, "PRISMX_LAUNCHER='srun --mpi=pmix'\n");
    hasnt(&text, "--partition");
    hasnt(&text, "--time");
    hasnt(&text, "--mem");
    hasnt(&text, "module load");
    hasnt(&text, "scontrol update");
    hasnt(&text, "\n\n\n");
    px_batch one = plain;
    one.mpi = false; /* its command takes no ranks */
    script_of("{}", &one, &text);
    has(&text, "#SBATCH --ntasks=1\n");
    has(&text, "#SBATCH --nodes=1\n");
    px_str_free(&text);
}

static void the_cluster_file_fills_the_script(void **state) {
    (void)state;
    px_str text = {0};
    px_batch batch = plain;
    batch.time = "2:00:00";
    batch.array = "1-18%4";
    batch.tasks = "/data/runs/demo/slurm/points.tsv";
    batch.gpus = 1;
    batch.ranks = 6;
    script_of(
        "{\"partition\": \"gpu\", \"time\": \"9:00\", \"memory\": \"8G\", \"gpus_per_node\": 4,"
        "\"threads\": 3, \"modules\": [\"a b\"], \"setup\": [\"ulimit -c 0\"],"
        "\"interface\": \"ib0\", \"container\": \"apptainer exec x.sif\", \"comment_s\": 60,"
        "\"environment\": {\"A\": \"x\\\"$USER\"}, \"sbatch\": [\"--exclusive\"],"
        "\"restarts\": 7, \"scratch\": \"/scratch/$USER\", // said by the site\n"
        "\"launcher\": \"/opt/bin/mpirun --map-by node\"}",
        &batch, &text);
    has(&text, "#SBATCH --partition=gpu\n");
    has(&text, "#SBATCH --time=2:00:00\n"); /* the step's own */
    has(&text, "#SBATCH --mem=8G\n");
    has(&text, "#SBATCH --array=1-18%4\n");
    has(&text, "logs/slurm-train-%A_%a.out\n");
    has(&text, "#SBATCH --ntasks=6\n#SBATCH --cpus-per-task=3\n#SBATCH --nodes=2\n"
               "#SBATCH --ntasks-per-node=4\n#SBATCH --gres=gpu:4\n#SBATCH --exclusive\n");
    has(&text, "module load 'a b'\nulimit -c 0\n");
    has(&text, "export NCCL_SOCKET_IFNAME=\"ib0\"\n");
    has(&text, "export OMPI_MCA_btl_tcp_if_include=\"ib0\"\n");
    has(&text, "export TMPDIR=\"/scratch/$USER\"\n");
    has(&text, "export PRISMX_CONTAINER=\"apptainer exec x.sif\"\n");
    has(&text, "export A=\"x\\\"$USER\"\n");
    has(&text, "PRISMX_LAUNCHER='/opt/bin/mpirun --map-by node'\n");
    has(&text, "-ge 7 ]");
    has(&text, "sleep 60 ");
    has(&text, "read -r out state log < <(sed -n \"${task}p\" /data/runs/demo/slurm/points.tsv)\n");
    px_str_free(&text);
}

static void cluster_errors(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{\"partitoin\": \"x\"}", "did you mean partition"},
        {"{\"partition\": 3}", "partition: a text is wanted"},
        {"{\"partition\": \"a\\nb\"}", "line break"},
        {"{\"margin_s\": 0}", "margin_s: a whole number from 1"},
        {"{\"restarts\": 1.5}", "restarts: a whole number"},
        {"{\"modules\": \"x\"}", "modules: a list of texts"},
        {"{\"environment\": [\"x\"]}", "environment: an object of texts"},
        {"{\"environment\": {\"A B\": \"x\"}}", "cannot be a variable's name"},
        {"{\"launcher\": \"srun\"}", "srun --mpi=list"},
        {"{\"launcher\": \"aprun -n\"}", "\"srun …\" or \"mpirun …\""},
        {"[]", "an object is wanted"},
        {"{", "cluster.json"},
    };
    px_cluster cluster;
    for (size_t i = 0; i < PX_COUNT(cases); i++)
        px_assert_error(px_cluster_read(file_of("cluster.json", cases[i].text), &cluster),
                        PX_BAD_INPUT, cases[i].part);
    px_assert_error(px_cluster_read("/nowhere.json", &cluster), PX_BAD_INPUT, "/nowhere.json");
}

static void batch_errors(void **state) {
    (void)state;
    px_cluster cluster;
    px_str text = {0};
    px_batch batch = plain;
    px_assert_ok(px_cluster_read(file_of("cluster.json", "{\"gpus_per_node\": 2}"), &cluster));
    batch.gpus = 3;
    px_assert_error(px_batch_script(&cluster, &batch, &text), PX_BAD_INPUT, "3 GPUs a rank");
    batch = plain;
    batch.dir = "/data/my runs";
    px_assert_error(px_batch_script(&cluster, &batch, &text), PX_BAD_INPUT, "/data/my runs");
    px_cluster_free(&cluster);
    batch = plain;
    batch.gpus = 1;
    px_assert_ok(px_cluster_read(file_of("cluster.json", "{}"), &cluster));
    px_assert_error(px_batch_script(&cluster, &batch, &text), PX_BAD_INPUT, "gpus_per_node");
    px_cluster_free(&cluster);
    char with[512], path[256];
    snprintf(path, sizeof path, "%s", file_of("own.sbatch", "#!/bin/bash\n\necho {{labell}}\n"));
    snprintf(with, sizeof with, "{\"template\": \"%s\"}", path);
    px_assert_ok(px_cluster_read(file_of("cluster.json", with), &cluster));
    px_assert_error(px_batch_script(&cluster, &plain, &text), PX_BAD_INPUT,
                    "own.sbatch line 3: {{labell}} stands for nothing; did you mean {{label}}?");
    px_cluster_free(&cluster);
    px_str_free(&text);
}

static void scontrol_is_understood(void **state) {
    (void)state;
    px_slurm_state s;
    px_slurm_read_scontrol("JobId=7 JobName=a/b Reason=BeginTime Restarts=2 JobState=PENDING "
                           "RunTime=00:00:00 StartTime=2026-01-01T00:02:00 EndTime=Unknown "
                           "NodeList=(null)\n",
                           &s);
    assert_string_equal(s.state, "PENDING");
    assert_string_equal(s.reason, "BeginTime");
    assert_string_equal(s.nodes, "");
    assert_int_equal(s.restarts, 2);
    assert_true(s.active);
    px_slurm_read_scontrol("JobId=7 JobState=TIMEOUT Reason=TimeLimit Restarts=0 "
                           "RunTime=1-02:03:04 StartTime=a EndTime=b NodeList=n[1-2]",
                           &s);
    assert_string_equal(s.state, "TIMEOUT");
    assert_string_equal(s.nodes, "n[1-2]");
    assert_string_equal(s.end, "b");
    assert_int_equal(s.took_s, 86400 + 2 * 3600 + 3 * 60 + 4);
    assert_false(s.active);
    /* An array: waiting tasks stand on one line. */
    px_slurm_read_scontrol("JobId=9 ArrayJobId=9 ArrayTaskId=4-17%2 JobState=PENDING Restarts=0\n"
                           "JobId=12 ArrayJobId=9 ArrayTaskId=3 JobState=RUNNING Restarts=1\n"
                           "JobId=11 ArrayJobId=9 ArrayTaskId=1 JobState=COMPLETED Restarts=0\n"
                           "JobId=10 ArrayJobId=9 ArrayTaskId=0 JobState=FAILED Restarts=0\n",
                           &s);
    assert_int_equal(s.n_tasks, 17);
    assert_int_equal(s.n_waiting, 14);
    assert_int_equal(s.n_running, 1);
    assert_int_equal(s.n_done, 1);
    assert_int_equal(s.restarts, 1);
    assert_true(s.active);
    assert_string_equal(s.state, "PENDING");
    px_slurm_read_scontrol("slurm_load_jobs error: Invalid job id specified\n", &s);
    assert_string_equal(s.state, "");
    px_slurm_read_scontrol(NULL, &s);
    assert_string_equal(s.state, "");
}

static void sacct_is_understood(void **state) {
    (void)state;
    px_slurm_state s;
    px_slurm_read_sacct("5|REQUEUED|30|2026-01-01T00:00:00|2026-01-01T00:00:30|n1\n"
                        "5|COMPLETED|61|2026-01-01T00:01:00|2026-01-01T00:02:01|n[1-2]\n",
                        &s);
    assert_string_equal(s.state, "COMPLETED");
    assert_int_equal(s.restarts, 1);
    assert_int_equal(s.took_s, 61);
    assert_int_equal(s.n_done, 1);
    assert_int_equal(s.n_tasks, 1);
    assert_string_equal(s.nodes, "n[1-2]");
    px_slurm_read_sacct("5|CANCELLED by 1000|0|Unknown|2026-01-01T00:00:30|None assigned\n", &s);
    assert_string_equal(s.state, "CANCELLED");
    assert_string_equal(s.nodes, "");
    px_slurm_read_sacct("5_0|COMPLETED|1|a|b|n1\n5_1|FAILED|1|a|b|n1\n5_[2-5%2]|PENDING|0|||\n",
                        &s);
    assert_int_equal(s.n_tasks, 6);
    assert_int_equal(s.n_waiting, 4);
    assert_int_equal(s.n_done, 1);
    px_slurm_read_sacct("Slurm accounting storage is disabled\n", &s);
    assert_string_equal(s.state, "");
}

static void ids_are_kept(void **state) {
    (void)state;
    cJSON *ledger = NULL;
    px_assert_ok(px_ledger_read(dir, &ledger));
    assert_null(px_ledger_find(ledger, "train"));
    px_assert_ok(px_ledger_add(dir, ledger, "train", "12"));
    px_assert_ok(px_ledger_add(dir, ledger, "train", "15"));
    px_assert_ok(px_ledger_add(dir, ledger, "eval", "16"));
    cJSON_Delete(ledger);
    px_assert_ok(px_ledger_read(dir, &ledger));
    assert_string_equal(px_ledger_find(ledger, "train"), "15");
    assert_string_equal(px_ledger_find(ledger, "eval"), "16");
    cJSON_Delete(ledger);
    file_of("slurm.json", "[1]");
    px_assert_error(px_ledger_read(dir, &ledger), PX_BAD_INPUT, "slurm.json");
    cJSON_Delete(ledger);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_cluster_files_are_read),
        cmocka_unit_test(a_plain_script_leaves_out_what_is_not_said),
        cmocka_unit_test(the_cluster_file_fills_the_script),
        cmocka_unit_test(cluster_errors),
        cmocka_unit_test(batch_errors),
        cmocka_unit_test(scontrol_is_understood),
        cmocka_unit_test(sacct_is_understood),
        cmocka_unit_test(ids_are_kept),
    };
    if (!mkdtemp(dir)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    px_err_free(px_dir_remove(dir));
    return failed;
}

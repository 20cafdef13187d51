/* test_manifest.c - the manifest is written and read back; event files have the framing TensorBoard
 * reads. */
#include "px_test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

static const char dir[] = "test_manifest.tmp";

static int fresh(void **state) {
    (void)state;
    px_assert_ok(px_dir_remove(dir));
    px_assert_ok(px_dir_make("test_manifest.tmp/model/deeper"));
    return 0;
}

static int gone(void **state) {
    (void)state;
    px_assert_ok(px_dir_remove(dir));
    return 0;
}

static void a_manifest_says_where_results_came_from(void **state) {
    (void)state;
    char *argv[] = {"prismx", "train", "--set", "lora.r=4"};
    cJSON *made = NULL, *read = NULL;
    px_assert_ok(px_manifest_new(4, argv, 3, 2, &made));
    px_assert_ok(px_file_write("test_manifest.tmp/a.bin", "abc", 3));
    px_assert_ok(px_manifest_file(made, "inputs", "corpus.h5", "test_manifest.tmp/a.bin", "given"));
    px_assert_ok(px_manifest_file(made, "inputs", "corpus.h5", "test_manifest.tmp/a.bin", NULL));
    px_assert_ok(px_manifest_text(made, "params_sha256", "first"));
    px_assert_ok(px_manifest_text(made, "params_sha256", "second"));
    px_assert_ok(px_manifest_text(made, "libraries.onednn", "2.6.3"));
    px_assert_ok(px_manifest_f64(made, "wall_s", 0.1));
    px_assert_ok(px_manifest_f64(made, "bad", NAN));
    px_assert_ok(px_manifest_config(made, "{\"lora\":{\"r\":4}}"));
    px_assert_error(px_manifest_config(made, "{"), PX_BAD_INPUT, "configuration: line 1");
    px_assert_error(px_manifest_file(made, "inputs", "x", "no.such", NULL), PX_BAD_INPUT,
                    "no.such: No such file");
    px_assert_ok(px_manifest_write(made, dir));
    px_assert_ok(px_manifest_read(dir, &read));
    const cJSON *program = cJSON_GetObjectItemCaseSensitive(read, "program");
    assert_string_equal(px_json_find_text(program, "version"), PX_VERSION);
    const char *commit = px_json_find_text(program, "commit");
    assert_true(strlen(commit) == 40 || strcmp(commit, "unknown") == 0);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(read, "command")), 4);
    assert_int_equal(strlen(px_json_find_text(read, "started")), 20);
    assert_true(px_json_find_f64(read, "ranks", 0) == 3 &&
                px_json_find_f64(read, "threads", 0) == 2);
    const cJSON *host = cJSON_GetObjectItemCaseSensitive(read, "host");
    assert_non_null(px_json_find_text(host, "cpu"));
    assert_true(px_json_find_f64(host, "cores", 0) >= 1);
    assert_true(px_json_find_f64(host, "memory_bytes", 0) > 1e8);
    const cJSON *libraries = cJSON_GetObjectItemCaseSensitive(read, "libraries");
    assert_string_equal(px_json_find_text(libraries, "onednn"), "2.6.3");
    assert_string_equal(px_json_find_text(libraries, "cjson"), cJSON_Version());
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(read, "inputs");
    assert_int_equal(cJSON_GetArraySize(inputs), 1);
    const cJSON *file = cJSON_GetObjectItemCaseSensitive(inputs, "corpus.h5");
    assert_string_equal(px_json_find_text(file, "sha256"),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(px_json_find_f64(file, "bytes", 0) == 3);
    assert_string_equal(px_json_find_text(read, "params_sha256"), "second");
    assert_true(px_json_find_f64(read, "wall_s", 0) == 0.1);
    char host_name[256] = "";
    assert_int_equal(gethostname(host_name, sizeof host_name - 1), 0);
    px_str text = {0};
    px_json_print(host, &text);
    if (strlen(host_name) > 3) assert_null(strstr(text.data, host_name));
    px_str_free(&text);
    cJSON_Delete(made);
    cJSON_Delete(read);
}

static void damaged_manifests_are_refused(void **state) {
    (void)state;
    cJSON *read = NULL;
    px_assert_error(px_manifest_read(dir, &read), PX_BAD_INPUT, "manifest.json: No such file");
    px_assert_ok(px_file_write("test_manifest.tmp/manifest.json", "{\"a\":", 5));
    px_assert_error(px_manifest_read(dir, &read), PX_BAD_INPUT, "line 1, column 6");
    px_assert_ok(px_file_write("test_manifest.tmp/manifest.json", "[]", 2));
    px_assert_error(px_manifest_read(dir, &read), PX_BAD_INPUT, "wanted an object");
    cJSON *empty = cJSON_CreateObject();
    px_assert_error(px_manifest_write(empty, "/no/such/folder"), PX_BAD_INPUT, "/no/such/folder");
    cJSON_Delete(empty);
}

static void a_folders_digest_is_of_its_files(void **state) {
    (void)state;
    px_digest one, two;
    int64_t bytes = 0;
    px_assert_ok(px_file_write("test_manifest.tmp/model/b", "bb", 2));
    px_assert_ok(px_file_write("test_manifest.tmp/model/a", "a", 1));
    px_assert_ok(px_manifest_digest("test_manifest.tmp/model", &bytes, &one));
    assert_true(bytes == 3);
    px_assert_ok(px_file_write("test_manifest.tmp/model/.hidden", "x", 1));
    px_assert_ok(px_file_write("test_manifest.tmp/model/deeper/c", "x", 1));
    px_assert_ok(px_manifest_digest("test_manifest.tmp/model", &bytes, &two));
    assert_string_equal(one.hex, two.hex);
    cJSON *manifest = cJSON_CreateObject();
    px_assert_ok(px_manifest_file(manifest, "inputs", "model", "test_manifest.tmp/model", "s"));
    const cJSON *inputs = cJSON_GetObjectItemCaseSensitive(manifest, "inputs");
    assert_true(px_json_find_f64(cJSON_GetObjectItemCaseSensitive(inputs, "model"), "bytes", 0) ==
                3);
    cJSON_Delete(manifest);
    px_assert_ok(px_file_write("test_manifest.tmp/model/a", "b", 1));
    px_assert_ok(px_manifest_digest("test_manifest.tmp/model", &bytes, &two));
    assert_string_not_equal(one.hex, two.hex);
    assert_int_equal(rename("test_manifest.tmp/model/a", "test_manifest.tmp/model/c"), 0);
    px_assert_ok(px_manifest_digest("test_manifest.tmp/model", &bytes, &one));
    assert_string_not_equal(one.hex, two.hex);
    px_assert_error(px_manifest_digest("test_manifest.tmp/none", &bytes, &one), PX_BAD_INPUT,
                    "No such file");
}

/* A second CRC-32C, most significant bit first over reversed bytes, so that an error in one shows.
 */
static uint32_t reverse(uint32_t v, int bits) {
    uint32_t out = 0;
    for (int i = 0; i < bits; i++) out = out << 1 | (v >> i & 1);
    return out;
}

static uint32_t masked_crc(const unsigned char *data, size_t size) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        crc ^= reverse(data[i], 8) << 24;
        for (int bit = 0; bit < 8; bit++) crc = crc << 1 ^ (crc >> 31 ? 0x1EDC6F41u : 0);
    }
    crc = ~reverse(crc, 32);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

static uint64_t little(const unsigned char *at, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--) value = value << 8 | at[i];
    return value;
}

static px_bytes read_events(void) {
    px_bytes bytes = {0};
    DIR *folder = opendir(dir);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (strncmp(entry->d_name, "events.out.tfevents.", 20) != 0) continue;
        assert_string_equal(entry->d_name + strlen(entry->d_name) - 7, ".prismx");
        char *path = px_path_join(dir, entry->d_name);
        px_assert_ok(px_file_read(path, &bytes));
        free(path);
    }
    closedir(folder);
    return bytes;
}

static void event_files_have_the_right_framing(void **state) {
    (void)state;
    assert_int_equal(masked_crc((const unsigned char *)"123456789", 9),
                     (0xE3069283u >> 15 | 0xE3069283u << 17) + 0xA282EAD8u);
    px_events *events = NULL;
    px_assert_error(px_events_open("/no/such", &events), PX_BAD_INPUT, "cannot be written");
    px_assert_ok(px_events_open(dir, &events));
    px_assert_ok(px_events_scalar(events, "rewards/accuracies", 300, 0.625));
    px_assert_ok(px_events_scalar(events, "", 0, -1e300));
    char tag[300];
    memset(tag, 'x', 299);
    tag[299] = 0;
    px_assert_error(px_events_scalar(events, tag, 1, 1), PX_RUN_FAILED, "299 bytes");
    tag[200] = 0;
    px_assert_ok(px_events_scalar(events, tag, INT64_MAX, NAN));
    px_assert_ok(px_events_flush(events));
    px_bytes file = read_events();
    px_events_close(events);
    px_events_close(NULL);
    const unsigned char *at = (const unsigned char *)file.data, *end = at + file.size;
    int n = 0;
    for (; at < end; n++) {
        assert_true(end - at >= 16);
        size_t size = (size_t)little(at, 8);
        assert_true(size <= (size_t)(end - at) - 16);
        assert_int_equal(little(at + 8, 4), masked_crc(at, 8));
        assert_int_equal(little(at + 12 + size, 4), masked_crc(at + 12, size));
        const unsigned char *data = at + 12;
        assert_int_equal(data[0], 0x09); /* wall_time, eight bytes */
        if (n == 0)
            assert_memory_equal(data + 9,
                                "\x1a\x0d"
                                "brain.Event:2",
                                15);
        if (n == 1) /* step 300; summary; value; tag; 0.625f */
            assert_memory_equal(
                data + 9, "\x10\xac\x02\x2a\x1b\x0a\x19\x0a\x12rewards/accuracies\x15\0\0\x20?",
                32);
        at += 16 + size;
    }
    assert_int_equal(n, 4);
    px_bytes_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_manifest_says_where_results_came_from, fresh, gone),
        cmocka_unit_test_setup_teardown(damaged_manifests_are_refused, fresh, gone),
        cmocka_unit_test_setup_teardown(a_folders_digest_is_of_its_files, fresh, gone),
        cmocka_unit_test_setup_teardown(event_files_have_the_right_framing, fresh, gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

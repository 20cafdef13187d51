/* test_choices.c - the file that keeps which algorithm computes which product. */
#include "files.h"
#include "px_test.h"

#include "cuda/choices.h"

static cu_product product_of(int64_t n) {
    cu_product p;
    memset(&p, 0, sizeof p);
    p.N = n;
    p.K = 4096;
    p.bf16 = 1;
    p.aligned = 16 | 16 << 8 | 4 << 16;
    return p;
}

static void choices_come_back(void **state) {
    (void)state;
    char path[1024];
    char *dir = temp_folder();
    snprintf(path, sizeof path, "%s/new/gemm.txt", dir);
    cu_choices *c = cu_choices_open(path, "card, cuBLASLt 130100");
    assert_non_null(c);
    for (int64_t n = 1; n <= 600; n++) {
        const cu_product p = product_of(n);
        const uint64_t words[8] = {(uint64_t)n, UINT64_MAX, 0, 1, 2, 3, 4, 5};
        assert_null(cu_choices_find(c, &p));
        assert_non_null(cu_choices_put(c, &p, words));
    }
    cu_choices_close(c);
    c = cu_choices_open(path, "card, cuBLASLt 130100");
    for (int64_t n = 1; n <= 600; n++) {
        const cu_product p = product_of(n);
        const cu_choice *found = cu_choices_find(c, &p);
        assert_non_null(found);
        assert_false(found->tried);
        assert_true(found->algorithm[0] == (uint64_t)n && found->algorithm[1] == UINT64_MAX);
        assert_true(found->algorithm[7] == 5);
    }
    cu_product other = product_of(3);
    other.a_turned = 1;
    assert_null(cu_choices_find(c, &other));
    other.a_turned = 0;
    other.few = 1;
    assert_null(cu_choices_find(c, &other));
    assert_non_null(cu_choices_put(c, &other, (const uint64_t[8]){7}));
    cu_choices_close(c);
    c = cu_choices_open(path, "card, cuBLASLt 130100");
    assert_true(cu_choices_find(c, &other)->algorithm[0] == 7);
    other.few = 0;
    assert_true(cu_choices_find(c, &other)->algorithm[0] == 3);
    cu_choices_close(c);
    /* Another card's or version's file says nothing here. */
    c = cu_choices_open(path, "card, cuBLASLt 130200");
    assert_null(cu_choices_find(c, &other));
    cu_choices_close(c);
    px_assert_ok(px_dir_remove(dir));
    free(dir);
}

static void broken_files_count_as_empty(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "\n",
        "prismx products 2 m\n1 2 3\n",
        "prismx products 2 m\n1 2 0 1 0 0 0 0 0 1 2 3 4 5 6 7\n",
        "prismx products 2 m\n1 2 0 1 0 0 0 0 0 1 2 3 4 5 6 7 8 9\n",
        "prismx products 1 m\n1 2 0 1 0 0 0 0 1 2 3 4 5 6 7 8\n",
        "prismx products 2 m\nx\n"};
    char path[1024];
    char *dir = temp_folder();
    snprintf(path, sizeof path, "%s/gemm.txt", dir);
    for (size_t i = 0; i < PX_COUNT(texts); i++) {
        px_assert_ok(px_file_write(path, texts[i], strlen(texts[i])));
        cu_choices *c = cu_choices_open(path, "m");
        cu_product p = product_of(1);
        p.K = 2;
        p.aligned = 0;
        assert_null(cu_choices_find(c, &p));
        cu_choices_close(c);
    }
    cu_choices *c = cu_choices_open("", "m"); /* kept nowhere */
    const cu_product p = product_of(9);
    assert_non_null(cu_choices_put(c, &p, (const uint64_t[8]){1}));
    cu_choices_close(c);
    px_assert_ok(px_dir_remove(dir));
    free(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_come_back),
        cmocka_unit_test(broken_files_count_as_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

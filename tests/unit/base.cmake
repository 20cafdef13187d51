px_test(test_base SOURCES test_base.c USES px_base)

px_test(test_model SOURCES test_model.c USES px_base px_io px_kernels px_model)

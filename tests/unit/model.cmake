px_test(test_model SOURCES test_model.c USES px_base px_io px_kernels px_model)
px_test(test_model_files SOURCES test_model_files.c USES px_base px_io px_kernels px_model)
px_test(test_params SOURCES test_params.c USES px_base px_io px_kernels px_model)

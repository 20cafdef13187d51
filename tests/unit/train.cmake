if(TARGET px_train)
    px_test(test_train SOURCES test_train.c USES px_base px_dist px_io px_config px_text px_data
        px_kernels px_model px_run px_score px_train)
endif()

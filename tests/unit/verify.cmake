if(TARGET px_verify)
    px_test(test_verify SOURCES test_verify.c USES px_base px_dist px_io px_config px_text px_data
        px_kernels px_model px_run px_job px_verify)
endif()

if(TARGET px_plan)
    px_test(test_plan SOURCES test_plan.c
        USES px_base px_dist px_io px_config px_text px_data px_kernels px_model px_run px_engine px_score px_train px_plan
        LIBS PkgConfig::CJSON)
    px_test(test_plan_gpu SOURCES test_plan_gpu.c
        USES px_base px_dist px_io px_config px_text px_data px_kernels px_model px_run px_engine px_score px_train px_plan
        LIBS PkgConfig::CJSON)
endif()

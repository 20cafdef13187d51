px_test(test_simulate SOURCES test_simulate.c testd.c
    USES px_base px_dist px_io px_net px_config px_text px_data px_kernels px_model px_run px_engine px_answer px_trials px_simulate
    LIBS PkgConfig::SSL)
add_executable(sim_testd sim_testd.c testd.c)
target_include_directories(sim_testd PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(sim_testd PRIVATE px_options px_base px_io PkgConfig::SSL ${CMOCKA_LIBRARY})

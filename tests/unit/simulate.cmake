px_test(test_simulate SOURCES test_simulate.c stub_server.c
    USES px_base px_dist px_io px_net px_config px_text px_data px_kernels px_model px_run px_engine px_answer px_trials px_simulate
    LIBS PkgConfig::SSL)
add_executable(sim_stub sim_stub.c stub_server.c)
target_include_directories(sim_stub PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(sim_stub PRIVATE px_options px_base px_io PkgConfig::SSL ${CMOCKA_LIBRARY})

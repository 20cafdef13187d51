px_test(test_engine SOURCES test_engine.c
    USES px_base px_dist px_io px_config px_text px_data px_kernels px_model px_run px_engine)
px_test(test_grammar SOURCES test_grammar.c
    USES px_base px_dist px_io px_config px_text px_data px_kernels px_model px_run px_engine)
px_test(test_graphs SOURCES test_graphs.c
    USES px_base px_dist px_io px_config px_text px_data px_kernels px_model px_run px_engine)
px_test_backends(test_graphs)
px_test(test_pick SOURCES test_pick.c
    USES px_base px_dist px_io px_config px_text px_data px_kernels px_model px_run px_engine)
px_test_backends(test_pick)

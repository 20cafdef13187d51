if(TARGET px_data)
    px_test(test_tree SOURCES test_tree.c USES px_base px_dist px_io px_text px_config px_data)
    px_test(test_prism SOURCES test_prism.c USES px_base px_dist px_io px_text px_config px_data)
endif()

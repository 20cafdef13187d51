px_test(test_dist SOURCES test_dist.c USES px_base px_dist)
px_test_mpi(test_dist 2)
px_test_mpi(test_dist 3)
px_test(test_place SOURCES test_place.c USES px_base px_dist)
if(TARGET px_run)
    px_test(test_owner SOURCES test_owner.c USES px_base px_dist px_io px_config px_text px_data px_kernels
        px_model px_run)
endif()

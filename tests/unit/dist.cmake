px_test(test_dist SOURCES test_dist.c USES px_base px_dist)
px_test_mpi(test_dist 2)
px_test_mpi(test_dist 3)
px_test(test_place SOURCES test_place.c USES px_base px_dist)

if(TARGET px_slurm)
    px_test(test_slurm SOURCES test_slurm.c USES px_base px_dist px_io px_config px_job px_slurm)
endif()

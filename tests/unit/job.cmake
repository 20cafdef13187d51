px_test(test_job SOURCES test_job.c USES px_base px_dist px_io px_config px_job)
px_test(test_job_run SOURCES test_job_run.c USES px_base px_dist px_io px_config px_job)
px_test(test_sweep SOURCES test_sweep.c USES px_base px_dist px_io px_config px_job px_report)

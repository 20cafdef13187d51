if(TARGET px_report)
    px_test(test_report SOURCES test_report.c report_runs.c
        USES px_base px_dist px_io px_config px_report)
    px_test(test_report_study SOURCES test_report_study.c report_runs.c report_study.c
        USES px_base px_dist px_io px_config px_report)
endif()

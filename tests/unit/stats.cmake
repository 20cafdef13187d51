if(TARGET px_stats)
    px_test(test_trials SOURCES test_trials.c USES px_base px_io px_trials)
    px_test(test_stats SOURCES test_stats.c USES px_base px_dist px_io px_trials px_stats)
    px_test(test_stats_models SOURCES test_stats_models.c USES px_base px_dist px_io px_trials px_stats
        LIBS PkgConfig::GSL)
endif()

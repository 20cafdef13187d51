px_test(test_config SOURCES test_config.c USES px_base px_io px_config)
px_test(test_manifest SOURCES test_manifest.c USES px_base px_io px_config)

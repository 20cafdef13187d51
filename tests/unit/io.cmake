px_test(test_json SOURCES test_json.c USES px_base px_io)

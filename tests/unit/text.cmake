px_test(test_text SOURCES test_text.c USES px_base px_io px_text)
px_test(test_text_hostile SOURCES test_text_hostile.c USES px_base px_io px_text)

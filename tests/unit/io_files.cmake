px_test(test_tensor SOURCES test_tensor.c USES px_base px_io)
px_test(test_gguf SOURCES test_gguf.c USES px_base px_io)
px_test(test_safetensors SOURCES test_safetensors.c USES px_base px_io)
px_test(test_files_memory SOURCES test_files_memory.c USES px_base px_io)
target_link_options(test_files_memory PRIVATE
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap)

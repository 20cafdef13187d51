px_test(test_tensor SOURCES test_tensor.c USES px_base px_io)
px_test(test_gguf SOURCES test_gguf.c USES px_base px_io)
px_test(test_safetensors SOURCES test_safetensors.c USES px_base px_io)

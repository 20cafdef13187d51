foreach(name test_model test_model_files test_params)
    px_test(${name} SOURCES ${name}.c USES px_base px_io px_kernels px_model)
endforeach()

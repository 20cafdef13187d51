foreach(name layers rows linear lora)
    px_test(test_ops_${name} SOURCES test_ops_${name}.c ops_case.c USES px_base px_kernels)
endforeach()

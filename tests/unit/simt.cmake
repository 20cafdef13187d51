if(PX_SIMT)
    add_library(simt_kernels OBJECT simt_kernels.cu)
    set_source_files_properties(simt_kernels.cu PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-x;c++")
    target_compile_options(simt_kernels PRIVATE -std=c++17 -Wall -Wextra -Wshadow -Werror
        -fno-exceptions -fno-rtti -O1 -fno-sanitize=all -fsanitize=thread)
    target_include_directories(simt_kernels PRIVATE ${CMAKE_SOURCE_DIR}/kernels/simt)
    px_test(test_simt SOURCES test_simt.c $<TARGET_OBJECTS:simt_kernels> USES px_base px_simt)
endif()

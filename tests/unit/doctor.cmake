if(TARGET px_doctor)
    px_test(test_doctor SOURCES test_doctor.c USES px_base px_dist px_io px_doctor
        LIBS PkgConfig::CJSON)
endif()

if(TARGET px_traits)
    px_test(test_traits SOURCES test_traits.c USES px_base px_dist px_io px_text px_traits
        LIBS PkgConfig::CJSON)
    px_test(test_traits_effects SOURCES test_traits_effects.c
        USES px_base px_dist px_io px_text px_traits LIBS PkgConfig::CJSON)
endif()

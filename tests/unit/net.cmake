pkg_check_modules(SSL REQUIRED IMPORTED_TARGET libssl)
px_test(test_net SOURCES test_net.c testd.c USES px_base px_io px_net LIBS PkgConfig::SSL)
px_test(test_net_faults SOURCES test_net_faults.c testd.c USES px_base px_io px_net
    LIBS PkgConfig::SSL)

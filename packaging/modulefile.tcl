#%Module1.0
# Environment module for an installed prismx, for Environment Modules and for Lmod (which reads Tcl too).
# Copy it to MODULEPATH/prismx/0.1.0 and set `prefix` to what cmake --install --prefix was given; load the
# MPI and HDF5 modules that the program was built with, under their names at this site.
#
# Tried: under Lmod 8.6 and Environment Modules 5.2 (avail, whatis, help, load, unload), and by tclsh with the
# commands of a module file replaced by ones that print (tests/system/packaging.sh, where tclsh is there).
set prefix /opt/prismx/0.1.0

proc ModulesHelp {} {
    puts stderr "prismx: preference training with user embeddings on MPI ranks. man prismx, prismx doctor."
}
module-whatis "prismx: preference training with user embeddings (DPO, P-DPO) on MPI ranks"
conflict prismx
# prereq openmpi hdf5

prepend-path PATH $prefix/bin
prepend-path MANPATH $prefix/share/man
prepend-path FPATH $prefix/share/zsh/site-functions

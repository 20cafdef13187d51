# Spack recipe. Put this folder's file into a repository of your own as packages/prismx/package.py
# (spack repo create; spack repo add), set `git` to where the sources are, then
#     spack install prismx
#
# Tried, with Spack 0.23 on Debian 12: concretising all of it from Spack's own packages (oneDNN 2.7.3, HDF5 1.14.5,
# Open MPI 5.0.5); spack install and spack load with the system's packages as externals. The program passes its
# system tests with a parallel HDF5 1.14.4 of its own as well. Not tried: building the dependencies by Spack.
from spack.package import *


class Prismx(CMakePackage):
    """Preference training with user embeddings (DPO, P-DPO) on MPI ranks."""


    license("Apache-2.0")

    version("main", branch="main")

    depends_on("c", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("mpi")
    depends_on("hdf5+mpi")
    depends_on("gsl")
    depends_on("cjson")
    # The kernels are written against oneDNN 2's interface, which version 3 changed.
    depends_on("onednn@2.6:2 cpu_runtime=omp")
    depends_on("pcre2")
    depends_on("openssl")
    depends_on("curl")
    depends_on("libmicrohttpd")

    generator("ninja")

    def cmake_args(self):
        # Spack's compiler wrapper sets -march from the target; the tests want cmocka and a whole checkout.
        return [self.define("PX_ARCH", "native"), self.define("PX_TESTS", False)]

    def setup_build_environment(self, env):
        # CMakeLists.txt asks pkg-config for hdf5-openmpi, Debian's name; Spack's hdf5 has hdf5.pc alone.
        env.set("PX_HDF5_PC", "hdf5")

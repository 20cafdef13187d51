# Sourced by the scripts of jobs/ and tests/: where the tree is, how to speak, how MPI is started.
# Everything works from any folder, without a terminal, as root and as anybody else.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "${DIE_CODE:-1}"
}

# The cores this process may use; a container's share counts, not the machine's.
n_cores() { nproc 2>/dev/null || echo 1; }

# mpirun refuses root unless told twice; more ranks than cores are fine, they only take longer; without
# binding none, the threads of a single rank would all sit on one core; the last line spares
# containers, which forbid reading another process, a warning a message.
mpi_environment() {
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
    export OMPI_MCA_btl_vader_single_copy_mechanism=none HDF5_USE_FILE_LOCKING=FALSE
    if [ "$(id -u)" = 0 ]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
}

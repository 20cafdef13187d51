/* software.c - libraries and their versions, MPI and its launcher, HDF5, Slurm. */
#include <curl/curl.h>
#include <microhttpd.h>
#include <openssl/crypto.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor_internal.h"
#include "io.h"
#include "ops.h"

static void check_versions(px_doctor *d) {
    px_kernels_info kernels;
    char pcre[64] = "unknown", curl[128];
    px_kernels_about(&kernels);
    pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    snprintf(curl, sizeof curl, "%.100s", curl_version());
    curl[strcspn(curl, " ")] = 0;
    px_doctor_add(d, PX_CHECK_OK, "version.prismx", "", "%s, compiler %s", PX_VERSION, __VERSION__);
    px_doctor_add(d, PX_CHECK_OK, "version.libraries", "",
                  "oneDNN %s, cJSON %s, PCRE2 %s, %s, %s, libmicrohttpd %s", kernels.onednn,
                  cJSON_Version(), pcre, OpenSSL_version(OPENSSL_VERSION), curl, MHD_get_version());
}

/* --- HDF5 --- */

static void check_hdf5(px_doctor *d) {
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    if (major != H5_VERS_MAJOR || minor != H5_VERS_MINOR)
        px_doctor_add(d, PX_CHECK_PROBLEM, "hdf5.version",
                      "build again, or give LD_LIBRARY_PATH the library of the build",
                      "runs with %u.%u.%u, built against %d.%d.%d", major, minor, release,
                      H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE);
    else
        px_doctor_add(d, PX_CHECK_OK, "hdf5.version", "", "%u.%u.%u", major, minor, release);
#ifdef H5_HAVE_PARALLEL
    px_doctor_add(d, PX_CHECK_OK, "hdf5.parallel", "", "yes");
#else
    px_doctor_add(d, PX_CHECK_PROBLEM, "hdf5.parallel",
                  "build against a parallel HDF5 (Debian: libhdf5-openmpi-dev)",
                  "no: checkpoints cannot be written by several ranks");
#endif
}

/* --- MPI --- */

/* "4.1" out of "Open MPI v4.1.4", "mpirun (Open MPI) 4.1.4": the first number with a dot. */
static bool first_version(const char *text, int *major, int *minor) {
    for (; *text; text++)
        if (*text >= '0' && *text <= '9') {
            char *end = NULL;
            *major = (int)strtol(text, &end, 10);
            if (*end == '.') {
                *minor = (int)strtol(end + 1, NULL, 10);
                return true;
            }
            text = end - 1;
        }
    return false;
}

static void check_launcher(px_doctor *d, const char *library) {
    static const char *const ask[] = {"mpirun", "--version", NULL};
    char text[512];
    int major[2] = {0}, minor[2] = {0};
    if (!px_tool_run(ask, text, sizeof text)) {
        const bool srun = px_tool_there("srun");
        px_doctor_add(d, PX_CHECK_WARNING, "mpi.launcher",
                      srun ? "srun --mpi=pmix starts ranks; or put the MPI library's mpirun in PATH"
                           : "put the MPI library's mpirun in PATH (Debian: openmpi-bin)",
                      "no mpirun that answers");
        return;
    }
    text[strcspn(text, "\n")] = 0;
    const bool both =
        first_version(library, &major[0], &minor[0]) && first_version(text, &major[1], &minor[1]);
    const bool open = strstr(library, "Open MPI") != NULL;
    if (open != (strstr(text, "Open MPI") != NULL) || (both && major[0] != major[1]))
        px_doctor_add(d, PX_CHECK_PROBLEM, "mpi.launcher",
                      "put the mpirun of the library that prismx was built against first in PATH: "
                      "else every rank believes to be alone",
                      "%s starts ranks, but the library is %s", text, library);
    else
        px_doctor_add(d, PX_CHECK_OK, "mpi.launcher", "", "%s", text);
    if (open && geteuid() == 0 && !getenv("OMPI_ALLOW_RUN_AS_ROOT"))
        px_doctor_add(d, PX_CHECK_WARNING, "mpi.root",
                      "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                      "mpirun refuses to start as root");
}

static void check_mpi(px_doctor *d) {
    char built[64], runs[256];
    int major[2] = {0}, minor[2] = {0};
    px_mpi_about(built, runs);
    const bool known =
        first_version(built, &major[0], &minor[0]) && first_version(runs, &major[1], &minor[1]);
    if (known && major[0] != major[1])
        px_doctor_add(d, PX_CHECK_PROBLEM, "mpi.library", "build again with the library that runs",
                      "runs with %s, built against %s", runs, built);
    else
        px_doctor_add(d, PX_CHECK_OK, "mpi.library", "", "%s", runs);
    check_launcher(d, runs);
}

/* --- Slurm --- */

static void check_slurm_mpi(px_doctor *d) {
    static const char *const ask[] = {"srun", "--mpi=list", NULL};
    char text[1024];
    if (!px_tool_run(ask, text, sizeof text)) {
        px_doctor_add(d, PX_CHECK_WARNING, "slurm.mpi",
                      "mpirun inside an allocation may still work",
                      "srun --mpi=list does not answer");
        return;
    }
    const bool pmix = strstr(text, "pmix") != NULL;
    px_doctor_add(d, pmix ? PX_CHECK_OK : PX_CHECK_WARNING, "slurm.mpi",
                  pmix ? "" : "without PMIx start ranks by mpirun inside the allocation", "%s",
                  text);
}

static void check_slurm(px_doctor *d) {
    static const char *const version[] = {"srun", "--version", NULL};
    static const char *const ping[] = {"scontrol", "ping", NULL};
    char text[512];
    const char *job = getenv("SLURM_JOB_ID");
    if (!px_tool_there("srun")) {
        px_doctor_add(d, PX_CHECK_OK, "slurm.version", "", "no Slurm here: mpirun starts ranks");
        return;
    }
    if (px_tool_run(version, text, sizeof text))
        px_doctor_add(d, PX_CHECK_OK, "slurm.version", "", "%s", text);
    else
        px_doctor_add(d, PX_CHECK_OK, "slurm.version", "", "installed, but not set up here");
    if (px_tool_run(ping, text, sizeof text))
        px_doctor_add(d, PX_CHECK_OK, "slurm.controller", "", "%s", text);
    else
        px_doctor_add(d, PX_CHECK_WARNING, "slurm.controller",
                      "ask the site, or set SLURM_CONF; jobs cannot be submitted until it answers",
                      "does not answer");
    check_slurm_mpi(d);
    if (!job) {
        px_doctor_add(d, PX_CHECK_OK, "slurm.job", "", "not inside a job");
        return;
    }
    const char *const names[] = {"SLURM_JOB_NUM_NODES", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK"};
    const char *values[3];
    for (int i = 0; i < 3; i++) {
        values[i] = getenv(names[i]);
        if (!values[i]) values[i] = "?";
    }
    px_doctor_add(d, PX_CHECK_OK, "slurm.job", "",
                  "inside job %s: nodes %s, tasks %s, cores a task %s", job, values[0], values[1],
                  values[2]);
}

void px_doctor_software(px_doctor *doctor) {
    check_versions(doctor);
    check_mpi(doctor);
    check_hdf5(doctor);
    check_slurm(doctor);
}

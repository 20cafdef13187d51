/* hardware.c - processor, cores, memory, devices, clock, limits of the process. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "doctor_internal.h"
#include "gpus.h"
#include "ops.h"

#define GB 1e9

/* --- processor --- */

static void check_features(px_doctor *d) {
    static const char *const flags[] = {"sse4_2",      "avx",      "avx2",     "fma",
                                        "f16c",        "avx512f",  "avx512bw", "avx512vl",
                                        "avx512_bf16", "amx_tile", "amx_bf16", "asimd"};
    char list[256] = "";
    for (size_t i = 0; i < PX_COUNT(flags); i++)
        if (px_machine_has(&d->machine, flags[i])) {
            const size_t used = strlen(list);
            snprintf(list + used, sizeof list - used, "%s%s", used ? " " : "", flags[i]);
        }
    px_doctor_add(d, PX_CHECK_OK, "cpu.model", "", "%s", d->machine.cpu);
    px_doctor_add(d, PX_CHECK_OK, "cpu.features", "", "%s", list[0] ? list : "not known");
}

static bool lacks(const px_machine *machine, const char *needs) {
    char words[128], *rest = NULL;
    snprintf(words, sizeof words, "%s", needs);
    for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
        if (!px_machine_has(machine, w)) return true;
    return false;
}

/* What this build uses, beside what the processor could. */
static void check_kernels(px_doctor *d) {
    static const char rebuild[] =
        "build on this kind of machine (cmake --preset release: PX_ARCH is native by default)";
    px_kernels_info info;
    px_kernels_about(&info);
    const px_machine *m = &d->machine;
    const char *better = "";
    if (strcmp(info.path, "AVX-512 bf16") != 0 && px_machine_has(m, "avx512_bf16") &&
        px_machine_has(m, "avx512bw"))
        better = "AVX-512 bf16";
    else if (strcmp(info.path, "plain") == 0 && px_machine_has(m, "avx2") &&
             px_machine_has(m, "fma"))
        better = "AVX2";
    const char *products = info.bf16 ? "large products in bf16" : "large products in f32";
    if (lacks(m, info.needs))
        px_doctor_add(d, PX_CHECK_PROBLEM, "cpu.kernels", rebuild,
                      "this build needs %s, which the processor has not", info.needs);
    else if (better[0])
        px_doctor_add(d, PX_CHECK_WARNING, "cpu.kernels", rebuild,
                      "%s in this build, but the processor has %s (oneDNN %s, %s)", info.path,
                      better, info.onednn, products);
    else
        px_doctor_add(d, PX_CHECK_OK, "cpu.kernels", "", "%s (oneDNN %s, %s)", info.path,
                      info.onednn, products);
}

static void check_cores(px_doctor *d) {
    const px_machine *m = &d->machine;
    const char *threads = getenv("OMP_NUM_THREADS");
    px_doctor_add(d, PX_CHECK_OK, "cpu.cores", "", "%d online, %d for this process%s%s",
                  m->cores_online, m->cores_allowed, threads ? ", OMP_NUM_THREADS=" : "",
                  threads ? threads : "");
    if (m->cores_allowed < m->cores_online)
        px_doctor_add(d, PX_CHECK_WARNING, "cpu.affinity",
                      "fine where a launcher gave each rank its cores; else "
                      "OMPI_MCA_hwloc_base_binding_policy=none, or --cpus-per-task in Slurm",
                      "bound to %d of %d cores", m->cores_allowed, m->cores_online);
    else
        px_doctor_add(d, PX_CHECK_OK, "cpu.affinity", "", "not bound");
    if (m->cores_quota > 0 && m->cores_quota < m->cores_allowed)
        px_doctor_add(d, PX_CHECK_WARNING, "cpu.quota",
                      "set threads so that ranks x threads is not above it",
                      "a container limits this process to the time of %.2g cores", m->cores_quota);
    else
        px_doctor_add(d, PX_CHECK_OK, "cpu.quota", "", "none");
    double load[1] = {0};
    if (getloadavg(load, 1) != 1) return;
    if (load[0] > 0.5 * m->cores_online)
        px_doctor_add(d, PX_CHECK_WARNING, "cpu.load",
                      "wait, or expect less speed and measure nothing",
                      "%.2g processes run already", load[0]);
    else
        px_doctor_add(d, PX_CHECK_OK, "cpu.load", "", "%.2g", load[0]);
}

/* --- memory --- */

static void check_memory(px_doctor *d) {
    const px_machine *m = &d->machine;
    const double room = (double)px_machine_room(m) / GB;
    const px_check_state state = room < 1 ? PX_CHECK_WARNING : PX_CHECK_OK;
    px_doctor_add(d, state, "memory.free",
                  state ? "close other programs; prismx plan says what a run needs" : "",
                  "%.1f GB of %.1f GB can be had", room, (double)m->memory_total / GB);
    if (m->memory_limit < m->memory_total)
        px_doctor_add(d, PX_CHECK_OK, "memory.limit", "",
                      "a container limits this process to %.1f GB, of which %.1f GB are taken",
                      (double)m->memory_limit / GB, (double)m->memory_in_limit / GB);
    else
        px_doctor_add(d, PX_CHECK_OK, "memory.limit", "", "none");
    px_doctor_add(d, PX_CHECK_OK, "memory.numa",
                  m->n_numa > 1 ? "a rank a node is fastest: mpirun --map-by numa --bind-to numa"
                                : "",
                  "%d node%s", m->n_numa, m->n_numa > 1 ? "s" : "");
    struct statvfs fs;
    if (statvfs("/dev/shm", &fs) != 0) return;
    const double shm = (double)fs.f_blocks * (double)fs.f_frsize / 1e6;
    px_doctor_add(d, shm < 128 ? PX_CHECK_WARNING : PX_CHECK_OK, "memory.shm",
                  shm < 128 ? "ranks of one machine talk through it: give the container more "
                              "(--shm-size), or OMPI_MCA_btl=tcp,self"
                            : "",
                  "/dev/shm holds %.0f MB", shm);
}

static void check_pages(px_doctor *d) {
    char thp[128];
    if (!px_line_read(d->root, "/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof thp))
        px_doctor_add(d, PX_CHECK_OK, "memory.thp", "",
                      "this kernel has no transparent huge pages");
    else if (strstr(thp, "[always]"))
        px_doctor_add(d, PX_CHECK_OK, "memory.thp", "", "transparent huge pages are on");
    else
        px_doctor_add(d, PX_CHECK_OK, "memory.thp",
                      "a few per cent at most: as root, echo always > "
                      "/sys/kernel/mm/transparent_hugepage/enabled",
                      "transparent huge pages: %s", thp);
    char held[64] = "0", size[64] = "2048";
    px_line_read(d->root, "/proc/sys/vm/nr_hugepages", held, sizeof held);
    const double bytes = strtod(held, NULL) * strtod(size, NULL) * 1024;
    if (bytes > 0.1 * (double)d->machine.memory_total)
        px_doctor_add(d, PX_CHECK_WARNING, "memory.hugepages",
                      "as root, sysctl vm.nr_hugepages=0 gives them back",
                      "%.1f GB are kept for huge pages, which prismx does not use", bytes / GB);
}

/* --- devices --- */

static bool any_entry(const char *root, const char *folder, const char *prefix) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s", root, folder);
    DIR *dir = opendir(path);
    bool found = false;
    for (struct dirent *e; dir && !found && (e = readdir(dir));)
        found = e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    if (dir) closedir(dir);
    return found;
}

/* A build for GPUs: what it was made with, and whether there are any. */
static void check_cards(px_doctor *d, const px_gpu_facts *gpus) {
    static const char instead[] = "device cpu computes here all the same";
    char nccl[32], driver[256];
    px_gpus_about(nccl);
    px_doctor_add(d, PX_CHECK_OK, "gpu.build", "", "for GPUs: CUDA %s, cuBLASLt %s, NCCL %s",
                  gpus->cuda, gpus->cublaslt, nccl);
    if (!px_line_read(d->root, "/proc/driver/nvidia/version", driver, sizeof driver))
        px_doctor_add(d, PX_CHECK_WARNING, "gpu.devices", instead,
                      "no GPU: no NVIDIA driver is loaded (%s)", gpus->why);
    else if (gpus->n == 0)
        px_doctor_add(d, PX_CHECK_WARNING, "gpu.devices",
                      "a newer driver, or CUDA_VISIBLE_DEVICES; device cpu computes all the same",
                      "no GPU that can be used: %s (driver %s, for CUDA up to %s)", gpus->why,
                      driver, gpus->driver);
    else
        px_doctor_add(d, PX_CHECK_OK, "gpu.devices", "", "%s (driver for CUDA up to %s)",
                      gpus->cards, gpus->driver);
}

static void check_gpus(px_doctor *d) {
    char driver[256], list[1024];
    px_gpu_facts gpus;
    px_gpu_facts_get(&gpus);
    if (gpus.built) {
        check_cards(d, &gpus);
        return;
    }
    px_doctor_add(d, PX_CHECK_OK, "gpu.build", "",
                  "for processors: cmake --preset cuda makes one for GPUs (docs/cuda.md)");
    static const char *const smi[] = {"nvidia-smi", "--query-gpu=name,memory.total",
                                      "--format=csv,noheader", NULL};
    if (!px_line_read(d->root, "/proc/driver/nvidia/version", driver, sizeof driver)) {
        px_doctor_add(d, PX_CHECK_OK, "gpu.devices", "",
                      "none, and none is needed: this build computes on processors");
        px_doctor_add(d, PX_CHECK_OK, "gpu.nccl", "", "not used by this build");
        return;
    }
    px_doctor_add(d, PX_CHECK_OK, "gpu.driver", "", "%s", driver);
    if (px_tool_run(smi, list, sizeof list))
        px_doctor_add(d, PX_CHECK_OK, "gpu.devices", "", "not used by this build: %s", list);
    else
        px_doctor_add(d, PX_CHECK_WARNING, "gpu.devices",
                      "none is needed: this build computes on processors",
                      "a driver is loaded, but nvidia-smi does not answer");
    px_doctor_add(d, PX_CHECK_OK, "gpu.nccl", "", "not used by this build");
}

static void check_network(px_doctor *d) {
    struct rlimit lock;
    if (!any_entry(d->root, "/sys/class/infiniband", "")) {
        px_doctor_add(d, PX_CHECK_OK, "net.fabric", "",
                      "no InfiniBand: ranks of other machines "
                      "are reached by TCP");
        return;
    }
    const bool small = getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur != RLIM_INFINITY;
    px_doctor_add(d, small ? PX_CHECK_WARNING : PX_CHECK_OK, "net.fabric",
                  small ? "ulimit -l unlimited, also for the batch system's daemons" : "",
                  "InfiniBand; memory that may be locked: %s", small ? "limited" : "all");
}

/* --- clock --- */

static void check_clock(px_doctor *d) {
    double last = px_now_s();
    bool back = false;
    for (int i = 0; i < 100000; i++) {
        const double now = px_now_s();
        back |= now < last;
        last = now;
    }
    px_doctor_add(d, back ? PX_CHECK_PROBLEM : PX_CHECK_OK, "clock.monotonic",
                  back ? "times and the watchdog (comm.timeout_s) cannot be trusted here" : "",
                  back ? "the monotonic clock ran backwards"
                       : "never ran backwards in 100,000 looks");
    const time_t now = time(NULL);
    struct tm utc;
    if (!gmtime_r(&now, &utc) || utc.tm_year + 1900 < 2024)
        px_doctor_add(d, PX_CHECK_PROBLEM, "clock.date",
                      "set the clock; certificates and "
                      "modification times depend on it",
                      "the year is %d", utc.tm_year + 1900);
    struct timex state = {.modes = 0};
    const int rc = adjtimex(&state);
    if (rc < 0)
        px_doctor_add(d, PX_CHECK_OK, "clock.ntp", "", "not known here");
    else if (rc == TIME_ERROR || (state.status & STA_UNSYNC))
        px_doctor_add(d, PX_CHECK_WARNING, "clock.ntp",
                      "start chrony or ntpd where several machines work together",
                      "the kernel's clock is not kept by NTP");
    else
        px_doctor_add(d, PX_CHECK_OK, "clock.ntp", "", "kept by NTP, off by %.3g ms at most",
                      (double)state.maxerror / 1e3);
}

/* --- limits of the process --- */

typedef struct {
    int resource; /* RLIMIT_… */
    const char *name, *what, *todo;
    double least;
} limit;

static void check_limits(px_doctor *d) {
    static const limit limits[] = {
        {RLIMIT_NOFILE, "limit.files", "open files", "ulimit -n 4096", 256},
        {RLIMIT_AS, "limit.address", "bytes of address space", "ulimit -v unlimited", 64e9},
        {RLIMIT_DATA, "limit.data", "bytes of data", "ulimit -d unlimited", 64e9},
        {RLIMIT_FSIZE, "limit.filesize", "bytes a file", "ulimit -f unlimited", 64e9},
        {RLIMIT_NPROC, "limit.processes", "processes and threads", "ulimit -u 4096", 256},
        {RLIMIT_STACK, "limit.stack", "bytes of stack", "ulimit -s 8192", 1e6},
    };
    for (size_t i = 0; i < PX_COUNT(limits); i++) {
        struct rlimit is;
        const limit *l = &limits[i];
        if (getrlimit((__rlimit_resource_t)l->resource, &is) != 0) continue;
        const bool low = is.rlim_cur != RLIM_INFINITY && (double)is.rlim_cur < l->least;
        char value[32] = "no limit of";
        if (is.rlim_cur != RLIM_INFINITY)
            snprintf(value, sizeof value, "%.6g", (double)is.rlim_cur);
        px_doctor_add(d, low ? PX_CHECK_WARNING : PX_CHECK_OK, l->name, low ? l->todo : "", "%s %s",
                      value, l->what);
    }
}

void px_doctor_hardware(px_doctor *doctor) {
    check_features(doctor);
    check_kernels(doctor);
    check_cores(doctor);
    check_memory(doctor);
    check_pages(doctor);
    check_gpus(doctor);
    check_network(doctor);
    check_clock(doctor);
    check_limits(doctor);
}

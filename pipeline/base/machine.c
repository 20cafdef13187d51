/* machine.c - see machine.h. */
#include "machine.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base.h"

static FILE *open_under(const char *root, const char *path) {
    char whole[PATH_MAX];
    const int n = snprintf(whole, sizeof whole, "%s%s", root, path);
    return n < (int)sizeof whole ? fopen(whole, "r") : NULL;
}

bool px_line_read(const char *root, const char *path, char *out, int size) {
    FILE *file = open_under(root, path);
    out[0] = 0;
    if (!file) return false;
    const bool read = fgets(out, size, file) != NULL;
    fclose(file);
    out[strcspn(out, "\n")] = 0;
    return read;
}

/* The value behind "name ... : value" of the first such line. */
static void field(const char *root, const char *path, const char *name, char *out, size_t size) {
    FILE *file = open_under(root, path);
    char line[8192];
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, name, strlen(name)) != 0) continue;
        colon += 1 + strspn(colon + 1, " \t");
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, size, "%s", colon);
        break;
    }
    if (file) fclose(file);
}

static int64_t kilobytes(const char *root, const char *name) {
    char text[64] = "";
    field(root, "/proc/meminfo", name, text, sizeof text);
    return (int64_t)strtoll(text, NULL, 10) * 1024;
}

/* --- limits of a container: version 2, then 1, each from the process's own group upwards --- */

static bool group_path(const char *root, const char *controller, char *out, size_t size) {
    FILE *file = open_under(root, "/proc/self/cgroup");
    char line[PATH_MAX];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        names++;
        path[strcspn(path, "\n")] = 0;
        found = controller[0] ? strstr(names, controller) != NULL : names[0] == 0;
        if (found) snprintf(out, size, "%s", strcmp(path, "/") == 0 ? "" : path);
    }
    if (file) fclose(file);
    return found;
}

typedef void take_line(px_machine *m, const char *root, const char *folder, const char *line);

/* Calls take for the file in the process's group and in each above it. */
static void climb(px_machine *m, const char *root, const char *controller, const char *name,
                  take_line *take) {
    char group[2048] = "", path[PATH_MAX], folder[3072], line[128];
    if (!group_path(root, controller, group, sizeof group)) return;
    for (;;) {
        snprintf(folder, sizeof folder, "/sys/fs/cgroup%s%s%s", controller[0] ? "/" : "",
                 controller, group);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (px_line_read(root, path, line, sizeof line)) take(m, root, folder, line);
        char *slash = strrchr(group, '/');
        if (!slash) return;
        *slash = 0;
    }
}

static void take_quota(px_machine *m, double quota, double period) {
    if (quota <= 0 || period <= 0) return;
    if (m->cores_quota == 0 || quota / period < m->cores_quota) m->cores_quota = quota / period;
}

static void cpu_max(px_machine *m, const char *root, const char *folder, const char *line) {
    (void)root, (void)folder;
    char *end = NULL;
    const double quota = strtod(line, &end); /* "max 100000" gives 0 */
    take_quota(m, quota, strtod(end, NULL));
}

static void cfs_quota(px_machine *m, const char *root, const char *folder, const char *line) {
    char path[PATH_MAX], period[64];
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (px_line_read(root, path, period, sizeof period))
        take_quota(m, strtod(line, NULL), strtod(period, NULL));
}

static void memory_limit(px_machine *m, const char *root, const char *folder, const char *line) {
    char path[PATH_MAX], used[64];
    const int64_t limit = strtoll(line, NULL, 10);
    if (limit <= 0 || limit >= m->memory_limit) return; /* "max", or more than there is */
    m->memory_limit = limit;
    snprintf(path, sizeof path, "%s/memory.current", folder);
    if (!px_line_read(root, path, used, sizeof used)) {
        snprintf(path, sizeof path, "%s/memory.usage_in_bytes", folder);
        px_line_read(root, path, used, sizeof used);
    }
    m->memory_in_limit = strtoll(used, NULL, 10);
}

static int count_numa(const char *root) {
    char path[PATH_MAX];
    int n = 0;
    for (;; n++) {
        snprintf(path, sizeof path, "%s/sys/devices/system/node/node%d", root, n);
        if (access(path, F_OK) != 0) return PX_MAX(n, 1);
    }
}

void px_machine_read(const char *root, px_machine *out) {
    cpu_set_t set;
    *out = (px_machine){.cpu = "unknown"};
    field(root, "/proc/cpuinfo", "model name", out->cpu, sizeof out->cpu);
    field(root, "/proc/cpuinfo", "flags", out->flags + 1, sizeof out->flags - 2);
    out->flags[0] = ' ';
    const size_t n = strlen(out->flags);
    out->flags[n] = ' ';
    out->flags[n + 1] = 0;
    out->cores_online = (int)sysconf(_SC_NPROCESSORS_ONLN);
    out->cores_allowed =
        sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : out->cores_online;
    out->memory_total = kilobytes(root, "MemTotal");
    out->memory_free = kilobytes(root, "MemAvailable");
    out->memory_limit = out->memory_total;
    climb(out, root, "", "cpu.max", cpu_max);
    climb(out, root, "cpu", "cpu.cfs_quota_us", cfs_quota);
    climb(out, root, "", "memory.max", memory_limit);
    climb(out, root, "memory", "memory.limit_in_bytes", memory_limit);
    out->n_numa = count_numa(root);
}

bool px_machine_has(const px_machine *machine, const char *flag) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, " %s ", flag);
    return strstr(machine->flags, wanted) != NULL;
}

int64_t px_machine_room(const px_machine *machine) {
    const int64_t left = machine->memory_limit - machine->memory_in_limit;
    return PX_MAX(PX_MIN(machine->memory_free, left), 0);
}

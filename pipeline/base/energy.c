/* energy.c - see energy.h. Zones intel-rapl:N whose name begins with package (AMD's are called so
 * too); parts of a package (core, uncore, dram) have zones of their own, which are not counted. */
#include "energy.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "machine.h"
#include "str.h"

static double counter(const char *root, int zone, const char *name) {
    char path[PATH_MAX], line[64];
    double value = NAN;
    snprintf(path, sizeof path, "/sys/class/powercap/intel-rapl:%d/%s", zone, name);
    if (!px_line_read(root, path, line, sizeof line) || !px_parse_f64(line, &value)) return NAN;
    return value >= 0 ? value : NAN;
}

void px_energy_start(const char *root, px_energy *out) {
    *out = (px_energy){.root = root};
    for (int zone = 0; zone < PX_ENERGY_PACKAGES; zone++) {
        char path[PATH_MAX], name[64];
        snprintf(path, sizeof path, "/sys/class/powercap/intel-rapl:%d/name", zone);
        const double now = counter(root, zone, "energy_uj");
        const double range = counter(root, zone, "max_energy_range_uj");
        if (!isfinite(now) || !(range > 0)) continue;
        if (!px_line_read(root, path, name, sizeof name) || strncmp(name, "package", 7) != 0)
            continue;
        out->zone[out->n] = zone;
        out->last_uj[out->n] = now;
        out->range_uj[out->n++] = range;
    }
    out->joules = out->n ? 0 : NAN;
}

void px_energy_sample(px_energy *energy) {
    for (int i = 0; i < energy->n; i++) {
        const double now = counter(energy->root, energy->zone[i], "energy_uj");
        double used = now - energy->last_uj[i];
        if (used < 0) used += energy->range_uj[i];
        energy->joules += used / 1e6; /* NaN sticks: half a count is none */
        energy->last_uj[i] = now;
    }
}

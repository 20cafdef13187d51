/* energy.h - joules of this machine's processors by RAPL's counters (Linux powercap), of everything
 * that runs on it. The counters are small and turn over every so many minutes: sample often. */
#ifndef PX_ENERGY_H
#define PX_ENERGY_H

#include <stdint.h>

enum { PX_ENERGY_PACKAGES = 16 };
typedef struct {
    const char *root;
    int n; /* packages whose counters can be read; 0: none, and no joules are known */
    int zone[PX_ENERGY_PACKAGES];
    double last_uj[PX_ENERGY_PACKAGES], range_uj[PX_ENERGY_PACKAGES];
    double joules; /* since px_energy_start; NaN where nothing can be read, or no longer */
} px_energy;

/* root: "" for the real machine; tests give a folder with sys/ inside. */
void px_energy_start(const char *root, px_energy *out);
/* Adds what was used since the last sample. */
void px_energy_sample(px_energy *energy);

#endif

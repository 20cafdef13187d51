/* doctor.h - what this machine has and lacks for prismx: each check is ok, a warning or a problem,
 * with what was found and what to do. Looks, tries small files in one folder, changes nothing. */
#ifndef PX_DOCTOR_H
#define PX_DOCTOR_H

#include "dist.h"

typedef enum { PX_CHECK_OK, PX_CHECK_WARNING, PX_CHECK_PROBLEM, PX_CHECK_STATES } px_check_state;
typedef struct {
    px_check_state state;
    const char *name;  /* "memory.limit" */
    const char *found; /* one line */
    const char *todo;  /* one line, "" where there is nothing to do */
} px_check;

typedef struct px_doctor px_doctor;
/* root: "" for the real machine; tests give a folder with proc/ and sys/ inside. */
PX_CHECKED px_err *px_doctor_new(const char *root, px_doctor **out);
void px_doctor_free(px_doctor *doctor);

/* Not collective; each adds its checks. Processor, memory, devices, clock, limits. */
void px_doctor_hardware(px_doctor *doctor);
/* Libraries, MPI and its launcher, HDF5, Slurm. */
void px_doctor_software(px_doctor *doctor);
/* A folder: file system, locks really tried, space, quota, its clock. */
void px_doctor_place(px_doctor *doctor, const char *dir);
/* Collective. A short all-reduce, its sums compared with what they must be, its latency and
 * bandwidth; a file written by all ranks together in dir and read back by each. The checks are
 * added on rank 0; a rank that cannot agree is an error. */
PX_CHECKED px_err *px_doctor_ranks_all(px_doctor *doctor, const px_ranks *ranks, const char *dir);

/* The checks so far; borrowed. */
const px_check *px_doctor_checks(const px_doctor *doctor, int *n);
int px_doctor_count(const px_doctor *doctor, px_check_state state);
/* A line a check and one for what to do, or one JSON object. */
PX_CHECKED px_err *px_doctor_print(const px_doctor *doctor, bool json, px_str *out);

#endif

/* machine.h - what Linux says of this machine and of this process's share of it: processor, cores,
 * memory, limits of containers. Names no host. */
#ifndef PX_MACHINE_H
#define PX_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char cpu[128];           /* "model name", or "unknown" */
    char flags[4096];        /* of the first processor, a space before and behind each */
    int cores_online;        /* of the machine */
    int cores_allowed;       /* this process may run on */
    double cores_quota;      /* a container's share of time, in cores; 0: none */
    int64_t memory_total;    /* bytes */
    int64_t memory_free;     /* bytes that could be had now, caches counted */
    int64_t memory_limit;    /* of the container, or memory_total */
    int64_t memory_in_limit; /* bytes used already of the container's; 0 without one */
    int n_numa;              /* memory nodes, at least 1 */
} px_machine;
/* root: "" for the real machine; tests give a folder with proc/ and sys/ inside. What cannot be
 * read stays 0 or "unknown". */
void px_machine_read(const char *root, px_machine *out);
bool px_machine_has(const px_machine *machine, const char *flag);
/* Bytes that this machine still gives a process: free memory, within the container's limit. */
int64_t px_machine_room(const px_machine *machine);
/* The first line of a small file without its end, cut to size; false: it cannot be read. */
bool px_line_read(const char *root, const char *path, char *out, int size);

#endif

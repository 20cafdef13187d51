/* simt_facts.h - what simt counts, in C for tests: device memory now, at most so far, and how often
 * some was taken (cudaMalloc). */
#ifndef PX_SIMT_FACTS_H
#define PX_SIMT_FACTS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    size_t held, most;
    long n_taken;
} simt_memory_facts;
void simt_memory(simt_memory_facts *out);

#ifdef __cplusplus
}
#endif

#endif

/* place.c - where a rank computes: how many threads, on which cores, which GPU of the machine's. A
 * launcher that bound the ranks is left alone; ranks that Slurm gave the whole mask of their job
 * share it out among themselves. See px_place in dist.h. */
#include "dist_internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number_of(const char *text) {
    int64_t n = 0;
    return text && px_parse_i64(text, &n) && n > 0 && n < 1 << 20 ? (int)n : 0;
}

int px_place_threads(const px_place_facts *facts) {
    if (facts->asked > 0) return facts->asked;
    if (number_of(facts->omp)) return number_of(facts->omp);
    if (number_of(facts->slurm_cores)) return number_of(facts->slurm_cores);
    bool bound = facts->node_size > 1 && facts->cores < facts->cores_online;
    return PX_MAX(1, bound ? facts->cores : facts->cores / facts->node_size);
}

bool px_place_own_cores(const px_place_facts *facts, int threads, int *first, int *n) {
    *first = *n = 0;
    /* Without Slurm, or where it holds no job to its cores, the mask may be others' as well. */
    if (facts->node_size < 2 || facts->cores != number_of(facts->slurm_on_node)) return false;
    if ((int64_t)facts->node_size * threads > facts->cores) return false;
    *n = threads;
    *first = facts->node_rank * threads;
    return true;
}

int px_place_gpus(const char *visible) {
    int n = 0;
    if (!visible || !*visible || !strcmp(visible, "NoDevFiles") || *visible == '-') return 0;
    for (const char *at = visible; at; at = strchr(at, ',')) {
        at += *at == ',';
        n++;
    }
    return n;
}

int px_place_gpu(int n_gpus, int node_rank) {
    if (n_gpus <= 1) return n_gpus - 1;
    return node_rank < n_gpus ? node_rank : -1;
}

/* The n cores of the mask from its first-th on. */
static bool take_cores(const cpu_set_t *mask, int first, int n) {
    cpu_set_t mine;
    int at = 0;
    CPU_ZERO(&mine);
    for (size_t core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, mask)) continue;
        if (at >= first && at < first + n) CPU_SET(core, &mine);
        at++;
    }
    return CPU_COUNT(&mine) == n && sched_setaffinity(0, sizeof mine, &mine) == 0;
}

static void say(const px_ranks *ranks, const px_place_facts *facts, int threads, bool own) {
    const char *gpus = getenv("CUDA_VISIBLE_DEVICES"), *cores = "shared with all that runs there";
    int n_gpus = px_place_gpus(gpus);
    if (ranks->rank > 0 || (ranks->size == 1 && !getenv("SLURM_JOB_ID"))) return;
    if (own)
        cores = "each rank has its own share";
    else if (facts->cores < facts->cores_online)
        cores = "as the launcher or Slurm bound them";
    char devices[96] = "";
    if (n_gpus > 0)
        snprintf(devices, sizeof devices, "; GPUs visible to rank 0: %d, its own is number %d",
                 n_gpus, px_place_gpu(n_gpus, ranks->node_rank));
    px_info("place: %d rank%s on %d node%s, %d thread%s each; cores: %s%s", ranks->size,
            ranks->size == 1 ? "" : "s", ranks->n_nodes, ranks->n_nodes == 1 ? "" : "s", threads,
            threads == 1 ? "" : "s", cores, devices);
    if (n_gpus > 1 && ranks->node_size > n_gpus)
        px_warn("%d ranks on this node see %d GPUs: one rank a GPU is wanted", ranks->node_size,
                n_gpus);
}

int px_place(const px_ranks *ranks, int asked) {
    static bool told;
    cpu_set_t mask;
    bool known = sched_getaffinity(0, sizeof mask, &mask) == 0;
    px_place_facts facts = {.asked = asked,
                            .node_rank = ranks->node_rank,
                            .node_size = ranks->node_size,
                            .cores = known ? CPU_COUNT(&mask) : 1,
                            .cores_online = (int)sysconf(_SC_NPROCESSORS_ONLN),
                            .omp = getenv("OMP_NUM_THREADS"),
                            .slurm_cores = getenv("SLURM_CPUS_PER_TASK"),
                            .slurm_on_node = getenv("SLURM_CPUS_ON_NODE")};
    int threads = px_place_threads(&facts), first = 0, n = 0;
    bool own = !told && known && px_place_own_cores(&facts, threads, &first, &n) &&
               take_cores(&mask, first, n);
    if (!told) say(ranks, &facts, threads, own);
    told = true;
    return threads;
}

/* manifest.h - manifest.json of a run folder: what made it, from what, with what, and what came
 * out. A cJSON object built up by its owner; written atomically. */
#ifndef PX_MANIFEST_H
#define PX_MANIFEST_H

#include "io.h"

/* A new object with program version, commit and build, start time (UTC), host kind (CPU model and
 * features, cores, memory; no host name), library versions (MPI, HDF5, cJSON, libc; oneDNN by the
 * caller), command line.
 * Free by cJSON_Delete. */
PX_CHECKED px_err *px_manifest_new(int argc, char **argv, int n_ranks, int threads, cJSON **out);
/* This machine's processor, and which of the instruction sets it has that kernels choose by. */
void px_manifest_cpu(char *name, size_t name_size, char *features, size_t features_size);
/* Bytes and SHA-256 of a file, or of a folder: of the name and digest of each file in it, by name
 * (not in folders below, nothing that starts with a dot). PX_BAD_INPUT: missing or unreadable. */
PX_CHECKED px_err *px_manifest_digest(const char *path, int64_t *bytes, px_digest *out);
/* inputs/outputs: adds {"path", "bytes", "sha256"} under manifest[group][name]; `sha256` NULL:
 * computed here by px_manifest_digest. */
PX_CHECKED px_err *px_manifest_file(cJSON *manifest, const char *group, const char *name,
                                    const char *path, const char *sha256);
/* A name with dots goes into nested objects ("libraries.onednn"); an earlier value is replaced. */
PX_CHECKED px_err *px_manifest_text(cJSON *manifest, const char *name, const char *value);
PX_CHECKED px_err *px_manifest_f64(cJSON *manifest, const char *name, double value);
/* Adds the resolved configuration text (px_config_print) under "config". */
PX_CHECKED px_err *px_manifest_config(cJSON *manifest, const char *config_json);
/* DIR/manifest.json, atomically. */
PX_CHECKED px_err *px_manifest_write(const cJSON *manifest, const char *dir);
PX_CHECKED px_err *px_manifest_read(const char *dir, cJSON **out);

/* TensorBoard event file (TFRecord with masked CRC-32C, protobuf by hand): scalars alone. */
typedef struct px_events px_events;
/* DIR/events.out.tfevents.SECONDS.prismx; appended to. */
PX_CHECKED px_err *px_events_open(const char *dir, px_events **out);
PX_CHECKED px_err *px_events_scalar(px_events *events, const char *tag, int64_t step, double value);
PX_CHECKED px_err *px_events_flush(px_events *events);
void px_events_close(px_events *events);

#endif

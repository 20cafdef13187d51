/* serve_engine.h - the server's generator over the engine: encodes messages by the model's
 * template, finds a person's soft tokens, and turns tokens into the text that `generate` would
 * give. */
#ifndef PX_SERVE_ENGINE_H
#define PX_SERVE_ENGINE_H

#include "engine.h"
#include "serve.h"

typedef struct px_served px_served;
PX_CHECKED px_err *px_served_open(const px_engine_setup *setup, px_served **out);
void px_served_close(px_served *served);
/* Borrows from served. All calls from one thread. */
px_generator px_served_generator(px_served *served);
/* What a request gets that does not say: generate.* of the configuration. */
px_sampling px_served_sampling(const px_config *config);
/* Hash of weights and trained parameters, its beginning: "fp_0123456789ab". */
const char *px_served_fingerprint(const px_served *served);
/* Positions of the model: prompt and answer together. */
int64_t px_served_positions(const px_served *served);
/* Soft tokens before each prompt; 0: the model knows nobody. */
int32_t px_served_soft_tokens(const px_served *served);

/* A JSON schema as a form; in the arena, its texts borrowed from the schema. PX_BAD_INPUT: what it
 * holds beyond the subset of docs/serve.md. */
PX_CHECKED px_err *px_schema_form(const cJSON *schema, px_arena *arena, px_form *out);

#endif

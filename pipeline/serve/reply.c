/* reply.c - the JSON that goes back, in OpenAI's shapes: whole answers, a stream's chunks, errors.
 * A field "prismx" beside theirs says whose embedding answered and with which seed. */
#include <string.h>

#include "serve_internal.h"

static void add_text(px_str *out, const char *text) { px_str_json(out, text, strlen(text)); }

void px_reply_error(px_str *out, int status, const char *message) {
    const char *type = status == 401                    ? "authentication_error"
                       : status == 403                  ? "permission_error"
                       : status == 429 || status == 503 ? "overloaded_error"
                       : status >= 500                  ? "server_error"
                                                        : "invalid_request_error";
    px_str_text(out, "{\"error\":{\"message\":");
    add_text(out, message);
    px_str_format(out, ",\"type\":\"%s\",\"param\":null,\"code\":%d}}", type, status);
}

static void add_head(const px_job *job, const char *object, px_str *out) {
    px_str_format(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", job->id,
                  object, (long long)job->created);
    add_text(out, job->server->setup.model);
    px_str_text(out, ",\"system_fingerprint\":");
    add_text(out, job->server->setup.fingerprint);
}

static void add_prismx(const px_job *job, px_str *out) {
    static const char *const persons[] = {"none", "generic", "own"};
    px_str_format(out, ",\"prismx\":{\"user\":\"%s\",\"seed\":%llu", persons[job->person],
                  (unsigned long long)job->request.how.seed);
    if (job->request.ignored.size)
        px_str_format(out, ",\"ignored\":[%s]", job->request.ignored.data);
    px_str_char(out, '}');
}

static void add_usage(const px_job *job, px_str *out) {
    long long tokens = 0;
    for (int i = 0; i < job->request.n; i++) tokens += job->parts[i].n_tokens;
    px_str_format(out,
                  ",\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%lld,\"total_tokens\":"
                  "%lld}",
                  job->prompt_tokens, tokens, tokens + job->prompt_tokens);
}

static void add_logprobs(const px_job *job, const px_answer_part *part, px_str *out) {
    if (!job->request.logprobs) return;
    px_str_format(out, ",\"logprobs\":{\"content\":[%s],\"refusal\":null}",
                  part->logprobs.size ? part->logprobs.data : "");
}

void px_reply_whole(const px_job *job, px_str *out) {
    add_head(job, "chat.completion", out);
    px_str_text(out, ",\"choices\":[");
    for (int i = 0; i < job->request.n; i++) {
        const px_answer_part *part = &job->parts[i];
        px_str_format(out, "%s{\"index\":%d,\"message\":{\"role\":\"assistant\",\"content\":",
                      i ? "," : "", i);
        px_str_json(out, part->text.data ? part->text.data : "", part->text.size);
        px_str_char(out, '}');
        add_logprobs(job, part, out);
        px_str_format(out, ",\"finish_reason\":\"%s\"}", part->finish);
    }
    px_str_char(out, ']');
    add_usage(job, out);
    add_prismx(job, out);
    px_str_char(out, '}');
}

void px_reply_chunk(px_answer_part *part, const char *text, size_t size, bool role) {
    px_job *job = part->job;
    px_str *out = &job->out;
    px_str_text(out, "data: ");
    add_head(job, "chat.completion.chunk", out);
    px_str_format(out, ",\"choices\":[{\"index\":%d,\"delta\":{", part->index);
    if (role) px_str_text(out, "\"role\":\"assistant\",");
    if (size || role) {
        px_str_text(out, "\"content\":");
        px_str_json(out, text, size);
    }
    px_str_char(out, '}');
    if (part->logprobs.size) add_logprobs(job, part, out);
    px_str_clear(&part->logprobs);
    if (part->finish)
        px_str_format(out, ",\"finish_reason\":\"%s\"}]", part->finish);
    else
        px_str_text(out, ",\"finish_reason\":null}]");
    if (role) add_prismx(job, out);
    px_str_text(out, "}\n\n");
}

void px_reply_stream_end(px_job *job) {
    px_str *out = &job->out;
    if (job->request.stream_usage) {
        px_str_text(out, "data: ");
        add_head(job, "chat.completion.chunk", out);
        px_str_text(out, ",\"choices\":[]");
        add_usage(job, out);
        px_str_text(out, "}\n\n");
    }
    px_str_text(out, "data: [DONE]\n\n");
}

void px_reply_models(const px_server *server, px_str *out) {
    px_str_text(out, "{\"object\":\"list\",\"data\":[{\"id\":");
    add_text(out, server->setup.model);
    px_str_text(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"prismx\"}]}");
}

/* Part of a character stands as U+FFFD in "token", whole in "bytes". */
static void add_piece(const px_piece_text *piece, px_str *out) {
    px_str_text(out, "{\"token\":");
    px_str_json(out, piece->text, piece->size);
    px_str_text(out, ",\"logprob\":");
    px_str_double(out, piece->logp);
    px_str_text(out, ",\"bytes\":[");
    for (size_t i = 0; i < piece->size; i++)
        px_str_format(out, i ? ",%d" : "%d", (unsigned char)piece->text[i]);
    px_str_char(out, ']');
}

void px_reply_logprob(const px_piece_event *event, int top, px_str *out) {
    if (out->size) px_str_char(out, ',');
    add_piece(&event->token, out);
    px_str_text(out, ",\"top_logprobs\":[");
    for (int i = 0; i < event->n_best && i < top; i++) {
        if (i) px_str_char(out, ',');
        add_piece(&event->best[i], out);
        px_str_char(out, '}');
    }
    px_str_text(out, "]}");
}

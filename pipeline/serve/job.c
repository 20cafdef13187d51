/* job.c - a request's answer as its tokens come: stop strings, whole characters, what may be sent.
 *
 * Of a stream, text is held back while it may still become a stop string or the rest of a character
 * is missing; the pieces joined are the whole answer's text, byte for byte. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serve_internal.h"

#define STREAM_UNREAD_MAX                                                                          \
    ((size_t)8 << 20) /* a client that leaves more unread is taken for gone                        \
                       */

px_err *px_job_new(px_server *server, px_chat_request *request, px_job **out) {
    px_job *job = calloc(1, sizeof *job);
    if (job) job->parts = calloc((size_t)request->n, sizeof *job->parts);
    if (!job || !job->parts) {
        free(job);
        PX_NO_MEMORY();
    }
    job->holders = 1;
    job->server = server;
    job->request = *request;
    *request = (px_chat_request){0};
    for (int i = 0; i < job->request.n; i++) {
        job->parts[i].job = job;
        job->parts[i].index = i;
    }
    job->status = 200;
    job->created = (int64_t)time(NULL);
    job->since_s = px_now_s();
    snprintf(job->id, sizeof job->id, "chatcmpl-%llx-%lld", (unsigned long long)job->created,
             (long long)++server->n_made);
    *out = job;
    return NULL;
}

void px_job_release(px_job *job) {
    if (--job->holders > 0) return;
    for (int i = 0; i < job->request.n; i++) {
        px_str_free(&job->parts[i].text);
        px_str_free(&job->parts[i].logprobs);
    }
    free(job->parts);
    px_chat_request_free(&job->request);
    px_str_free(&job->out);
    free(job);
}

void px_job_wake(px_job *job) {
    if (!job->suspended) return;
    job->suspended = false;
    MHD_resume_connection(job->connection);
}

/* Bytes at the end of text that begin a character and do not end it. */
static size_t cut_character(const char *text, size_t size) {
    for (size_t n = 1; n <= 3 && n <= size; n++) {
        unsigned char c = (unsigned char)text[size - n];
        if ((c & 0xC0) == 0x80) continue;
        size_t whole = c >= 0xF0 && c <= 0xF4 ? 4 : c >= 0xE0 ? 3 : c >= 0xC2 ? 2 : 1;
        return c < 0xF5 && n < whole ? n : 0;
    }
    return 0;
}

/* Bytes at the end of text that begin a stop string. */
static size_t cut_stop(const px_chat_request *request, const char *text, size_t size) {
    size_t most = 0;
    for (int i = 0; i < request->n_stop; i++) {
        const size_t length = strlen(request->stop[i]);
        for (size_t n = PX_MIN(length - 1, size); n > most; n--)
            if (!memcmp(text + size - n, request->stop[i], n)) most = n;
    }
    return most;
}

/* Cuts the text before its first stop string; `from`: what was looked at before. */
static bool stop_found(const px_chat_request *request, px_str *text, size_t from) {
    const char *first = NULL;
    for (int i = 0; i < request->n_stop && text->size; i++) {
        const size_t length = strlen(request->stop[i]);
        const size_t at = from > length ? from - length : 0;
        const char *hit = memmem(text->data + at, text->size - at, request->stop[i], length);
        if (hit && (!first || hit < first)) first = hit;
    }
    if (!first) return false;
    text->size = (size_t)(first - text->data);
    text->data[text->size] = 0;
    return true;
}

/* Writes what of the part may be sent by now. */
static void part_stream(px_answer_part *part, bool role) {
    px_job *job = part->job;
    size_t end = part->text.size;
    if (!part->finish && end > 0) {
        const size_t stop = cut_stop(&job->request, part->text.data, end);
        const size_t character = cut_character(part->text.data, end);
        end -= PX_MAX(stop, character);
    }
    if (end <= part->sent && !role && !part->finish) return;
    end = PX_MAX(end, part->sent);
    px_reply_chunk(part, part->text.data ? part->text.data + part->sent : "", end - part->sent,
                   role);
    part->sent = end;
    if (job->out.size - job->out_at > STREAM_UNREAD_MAX) job->gone = true;
}

static bool all_finished(const px_job *job) {
    for (int i = 0; i < job->request.n; i++)
        if (!job->parts[i].finish) return false;
    return true;
}

bool px_job_token(px_answer_part *part, const px_piece_event *event) {
    px_job *job = part->job;
    px_server *server = job->server;
    if (job->gone || job->ended || part->finish) return false;
    const size_t before = part->text.size;
    const bool role = part->n_tokens++ == 0;
    px_str_add(&part->text, event->added, event->n_added);
    if (job->request.logprobs) px_reply_logprob(event, job->request.top_logprobs, &part->logprobs);
    if (stop_found(&job->request, &part->text, before))
        part->finish = "stop";
    else if (event->finish)
        part->finish = event->finish;
    if (job->request.stream) {
        part_stream(part, role);
        job->ready = true;
    }
    if (all_finished(job)) {
        job->ended = job->ready = true;
        if (job->request.stream)
            px_reply_stream_end(job);
        else
            px_reply_whole(job, &job->out);
        const double took = px_now_s() - job->since_s;
        server->mean_s = server->mean_s > 0 ? 0.9 * server->mean_s + 0.1 * took : took;
    }
    if (part->text.failed || job->out.failed) job->gone = true; /* no memory: nothing to send */
    if (job->ready) px_job_wake(job);
    return !part->finish && !job->gone;
}

void px_job_fail(px_job *job, int status, const char *message) {
    if (job->ended) return;
    if (job->ready && job->request.stream) { /* the head is out: an event tells */
        px_str_text(&job->out, "data: ");
        px_reply_error(&job->out, status, message);
        px_str_text(&job->out, "\n\n");
    } else {
        px_str_clear(&job->out);
        job->status = status;
        px_reply_error(&job->out, status, message);
    }
    job->ready = job->ended = true;
    px_job_wake(job);
}

/* events.c - TensorBoard event files. See manifest.h. A file is a row of TFRecords (length, masked
 * CRC-32C of the length, data, masked CRC-32C of the data, all little-endian), each an `Event` of
 * tensorflow/core/util/event.proto: wall_time = 1 (double), step = 2 (int64), file_version = 3
 * (string), summary = 5 { value = 1 { tag = 1 (string), simple_value = 2 (float) } }. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "manifest.h"

#define TAG_MAX 200

struct px_events {
    FILE *file;
    char *path;
};

typedef struct {
    unsigned char data[3 * TAG_MAX];
    size_t size;
} message;

/* CRC-32C (Castagnoli), reflected, a bit at a time: some hundred bytes a step. */
static uint32_t crc32c(const void *data, size_t size) {
    const unsigned char *bytes = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static void put_little(message *m, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) m->data[m->size++] = (unsigned char)(value >> (8 * i));
}

static void put_crc(message *m, const void *data, size_t size) {
    uint32_t crc = crc32c(data, size);
    put_little(m, (crc >> 15 | crc << 17) + 0xA282EAD8u, 4);
}

static void put_varint(message *m, uint64_t value) {
    for (; value >= 0x80; value >>= 7) m->data[m->size++] = (unsigned char)(value | 0x80);
    m->data[m->size++] = (unsigned char)value;
}

/* A field of bytes: key (number << 3 | 2), length, bytes. */
static void put_bytes(message *m, int field, const void *data, size_t size) {
    put_varint(m, (uint64_t)field << 3 | 2);
    put_varint(m, size);
    memcpy(m->data + m->size, data, size);
    m->size += size;
}

static void put_wall_time(message *m) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double seconds = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    uint64_t bits = 0;
    memcpy(&bits, &seconds, sizeof bits);
    put_varint(m, 1 << 3 | 1);
    put_little(m, bits, 8);
}

static px_err *write_record(px_events *events, const message *event) {
    message head = {.size = 0}, tail = {.size = 0};
    put_little(&head, event->size, 8);
    put_crc(&head, head.data, 8);
    put_crc(&tail, event->data, event->size);
    fwrite(head.data, 1, head.size, events->file);
    fwrite(event->data, 1, event->size, events->file);
    fwrite(tail.data, 1, tail.size, events->file);
    if (ferror(events->file))
        PX_FAIL(PX_RUN_FAILED, "%s: write: %s", events->path, strerror(errno));
    return NULL;
}

px_err *px_events_open(const char *dir, px_events **out) {
    px_events *events = calloc(1, sizeof *events);
    if (!events) PX_NO_MEMORY();
    if (asprintf(&events->path, "%s/events.out.tfevents.%010lld.prismx", dir,
                 (long long)time(NULL)) < 0) {
        free(events);
        PX_NO_MEMORY();
    }
    events->file = fopen(events->path, "ab");
    px_err *err = NULL;
    if (!events->file)
        err = px_err_new(PX_BAD_INPUT, __FILE__, __LINE__, "%s: cannot be written: %s",
                         events->path, strerror(errno));
    if (!err && fseek(events->file, 0, SEEK_END) == 0 && ftell(events->file) == 0) {
        message event = {.size = 0};
        put_wall_time(&event);
        put_bytes(&event, 3, "brain.Event:2", 13);
        err = write_record(events, &event);
    }
    if (err) {
        px_events_close(events);
        return err;
    }
    *out = events;
    return NULL;
}

px_err *px_events_scalar(px_events *events, const char *tag, int64_t step, double value) {
    message scalar = {.size = 0}, summary = {.size = 0}, event = {.size = 0};
    size_t length = strlen(tag);
    if (length > TAG_MAX)
        PX_FAIL(PX_RUN_FAILED, "%s: a tag of %zu bytes, at most %d are accepted", events->path,
                length, TAG_MAX);
    float single = (float)value;
    uint32_t bits = 0;
    memcpy(&bits, &single, sizeof bits);
    put_bytes(&scalar, 1, tag, length);
    put_varint(&scalar, 2 << 3 | 5);
    put_little(&scalar, bits, 4);
    put_bytes(&summary, 1, scalar.data, scalar.size);
    put_wall_time(&event);
    put_varint(&event, 2 << 3 | 0);
    put_varint(&event, (uint64_t)step);
    put_bytes(&event, 5, summary.data, summary.size);
    return write_record(events, &event);
}

px_err *px_events_flush(px_events *events) {
    if (fflush(events->file))
        PX_FAIL(PX_RUN_FAILED, "%s: write: %s", events->path, strerror(errno));
    return NULL;
}

void px_events_close(px_events *events) {
    if (!events) return;
    if (events->file) fclose(events->file);
    free(events->path);
    free(events);
}

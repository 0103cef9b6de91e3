/*
 * Bytes that grow: requests are written into one, replies read into one. After a failed allocation
 * it stays as it is, and `failed`, so that a writer checks once, at its end.
 */
#ifndef SHKE_BUFFER_H
#define SHKE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shke_buffer {
    char *bytes;
    size_t length, room;
    bool failed;
};

void shke_buffer_free(struct shke_buffer *);
void shke_add(struct shke_buffer *, const void *bytes, size_t length);
void shke_add_string(struct shke_buffer *, const char *);
void shke_addf(struct shke_buffer *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As base64, which the gateway of etcd has keys and values in. */
void shke_add_base64(struct shke_buffer *, const void *bytes, size_t length);
/* As a JSON string, with its quotes. `text` is UTF-8. */
void shke_add_json_string(struct shke_buffer *, const char *text);

/* So many bytes, at most, has what is `length` long as base64. */
#define SHKE_DECODED_MAX(length) ((length) / 4 * 3 + 3)
/* The bytes that the base64 stands for: how many; -1: it is no base64. */
ptrdiff_t shke_decode_base64(unsigned char *to, const char *base64, size_t length);

#endif

/*
 * A value: bytes that writers replace whole, a configuration or a state. Any number of readers get
 * the newest version without a lock, never a torn one, and can wait for a newer one.
 *
 *     struct shk_value_options small = { .size = 1024 };
 *     struct shk_value *config;
 *     char text[1024];
 *     uint64_t version;
 *     shk_value_open(s, "config", SHK_CREATE, &small, &config);
 *     shk_value_set(config, "colour=blue", sizeof("colour=blue"));
 *     while (shk_value_get(config, text, sizeof(text), &version) >= 0) {
 *         puts(text);
 *         shk_value_wait(config, version, SHK_FOREVER);
 *     }
 *
 * States: the version, from 1 for the first that is set; 0, and no bytes, before.
 *
 * A 64-bit number is a value of 8 bytes: shk_value_add() changes it, and each change has a version,
 * so that shk_value_compare_and_set() is exact even where the number is what it was.
 *
 * A reader never waits for a writer, be it stopped or killed in the middle. A reader that writers
 * overtake 4 times while it copies begins again; after 10 such copies it excludes them.
 */
#ifndef SHMKIT_VALUE_H
#define SHMKIT_VALUE_H

#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

struct shk_value;

struct shk_value_options {
    size_t size;          /* bytes at most, up to 16 MiB; 0: 1024 when creating, any when opening */
    uint64_t reserved[8]; /* zero */
};

/*
 * Open a value, or with SHK_CREATE create it if it is absent. options: NULL for all zero. It takes
 * 4 times its size of memory.
 * Returns 0, or
 *   -EINVAL      the size is more than 16 MiB
 *   -EPROTOTYPE  present, but no value, or of another size
 *   -ENOENT, -EEXIST, -ENOSPC, -EPROTO, -ENAMETOOLONG, -EILSEQ as shk_lock_open()
 * The handle is the caller's, which closes it.
 * Killed: the value has been created whole or not at all.
 */
SHK_PUBLIC int shk_value_open(struct shk_segment *, const char *name, unsigned flags,
                              const struct shk_value_options *options, struct shk_value **out);

/* Give the handle back; the value stays. NULL is allowed. Returns 0. */
SHK_PUBLIC int shk_value_close(struct shk_value *);

/*
 * Replace the bytes, all of them, and wake those that wait for a newer version. length: up to the
 * size; 0 is a value, too.
 * Returns the version that it has now, or
 *   -EMSGSIZE  longer than the size
 *   -EBUSY     another writer has been in the middle of a change for 10 s
 * Killed: it has the new version whole, or the old one.
 */
SHK_PUBLIC int64_t shk_value_set(struct shk_value *, const void *data, size_t length);

/*
 * The same, if it still has that version; 0: if it has never been set.
 * Returns as shk_value_set(), or
 *   -ECANCELED  it has another version; nothing has changed
 */
SHK_PUBLIC int64_t shk_value_compare_and_set(struct shk_value *, uint64_t version, const void *data,
                                             size_t length);

/*
 * Add to a 64-bit number, which is 0 if it has never been set. result: the sum; may be NULL.
 * Returns as shk_value_set(), or
 *   -EPROTOTYPE  it has not 8 bytes
 *   -EOVERFLOW   the sum does not fit; nothing has changed
 */
SHK_PUBLIC int64_t shk_value_add(struct shk_value *, int64_t delta, int64_t *result);

/*
 * Copy the newest version. version: which it is; may be NULL.
 * Returns how many bytes it has, 0 with version 0 if it has never been set; or
 *   -EMSGSIZE  it has more bytes than the buffer, which is unspecified then
 * Killed: no other member notices.
 */
SHK_PUBLIC ssize_t shk_value_get(struct shk_value *, void *buf, size_t size, uint64_t *version);

/*
 * Wait for a newer version than that, which may have come already. timeout: nanoseconds,
 * SHK_FOREVER, SHK_NOWAIT. Versions between may have been missed.
 * Returns the newest version; or -EAGAIN, -ETIMEDOUT, -EINTR: there is none.
 * Killed: no other member notices.
 */
SHK_PUBLIC int64_t shk_value_wait(struct shk_value *, uint64_t version, int64_t timeout);

/* Return the newest version, a hint; how many bytes it may have at most. */
SHK_PUBLIC int64_t shk_value_version(struct shk_value *);
SHK_PUBLIC ssize_t shk_value_size(struct shk_value *);

#ifdef __cplusplus
}
#endif

#endif

/*
 * memcpy() for items, most of which are small: a call costs as much as all the rest of putting 8
 * bytes (bench row W1/8).
 */
#ifndef SHKI_COPY_H
#define SHKI_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Whether shki_copy_small() may be used: 8 to 64 bytes. */
static inline __attribute__((always_inline)) bool shki_is_small(size_t length)
{
    return length - 8 <= 56;
}

/* A caller that gives a length gives a buffer. */
/* NOLINTBEGIN(clang-analyzer-core.NonNullParamChecker) */

/*
 * 8 to 64 bytes, without a loop or a call. The first and the last piece overlap unless the length
 * is a power of two.
 */
static inline __attribute__((always_inline)) void shki_copy_small(void *to, const void *from,
                                                                  size_t length)
{
    typedef uint64_t words __attribute__((vector_size(16)));
    unsigned char *t = to;
    const unsigned char *f = from;

    if (length <= 16) {
        uint64_t first, last;

        memcpy(&first, f, 8);
        memcpy(&last, f + length - 8, 8);
        memcpy(t, &first, 8);
        memcpy(t + length - 8, &last, 8);
    } else {
        words first, second = {0}, third = {0}, last;

        memcpy(&first, f, 16);
        if (length > 32) {
            memcpy(&second, f + 16, 16);
            memcpy(&third, f + length - 32, 16);
        }
        memcpy(&last, f + length - 16, 16);
        memcpy(t, &first, 16);
        if (length > 32) {
            memcpy(t + 16, &second, 16);
            memcpy(t + length - 32, &third, 16);
        }
        memcpy(t + length - 16, &last, 16);
    }
}

/* Any length. */
static inline __attribute__((always_inline)) void shki_copy(void *to, const void *from,
                                                            size_t length)
{
    if (shki_is_small(length))
        shki_copy_small(to, from, length);
    else if (length)
        memcpy(to, from, length);
}
/* NOLINTEND(clang-analyzer-core.NonNullParamChecker) */

#endif

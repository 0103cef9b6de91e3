/*
 * Copies to and from shared memory that another thread may be reading or overwriting: word by word
 * and atomic. Relaxed: the marks and fences around a copy order it, and say whether it is whole.
 *
 * The shared side is a number of whole words; the bytes behind the last one are padding.
 */
#ifndef SHKI_WORDS_H
#define SHKI_WORDS_H

#include "base/atomic.h"

#include <stdint.h>
#include <string.h>

static inline void shki_store_words(_Atomic uint64_t *to, const void *bytes, size_t n)
{
    const unsigned char *from = bytes;
    uint64_t word;

    for (; n >= sizeof(word); n -= sizeof(word), from += sizeof(word)) {
        memcpy(&word, from, sizeof(word));
        store_relaxed(to++, word);
    }
    if (n) {
        word = 0;
        memcpy(&word, from, n);
        store_relaxed(to, word);
    }
}

static inline void shki_load_words(void *bytes, const _Atomic uint64_t *from, size_t n)
{
    unsigned char *to = bytes;
    uint64_t word;

    for (; n >= sizeof(word); n -= sizeof(word), to += sizeof(word)) {
        word = load_relaxed(from++);
        memcpy(to, &word, sizeof(word));
    }
    if (n) {
        word = load_relaxed(from);
        memcpy(to, &word, n);
    }
}

#endif

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

/*
 * Four words at a time, each in a variable of its own: gcc stores one variable, whose address is
 * taken, to the stack once a word. 1 KiB takes a third of the time (bench row W12/1 KiB, get).
 */
static inline void shki_store_words(_Atomic uint64_t *to, const void *bytes, size_t n)
{
    const unsigned char *from = bytes;

    for (; n >= 4 * sizeof(uint64_t); n -= 4 * sizeof(uint64_t), from += 4 * sizeof(uint64_t)) {
        uint64_t w0, w1, w2, w3;

        memcpy(&w0, from, 8);
        memcpy(&w1, from + 8, 8);
        memcpy(&w2, from + 16, 8);
        memcpy(&w3, from + 24, 8);
        store_relaxed(to, w0);
        store_relaxed(to + 1, w1);
        store_relaxed(to + 2, w2);
        store_relaxed(to + 3, w3);
        to += 4;
    }
    for (; n >= sizeof(uint64_t); n -= sizeof(uint64_t), from += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, from, 8);
        store_relaxed(to++, word);
    }
    if (n) {
        uint64_t last = 0;

        memcpy(&last, from, n);
        store_relaxed(to, last);
    }
}

static inline void shki_load_words(void *bytes, const _Atomic uint64_t *from, size_t n)
{
    unsigned char *to = bytes;

    for (; n >= 4 * sizeof(uint64_t); n -= 4 * sizeof(uint64_t), to += 4 * sizeof(uint64_t)) {
        uint64_t w0 = load_relaxed(from), w1 = load_relaxed(from + 1);
        uint64_t w2 = load_relaxed(from + 2), w3 = load_relaxed(from + 3);

        memcpy(to, &w0, 8);
        memcpy(to + 8, &w1, 8);
        memcpy(to + 16, &w2, 8);
        memcpy(to + 24, &w3, 8);
        from += 4;
    }
    for (; n >= sizeof(uint64_t); n -= sizeof(uint64_t), to += sizeof(uint64_t)) {
        uint64_t word = load_relaxed(from++);

        memcpy(to, &word, 8);
    }
    if (n) {
        uint64_t last = load_relaxed(from);

        memcpy(to, &last, n);
    }
}

#endif

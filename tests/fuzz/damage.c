#include "damage.h"

#include "segment/layout.h"

#include <string.h>

#define MOST_CHANGES 8
#define LARGEST_FILE (UINT64_C(1) << 30)

struct target {
    uint8_t *bytes;
    size_t size;
    uint64_t state;
};

/* splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014 */
static uint64_t next_random(struct target *t)
{
    uint64_t z = t->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(struct target *t, size_t limit)
{
    return limit ? next_random(t) % limit : 0;
}

/* A word of it, mostly one in use: most of a segment is zero, and not read. */
static size_t pick_place(struct target *t)
{
    enum { TRIES = 30 };
    size_t at = 0;

    for (int i = 0; i < TRIES; i++) {
        uint64_t word;

        at = below(t, t->size / sizeof(word)) * sizeof(word);
        if (at + sizeof(word) > t->size)
            return 0;
        memcpy(&word, t->bytes + at, sizeof(word));
        if (word != 0 || i == 0)
            break;
    }
    return at;
}

static uint64_t pick_value(struct target *t, uint64_t before)
{
    switch (below(t, 9)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - below(t, 64);
    case 2:
        return below(t, t->size);
    case 3:
        return next_random(t);
    case 4:
        return UINT64_C(1) << below(t, 64);
    case 5:
        return before ^ UINT64_C(1) << below(t, 64);
    case 6:
        return before + below(t, 9) - 4;
    case 7:
        return below(t, 1 << 16) * (below(t, 2) ? SHKI_PAGE : SHKI_SMALL_UNIT);
    default:
        return below(t, 70);
    }
}

static void change_field(struct target *t)
{
    size_t width = 1 << below(t, 4), at = pick_place(t) + below(t, 8 / width) * width;
    uint64_t value = 0;

    if (at + width > t->size)
        return;
    memcpy(&value, t->bytes + at, width);
    value = pick_value(t, value);
    memcpy(t->bytes + at, &value, width);
}

/* One entry, record or node over another; or a name over a number. */
static void copy_block(struct target *t)
{
    size_t length = 64 << below(t, 3), from = pick_place(t) & ~63ul, to = pick_place(t) & ~63ul;

    if (from + length <= t->size && to + length <= t->size)
        memmove(t->bytes + to, t->bytes + from, length);
}

static void make_noise(struct target *t)
{
    size_t length = 1 + below(t, 200), at = pick_place(t);

    for (; length > 0 && at < t->size; length--)
        t->bytes[at++] = (uint8_t)next_random(t);
}

/* The fields without which nothing else is looked at. */
#define HEADER_START offsetof(struct shki_header, reserved)

size_t damage(uint8_t *bytes, size_t size, uint64_t seed)
{
    struct target t = {.bytes = bytes, .size = size, .state = seed};
    uint8_t start[HEADER_START];
    size_t changes = 1 + below(&t, MOST_CHANGES);
    bool spare_start = size >= HEADER_START && below(&t, 8) != 0;

    if (spare_start)
        memcpy(start, bytes, HEADER_START);
    for (size_t i = 0; i < changes; i++) {
        size_t what = below(&t, 16);

        if (what == 0)
            make_noise(&t);
        else if (what <= 2)
            copy_block(&t);
        else
            change_field(&t);
    }
    if (spare_start)
        memcpy(bytes, start, HEADER_START);
    return below(&t, 50) == 0 ? below(&t, size + 1) : size;
}

uint64_t file_size(const uint8_t *bytes, size_t size)
{
    struct shki_header header;

    if (size < sizeof(header))
        return size;
    memcpy(&header, bytes, sizeof(header));
    return header.size > size && header.size <= LARGEST_FILE ? header.size : size;
}

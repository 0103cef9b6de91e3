/* Concurrency Kit's ring, with one producer and one consumer, in shared memory. It only spins. */
#include "channel.h"

#include <ck_pr.h>
#include <ck_ring.h>

struct item_8 {
    char bytes[8];
};
struct item_64 {
    char bytes[64];
};
struct item_1024 {
    char bytes[1024];
};
struct item_65536 {
    char bytes[65536];
};

CK_RING_PROTOTYPE(items_8, item_8)
CK_RING_PROTOTYPE(items_64, item_64)
CK_RING_PROTOTYPE(items_1024, item_1024)
CK_RING_PROTOTYPE(items_65536, item_65536)

struct ck_place {
    ck_ring_t ring;
    alignas(64) char items[];
};

static size_t ck_shared(const struct line *line)
{
    return sizeof(struct ck_place) + line->item * line->capacity;
}

static bool ck_create(struct line *line)
{
    struct ck_place *place = line->shared;

    if (line->item != 8 && line->item != 64 && line->item != 1024 && line->item != 65536)
        return team_fails("not for items of %zu bytes", line->item);
    if (line->capacity < 4)
        return team_fails("it holds at least 3 items");
    ck_ring_init(&place->ring, line->capacity);
    return true;
}

static inline void ck_send(struct line *line, uint64_t n)
{
    struct ck_place *place = line->shared;
    void *items = place->items;
    bool done;

    item_make(line->buffer, line->item, n);
    do {
        switch (line->item) {
        case 8:
            done = CK_RING_ENQUEUE_SPSC(items_8, &place->ring, items, line->buffer);
            break;
        case 64:
            done = CK_RING_ENQUEUE_SPSC(items_64, &place->ring, items, line->buffer);
            break;
        case 1024:
            done = CK_RING_ENQUEUE_SPSC(items_1024, &place->ring, items, line->buffer);
            break;
        default:
            done = CK_RING_ENQUEUE_SPSC(items_65536, &place->ring, items, line->buffer);
            break;
        }
        if (!done)
            ck_pr_stall();
    } while (!done);
}

static inline uint64_t ck_receive(struct line *line)
{
    struct ck_place *place = line->shared;
    void *items = place->items;
    bool done;

    do {
        switch (line->item) {
        case 8:
            done = CK_RING_DEQUEUE_SPSC(items_8, &place->ring, items, line->buffer);
            break;
        case 64:
            done = CK_RING_DEQUEUE_SPSC(items_64, &place->ring, items, line->buffer);
            break;
        case 1024:
            done = CK_RING_DEQUEUE_SPSC(items_1024, &place->ring, items, line->buffer);
            break;
        default:
            done = CK_RING_DEQUEUE_SPSC(items_65536, &place->ring, items, line->buffer);
            break;
        }
        if (!done)
            ck_pr_stall();
    } while (!done);
    return item_check(line->buffer, line->item);
}
LOOPS(ck)

const struct channel channel_ck = {.name = "ck_ring",
                                   .is = PEER | SPINS,
                                   .producers_max = 1,
                                   .shared = ck_shared,
                                   .create = ck_create,
                                   .loops = &ck_loops};

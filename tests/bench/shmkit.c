/* shmkit, in each of the ways to use it. */
#include "channel.h"

#include <shmkit.h>
#include <stdio.h>
#include <stdlib.h>

#define BATCH 32

static void check_call(long long result, const char *call)
{
    if (result < 0)
        give_up("%s: %s", call, shk_last_error());
}
#define MUST(call) check_call((call), #call)

static void segment_path(const struct line *line, char *name, size_t size)
{
    snprintf(name, size, "/%s-%u", unique_name(), line->number);
}

static struct shk_segment *open_segment(const struct line *line)
{
    char name[60];
    struct shk_segment *segment;

    segment_path(line, name, sizeof(name));
    MUST(shk_segment_open(name, SHK_CREATE, NULL, &segment));
    return segment;
}

static void unlink_segment(void *argument)
{
    char name[60];

    segment_path(argument, name, sizeof(name));
    shk_segment_unlink(name);
}

static void destroy(struct line *line)
{
    in_child(unlink_segment, line);
}

/* ---- A queue ---- */

static void queue_attach(struct line *line, unsigned sides)
{
    struct shk_queue_options options = {.capacity = line->capacity, .item_size = line->item};
    struct shk_queue *queue;

    MUST(shk_queue_open(open_segment(line), "items", SHK_CREATE, &options, &queue));
    line->handle[0] = queue;
    (void)sides;
}

static void queue_attach_and_claim(struct line *line, unsigned sides)
{
    queue_attach(line, sides);
    MUST(shk_queue_claim(
        line->handle[0],
        (sides & SENDER ? SHK_PRODUCER : 0) | (sides & RECEIVER ? SHK_CONSUMER : 0), SHK_FOREVER));
}

static inline void queue_send(struct line *line, uint64_t n)
{
    item_make(line->buffer, line->item, n);
    if (shk_queue_put(line->handle[0], line->buffer, line->item, SHK_FOREVER) < 0)
        give_up("shk_queue_put: %s", shk_last_error());
}

static inline uint64_t queue_receive(struct line *line)
{
    if (shk_queue_get(line->handle[0], line->buffer, line->item, SHK_FOREVER) !=
        (ssize_t)line->item)
        give_up("shk_queue_get: %s", shk_last_error());
    return item_check(line->buffer, line->item);
}
LOOPS(queue)

const struct channel channel_shmkit = {.name = "shmkit",
                                       .is = OURS,
                                       .attach = queue_attach,
                                       .destroy = destroy,
                                       .loops = &queue_loops};
const struct channel channel_shmkit_claimed = {.name = "shmkit claimed",
                                               .is = OURS,
                                               .producers_max = 1,
                                               .attach = queue_attach_and_claim,
                                               .destroy = destroy,
                                               .loops = &queue_loops};

/* ---- … leased, and acknowledged when it has been looked at ---- */

static inline uint64_t lease_receive(struct line *line)
{
    uint64_t ticket;

    if (shk_queue_lease(line->handle[0], line->buffer, line->item, SHK_FOREVER, &ticket) !=
        (ssize_t)line->item)
        give_up("shk_queue_lease: %s", shk_last_error());
    uint64_t n = item_check(line->buffer, line->item);
    if (shk_queue_ack(line->handle[0], ticket) < 0)
        give_up("shk_queue_ack: %s", shk_last_error());
    return n;
}
#define lease_send queue_send
LOOPS(lease)

const struct channel channel_shmkit_lease = {.name = "shmkit lease, ack",
                                             .is = OURS,
                                             .attach = queue_attach,
                                             .destroy = destroy,
                                             .loops = &lease_loops};

/* ---- … without a copy ---- */

static inline void in_place_send(struct line *line, uint64_t n)
{
    void *slot;

    if (shk_queue_reserve(line->handle[0], line->item, &slot, SHK_FOREVER) < 0)
        give_up("shk_queue_reserve: %s", shk_last_error());
    item_make(slot, line->item, n);
    if (shk_queue_commit(line->handle[0], line->item) < 0)
        give_up("shk_queue_commit: %s", shk_last_error());
}

static inline uint64_t in_place_receive(struct line *line)
{
    const void *item;

    if (shk_queue_peek(line->handle[0], &item, SHK_FOREVER) != (ssize_t)line->item)
        give_up("shk_queue_peek: %s", shk_last_error());
    uint64_t n = item_check(item, line->item);
    if (shk_queue_consume(line->handle[0]) < 0)
        give_up("shk_queue_consume: %s", shk_last_error());
    return n;
}
LOOPS(in_place)

const struct channel channel_shmkit_in_place = {.name = "shmkit zero copy",
                                                .is = OURS,
                                                .attach = queue_attach,
                                                .destroy = destroy,
                                                .loops = &in_place_loops};
const struct channel channel_shmkit_claimed_in_place = {.name = "shmkit claimed, zero copy",
                                                        .is = OURS,
                                                        .producers_max = 1,
                                                        .attach = queue_attach_and_claim,
                                                        .destroy = destroy,
                                                        .loops = &in_place_loops};

/* ---- … in batches ---- */

static void batch_vectors(struct line *line, struct iovec vectors[BATCH])
{
    for (int i = 0; i < BATCH; i++)
        vectors[i] = (struct iovec){(char *)line->buffer + (size_t)i * line->item, line->item};
}

static void batch_produce(struct line *line, unsigned producer)
{
    struct iovec vectors[BATCH];
    uint64_t n = (uint64_t)producer << PRODUCER_SHIFT;

    batch_vectors(line, vectors);
    do {
        for (int i = 0; i < BATCH; i++)
            item_make(vectors[i].iov_base, line->item, n++);
        for (int done = 0; done < BATCH;) {
            int r = shk_queue_put_many(line->handle[0], vectors + done, (unsigned)(BATCH - done),
                                       SHK_FOREVER);
            if (r < 0)
                give_up("shk_queue_put_many: %s", shk_last_error());
            done += r;
        }
    } while (!stopped());
    queue_send(line, END_OF_ITEMS);
}

static uint64_t batch_consume(struct line *line, double *seconds)
{
    struct iovec vectors[BATCH];
    uint64_t expected = 0;
    int64_t begin = 0;

    batch_vectors(line, vectors);
    for (;;) {
        int r = shk_queue_get_many(line->handle[0], vectors, BATCH, SHK_FOREVER);
        if (r < 0)
            give_up("shk_queue_get_many: %s", shk_last_error());
        if (!begin)
            begin = now();
        for (int i = 0; i < r; i++) {
            uint64_t n = item_check(vectors[i].iov_base, line->item);
            vectors[i].iov_len = line->item;
            if (n == expected++)
                continue;
            if (n != END_OF_ITEMS)
                give_up("item %llu has come instead of %llu", (unsigned long long)n,
                        (unsigned long long)expected - 1);
            *seconds = (double)(now() - begin) / 1e9;
            return expected - 1;
        }
    }
}

static const struct loops batch_loops = {.produce = batch_produce, .consume = batch_consume};

const struct channel channel_shmkit_batch = {.name = "shmkit batches of 32",
                                             .is = OURS,
                                             .attach = queue_attach,
                                             .destroy = destroy,
                                             .loops = &batch_loops};
const struct channel channel_shmkit_claimed_batch = {.name = "shmkit claimed, batches of 32",
                                                     .is = OURS,
                                                     .producers_max = 1,
                                                     .attach = queue_attach_and_claim,
                                                     .destroy = destroy,
                                                     .loops = &batch_loops};

/*
 * ---- To and fro with events, semaphores, conditions: the answer says that the place is free ----
 */

static size_t number_shared(const struct line *line)
{
    (void)line;
    return sizeof(uint64_t);
}

static void event_attach(struct line *line, unsigned sides)
{
    struct shk_event *event;

    MUST(shk_event_open(open_segment(line), "full", SHK_CREATE, NULL, &event));
    line->handle[0] = event;
    (void)sides;
}

static inline void event_send(struct line *line, uint64_t n)
{
    *(volatile uint64_t *)line->shared = n;
    if (shk_event_set(line->handle[0]) < 0)
        give_up("shk_event_set: %s", shk_last_error());
}

static inline uint64_t event_receive(struct line *line)
{
    if (shk_event_wait(line->handle[0], SHK_FOREVER) < 0 || shk_event_clear(line->handle[0]) < 0)
        give_up("shk_event_wait: %s", shk_last_error());
    return *(volatile uint64_t *)line->shared;
}
LOOPS(event)

const struct channel channel_shmkit_event = {.name = "shmkit event",
                                             .is = OURS,
                                             .producers_max = 1,
                                             .item_max = 8,
                                             .capacity_max = 1,
                                             .shared = number_shared,
                                             .attach = event_attach,
                                             .destroy = destroy,
                                             .loops = &event_loops};

static void semaphore_attach(struct line *line, unsigned sides)
{
    struct shk_semaphore *semaphore;

    MUST(shk_semaphore_open(open_segment(line), "full", SHK_CREATE,
                            &(struct shk_semaphore_options){.value = 0}, &semaphore));
    line->handle[0] = semaphore;
    (void)sides;
}

static inline void semaphore_send(struct line *line, uint64_t n)
{
    *(volatile uint64_t *)line->shared = n;
    if (shk_semaphore_release(line->handle[0], 1) < 0)
        give_up("shk_semaphore_release: %s", shk_last_error());
}

static inline uint64_t semaphore_receive(struct line *line)
{
    if (shk_semaphore_acquire(line->handle[0], SHK_FOREVER) < 0)
        give_up("shk_semaphore_acquire: %s", shk_last_error());
    return *(volatile uint64_t *)line->shared;
}
LOOPS(semaphore)

const struct channel channel_shmkit_semaphore = {.name = "shmkit semaphore",
                                                 .is = OURS,
                                                 .producers_max = 1,
                                                 .item_max = 8,
                                                 .capacity_max = 1,
                                                 .shared = number_shared,
                                                 .attach = semaphore_attach,
                                                 .destroy = destroy,
                                                 .loops = &semaphore_loops};

struct place {
    uint64_t n;
    bool full;
};

static size_t place_shared(const struct line *line)
{
    (void)line;
    return sizeof(struct place);
}

static void cond_attach(struct line *line, unsigned sides)
{
    struct shk_cond *cond;

    MUST(shk_cond_open(open_segment(line), "changed", SHK_CREATE, NULL, &cond));
    line->handle[0] = cond;
    (void)sides;
}

static inline void cond_send(struct line *line, uint64_t n)
{
    struct place *place = line->shared;
    struct shk_cond *cond = line->handle[0];

    if (shk_cond_acquire(cond, SHK_FOREVER) < 0)
        give_up("shk_cond_acquire: %s", shk_last_error());
    place->n = n;
    place->full = true;
    if (shk_cond_notify(cond, 1) < 0 || shk_cond_release(cond) < 0)
        give_up("shk_cond_notify: %s", shk_last_error());
}

static inline uint64_t cond_receive(struct line *line)
{
    struct place *place = line->shared;
    struct shk_cond *cond = line->handle[0];

    if (shk_cond_acquire(cond, SHK_FOREVER) < 0)
        give_up("shk_cond_acquire: %s", shk_last_error());
    while (!place->full) {
        if (shk_cond_wait(cond, SHK_FOREVER) < 0)
            give_up("shk_cond_wait: %s", shk_last_error());
    }
    place->full = false;
    uint64_t n = place->n;
    shk_cond_release(cond);
    return n;
}
LOOPS(cond)

const struct channel channel_shmkit_cond = {.name = "shmkit condition",
                                            .is = OURS,
                                            .producers_max = 1,
                                            .item_max = 8,
                                            .capacity_max = 1,
                                            .shared = place_shared,
                                            .attach = cond_attach,
                                            .destroy = destroy,
                                            .loops = &cond_loops};

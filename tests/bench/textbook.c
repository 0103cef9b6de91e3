/*
 * What a user writes in an afternoon: a ring with three semaphores, a ring with a mutex and two
 * conditions, and the two as a pair to wake each other. None of them survives a kill; that is not
 * what is measured here.
 */
#include "channel.h"
#include "common.h"

#include <errno.h>
#include <semaphore.h>

/* ---- Producers and consumers, with semaphores ---- */

struct semaphore_ring {
    sem_t empty, filled, mutex;
    unsigned head, tail;
    alignas(64) char slots[];
};

static size_t semaphore_ring_shared(const struct line *line)
{
    return sizeof(struct semaphore_ring) + line->item * line->capacity;
}

static bool semaphore_ring_create(struct line *line)
{
    struct semaphore_ring *ring = line->shared;

    sem_init(&ring->empty, 1, line->capacity);
    sem_init(&ring->filled, 1, 0);
    sem_init(&ring->mutex, 1, 1);
    return true;
}

static inline void semaphore_ring_send(struct line *line, uint64_t n)
{
    struct semaphore_ring *ring = line->shared;

    item_make(line->buffer, line->item, n);
    while (sem_wait(&ring->empty) < 0)
        ;
    while (sem_wait(&ring->mutex) < 0)
        ;
    memcpy(ring->slots + ring->head * line->item, line->buffer, line->item);
    ring->head = (ring->head + 1) % line->capacity;
    sem_post(&ring->mutex);
    sem_post(&ring->filled);
}

static inline uint64_t semaphore_ring_receive(struct line *line)
{
    struct semaphore_ring *ring = line->shared;

    while (sem_wait(&ring->filled) < 0)
        ;
    while (sem_wait(&ring->mutex) < 0)
        ;
    memcpy(line->buffer, ring->slots + ring->tail * line->item, line->item);
    ring->tail = (ring->tail + 1) % line->capacity;
    sem_post(&ring->mutex);
    sem_post(&ring->empty);
    return item_check(line->buffer, line->item);
}
LOOPS(semaphore_ring)

const struct channel channel_semaphore_ring = {.name = "semaphore ring",
                                               .is = PEER,
                                               .shared = semaphore_ring_shared,
                                               .create = semaphore_ring_create,
                                               .loops = &semaphore_ring_loops};

/* ---- Producers and consumers, with conditions ---- */

struct condition_ring {
    pthread_mutex_t mutex;
    pthread_cond_t not_full, not_empty;
    unsigned head, tail, count;
    alignas(64) char slots[];
};

static size_t condition_ring_shared(const struct line *line)
{
    return sizeof(struct condition_ring) + line->item * line->capacity;
}

static bool condition_ring_create(struct line *line)
{
    struct condition_ring *ring = line->shared;

    shared_mutex(&ring->mutex, false);
    shared_cond(&ring->not_full);
    shared_cond(&ring->not_empty);
    return true;
}

static inline void condition_ring_send(struct line *line, uint64_t n)
{
    struct condition_ring *ring = line->shared;

    item_make(line->buffer, line->item, n);
    pthread_mutex_lock(&ring->mutex);
    while (ring->count == line->capacity)
        pthread_cond_wait(&ring->not_full, &ring->mutex);
    memcpy(ring->slots + ring->head * line->item, line->buffer, line->item);
    ring->head = (ring->head + 1) % line->capacity;
    ring->count++;
    pthread_cond_signal(&ring->not_empty);
    pthread_mutex_unlock(&ring->mutex);
}

static inline uint64_t condition_ring_receive(struct line *line)
{
    struct condition_ring *ring = line->shared;

    pthread_mutex_lock(&ring->mutex);
    while (ring->count == 0)
        pthread_cond_wait(&ring->not_empty, &ring->mutex);
    memcpy(line->buffer, ring->slots + ring->tail * line->item, line->item);
    ring->tail = (ring->tail + 1) % line->capacity;
    ring->count--;
    pthread_cond_signal(&ring->not_full);
    pthread_mutex_unlock(&ring->mutex);
    return item_check(line->buffer, line->item);
}
LOOPS(condition_ring)

const struct channel channel_condition_ring = {.name = "condition ring",
                                               .is = PEER,
                                               .shared = condition_ring_shared,
                                               .create = condition_ring_create,
                                               .loops = &condition_ring_loops};

/* ---- To and fro: the answer says that the place is free ---- */

struct semaphore_pair {
    sem_t full;
    uint64_t n;
};

static size_t semaphore_pair_shared(const struct line *line)
{
    (void)line;
    return sizeof(struct semaphore_pair);
}

static bool semaphore_pair_create(struct line *line)
{
    struct semaphore_pair *pair = line->shared;

    return sem_init(&pair->full, 1, 0) == 0;
}

static inline void semaphore_pair_send(struct line *line, uint64_t n)
{
    struct semaphore_pair *pair = line->shared;

    pair->n = n;
    sem_post(&pair->full);
}

static inline uint64_t semaphore_pair_receive(struct line *line)
{
    struct semaphore_pair *pair = line->shared;

    while (sem_wait(&pair->full) < 0)
        ;
    return pair->n;
}
LOOPS(semaphore_pair)

const struct channel channel_semaphore_pair = {.name = "semaphore pair",
                                               .is = PEER,
                                               .producers_max = 1,
                                               .item_max = 8,
                                               .capacity_max = 1,
                                               .shared = semaphore_pair_shared,
                                               .create = semaphore_pair_create,
                                               .loops = &semaphore_pair_loops};

struct condition_pair {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool full;
    uint64_t n;
};

static size_t condition_pair_shared(const struct line *line)
{
    (void)line;
    return sizeof(struct condition_pair);
}

static bool condition_pair_create(struct line *line)
{
    struct condition_pair *pair = line->shared;

    shared_mutex(&pair->mutex, false);
    shared_cond(&pair->changed);
    return true;
}

static inline void condition_pair_send(struct line *line, uint64_t n)
{
    struct condition_pair *pair = line->shared;

    pthread_mutex_lock(&pair->mutex);
    pair->full = true;
    pair->n = n;
    pthread_cond_signal(&pair->changed);
    pthread_mutex_unlock(&pair->mutex);
}

static inline uint64_t condition_pair_receive(struct line *line)
{
    struct condition_pair *pair = line->shared;

    pthread_mutex_lock(&pair->mutex);
    while (!pair->full)
        pthread_cond_wait(&pair->changed, &pair->mutex);
    pair->full = false;
    uint64_t n = pair->n;
    pthread_mutex_unlock(&pair->mutex);
    return n;
}
LOOPS(condition_pair)

const struct channel channel_condition_pair = {.name = "condition pair",
                                               .is = PEER,
                                               .producers_max = 1,
                                               .item_max = 8,
                                               .capacity_max = 1,
                                               .shared = condition_pair_shared,
                                               .create = condition_pair_create,
                                               .loops = &condition_pair_loops};

/*
 * A ring as in the textbook: process-shared semaphores and a mutex. The control: it is right as
 * long as no process dies.
 */
#include "soak.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOTS 16

struct ring {
    sem_t free, filled;
    pthread_mutex_t mutex;
    unsigned head, tail;
    size_t length[SLOTS];
    struct item item[SLOTS];
};

struct ring *ring_new(void)
{
    struct ring *r =
        mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t shared;

    if (r == MAP_FAILED)
        abort();
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&r->mutex, &shared);
    pthread_mutexattr_destroy(&shared);
    sem_init(&r->free, 1, SLOTS);
    sem_init(&r->filled, 1, 0);
    return r;
}

void ring_put(struct ring *r, const struct item *item, size_t length)
{
    sem_wait(&r->free);
    pthread_mutex_lock(&r->mutex);
    memcpy(&r->item[r->tail % SLOTS], item, length);
    r->length[r->tail++ % SLOTS] = length;
    pthread_mutex_unlock(&r->mutex);
    sem_post(&r->filled);
}

size_t ring_get(struct ring *r, struct item *item)
{
    size_t length;

    sem_wait(&r->filled);
    pthread_mutex_lock(&r->mutex);
    length = r->length[r->head % SLOTS];
    memcpy(item, &r->item[r->head++ % SLOTS], length);
    pthread_mutex_unlock(&r->mutex);
    sem_post(&r->free);
    return length;
}

/*
 * The control: a ring as in the textbook, with process-shared semaphores and a mutex. It is right
 * as long as no process dies. The harness must find out that it is not what shmkit promises.
 */
#include "harness.h"

#include <pthread.h>

#define RING_CAPACITY 2

struct ring {
    sem_t free, filled;
    pthread_mutex_t mutex;
    unsigned head, tail;
    int64_t items[RING_CAPACITY];
};

static struct ring *ring(struct world *w)
{
    return (struct ring *)w->board->scratch;
}

static int64_t create(struct world *w, int64_t items)
{
    pthread_mutexattr_t shared;

    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&ring(w)->mutex, &shared);
    sem_init(&ring(w)->free, 1, RING_CAPACITY - (unsigned)items);
    sem_init(&ring(w)->filled, 1, (unsigned)items);
    ring(w)->tail = (unsigned)items;
    return 0;
}

static int64_t put(struct world *w, int64_t item)
{
    struct ring *r = ring(w);

    sem_wait(&r->free);
    pthread_mutex_lock(&r->mutex);
    r->items[r->tail++ % RING_CAPACITY] = item;
    pthread_mutex_unlock(&r->mutex);
    sem_post(&r->filled);
    return 0;
}

static int64_t get(struct world *w, int64_t unused)
{
    struct ring *r = ring(w);
    int64_t item;

    (void)unused;
    sem_wait(&r->filled);
    pthread_mutex_lock(&r->mutex);
    item = r->items[r->head++ % RING_CAPACITY];
    pthread_mutex_unlock(&r->mutex);
    sem_post(&r->free);
    return item;
}

static void set_empty(struct world *w)
{
    start_host(w, create, 0);
}

static void set_full_with_producer(struct world *w)
{
    start_host(w, create, RING_CAPACITY);
    start_sleeper(w, put, 1);
}

static void check(struct world *w)
{
    (void)w;
}

static void carry_on(struct world *w)
{
    start_attached(w, NEWCOMER);
    /*
     * Three items in all, and one or none of them the victim's: there is room then, if nothing is
     * lost.
     */
    for (int i = 0; w->last_sleeper == SLEEPER_1 && i < 2; i++)
        call(w, HOST, get, 0);
    call(w, HOST, put, 2);
    call(w, NEWCOMER, get, 0);
}

/* clang-format off */
static const struct row rows[] = {
    {"put", "empty", .setup = set_empty, .operation = put, .check = check, .carry_on = carry_on},
    {"get", "full, a producer asleep", .setup = set_full_with_producer, .operation = get,
     .check = check, .carry_on = carry_on},
};
/* clang-format on */
const struct rows ring_controls = ROWS(rows);

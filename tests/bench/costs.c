/* W4: what each operation costs when nobody else is there. */
#include "bench.h"
#include "empty.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <shmkit.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static const struct unit cost = {.name = "ns", .scale = 1};

/* What the operations work on; opened in the process that is measured. */
static struct things {
    struct shk_segment *segment;
    struct shk_lock *lock;
    struct shk_cond *cond;
    struct shk_event *event;
    struct shk_semaphore *semaphore;
    struct shk_queue *queue, *claimed;
    struct shk_stream *stream;
    struct memory {
        pthread_mutex_t mutex, plain;
        pthread_cond_t cond;
        sem_t semaphore;
        _Atomic uint32_t word;
    } * memory;
} things;

static void must(int result)
{
    if (result < 0)
        give_up("%s", shk_last_error());
}

static void make_things(void)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t cond;

    must(shk_segment_open(unique_name(), SHK_CREATE, NULL, &things.segment));
    must(shk_lock_open(things.segment, "lock", SHK_CREATE, NULL, &things.lock));
    must(shk_cond_open(things.segment, "cond", SHK_CREATE, NULL, &things.cond));
    must(shk_event_open(things.segment, "event", SHK_CREATE, NULL, &things.event));
    must(shk_semaphore_open(things.segment, "semaphore", SHK_CREATE, NULL, &things.semaphore));
    must(shk_queue_open(things.segment, "queue", SHK_CREATE,
                        &(struct shk_queue_options){.capacity = 64, .item_size = 8},
                        &things.queue));
    must(shk_queue_open(things.segment, "claimed", SHK_CREATE,
                        &(struct shk_queue_options){.capacity = 64, .item_size = 8},
                        &things.claimed));
    must(shk_queue_claim(things.claimed, SHK_PRODUCER | SHK_CONSUMER, SHK_FOREVER));
    must(shk_stream_open(things.segment, "stream", SHK_CREATE,
                         &(struct shk_stream_options){.sample_size = 8}, &things.stream));
    must(shk_event_set(things.event));

    things.memory = mmap(NULL, sizeof(*things.memory), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (things.memory == MAP_FAILED)
        give_up("mmap: %s", strerror(errno));
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&things.memory->plain, &mutex);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&things.memory->mutex, &mutex);
    pthread_condattr_init(&cond);
    pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&things.memory->cond, &cond);
    sem_init(&things.memory->semaphore, 1, 1);
}

/* Each does it n times. `before` and `after` are not measured. */
struct operation {
    void (*before)(void);
    bool (*times)(unsigned n);
    void (*after)(void);
};

#define TIMES(name, expression)          \
    static bool name(unsigned n)         \
    {                                    \
        bool well = true;                \
        for (unsigned i = 0; i < n; i++) \
            well &= (expression);        \
        return well;                     \
    }

static uint64_t item;

TIMES(lock_times,
      shk_lock_acquire(things.lock, SHK_FOREVER) == 0 && shk_lock_release(things.lock) == 0)
TIMES(robust_times, pthread_mutex_lock(&things.memory->mutex) == 0 &&
                        pthread_mutex_unlock(&things.memory->mutex) == 0)
TIMES(plain_times, pthread_mutex_lock(&things.memory->plain) == 0 &&
                       pthread_mutex_unlock(&things.memory->plain) == 0)
TIMES(empty_times, bench_empty(&things.memory->word) == 0)
TIMES(is_set_times, shk_event_is_set(things.event) == 1)
TIMES(wait_times, shk_event_wait(things.event, SHK_FOREVER) == 0)
TIMES(notify_times, shk_cond_notify(things.cond, 1) == 0)
TIMES(signal_times, pthread_cond_signal(&things.memory->cond) == 0)
TIMES(semaphore_times, shk_semaphore_acquire(things.semaphore, SHK_FOREVER) == 0 &&
                           shk_semaphore_release(things.semaphore, 1) == 0)
TIMES(sem_times,
      sem_wait(&things.memory->semaphore) == 0 && sem_post(&things.memory->semaphore) == 0)
TIMES(queue_times, shk_queue_put(things.queue, &item, 8, SHK_FOREVER) == 0 &&
                       shk_queue_get(things.queue, &item, 8, SHK_FOREVER) == 8)
TIMES(claimed_times, shk_queue_put(things.claimed, &item, 8, SHK_FOREVER) == 0 &&
                         shk_queue_get(things.claimed, &item, 8, SHK_FOREVER) == 8)
TIMES(append_times, shk_stream_append(things.stream, &item, 1) == 0)
TIMES(event_times, shk_event_set(things.event) == 0 && shk_event_clear(things.event) == 0)

static void cond_hold(void)
{
    must(shk_cond_acquire(things.cond, SHK_FOREVER));
}

static void cond_let_go(void)
{
    must(shk_cond_release(things.cond));
}

static void set_event(void)
{
    must(shk_event_set(things.event));
}

#define WHAT(...)             \
    &(const struct operation) \
    {                         \
        __VA_ARGS__           \
    }

static void measure_operation(void *argument, unsigned role)
{
    const struct operation *operation = argument;
    uint64_t done = 0;
    int64_t begin;

    make_things();
    stage_ready();
    if (operation->before)
        operation->before();
    if (!operation->times(1000)) /* to get warm */
        give_up("it does not do what it should: %s", shk_last_error());
    begin = now();
    do {
        operation->times(1000);
        done += 1000;
    } while (!stopped());
    stage->role[role].figure[0] = (double)(now() - begin) / (double)done;
    if (operation->after)
        operation->after();
}

static void unlink_things(void *argument)
{
    (void)argument;
    shk_segment_unlink(unique_name());
}

static bool measure_cost(const struct contest *contest, const struct subject *subject,
                         double figures[FIGURES])
{
    team_start();
    team_add(measure_operation, (void *)subject->what, contest_cpu(contest, 1));
    bool well = team_run(contest_seconds(contest));
    figures[0] = stage->role[0].figure[0];
    /* One process, alone: a failure here must not hide the first one. */
    in_child(unlink_things, NULL);
    return well;
}

static void costs(const char *row, const struct subject *subjects, size_t n)
{
    struct contest contest = {.workload = "W4",
                              .row = row,
                              .place = "alone",
                              .unit = &cost,
                              .measure = measure_cost,
                              .pinned = true};

    contest_run(&contest, subjects, n);
}

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

void run_w4(void)
{
    const struct subject locks[] = {
        {"shmkit lock", OURS, WHAT(.times = lock_times)},
        {"robust mutex", PEER, WHAT(.times = robust_times)},
        {"mutex", PEER, WHAT(.times = plain_times)},
    };
    const struct subject nothings[] = {
        {"shmkit event is_set", OURS, WHAT(.before = set_event, .times = is_set_times)},
        {"shmkit event wait, set", OURS, WHAT(.before = set_event, .times = wait_times)},
        {"shmkit notify, no waiter", OURS,
         WHAT(.before = cond_hold, .times = notify_times, .after = cond_let_go)},
        {"pthread_cond_signal", PEER, WHAT(.times = signal_times)},
        {"call and load", LIMIT, WHAT(.times = empty_times)},
    };
    const struct subject rest[] = {
        {"shmkit semaphore", OURS, WHAT(.times = semaphore_times)},
        {"shmkit put, get", OURS, WHAT(.times = queue_times)},
        {"shmkit claimed put, get", OURS, WHAT(.times = claimed_times)},
        {"shmkit event set, clear", OURS, WHAT(.times = event_times)},
        {"shmkit stream append", OURS, WHAT(.times = append_times)},
        {"sem_wait, sem_post", PEER, WHAT(.times = sem_times)},
    };

    costs("lock and release", locks, COUNT(locks));
    costs("next to nothing", nothings, COUNT(nothings));
    costs("the others", rest, COUNT(rest));
}

/*
 * W4: what an operation costs its caller while no other process uses the object: in time, and in
 * instructions, which are the same on a loaded machine.
 */
#include "common.h"
#include "empty.h"

#include <errno.h>
#include <math.h>
#include <semaphore.h>

static const struct unit cost = {.name = "ns", .scale = 1};
static const struct unit instructions = {.name = "instr", .scale = 1};

/* The objects; opened in the process that is measured. */
static struct {
    struct shk_segment *segment;
    struct shk_lock *lock;
    struct shk_cond *cond;
    struct shk_event *event;
    struct shk_semaphore *semaphore;
    struct shk_queue *queue, *claimed, *empty, *lifo, *priority;
    struct shk_queue *fifo_unlimited, *lifo_unlimited, *priority_unlimited;
    struct shk_queue *fifo_wide, *in_bytes;
    struct shk_stream *stream;
    struct memory {
        pthread_mutex_t mutex, plain;
        pthread_cond_t cond;
        sem_t semaphore;
        _Atomic uint32_t word;
    } * memory;
} objects;

static struct shk_queue *open_with(const char *name, const struct shk_queue_options *options)
{
    struct shk_queue *queue;

    must(shk_queue_open(objects.segment, name, SHK_CREATE, options, &queue));
    return queue;
}

static struct shk_queue *open_queue(const char *name, uint32_t order, size_t capacity)
{
    return open_with(
        name, &(struct shk_queue_options){.order = order, .capacity = capacity, .item_size = 1024});
}

static void open_queues(void)
{
    objects.queue = open_queue("queue", SHK_FIFO, 64);
    objects.claimed = open_queue("claimed", SHK_FIFO, 64);
    must(shk_queue_claim(objects.claimed, SHK_PRODUCER | SHK_CONSUMER, SHK_FOREVER));
    objects.empty = open_queue("empty", SHK_FIFO, 64);
    objects.lifo = open_queue("lifo", SHK_LIFO, 64);
    objects.priority = open_queue("priority", SHK_PRIORITY, 64);
    objects.fifo_unlimited = open_queue("fifo-unlimited", SHK_FIFO, 0);
    objects.lifo_unlimited = open_queue("lifo-unlimited", SHK_LIFO, 0);
    objects.priority_unlimited = open_queue("priority-unlimited", SHK_PRIORITY, 0);
    objects.fifo_wide =
        open_with("fifo-wide", &(struct shk_queue_options){.capacity = 64, .item_size = 1 << 20});
    objects.in_bytes = open_with(
        "in-bytes", &(struct shk_queue_options){.item_size = 1 << 20, .capacity_bytes = 1 << 20});
}

static void make_memory(void)
{
    objects.memory = shared_memory(sizeof(*objects.memory));
    if (!objects.memory)
        give_up("%s", team_trouble());
    shared_mutex(&objects.memory->plain, false);
    shared_mutex(&objects.memory->mutex, true);
    shared_cond(&objects.memory->cond);
    sem_init(&objects.memory->semaphore, 1, 1);
}

static void open_objects(void)
{
    objects.segment = common_segment(NULL);
    must(shk_lock_open(objects.segment, "lock", SHK_CREATE, NULL, &objects.lock));
    must(shk_cond_open(objects.segment, "cond", SHK_CREATE, NULL, &objects.cond));
    must(shk_event_open(objects.segment, "event", SHK_CREATE, NULL, &objects.event));
    must(shk_semaphore_open(objects.segment, "semaphore", SHK_CREATE, NULL, &objects.semaphore));
    must(shk_stream_open(objects.segment, "stream", SHK_CREATE,
                         &(struct shk_stream_options){.sample_size = 8}, &objects.stream));
    must(shk_event_set(objects.event));
    open_queues();
    make_memory();
}

/* `times` does it n times. `before` and `after` are not measured. */
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

static inline __attribute__((always_inline)) bool through(struct shk_queue *queue)
{
    return shk_queue_put(queue, &item, 8, SHK_FOREVER) == 0 &&
           shk_queue_get(queue, &item, 8, SHK_FOREVER) == 8;
}

static inline __attribute__((always_inline)) bool through_leased(struct shk_queue *queue)
{
    uint64_t ticket;

    return shk_queue_put(queue, &item, 8, SHK_FOREVER) == 0 &&
           shk_queue_lease(queue, &item, 8, SHK_FOREVER, &ticket) == 8 &&
           shk_queue_ack(queue, ticket) == 0;
}

TIMES(lock_times,
      shk_lock_acquire(objects.lock, SHK_FOREVER) == 0 && shk_lock_release(objects.lock) == 0)
TIMES(robust_times, pthread_mutex_lock(&objects.memory->mutex) == 0 &&
                        pthread_mutex_unlock(&objects.memory->mutex) == 0)
TIMES(plain_times, pthread_mutex_lock(&objects.memory->plain) == 0 &&
                       pthread_mutex_unlock(&objects.memory->plain) == 0)
TIMES(empty_times, bench_empty(&objects.memory->word) == 0)
TIMES(is_set_times, shk_event_is_set(objects.event) == 1)
TIMES(wait_times, shk_event_wait(objects.event, SHK_FOREVER) == 0)
TIMES(notify_times, shk_cond_notify(objects.cond, 1) == 0)
TIMES(signal_times, pthread_cond_signal(&objects.memory->cond) == 0)
TIMES(semaphore_times, shk_semaphore_acquire(objects.semaphore, SHK_FOREVER) == 0 &&
                           shk_semaphore_release(objects.semaphore, 1) == 0)
TIMES(sem_times,
      sem_wait(&objects.memory->semaphore) == 0 && sem_post(&objects.memory->semaphore) == 0)
TIMES(queue_times, through(objects.queue))
TIMES(claimed_times, through(objects.claimed))
TIMES(leased_times, through_leased(objects.queue))
TIMES(lifo_times, through(objects.lifo))
TIMES(priority_times, through(objects.priority))
TIMES(fifo_unlimited_times, through(objects.fifo_unlimited))
TIMES(lifo_unlimited_times, through(objects.lifo_unlimited))
TIMES(priority_unlimited_times, through(objects.priority_unlimited))
TIMES(fifo_wide_times, through(objects.fifo_wide))
TIMES(in_bytes_times, through(objects.in_bytes))
TIMES(get_empty_times, shk_queue_get(objects.empty, &item, 8, SHK_NOWAIT) == -EAGAIN)
TIMES(append_times, shk_stream_append(objects.stream, &item, 1) == 0)
TIMES(event_times, shk_event_set(objects.event) == 0 && shk_event_clear(objects.event) == 0)
TIMES(nothing_times, item == 0)

static void acquire_cond(void)
{
    must(shk_cond_acquire(objects.cond, SHK_FOREVER));
}

static void release_cond(void)
{
    must(shk_cond_release(objects.cond));
}

static void set_event(void)
{
    must(shk_event_set(objects.event));
}

/* So many operations are counted: what is done every 16th or 64th time is in the mean. */
#define COUNTED 64

static void begin_operation(const struct operation *operation)
{
    open_objects();
    stage_ready();
    if (operation->before)
        operation->before();
    if (!operation->times(1000)) /* warm-up; bias owner from here on */
        give_up("it does not do what it should: %s", shk_last_error());
}

static void time_operation(void *argument, unsigned role)
{
    const struct operation *operation = argument;
    uint64_t done = 0;
    int64_t begin;

    begin_operation(operation);
    begin = now();
    do {
        operation->times(1000);
        done += 1000;
    } while (!stopped());
    stage->role[role].figure[0] = (double)(now() - begin) / (double)done;
    if (operation->after)
        operation->after();
}

static void step_operation(void *argument, unsigned role)
{
    const struct operation *operation = argument;

    (void)role;
    begin_operation(operation);
    count_begin();
    operation->times(COUNTED);
    count_end();
    if (operation->after)
        operation->after();
}

static bool measure_time(const struct contest *contest, const struct subject *subject,
                         double figures[FIGURES])
{
    team_start();
    team_add(time_operation, (void *)subject->what, contest_cpu(contest, 1));
    bool well = team_run(contest_seconds(contest));
    figures[0] = stage->role[0].figure[0];
    /* One process, alone: a failure here must not hide the first one. */
    in_child(common_unlink, NULL);
    return well;
}

/* Steps of so many operations, with what is around them. */
static double steps_of(const struct operation *operation)
{
    team_start();
    team_add(step_operation, (void *)operation, ANY_CPU);
    double steps = team_ready() ? count_steps() : NAN;
    bool well = team_finish();
    in_child(common_unlink, NULL);
    return well ? steps : NAN;
}

static bool measure_instructions(const struct contest *contest, const struct subject *subject,
                                 double figures[FIGURES])
{
    static const struct operation nothing = {.times = nothing_times};
    static double around; /* steps of the loop and of stopping; 0: not known yet */

    (void)contest;
    if (around == 0 || isnan(around))
        around = steps_of(&nothing);
    figures[0] = (steps_of(subject->what) - around) / COUNTED;
    return !isnan(figures[0]);
}

static void costs(const char *row, const struct subject *subjects, size_t n)
{
    struct contest contest = {.workload = "W4",
                              .row = row,
                              .place = "alone",
                              .unit = &cost,
                              .measure = measure_time,
                              .pinned = true};

    contest_run(&contest, subjects, n);
    contest.place = "counted";
    contest.unit = &instructions;
    contest.measure = measure_instructions;
    contest.rounds = 1;
    contest_run(&contest, subjects, n);
}

#define OPERATION(...)        \
    &(const struct operation) \
    {                         \
        __VA_ARGS__           \
    }

void run_w4(void)
{
    const struct subject locks[] = {
        {"shmkit lock", OURS, OPERATION(.times = lock_times)},
        {"robust mutex", PEER, OPERATION(.times = robust_times)},
        {"mutex", PEER, OPERATION(.times = plain_times)},
    };
    const struct subject checks[] = {
        {"shmkit event is_set", OURS, OPERATION(.before = set_event, .times = is_set_times)},
        {"shmkit event wait, set", OURS, OPERATION(.before = set_event, .times = wait_times)},
        {"shmkit notify, no waiter", OURS,
         OPERATION(.before = acquire_cond, .times = notify_times, .after = release_cond)},
        {"pthread_cond_signal", PEER, OPERATION(.times = signal_times)},
        {"call and load", LIMIT, OPERATION(.times = empty_times)},
    };
    const struct subject rest[] = {
        {"shmkit semaphore", OURS, OPERATION(.times = semaphore_times)},
        {"shmkit event set, clear", OURS, OPERATION(.times = event_times)},
        {"shmkit stream append", OURS, OPERATION(.times = append_times)},
        {"sem_wait, sem_post", PEER, OPERATION(.times = sem_times)},
    };
    const struct subject queues[] = {
        {"shmkit FIFO", OURS, OPERATION(.times = queue_times)},
        {"shmkit FIFO claimed", OURS, OPERATION(.times = claimed_times)},
        {"shmkit FIFO leased, acked", OURS, OPERATION(.times = leased_times)},
        {"shmkit LIFO", OURS, OPERATION(.times = lifo_times)},
        {"shmkit PRIORITY", OURS, OPERATION(.times = priority_times)},
        {"shmkit FIFO unlimited", OURS, OPERATION(.times = fifo_unlimited_times)},
        {"shmkit LIFO unlimited", OURS, OPERATION(.times = lifo_unlimited_times)},
        {"shmkit PRIORITY unlimited", OURS, OPERATION(.times = priority_unlimited_times)},
        {"shmkit FIFO for 1 MiB", OURS, OPERATION(.times = fifo_wide_times)},
        {"shmkit FIFO limited in bytes", OURS, OPERATION(.times = in_bytes_times)},
        {"shmkit get, empty, NOWAIT", OURS, OPERATION(.times = get_empty_times)},
    };

    costs("lock and release", locks, COUNT(locks));
    costs("next to nothing", checks, COUNT(checks));
    costs("put and get, 8 B", queues, COUNT(queues));
    costs("the others", rest, COUNT(rest));
}

/*
 * W5: many processes sleep, one wakes them all: how long until the last is awake. And what sleepers
 * cost meanwhile.
 */
#include "channel.h"
#include "common.h"

#include <errno.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <shmkit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Of one measurement: the time of one depends on how deep the CPUs sleep. */
#define WAVES 15

static struct room {
    _Atomic uint32_t arrived, awake;
    _Atomic uint32_t word;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    unsigned wave;
    sem_t semaphore[ROLES_MAX];
} * room;

struct waker {
    void (*attach)(void);
    void (*wait)(unsigned role, unsigned wave);
    void (*prepare)(unsigned wave); /* before it is known when the wave begins */
    void (*wake)(unsigned n, unsigned wave);
};

static void nap(long ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* ---- shmkit: two events, one for the even waves and one for the odd ---- */

static struct shk_event *events[2];
static struct shk_cond *cond;
static struct shk_queue *queue;

static void event_attach(void)
{
    struct shk_segment *opened = common_segment(NULL);

    must(shk_event_open(opened, "even", SHK_CREATE, NULL, &events[0]));
    must(shk_event_open(opened, "odd", SHK_CREATE, NULL, &events[1]));
}

static void event_wait(unsigned role, unsigned wave)
{
    (void)role;
    must(shk_event_wait(events[wave % 2], SHK_FOREVER));
}

static void event_prepare(unsigned wave)
{
    must(shk_event_clear(events[(wave + 1) % 2]));
}

static void event_wake(unsigned n, unsigned wave)
{
    (void)n;
    must(shk_event_set(events[wave % 2]));
}

static void cond_attach(void)
{
    must(shk_cond_open(common_segment(NULL), "changed", SHK_CREATE, NULL, &cond));
}

static void cond_wait(unsigned role, unsigned wave)
{
    (void)role;
    must(shk_cond_acquire(cond, SHK_FOREVER));
    while (room->wave <= wave)
        must(shk_cond_wait(cond, SHK_FOREVER));
    must(shk_cond_release(cond));
}

static void cond_wake(unsigned n, unsigned wave)
{
    (void)n;
    must(shk_cond_acquire(cond, SHK_FOREVER));
    room->wave = wave + 1;
    must(shk_cond_notify_all(cond));
    must(shk_cond_release(cond));
}

/* ---- The others ---- */

static void futex_wait(unsigned role, unsigned wave)
{
    (void)role;
    while (atomic_load(&room->word) == wave)
        syscall(SYS_futex, &room->word, FUTEX_WAIT, wave, NULL, NULL, 0);
}

static void futex_wake(unsigned n, unsigned wave)
{
    (void)n;
    atomic_store(&room->word, wave + 1);
    syscall(SYS_futex, &room->word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void sem_wait_own(unsigned role, unsigned wave)
{
    (void)wave;
    while (sem_wait(&room->semaphore[role]) < 0)
        ;
}

static void sem_wake(unsigned n, unsigned wave)
{
    (void)wave;
    for (unsigned i = 1; i <= n; i++)
        sem_post(&room->semaphore[i]);
}

static void pthread_wait(unsigned role, unsigned wave)
{
    (void)role;
    pthread_mutex_lock(&room->mutex);
    while (room->wave <= wave)
        pthread_cond_wait(&room->cond, &room->mutex);
    pthread_mutex_unlock(&room->mutex);
}

static void pthread_wake(unsigned n, unsigned wave)
{
    (void)n;
    pthread_mutex_lock(&room->mutex);
    room->wave = wave + 1;
    pthread_cond_broadcast(&room->cond);
    pthread_mutex_unlock(&room->mutex);
}

/* ---- The measurement ---- */

static void sleeper(void *argument, unsigned role)
{
    const struct waker *waker = argument;

    if (waker->attach)
        waker->attach();
    stage_ready();
    for (unsigned wave = 0; wave < WAVES; wave++) {
        atomic_fetch_add(&room->arrived, 1);
        waker->wait(role, wave);
        atomic_store(&stage->role[role].stamp, now());
        atomic_fetch_add(&room->awake, 1);
    }
}

static void alarm_clock(void *argument, unsigned role)
{
    const struct waker *waker = argument;
    unsigned n = (unsigned)stage->role[role].count;
    double times[WAVES];

    if (waker->attach)
        waker->attach();
    stage_ready();
    for (unsigned wave = 0; wave < WAVES; wave++) {
        int64_t begin, last = 0;
        if (waker->prepare)
            waker->prepare(wave);
        while (atomic_load(&room->arrived) < n * (wave + 1))
            nap(1000000);
        nap(20000000); /* they have said that they will sleep; now they do */
        begin = now();
        waker->wake(n, wave);
        while (atomic_load(&room->awake) < n * (wave + 1))
            nap(500000);
        for (unsigned i = 1; i <= n; i++) {
            int64_t stamp = atomic_load(&stage->role[i].stamp);
            last = stamp > last ? stamp : last;
        }
        times[wave] = (double)(last - begin);
    }
    qsort(times, WAVES, sizeof(*times), compare_doubles);
    stage->role[role].figure[0] = times[WAVES / 2];
}

static bool make_room(void)
{
    room = shared_memory(sizeof(*room));
    if (!room)
        return false;
    shared_mutex(&room->mutex, false);
    shared_cond(&room->cond);
    for (unsigned i = 0; i < ROLES_MAX; i++)
        sem_init(&room->semaphore[i], 1, 0);
    return true;
}

static bool measure_wake(const struct contest *contest, const struct subject *subject,
                         double figures[FIGURES])
{
    const struct waker *waker = subject->what;
    bool well;

    if (!waker) {
        setenv("PEER_CPUS", "", 1);
        well = python_measures(figures, "peer.py wake", "%u", contest->n);
        figures[0] *= 1e3; /* it says us */
        return well;
    }
    if (!make_room())
        return false;
    team_start();
    stage->role[0].count = contest->n;
    team_add(alarm_clock, (void *)waker, ANY_CPU);
    for (unsigned i = 0; i < contest->n; i++)
        team_add(sleeper, (void *)waker, ANY_CPU);
    well = team_ready() && team_finish();
    figures[0] = stage->role[0].figure[0];
    munmap(room, sizeof(*room));
    in_child(common_unlink, NULL);
    return well;
}

static const struct unit latency = {.name = "us", .scale = 1e3};

void run_w5(void)
{
    static const struct waker event = {event_attach, event_wait, event_prepare, event_wake},
                              condition = {cond_attach, cond_wait, NULL, cond_wake},
                              futex = {NULL, futex_wait, NULL, futex_wake},
                              semaphores = {NULL, sem_wait_own, NULL, sem_wake},
                              broadcast = {NULL, pthread_wait, NULL, pthread_wake};
    static const struct {
        const char *name;
        unsigned n;
    } rows[] = {
        {"2 processes", 2}, {"10 processes", 10}, {"100 processes", 100}, {"500 processes", 500}};
    struct subject subjects[] = {
        {"shmkit event", OURS, &event},          {"shmkit notify_all", OURS, &condition},
        {"one futex wake", LIMIT, &futex},       {"one sem_post each", PEER, &semaphores},
        {"pthread broadcast", PEER, &broadcast}, {"Python mp.Event", PEER, NULL},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct contest contest = {.workload = "W5",
                                  .row = rows[i].name,
                                  .place = "unpinned",
                                  .unit = &latency,
                                  .measure = measure_wake,
                                  .n = rows[i].n};
        size_t n = COUNT(subjects);
#ifdef PYTHON
        if (rows[i].n > 100) /* it takes seconds to begin, and is out of the question by then */
            n--;
#else
        n--;
#endif
        if (!bench.smoke || rows[i].n <= 10)
            contest_run(&contest, subjects, n);
    }
}

/* ---- Idle: 1,000 sleepers that are not woken ---- */

static void queue_attach(void)
{
    must(shk_queue_open(common_segment(NULL), "items", SHK_CREATE,
                        &(struct shk_queue_options){.capacity = 4, .item_size = 8}, &queue));
}

static void queue_wait(unsigned role, unsigned wave)
{
    uint64_t item;

    (void)role;
    (void)wave;
    must((int)shk_queue_get(queue, &item, sizeof(item), SHK_FOREVER));
}

static void clock_wait(unsigned role, unsigned wave)
{
    (void)role;
    (void)wave;
    for (;;)
        clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_nsec = 100000000}, NULL);
}

static void idler(void *argument, unsigned role)
{
    const struct waker *waker = argument;

    if (waker->attach)
        waker->attach();
    stage_ready();
    waker->wait(role, 0);
    give_up("an idle sleeper was woken");
}

static double processor_time(void)
{
    double sum = 0;

    for (unsigned i = 0; i < team_size(); i++) {
        clockid_t clock;
        struct timespec t;
        if (clock_getcpuclockid(team_pid(i), &clock) == 0 && clock_gettime(clock, &t) == 0)
            sum += (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    }
    return sum;
}

static void rest(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)(fmod(seconds, 1) * 1e9)};

    nanosleep(&t, NULL);
}

static bool measure_idle(const struct contest *contest, const struct subject *subject,
                         double figures[FIGURES])
{
    double before, seconds = bench.smoke ? 0.2 : 2;

    if (!make_room())
        return false;
    team_start();
    for (unsigned i = 0; i < contest->n; i++)
        team_add(idler, (void *)subject->what, ANY_CPU);
    bool well = team_ready();
    if (well) {
        rest(seconds / 2); /* until all have fallen asleep */
        before = processor_time();
        rest(seconds);
        figures[0] = (processor_time() - before) / seconds;
        if (atomic_load(&stage->said))
            well = team_fails("%s", stage->trouble);
    }
    team_kill();
    munmap(room, sizeof(*room));
    in_child(common_unlink, NULL);
    return well;
}

void run_idle(void)
{
    static const struct waker get = {queue_attach, queue_wait, NULL, NULL},
                              event = {event_attach, event_wait, NULL, NULL},
                              condition = {cond_attach, cond_wait, NULL, NULL},
                              clock = {NULL, clock_wait, NULL, NULL};
    static const struct unit load = {.name = "ms/s", .scale = 1e-3};
    const struct subject subjects[] = {
        {"shmkit get", OURS, &get},
        {"shmkit event", OURS, &event},
        {"shmkit condition", OURS, &condition},
        {"clock_nanosleep 100 ms", LIMIT, &clock},
    };
    struct contest contest = {.workload = "idle",
                              .row = "1000 sleepers",
                              .place = "unpinned",
                              .unit = &load,
                              .measure = measure_idle,
                              .n = bench.smoke ? 10 : 1000};

    contest_run(&contest, subjects, COUNT(subjects));
}

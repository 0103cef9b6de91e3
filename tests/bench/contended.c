/*
 * W6: n locks, n processes that want them; W7: items held in order; W8: a stream with many readers.
 */
#include "bench.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <shmkit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static void must(long long result)
{
    if (result < 0)
        give_up("%s", shk_last_error());
}

static struct shk_segment *open_segment(const struct shk_segment_options *options)
{
    struct shk_segment *segment;

    must(shk_segment_open(unique_name(), SHK_CREATE, options, &segment));
    return segment;
}

static void unlink_segment(void *argument)
{
    (void)argument;
    shk_segment_unlink(unique_name());
}

static void robust_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static inline uint64_t random_number(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- W6 ---- */

#define LOCKS_MAX 64

/* In 128 bytes each, since some processors fetch pairs of lines. */
static struct till {
    struct drawer {
        alignas(128) pthread_mutex_t mutex;
        alignas(64) volatile uint64_t sum_beside; /* what the lock protects: nothing may be lost */
    } drawer[LOCKS_MAX];
    struct {
        alignas(128) volatile uint64_t sum;
    } apart[LOCKS_MAX];
} * till;

enum kind { OUR_LOCK, MUTEX, MUTEX_BESIDE };

struct customer {
    enum kind kind;
    unsigned locks;
};

static struct shk_lock *locks[LOCKS_MAX];

static void customer(void *argument, unsigned role)
{
    const struct customer *c = argument;
    struct note *note = &stage->role[role];
    uint64_t random = 0x9e3779b97f4a7c15 * (role + 1), count = 0;
    int64_t longest = 0, begin;

    if (c->kind == OUR_LOCK) {
        struct shk_segment *segment = open_segment(NULL);
        for (unsigned i = 0; i < c->locks; i++) {
            char name[20];
            snprintf(name, sizeof(name), "lock%u", i);
            must(shk_lock_open(segment, name, SHK_CREATE, NULL, &locks[i]));
        }
    }
    stage_ready();
    begin = now();
    do {
        unsigned i = (unsigned)(random_number(&random) % c->locks);
        volatile uint64_t *sum =
            c->kind == MUTEX_BESIDE ? &till->drawer[i].sum_beside : &till->apart[i].sum;
        int64_t before = now(), waited;
        if (c->kind == OUR_LOCK)
            must(shk_lock_acquire(locks[i], SHK_FOREVER));
        else
            pthread_mutex_lock(&till->drawer[i].mutex);
        waited = now() - before;
        for (int k = 0; k < 20; k++)
            ++*sum;
        if (c->kind == OUR_LOCK)
            must(shk_lock_release(locks[i]));
        else
            pthread_mutex_unlock(&till->drawer[i].mutex);
        longest = waited > longest ? waited : longest;
        count++;
    } while (!stopped());
    note->count = count;
    note->figure[0] = (double)longest;
    note->figure[1] = (double)begin;
    note->figure[2] = (double)now();
}

static bool measure_locks(const struct contest *contest, const struct subject *subject,
                          double figures[FIGURES])
{
    struct customer c = {.kind = *(const enum kind *)subject->what, .locks = contest->capacity};
    uint64_t count = 0, sum = 0, least = UINT64_MAX, most = 0;
    double longest = 0, begin = INFINITY, end = 0;

    till = mmap(NULL, sizeof(*till), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (till == MAP_FAILED)
        return team_fails("mmap: %s", strerror(errno));
    for (unsigned i = 0; i < c.locks; i++)
        robust_mutex(&till->drawer[i].mutex);
    team_start();
    for (unsigned i = 0; i < contest->n; i++)
        team_add(customer, &c, contest_cpu(contest, i));
    bool well = team_run(contest_seconds(contest));
    for (unsigned i = 0; i < contest->n; i++) {
        struct note *note = &stage->role[i];
        count += note->count;
        begin = fmin(begin, note->figure[1]);
        end = fmax(end, note->figure[2]);
        least = note->count < least ? note->count : least;
        most = note->count > most ? note->count : most;
        longest = fmax(longest, note->figure[0]);
    }
    for (unsigned i = 0; i < c.locks; i++)
        sum += till->drawer[i].sum_beside + till->apart[i].sum;
    munmap(till, sizeof(*till));
    in_child(unlink_segment, NULL);
    if (!well)
        return false;
    if (sum != 20 * count)
        return team_fails("%llu of %llu are missing under the locks",
                          (unsigned long long)(20 * count - sum), (unsigned long long)(20 * count));
    figures[0] = (double)count / (end - begin) * 1e9;
    figures[1] = longest / 1e6;
    figures[2] = (double)least / (double)most;
    return true;
}

void run_w6(void)
{
    static const struct unit acquired = {
        .name = "M/s", .more_is_better = true, .scale = 1e6, .also = {"longest ms", "least/most"}};
    static const struct {
        const char *name;
        unsigned locks, n;
    } rows[] = {{"1 lock, 4 processes", 1, 4},
                {"2 locks, 2 processes", 2, 2},
                {"4 locks, 4 processes", 4, 4},
                {"16 locks, 16 processes", 16, 16},
                {"64 locks, 64 processes", 64, 64}};
    static const enum kind kinds[] = {OUR_LOCK, MUTEX, MUTEX_BESIDE};
    const struct subject subjects[] = {{"shmkit lock", OURS, &kinds[0]},
                                       {"robust mutex", PEER, &kinds[1]},
                                       {"robust mutex, data beside it", LIMIT, &kinds[2]}};

    for (int pinned = 1; pinned >= 0; pinned--) {
        for (size_t i = 0; i < COUNT(rows); i++) {
            struct contest contest = {.workload = "W6",
                                      .row = rows[i].name,
                                      .place = pinned ? "pinned" : "unpinned",
                                      .unit = &acquired,
                                      .measure = measure_locks,
                                      .n = rows[i].n,
                                      .capacity = rows[i].locks,
                                      .pinned = pinned,
                                      .by_little = rows[i].n == 64};
            if (rows[i].n > 4 && !bench.smoke)
                contest.seconds =
                    fmax(0.3, bench.seconds); /* so that each gets the CPU some times */
            contest_run(&contest, subjects, COUNT(subjects));
        }
    }
}

/* ---- W7: with `held` items in it, one more is put and one is taken ---- */

struct private_item {
    uint64_t length, item;
};

/* The same heap, entries and slots apart, in private memory under the same kind of mutex. */
struct private_heap {
    pthread_mutex_t mutex;
    struct private_entry {
        int64_t priority;
        uint64_t sequence;
        uint32_t slot;
    } * entries;
    struct private_item *slots;
    uint32_t *unused; /* free slots, a stack */
    uint32_t count, capacity;
    uint64_t sequence;
};

static bool goes_before(const struct private_entry *a, const struct private_entry *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

static void private_put(struct private_heap *h, uint64_t item, int64_t priority)
{
    struct private_entry entry = {priority, h->sequence++, h->unused[h->count]};
    uint32_t hole = h->count++;

    h->slots[entry.slot] = (struct private_item){8, item};
    for (; hole > 0 && goes_before(&entry, &h->entries[(hole - 1) / 2]); hole = (hole - 1) / 2)
        h->entries[hole] = h->entries[(hole - 1) / 2];
    h->entries[hole] = entry;
}

static uint64_t private_get(struct private_heap *h)
{
    uint32_t slot = h->entries[0].slot, hole = 0, child;
    uint64_t item = h->slots[slot].item;
    struct private_entry last = h->entries[--h->count];

    h->unused[h->count] = slot;
    while ((child = 2 * hole + 1) < h->count) {
        if (child + 1 < h->count && goes_before(&h->entries[child + 1], &h->entries[child]))
            child++;
        if (!goes_before(&h->entries[child], &last))
            break;
        h->entries[hole] = h->entries[child];
        hole = child;
    }
    h->entries[hole] = last;
    return item;
}

/* … and the same for a stack. */
static void private_push(struct private_heap *h, uint64_t item)
{
    h->slots[h->count++] = (struct private_item){8, item};
}

static uint64_t private_pop(struct private_heap *h)
{
    return h->slots[--h->count].item;
}

struct holding {
    bool ours, priority;
    unsigned held;
};

static void keep_private(const struct holding *holding, struct note *note)
{
    struct private_heap *h = calloc(1, sizeof(*h));
    uint64_t random = 88172645463325252, done = 0, sum = 0;
    size_t room = holding->held + 1;

    h->entries = malloc(room * sizeof(*h->entries));
    h->slots = malloc(room * sizeof(*h->slots));
    h->unused = malloc(room * sizeof(*h->unused));
    if (!h->entries || !h->slots || !h->unused)
        give_up("out of memory");
    robust_mutex(&h->mutex);
    for (uint32_t i = 0; i < room; i++)
        h->unused[i] = i;
    for (unsigned i = 0; i < holding->held; i++) {
        uint64_t number = random_number(&random);
        holding->priority ? private_put(h, number, (int64_t)(number >> 1))
                          : private_push(h, number);
    }
    stage_ready();
    int64_t begin = now();
    do {
        for (int i = 0; i < 100; i++, done++) {
            uint64_t number = random_number(&random);
            pthread_mutex_lock(&h->mutex);
            holding->priority ? private_put(h, number, (int64_t)(number >> 1))
                              : private_push(h, number);
            pthread_mutex_unlock(&h->mutex);
            pthread_mutex_lock(&h->mutex);
            sum += holding->priority ? private_get(h) : private_pop(h);
            pthread_mutex_unlock(&h->mutex);
        }
    } while (!stopped());
    note->figure[0] = (double)(now() - begin) / (double)done;
    note->count = sum; /* so that it is not optimised away */
}

static void keep_in_queue(const struct holding *holding, struct note *note)
{
    struct shk_queue_options options = {.order = holding->priority ? SHK_PRIORITY : SHK_LIFO,
                                        .capacity = holding->held + 1,
                                        .item_size = 8};
    uint64_t random = 88172645463325252, done = 0, sum = 0;
    struct shk_queue *queue;

    must(shk_queue_open(open_segment(NULL), "kept", SHK_CREATE, &options, &queue));
    for (unsigned i = 0; i < holding->held; i++) {
        uint64_t number = random_number(&random);
        must(holding->priority
                 ? shk_queue_put_priority(queue, &number, 8, (int64_t)(number >> 1), SHK_NOWAIT)
                 : shk_queue_put(queue, &number, 8, SHK_NOWAIT));
    }
    stage_ready();
    int64_t begin = now();
    do {
        for (int i = 0; i < 100; i++, done++) {
            uint64_t number = random_number(&random);
            must(holding->priority ? shk_queue_put_priority(queue, &number, 8,
                                                            (int64_t)(number >> 1), SHK_FOREVER)
                                   : shk_queue_put(queue, &number, 8, SHK_FOREVER));
            must(shk_queue_get(queue, &number, 8, SHK_FOREVER));
            sum += number;
        }
    } while (!stopped());
    note->figure[0] = (double)(now() - begin) / (double)done;
    note->count = sum;
}

static void keeper(void *argument, unsigned role)
{
    const struct holding *holding = argument;

    if (holding->ours)
        keep_in_queue(holding, &stage->role[role]);
    else
        keep_private(holding, &stage->role[role]);
}

static bool measure_held(const struct contest *contest, const struct subject *subject,
                         double figures[FIGURES])
{
    struct holding holding = {
        .ours = subject->is & OURS, .priority = contest->capacity, .held = contest->n};

    team_start();
    team_add(keeper, &holding, contest_cpu(contest, 1));
    bool well = team_run(contest_seconds(contest));
    figures[0] = stage->role[0].figure[0];
    in_child(unlink_segment, NULL);
    return well;
}

void run_w7(void)
{
    static const struct unit pair = {.name = "ns", .scale = 1};
    static const struct {
        const char *name;
        bool priority;
        unsigned held;
    } rows[] = {{"LIFO, 10 held", false, 10},           {"LIFO, 1000 held", false, 1000},
                {"LIFO, 1000000 held", false, 1000000}, {"PRIORITY, 10 held", true, 10},
                {"PRIORITY, 1000 held", true, 1000},    {"PRIORITY, 1000000 held", true, 1000000}};
    const struct subject subjects[] = {{"shmkit", OURS, NULL}, {"private memory", LIMIT, NULL}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct contest contest = {.workload = "W7",
                                  .row = rows[i].name,
                                  .place = "alone",
                                  .unit = &pair,
                                  .measure = measure_held,
                                  .n = rows[i].held,
                                  .capacity = rows[i].priority,
                                  .pinned = true};
        if (!bench.smoke || rows[i].held <= 1000)
            contest_run(&contest, subjects, COUNT(subjects));
    }
}

/* ---- W8: the processor time that an append costs its writer ---- */

static struct shk_stream *open_stream(void)
{
    struct shk_stream *stream;

    must(shk_stream_open(open_segment(NULL), "signal", SHK_CREATE,
                         &(struct shk_stream_options){.sample_size = 8}, &stream));
    return stream;
}

static int64_t my_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* As fast as it goes. */
static void writer(void *argument, unsigned role)
{
    const struct contest *contest = argument;
    struct shk_stream *stream = open_stream();
    uint64_t sample = 0;
    int64_t before, used = 0;

    stage_ready();
    do {
        before = my_time();
        for (int i = 0; i < (contest->capacity ? 1 : 1000); i++, sample++)
            must(shk_stream_append(stream, &sample, 1));
        used += my_time() - before;
        if (contest->capacity) /* so many a second: everybody sleeps in between */
            nanosleep(&(struct timespec){.tv_nsec = 1000000000 / contest->capacity}, NULL);
    } while (!stopped());
    stage->role[role].figure[0] = (double)used / (double)sample;
}

static void reader(void *argument, unsigned role)
{
    struct shk_reader *reader;
    uint64_t samples[256], last = 0;

    (void)argument;
    (void)role;
    must(shk_reader_open(open_stream(), SHK_NEXT, &reader));
    stage_ready();
    while (!stopped()) {
        ssize_t n = shk_reader_read(reader, samples, COUNT(samples), SHK_MS(50));
        if (n == -ETIMEDOUT)
            continue;
        must(n);
        for (ssize_t i = 0; i < n; i++) {
            if (samples[i] < last)
                give_up("sample %llu has come after %llu", (unsigned long long)samples[i],
                        (unsigned long long)last);
            last = samples[i];
        }
    }
}

static bool measure_stream(const struct contest *contest, const struct subject *subject,
                           double figures[FIGURES])
{
    const unsigned *readers = subject->what;

    team_start();
    team_add(writer, (void *)contest, bench.cpu[0]);
    for (unsigned i = 0; i < *readers; i++)
        team_add(reader, NULL, bench.cpu[1]);
    bool well = team_run(contest_seconds(contest));
    figures[0] = stage->role[0].figure[0];
    in_child(unlink_segment, NULL);
    return well;
}

void run_w8(void)
{
    static const struct unit append = {.name = "CPU ns", .scale = 1};
    static const struct {
        const char *name;
        unsigned rate;
    } rows[] = {{"append", 0}, {"append, 1000 samples/s", 1000}};
    static const unsigned readers[] = {1, 4, 16};
    /*
     * one reader is what the others are compared with, turn by turn: how far the two CPUs are apart
     * changes when the host moves them
     */
    const struct subject subjects[] = {{"1 reader", OURS | LIMIT, &readers[0]},
                                       {"4 readers", OURS, &readers[1]},
                                       {"16 readers", OURS, &readers[2]}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct contest contest = {.workload = "W8",
                                  .row = rows[i].name,
                                  .place = "pinned",
                                  .unit = &append,
                                  .measure = measure_stream,
                                  .capacity = rows[i].rate};
        contest_run(&contest, subjects, COUNT(subjects));
    }
}

/* W12: the newest value: what a get costs while a writer sets it, and what a set costs. */
#include "channel.h"
#include "common.h"

#include <math.h>
#include <sys/mman.h>
#include <time.h>

#define BATCH   1000 /* gets, or sets, between two looks at the time */
#define LARGEST 1024

enum kind { OURS_VALUE, MUTEX };

struct reading {
    enum kind kind;
    unsigned readers;
};

enum { NO_WRITER = 0, WITHOUT_PAUSE = UINT32_MAX }; /* else sets a second */

struct value_test {
    struct reading reading;
    size_t size;
    unsigned rate; /* of the writer */
};

static struct guarded {
    alignas(128) pthread_mutex_t mutex;
    alignas(128) char data[LARGEST];
} * guarded;

static struct shk_value *value;

static void open_value(const struct value_test *test)
{
    struct shk_value_options options = {.size = test->size};

    if (test->reading.kind == OURS_VALUE)
        must(shk_value_open(common_segment(NULL), "newest", SHK_CREATE, &options, &value));
}

static void set(const struct value_test *test, uint64_t n)
{
    char data[LARGEST];

    item_make(data, test->size, n);
    if (test->reading.kind == OURS_VALUE) {
        must(shk_value_set(value, data, test->size));
        return;
    }
    pthread_mutex_lock(&guarded->mutex);
    memcpy(guarded->data, data, test->size);
    pthread_mutex_unlock(&guarded->mutex);
}

/* The number in it; each word is checked. */
static uint64_t get(const struct value_test *test)
{
    char data[LARGEST];

    if (test->reading.kind == OURS_VALUE) {
        must(shk_value_get(value, data, test->size, NULL));
    } else {
        pthread_mutex_lock(&guarded->mutex);
        memcpy(data, guarded->data, test->size);
        pthread_mutex_unlock(&guarded->mutex);
    }
    return item_check(data, test->size);
}

/* Where none waits: CPU time, which others on the machine do not lengthen. */
static int64_t time_of(const struct value_test *test)
{
    struct timespec t;

    clock_gettime(test->rate == NO_WRITER ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void read_newest(void *argument, unsigned role)
{
    const struct value_test *test = argument;
    uint64_t count = 0, before = 0;
    int64_t begin;

    open_value(test);
    set(test, 0);
    stage_ready();
    begin = time_of(test);
    do {
        for (int i = 0; i < BATCH; i++, count++) {
            uint64_t n = get(test);
            if (n < before)
                give_up("version %llu has come after %llu", (unsigned long long)n,
                        (unsigned long long)before);
            before = n;
        }
    } while (!stopped());
    stage->role[role].figure[0] = (double)(time_of(test) - begin) / (double)count;
}

static void write_newest(void *argument, unsigned role)
{
    const struct value_test *test = argument;
    uint64_t n = 0;
    int64_t begin;

    open_value(test);
    set(test, 0);
    stage_ready();
    begin = now();
    do {
        for (int i = 0; i < (test->rate == WITHOUT_PAUSE ? BATCH : 1); i++)
            set(test, ++n);
        if (test->rate != WITHOUT_PAUSE)
            nanosleep(&(struct timespec){.tv_nsec = 1000000000 / test->rate}, NULL);
    } while (!stopped());
    stage->role[role].figure[0] = (double)(now() - begin) / (double)n;
}

static bool measure_value(const struct contest *contest, const struct subject *subject,
                          double figures[FIGURES])
{
    struct value_test test = {.reading = *(const struct reading *)subject->what,
                              .size = contest->item,
                              .rate = contest->capacity};
    unsigned readers = test.reading.readers;

    guarded = shared_memory(sizeof(*guarded));
    if (!guarded)
        return false;
    shared_mutex(&guarded->mutex, false);
    team_start();
    for (unsigned i = 0; i < readers; i++)
        team_add(read_newest, &test, contest_cpu(contest, i));
    if (test.rate != NO_WRITER)
        team_add(write_newest, &test, contest_cpu(contest, 1));
    bool well = team_run(contest_seconds(contest));
    munmap(guarded, sizeof(*guarded));
    in_child(common_unlink, NULL);
    figures[0] = readers ? 0 : stage->role[0].figure[0];
    for (unsigned i = 0; i < readers; i++)
        figures[0] += stage->role[i].figure[0] / readers;
    if (readers && test.rate != NO_WRITER)
        figures[1] = 1e6 / stage->role[readers].figure[0];
    return well;
}

static const struct reading readings[] = {{OURS_VALUE, 1}, {OURS_VALUE, 2}, {MUTEX, 1},
                                          {MUTEX, 2},      {OURS_VALUE, 0}, {MUTEX, 0}};
static const struct subject readers[] = {{"shmkit, 1 reader", OURS, &readings[0]},
                                         {"shmkit, 2 readers", OURS, &readings[1]},
                                         {"mutex, 1 reader", PEER, &readings[2]},
                                         {"mutex, 2 readers", PEER, &readings[3]}},
                            writers[] = {{"shmkit", OURS, &readings[4]},
                                         {"mutex", PEER, &readings[5]}};

static void rows_of_size(const char *const names[4], size_t size)
{
    static const struct unit cpu = {.name = "CPU ns", .scale = 1},
                             time = {.name = "ns", .scale = 1},
                             both = {.name = "ns", .scale = 1, .also = {"k sets/s"}};
    struct contest contest = {.workload = "W12",
                              .row = names[0],
                              .place = "pinned",
                              .unit = &cpu,
                              .measure = measure_value,
                              .item = size,
                              .capacity = NO_WRITER,
                              .pinned = true};

    contest_run(&contest, readers, COUNT(readers));
    contest.unit = &both;
    contest.row = names[1];
    contest.capacity = 1000;
    contest_run(&contest, readers, COUNT(readers));
    contest.row = names[2];
    contest.capacity = WITHOUT_PAUSE;
    contest_run(&contest, readers, COUNT(readers));
    contest.unit = &time;
    contest.row = names[3];
    contest_run(&contest, writers, COUNT(writers));
}

void run_w12(void)
{
    rows_of_size((const char *[]){"64 B, get", "64 B, get, 1000 sets a second",
                                  "64 B, get, sets without pause", "64 B, set"},
                 64);
    rows_of_size((const char *[]){"1 KiB, get", "1 KiB, get, 1000 sets a second",
                                  "1 KiB, get, sets without pause", "1 KiB, set"},
                 1024);
}

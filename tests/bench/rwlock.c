/* W10: what a read costs under a rwlock, with one and two readers; and a write now and then. */
#include "common.h"

#include <math.h>
#include <sys/mman.h>
#include <time.h>

#define BATCH 1000 /* reads, or as long as one write, between two looks at the time */

enum kind { OURS_RW, PTHREAD_RW };

struct reading {
    enum kind kind;
    unsigned readers;
    unsigned each; /* of so many acquires one is a writer's; 0: none */
    bool writes;   /* all are */
};

static struct table {
    alignas(128) pthread_rwlock_t rwlock;
    alignas(128) volatile uint64_t writes;
} * table;

static struct shk_rwlock *ours;

static void acquire(enum kind kind, bool writes)
{
    if (kind == OURS_RW)
        must(writes ? shk_rwlock_acquire(ours, SHK_FOREVER)
                    : shk_rwlock_acquire_shared(ours, SHK_FOREVER));
    else if (writes)
        pthread_rwlock_wrlock(&table->rwlock);
    else
        pthread_rwlock_rdlock(&table->rwlock);
}

static void release(enum kind kind)
{
    if (kind == OURS_RW)
        must(shk_rwlock_release(ours));
    else
        pthread_rwlock_unlock(&table->rwlock);
}

/* Where none waits: CPU time, which others on the machine do not lengthen. */
static int64_t time_of(const struct reading *r)
{
    struct timespec t;

    clock_gettime(r->each || r->writes ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void read_and_write(void *argument, unsigned role)
{
    const struct reading *r = argument;
    struct note *note = &stage->role[role];
    uint64_t count = 0, writes = 0;
    int64_t begin;

    if (r->kind == OURS_RW)
        must(shk_rwlock_open(common_segment(NULL), "rwlock", SHK_CREATE, NULL, &ours));
    stage_ready();
    begin = time_of(r);
    do {
        for (int i = 0; i < BATCH; i++, count++) {
            bool writes_now = r->writes || (r->each && count % r->each == 0);

            acquire(r->kind, writes_now);
            if (writes_now) {
                table->writes++;
                writes++;
            }
            release(r->kind);
        }
    } while (!stopped());
    note->figure[0] = (double)(time_of(r) - begin) / (double)count;
    note->count = writes;
}

static bool measure_rwlock(const struct contest *contest, const struct subject *subject,
                           double figures[FIGURES])
{
    struct reading r = *(const struct reading *)subject->what;
    pthread_rwlockattr_t shared;
    uint64_t writes = 0, counted;

    r.each = contest->capacity;
    table = shared_memory(sizeof(*table));
    if (!table)
        return false;
    pthread_rwlockattr_init(&shared);
    pthread_rwlockattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_rwlock_init(&table->rwlock, &shared);
    team_start();
    for (unsigned i = 0; i < r.readers; i++)
        team_add(read_and_write, &r, bench.cpu[i % 2]);
    bool well = team_run(contest_seconds(contest));
    figures[0] = 0;
    for (unsigned i = 0; i < r.readers; i++) {
        figures[0] += stage->role[i].figure[0] / r.readers;
        writes += stage->role[i].count;
    }
    counted = table->writes;
    munmap(table, sizeof(*table));
    in_child(common_unlink, NULL);
    if (well && counted != writes)
        return team_fails("%llu of %llu writes are missing under the rwlock",
                          (unsigned long long)(writes - counted), (unsigned long long)writes);
    return well;
}

void run_w10(void)
{
    static const struct unit acquired = {.name = "ns", .scale = 1},
                             cpu = {.name = "CPU ns", .scale = 1};
    static const struct {
        const char *name;
        unsigned each;
    } rows[] = {{"read", 0}, {"read, 1 of 10000 writes", 10000}, {"read, 1 of 100 writes", 100}};
    static const struct reading readings[] = {{OURS_RW, 1, 0, false},    {OURS_RW, 2, 0, false},
                                              {PTHREAD_RW, 1, 0, false}, {PTHREAD_RW, 2, 0, false},
                                              {OURS_RW, 1, 0, true},     {PTHREAD_RW, 1, 0, true}};
    const struct subject subjects[] = {{"shmkit, 1 member", OURS | LIMIT, &readings[0]},
                                       {"shmkit, 2 members", OURS, &readings[1]},
                                       {"pthread_rwlock, 1 member", PEER, &readings[2]},
                                       {"pthread_rwlock, 2 members", PEER, &readings[3]}};
    const struct subject writers[] = {{"shmkit, 1 member", OURS, &readings[4]},
                                      {"pthread_rwlock, 1 member", PEER, &readings[5]}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct contest contest = {.workload = "W10",
                                  .row = rows[i].name,
                                  .place = "pinned",
                                  .unit = rows[i].each ? &acquired : &cpu,
                                  .measure = measure_rwlock,
                                  .capacity = rows[i].each};
        contest_run(&contest, subjects, COUNT(subjects));
    }
    struct contest contest = {.workload = "W10",
                              .row = "write",
                              .place = "pinned",
                              .unit = &acquired,
                              .measure = measure_rwlock};
    contest_run(&contest, writers, COUNT(writers));
}

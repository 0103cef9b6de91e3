/* W6: n locks, and n processes that each acquire one of them at a time, at random. */
#include "common.h"

#include <math.h>
#include <stdio.h>
#include <sys/mman.h>

#define LOCKS_MAX 64

/* 128 bytes apart, since some processors fetch pairs of lines. */
static struct table {
    struct protected
    {
        alignas(128) pthread_mutex_t mutex;
        alignas(64) volatile uint64_t sum_beside; /* what the lock protects: nothing may be lost */
    }
    entry[LOCKS_MAX];
    struct {
        alignas(128) volatile uint64_t sum;
    } apart[LOCKS_MAX];
} * table;

enum kind { OUR_LOCK, MUTEX, MUTEX_BESIDE };

struct contender {
    enum kind kind;
    unsigned locks;
};

static struct shk_lock *locks[LOCKS_MAX];

static void contend(void *argument, unsigned role)
{
    const struct contender *c = argument;
    struct note *note = &stage->role[role];
    uint64_t random = 0x9e3779b97f4a7c15 * (role + 1), count = 0;
    int64_t longest = 0, begin;

    if (c->kind == OUR_LOCK) {
        struct shk_segment *segment = common_segment(NULL);
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
            c->kind == MUTEX_BESIDE ? &table->entry[i].sum_beside : &table->apart[i].sum;
        int64_t before = now(), waited;
        if (c->kind == OUR_LOCK)
            must(shk_lock_acquire(locks[i], SHK_FOREVER));
        else
            pthread_mutex_lock(&table->entry[i].mutex);
        waited = now() - before;
        for (int k = 0; k < 20; k++)
            ++*sum;
        if (c->kind == OUR_LOCK)
            must(shk_lock_release(locks[i]));
        else
            pthread_mutex_unlock(&table->entry[i].mutex);
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
    struct contender c = {.kind = *(const enum kind *)subject->what, .locks = contest->capacity};
    uint64_t count = 0, sum = 0, least = UINT64_MAX, most = 0;
    double longest = 0, begin = INFINITY, end = 0;

    table = shared_memory(sizeof(*table));
    if (!table)
        return false;
    for (unsigned i = 0; i < c.locks; i++)
        shared_mutex(&table->entry[i].mutex, true);
    team_start();
    for (unsigned i = 0; i < contest->n; i++)
        team_add(contend, &c, contest_cpu(contest, i));
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
        sum += table->entry[i].sum_beside + table->apart[i].sum;
    munmap(table, sizeof(*table));
    in_child(common_unlink, NULL);
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
                    fmax(0.3, bench.seconds); /* so that each gets the CPU several times */
            contest_run(&contest, subjects, COUNT(subjects));
        }
    }
}

/* Several permits of a semaphore at once, and permits with owners: killed. */
#include "harness.h"

#include <errno.h>

#define ALL 4 /* permits */

/* A row's variant: */
enum {
    OWNERS = 1,
    HOST_HAS = 2, /* the host takes 2 before */
};

static int64_t acquire(struct world *w, int64_t n)
{
    return shk_semaphore_acquire_many(w->semaphore, (unsigned)n, SHK_FOREVER);
}

static int64_t acquire_two(struct world *w, int64_t unused)
{
    (void)unused;
    return acquire(w, 2);
}

static int64_t acquire_three(struct world *w, int64_t unused)
{
    (void)unused;
    return acquire(w, 3);
}

static int64_t acquire_all(struct world *w, int64_t unused)
{
    (void)unused;
    return acquire(w, ALL);
}

static int64_t acquire_soon(struct world *w, int64_t n)
{
    return shk_semaphore_acquire_many(w->semaphore, (unsigned)n, SHK_MS(900));
}

static int64_t acquire_nowait(struct world *w, int64_t n)
{
    return shk_semaphore_acquire_many(w->semaphore, (unsigned)n, SHK_NOWAIT);
}

static int64_t release(struct world *w, int64_t n)
{
    return shk_semaphore_release(w->semaphore, (unsigned)n);
}

static int64_t release_two(struct world *w, int64_t unused)
{
    (void)unused;
    return release(w, 2);
}

static int64_t release_three(struct world *w, int64_t unused)
{
    (void)unused;
    return release(w, 3);
}

static int64_t value(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_semaphore_value(w->semaphore);
}

static int64_t create(struct world *w, int64_t variant)
{
    const struct shk_semaphore_options options = {.value = ALL, .owners = variant & OWNERS};
    int64_t r = create_segment(w, 0);

    if (r == 0)
        r = shk_semaphore_open(w->segment, SEMAPHORE, SHK_CREATE, &options, &w->semaphore);
    return r == 0 && variant & HOST_HAS ? acquire(w, 2) : r;
}

static void set_up(struct world *w)
{
    start_host(w, create, w->row->variant);
}

/* All permits are a dead process's. */
static void set_up_dead(struct world *w)
{
    set_up(w);
    start_attached(w, NEWCOMER);
    EXPECT(w, call(w, NEWCOMER, acquire, ALL) == 0, "the newcomer cannot take all permits");
    kill_actor(w, NEWCOMER);
}

/* The victim has 3 of them, and a sleeper waits for all. */
static void one_waits_for_all(struct world *w)
{
    start_sleeper(w, acquire, ALL);
}

/* The victim wants more than there are, and one behind it less. */
static void host_lines_up_and_releases(struct world *w)
{
    start_sleeper(w, acquire, 1);
    EXPECT(w, call(w, HOST, release, 2) == 0, "the host cannot release");
}

static void host_has_nothing(struct world *w)
{
    if (w->row->variant & HOST_HAS && !w->on_sleep_runs)
        EXPECT(w, call(w, HOST, release, 2) == 0, "the host cannot release");
}

static void finish_sleepers(struct world *w, int64_t n)
{
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++) {
        if (!is_busy(w, actor))
            continue;
        EXPECT(w, finish(w, actor) == 0, "a sleeper did not get its permits");
        if (w->row->variant & OWNERS)
            kill_actor(w, actor);
        else
            EXPECT(w, call(w, actor, release, n) == 0, "a sleeper cannot release");
    }
}

/* All of them are there, once, whichever of their owners died where. */
static void all_come_back(struct world *w)
{
    int64_t r = call(w, HOST, acquire_soon, ALL);

    EXPECT(w, r == 0, "the permits of the dead do not come back: %lld", (long long)r);
    EXPECT(w, call(w, HOST, acquire_nowait, 1) == -EAGAIN, "a permit has come back twice");
    EXPECT(w, call(w, HOST, release, ALL) == 0 && call(w, HOST, value, 0) == ALL,
           "the host cannot release");
}

static void check_owners(struct world *w)
{
    host_has_nothing(w);
    finish_sleepers(w, 1);
    all_come_back(w);
}

/* Without owners the dead takes along what it took: three, or none. */
static void check_plain(struct world *w)
{
    bool took = w->acknowledged && w->result == 0;
    int64_t there = 0;

    host_has_nothing(w);
    finish_sleepers(w, 1);
    while (call(w, HOST, acquire_nowait, 1) == 0)
        there++;
    EXPECT(w, there == ALL || there == ALL - 3, "%lld permits are there", (long long)there);
    EXPECT(w, !took || there == ALL - 3, "the permits of the victim are there");
    EXPECT(w, !w->untouched || there == ALL, "permits are lost");
    EXPECT(w, call(w, HOST, release, there) == 0, "the host cannot release");
}

static void carry_on(struct world *w)
{
    if (w->stopped)
        return; /* waiters that are stopped are promised permits */
    start_attached(w, NEWCOMER);
    EXPECT(w, call(w, HOST, acquire_nowait, 1) == 0, "the host cannot acquire");
    start(w, NEWCOMER, acquire, call(w, HOST, value, 0) + 1);
    EXPECT(w, falls_asleep(w, NEWCOMER), "the newcomer does not wait");
    EXPECT(w, call(w, HOST, acquire_nowait, 1) == -EAGAIN, "the host passes the newcomer");
    EXPECT(w, call(w, HOST, release, 1) == 0 && finish(w, NEWCOMER) == 0,
           "the newcomer does not get its permits");
    if (w->row->variant & OWNERS) {
        kill_actor(w, NEWCOMER);
        all_come_back(w);
    }
}

#define PLAIN .check = check_plain, .carry_on = carry_on
#define OWNED .check = check_owners, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_semaphore_acquire_many", "3 of 4", .setup = set_up, .operation = acquire_three, PLAIN},
    {"shk_semaphore_acquire_many", "3 of 2, one behind wants 1", .setup = set_up,
     .operation = acquire_three, .on_sleep = host_lines_up_and_releases, PLAIN,
     .variant = HOST_HAS},
    {"shk_semaphore_acquire_many", "with owners: 2 of 4", .setup = set_up,
     .operation = acquire_two, OWNED, .variant = OWNERS},
    {"shk_semaphore_acquire_many", "with owners: 4 of 2, one behind wants 1", .setup = set_up,
     .operation = acquire_all, .on_sleep = host_lines_up_and_releases, OWNED,
     .variant = OWNERS | HOST_HAS},
    {"shk_semaphore_acquire_many", "with owners: the owner of all has died", .setup = set_up_dead,
     .operation = acquire_all, OWNED, .variant = OWNERS},
    {"shk_semaphore_release", "with owners: 2 of 3", .setup = set_up, .prepare = acquire_three,
     .operation = release_two, OWNED, .variant = OWNERS},
    {"shk_semaphore_release", "with owners: 3 of 3", .setup = set_up, .prepare = acquire_three,
     .operation = release_three, OWNED, .variant = OWNERS},
    {"shk_semaphore_release", "with owners: 3, one waits for 4", .setup = set_up,
     .prepare = acquire_three, .waiters = one_waits_for_all, .operation = release_three, OWNED,
     .variant = OWNERS},
};
/* clang-format on */
const struct rows semaphore_owner_rows = ROWS(rows);

/* The rwlock: what <shmkit/rwlock.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static struct shk_rwlock *open_rwlock(void)
{
    struct shk_rwlock *lock;

    assert_code(shk_rwlock_open(test_segment(), "prices", SHK_CREATE, NULL, &lock), 0);
    return lock;
}

/* ---- Actors: programs that want the rwlock ---- */

enum { PENDING = INT_MIN };
enum way { SHARED, EXCLUSIVE };

struct actor {
    pid_t pid;
    enum way way;
    int64_t timeout;
    bool interruptible;
    atomic_bool released;
    _Atomic int result;
};

static int acquire(struct shk_rwlock *lock, enum way way, int64_t timeout)
{
    return way == SHARED ? shk_rwlock_acquire_shared(lock, timeout)
                         : shk_rwlock_acquire(lock, timeout);
}

static int acquire_and_hold(void *argument)
{
    struct actor *actor = argument;
    struct shk_rwlock *lock = open_rwlock();

    if (actor->interruptible)
        interruptible();
    actor->result = acquire(lock, actor->way, actor->timeout);
    if (actor->result < 0)
        return shk_last_error()[0] ? 0 : 2;
    while (!actor->released)
        pause_briefly();
    assert_code(shk_rwlock_release(lock), 0);
    return 0;
}

static struct actor *start_actor(const struct actor *what)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = *what;
    actor->result = PENDING;
    actor->pid = stranger_start(acquire_and_hold, actor);
    return actor;
}

static struct actor *start_holder(enum way way)
{
    struct actor *holder = start_actor(&(struct actor){.way = way, .timeout = SHK_FOREVER});

    wait_until(holder->result != PENDING, TEST_DEADLINE);
    ck_assert_int_ge(holder->result, 0);
    return holder;
}

static struct actor *start_waiter_for(enum way way, int64_t timeout, bool released)
{
    struct actor *waiter =
        start_actor(&(struct actor){.way = way, .timeout = timeout, .released = released});

    wait_until_waiting(segment_name(NULL), waiter->pid, "prices");
    return waiter;
}

static struct actor *start_waiter(enum way way)
{
    return start_waiter_for(way, SHK_FOREVER, true);
}

static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

static void release_holder(struct actor *holder)
{
    holder->released = true;
    child_succeeds(holder->pid);
}

static int result_elsewhere(enum way way)
{
    return result_of(
        start_actor(&(struct actor){.way = way, .timeout = SHK_NOWAIT, .released = true}));
}

static const struct shk_object_info *look(void)
{
    static struct shk_object_info info;

    ck_assert(look_at_object(segment_name(NULL), "prices", &info));
    return &info;
}

/* ---- Opening ---- */

START_TEST(test_rwlock_is_opened_only_as_what_it_is)
{
    const struct shk_rwlock_options unchecked = {.no_deadlock_check = 1};
    struct shk_rwlock *lock, *again;
    struct shk_lock *other;

    assert_code(shk_rwlock_open(test_segment(), "prices", 0, NULL, &lock), -ENOENT);
    lock = open_rwlock();
    assert_code(shk_rwlock_open(test_segment(), "prices", SHK_CREATE | SHK_EXCL, NULL, &again),
                -EEXIST);
    assert_code(shk_rwlock_open(test_segment(), "prices", 0, &unchecked, &again), -EPROTOTYPE);
    assert_code(shk_rwlock_open(test_segment(), "new", SHK_CREATE,
                                &(struct shk_rwlock_options){.no_deadlock_check = 2}, &again),
                -EINVAL);
    assert_code(shk_rwlock_open(test_segment(), "new", SHK_CREATE,
                                &(struct shk_rwlock_options){.reserved = {[7] = 1}}, &again),
                -EINVAL);
    assert_code(shk_rwlock_open(test_segment(), "prices", 0, NULL, &again), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_acquire(again, SHK_NOWAIT), -EDEADLK);
    assert_code(shk_rwlock_close(again), -EBUSY);
    assert_code(shk_rwlock_release(again), 0);
    assert_code(shk_rwlock_close(again), 0);
    assert_code(shk_rwlock_close(lock), 0);
    assert_code(shk_rwlock_close(NULL), 0);
    assert_code(shk_lock_open(test_segment(), "till", SHK_CREATE, NULL, &other), 0);
    assert_code(shk_rwlock_open(test_segment(), "till", 0, NULL, &lock), -EPROTOTYPE);
    assert_code(shk_lock_close(other), 0);
}
END_TEST

START_TEST(test_rwlock_that_is_held_keeps_its_handle_and_its_segment_open)
{
    struct shk_segment *segment;
    struct shk_rwlock *lock;

    assert_code(shk_segment_open(segment_name("held"), SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_rwlock_open(segment, "prices", SHK_CREATE, NULL, &lock), 0);
    assert_code(acquire(lock, _i, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_close(lock), -EBUSY);
    assert_code(shk_segment_close(segment), -EBUSY);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(acquire(lock, _i, SHK_NOWAIT), -EBADF);
    assert_code(shk_rwlock_release(lock), -EBADF);
    assert_code(shk_rwlock_close(lock), 0);
    assert_code(shk_segment_unlink(segment_name("held")), 0);
}
END_TEST

/* ---- Holding ---- */

START_TEST(test_rwlock_is_held_by_many_readers_or_one_writer)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *holder = start_holder(SHARED);

    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_is_held(lock), 1);
    assert_result(result_elsewhere(SHARED), 0);
    assert_result(result_elsewhere(EXCLUSIVE), -EAGAIN);
    ck_assert_uint_eq(look()->as.rwlock.readers, 2);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    release_holder(holder);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_is_held(lock), 2);
    ck_assert_uint_eq(look()->as.rwlock.writing, 1);
    assert_result(result_elsewhere(SHARED), -EAGAIN);
    assert_result(result_elsewhere(EXCLUSIVE), -EAGAIN);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_is_held(lock), 0);
    assert_result(result_elsewhere(EXCLUSIVE), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

START_TEST(test_rwlock_share_is_acquired_again_and_released_as_often)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *writer;

    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    writer = start_waiter(EXCLUSIVE);
    /* though a writer waits */
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_FOREVER), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_is_held(lock), 1);
    assert_result(writer->result, PENDING);
    assert_code(shk_rwlock_release(lock), 0);
    assert_result(result_of(writer), 0);
    assert_code(shk_rwlock_release(lock), -EPERM);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

START_TEST(test_rwlock_refuses_a_thread_that_would_wait_for_itself)
{
    struct shk_rwlock *lock = open_rwlock();

    assert_code(shk_rwlock_acquire_shared(lock, SHK_FOREVER), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_FOREVER), -EDEADLK);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_FOREVER), -EDEADLK);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_FOREVER), -EDEADLK);
    assert_code(shk_rwlock_is_held(lock), 2);
    assert_code(shk_rwlock_release(lock), 0);
    assert_result(result_elsewhere(EXCLUSIVE), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

START_TEST(test_rwlock_is_released_by_its_holder_alone)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *holder = start_holder(_i);

    assert_code(shk_rwlock_release(lock), -EPERM);
    assert_code(shk_rwlock_downgrade(lock), -EPERM);
    assert_code(shk_rwlock_recover(lock), -EPERM);
    release_holder(holder);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_downgrade(lock), -EPERM);
    assert_code(shk_rwlock_recover(lock), -EPERM);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_release(NULL), -EINVAL);
    assert_code(shk_rwlock_downgrade(NULL), -EINVAL);
    assert_code(shk_rwlock_recover(NULL), -EINVAL);
    assert_code(shk_rwlock_acquire(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_rwlock_acquire_shared(NULL, SHK_NOWAIT), -EINVAL);
    assert_code(shk_rwlock_is_held(NULL), -EINVAL);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

START_TEST(test_rwlock_downgrade_lets_readers_in_and_writers_not)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *reader, *writer;

    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    reader = start_waiter(SHARED);
    writer = start_waiter(EXCLUSIVE);
    assert_code(shk_rwlock_downgrade(lock), 0);
    assert_code(shk_rwlock_is_held(lock), 1);
    assert_result(result_of(reader), 0);
    assert_result(writer->result, PENDING);
    assert_code(shk_rwlock_release(lock), 0);
    assert_result(result_of(writer), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

static const int64_t timeouts[] = {1, SHK_MS(30), SHK_MS(250)};
#define TIMEOUTS (int)(sizeof(timeouts) / sizeof(timeouts[0]))

START_TEST(test_rwlock_gives_up_when_the_time_is_over_and_not_before)
{
    int64_t timeout = timeouts[_i % TIMEOUTS];
    enum way way = _i / TIMEOUTS % 2;
    struct shk_rwlock *lock = open_rwlock();
    struct actor *holder = start_holder(_i / TIMEOUTS / 2 ? SHARED : EXCLUSIVE);

    if (way == SHARED && holder->way == SHARED)
        assert_code(acquire(lock, way, timeout), 0);
    else
        assert_code_after(timeout, acquire(lock, way, timeout), -ETIMEDOUT);
    if (way == SHARED && holder->way == SHARED)
        assert_code(shk_rwlock_release(lock), 0);
    /* a writer that has given up keeps no reader out */
    if (holder->way == SHARED)
        assert_result(result_elsewhere(SHARED), 0);
    release_holder(holder);
    assert_code(acquire(lock, way, timeout), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

/* ---- Order ---- */

START_TEST(test_rwlock_writer_that_waits_lets_no_new_readers_in)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *reader = start_holder(SHARED), *writer = start_waiter(EXCLUSIVE);

    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), -EAGAIN);
    release_holder(reader);
    assert_result(result_of(writer), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

#define READERS 5

START_TEST(test_rwlock_readers_that_wait_get_in_together_before_the_next_writer)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *readers[READERS], *writer;

    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    writer = start_waiter(EXCLUSIVE); /* came before the readers */
    for (int i = 0; i < READERS; i++)
        readers[i] = start_waiter_for(SHARED, SHK_FOREVER, false);
    assert_code(shk_rwlock_release(lock), 0);
    for (int i = 0; i < READERS; i++)
        wait_until(readers[i]->result == 0, TEST_DEADLINE);
    assert_result(writer->result, PENDING);
    for (int i = 0; i < READERS; i++)
        release_holder(readers[i]);
    assert_result(result_of(writer), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

/* A writer that is always there, or readers of which one is always there. */
static int keep_busy(void *argument)
{
    struct actor *actor = argument;
    struct shk_rwlock *lock = open_rwlock();

    while (!actor->released) {
        ck_assert_int_eq(acquire(lock, actor->way, SHK_FOREVER), 0);
        actor->result = 0;
        ck_assert_int_eq(shk_rwlock_release(lock), 0);
    }
    return 0;
}

START_TEST(test_rwlock_starves_neither_readers_nor_writers)
{
    enum way busy = _i, mine = 1 - busy;
    struct shk_rwlock *lock = open_rwlock();
    struct actor *actors[4];

    for (int i = 0; i < 4; i++) {
        actors[i] = shared_memory(sizeof(*actors[i]));
        *actors[i] = (struct actor){.way = busy, .result = PENDING};
        actors[i]->pid = stranger_start(keep_busy, actors[i]);
        wait_until(actors[i]->result == 0, TEST_DEADLINE);
    }
    for (int i = 0; i < 50; i++) {
        assert_code(acquire(lock, mine, TEST_DEADLINE), 0);
        assert_code(shk_rwlock_release(lock), 0);
    }
    for (int i = 0; i < 4; i++)
        release_holder(actors[i]);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

/* ---- What is protected is never seen torn ---- */

#define WORDS 8

struct ledger {
    atomic_bool over;
    _Atomic uint32_t torn, reads, writes, mended;
    volatile uint64_t words[WORDS];
};

static void write_words(struct ledger *ledger)
{
    uint64_t next = ledger->words[0] + 1;

    for (int i = 0; i < WORDS; i++)
        ledger->words[i] = next;
}

static void mend_words(struct ledger *ledger)
{
    for (int i = 1; i < WORDS; i++)
        ledger->words[i] = ledger->words[0];
    ledger->mended++;
}

static bool are_torn(const struct ledger *ledger)
{
    uint64_t first = ledger->words[0];

    for (int i = 1; i < WORDS; i++)
        if (ledger->words[i] != first)
            return true;
    return false;
}

static int read_and_write(void *argument)
{
    struct ledger *ledger = argument;
    struct shk_rwlock *lock = open_rwlock();
    unsigned n = (unsigned)getpid();
    int r;

    while (!ledger->over) {
        enum way way = ++n % 16 == 0 ? EXCLUSIVE : SHARED;

        r = acquire(lock, way, SHK_FOREVER);
        if (r < 0)
            return 3;
        if (are_torn(ledger) && r != SHK_ORPHANED)
            ledger->torn++;
        if (way == EXCLUSIVE) {
            if (r == SHK_ORPHANED) {
                mend_words(ledger);
                shk_rwlock_recover(lock);
            }
            write_words(ledger);
            ledger->writes++;
            if (n % 32 == 0) {
                shk_rwlock_downgrade(lock);
                if (are_torn(ledger))
                    ledger->torn++;
            }
        } else {
            ledger->reads++;
        }
        if (shk_rwlock_release(lock) != 0)
            return 4;
    }
    return 0;
}

#define MEMBERS 6

START_TEST(test_rwlock_readers_never_see_what_is_half_written)
{
    struct ledger *ledger = shared_memory(sizeof(*ledger));
    struct shk_rwlock *lock = open_rwlock();
    pid_t members[MEMBERS];
    bool killed = _i != 0;
    uint32_t writes;

    for (int i = 0; i < MEMBERS; i++)
        members[i] = stranger_start(read_and_write, ledger);
    for (int i = 0; i < (killed ? 60 : 5); i++) {
        writes = ledger->writes;
        wait_until(ledger->writes > writes + 20, TEST_DEADLINE);
        if (killed) {
            child_kill(members[i % MEMBERS]);
            members[i % MEMBERS] = stranger_start(read_and_write, ledger);
        }
    }
    ledger->over = true;
    for (int i = 0; i < MEMBERS; i++)
        child_succeeds(members[i]);
    ck_assert_uint_eq(ledger->torn, 0);
    ck_assert_uint_gt(ledger->reads, 0);
    ck_assert_int_ge(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

/* ---- Deaths ---- */

/* Longer than the kernel takes, shorter than a recheck interval. */
#define AT_ONCE SHK_MS(80)

/* Killed, the holder is gone; how long the waiter took. */
static int64_t time_to_take_over(struct actor *holder, struct actor *waiter, int expected)
{
    int64_t since = time_now();

    kill(holder->pid, SIGKILL);
    wait_until(waiter->result != PENDING, TEST_DEADLINE);
    since = time_now() - since;
    assert_result(waiter->result, expected);
    child_kill(holder->pid);
    return since;
}

/* The best of several tries: on a busy machine a thread waits for a CPU. */
START_TEST(test_rwlock_of_a_dead_holder_is_free_at_once)
{
    enum way held = _i % 2, wanted = _i / 2;
    struct shk_rwlock *lock = open_rwlock();
    int64_t took, best = INT64_MAX;

    for (int i = 0; i < 5 && (i == 0 || best > AT_ONCE); i++) {
        struct actor *holder = start_holder(held), *waiter = start_waiter(wanted);

        took = time_to_take_over(holder, waiter, held == EXCLUSIVE ? SHK_ORPHANED : 0);
        best = took < best ? took : best;
        child_succeeds(waiter->pid);
        ck_assert_int_ge(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
        assert_code(shk_rwlock_recover(lock), 0);
        assert_code(shk_rwlock_release(lock), 0);
    }
    ck_assert_int_le(best, AT_ONCE);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

START_TEST(test_rwlock_tells_all_readers_of_a_dead_writer_at_once)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *holder = start_holder(EXCLUSIVE), *readers[READERS];

    for (int i = 0; i < READERS; i++)
        readers[i] = start_waiter(SHARED);
    child_kill(holder->pid);
    for (int i = 0; i < READERS; i++)
        assert_result(result_of(readers[i]), SHK_ORPHANED);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

START_TEST(test_rwlock_tells_everyone_until_a_writer_says_that_it_is_mended)
{
    struct shk_rwlock *lock = open_rwlock();

    child_kill(start_holder(EXCLUSIVE)->pid);
    for (int i = 0; i < 3; i++) {
        assert_result(result_elsewhere(SHARED), SHK_ORPHANED);
        assert_result(result_elsewhere(EXCLUSIVE), SHK_ORPHANED);
        assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), SHK_ORPHANED);
        assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), SHK_ORPHANED);
        assert_code(shk_rwlock_release(lock), 0);
        assert_code(shk_rwlock_release(lock), 0);
    }
    ck_assert_uint_eq(look()->as.rwlock.orphaned, 1);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), SHK_ORPHANED);
    assert_code(shk_rwlock_recover(lock), 0);
    assert_code(shk_rwlock_recover(lock), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_result(result_elsewhere(SHARED), 0);
    assert_result(result_elsewhere(EXCLUSIVE), 0);
    ck_assert_uint_eq(look()->as.rwlock.orphaned, 0);
    ck_assert_uint_eq(look()->holders_lost, 1);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

START_TEST(test_rwlock_says_nothing_of_a_writer_that_died_before_it_wrote)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *writer;

    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    writer = start_waiter(EXCLUSIVE);
    child_kill(writer->pid);
    assert_code(shk_rwlock_release(lock), 0);
    assert_result(result_elsewhere(SHARED), 0);
    assert_result(result_elsewhere(EXCLUSIVE), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

START_TEST(test_rwlock_loses_nothing_with_a_waiter_that_is_killed)
{
    enum way way = _i % 2;
    struct shk_rwlock *lock = open_rwlock();
    struct actor *holder = start_holder(_i / 2), *killed, *waiter;

    if (way == SHARED && holder->way == SHARED) {
        release_holder(holder);
        assert_code(shk_rwlock_close(lock), 0);
        return;
    }
    killed = start_waiter(way);
    waiter = start_waiter(EXCLUSIVE);
    child_kill(killed->pid);
    release_holder(holder);
    assert_result(result_of(waiter), 0);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

static int read_in_place_of_a_dead_one(void *argument)
{
    struct shk_rwlock *lock = argument;

    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_is_held(lock), 1);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_is_held(lock), 0);
    return 0;
}

static int read_thrice_and_die(void *argument)
{
    struct shk_rwlock *lock = argument;

    for (int i = 0; i < 3; i++)
        assert_code(shk_rwlock_acquire_shared(lock, SHK_NOWAIT), 0);
    raise(SIGKILL);
    return 0;
}

START_TEST(test_rwlock_line_of_a_dead_reader_is_used_again)
{
    struct shk_rwlock *lock = open_rwlock();

    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(child_wait(child_start(read_thrice_and_die, lock)), 128 + SIGKILL);
        child_succeeds(child_start(read_in_place_of_a_dead_one, lock));
    }
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

#define MANY 70 /* more than the lines in the page that a new rwlock has */

START_TEST(test_rwlock_has_room_for_all_members_of_its_segment)
{
    struct shk_rwlock *lock = open_rwlock();
    struct actor *readers[MANY];

    for (int i = 0; i < MANY; i++)
        readers[i] = start_actor(&(struct actor){.way = SHARED, .timeout = SHK_FOREVER});
    for (int i = 0; i < MANY; i++)
        wait_until(readers[i]->result == 0, TEST_DEADLINE);
    ck_assert_uint_eq(look()->as.rwlock.readers, MANY);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), -EAGAIN);
    for (int i = 0; i < MANY; i++)
        release_holder(readers[i]);
    assert_code(shk_rwlock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_release(lock), 0);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

/* ---- Ending ---- */

START_TEST(test_rwlock_wait_ends_with_an_interrupt)
{
    enum way way = _i;
    struct actor *holder = start_holder(EXCLUSIVE), *waiter;

    waiter =
        start_actor(&(struct actor){.way = way, .timeout = SHK_FOREVER, .interruptible = true});
    wait_until_waiting(segment_name(NULL), waiter->pid, "prices");
    kill(waiter->pid, SIGINT);
    assert_result(result_of(waiter), -EINTR);
    release_holder(holder);
}
END_TEST

START_TEST(test_rwlock_that_is_unlinked_releases_its_waiters)
{
    struct actor *holder = start_holder(_i % 2 ? SHARED : EXCLUSIVE);
    struct actor *writer = start_waiter(EXCLUSIVE), *reader = start_waiter(SHARED);

    if (_i / 2)
        assert_code(shk_segment_unlink(segment_name(NULL)), 0);
    else
        assert_code(shk_object_unlink(test_segment(), "prices"), 0);
    assert_result(result_of(writer), -ESTALE);
    assert_result(result_of(reader), -ESTALE);
    release_holder(holder);
}
END_TEST

/* ---- Deadlocks ---- */

struct pair {
    _Atomic unsigned ready;
    _Atomic int results[2];
};

/* Each holds one and wants the other's: the i-th of the rwlocks, or a lock. */
static int cross(struct pair *pair, unsigned i, bool shared)
{
    struct shk_rwlock *mine, *other;
    const char *const names[] = {"left", "right"};

    assert_code(shk_rwlock_open(test_segment(), names[i], SHK_CREATE, NULL, &mine), 0);
    assert_code(shk_rwlock_open(test_segment(), names[1 - i], SHK_CREATE, NULL, &other), 0);
    assert_code(acquire(mine, shared ? SHARED : EXCLUSIVE, SHK_NOWAIT), 0);
    pair->ready++;
    while (pair->ready < 2)
        pause_briefly();
    pair->results[i] = shk_rwlock_acquire(other, SHK_FOREVER);
    if (pair->results[i] == 0)
        assert_code(shk_rwlock_release(other), 0);
    assert_code(shk_rwlock_release(mine), 0);
    return 0;
}

static int cross_left(void *pair)
{
    return cross(pair, 0, false);
}
static int cross_right(void *pair)
{
    return cross(pair, 1, false);
}
static int cross_left_shared(void *pair)
{
    return cross(pair, 0, true);
}
static int cross_right_shared(void *pair)
{
    return cross(pair, 1, true);
}

static int read_both(void *unused)
{
    struct shk_rwlock *left, *right;

    (void)unused;
    assert_code(shk_rwlock_open(test_segment(), "left", SHK_CREATE, NULL, &left), 0);
    assert_code(shk_rwlock_open(test_segment(), "right", SHK_CREATE, NULL, &right), 0);
    assert_code(shk_rwlock_acquire_shared(left, SHK_NOWAIT), 0);
    assert_code(shk_rwlock_acquire_shared(right, SHK_NOWAIT), 0);
    pause();
    return 0;
}

START_TEST(test_rwlock_deadlock_is_found_through_each_reader)
{
    struct pair *pair = shared_memory(sizeof(*pair));
    struct shk_rwlock *lock = open_rwlock(); /* of a segment that the children find */
    pid_t first, second, bystander = 0;
    struct shk_object_info info;

    if (_i) { /* a reader of both, which is in no cycle, and is found first */
        bystander = child_start(read_both, NULL);
        wait_until(look_at_object(segment_name(NULL), "right", &info) &&
                       info.as.rwlock.readers == 1,
                   TEST_DEADLINE);
    }
    first = child_start(_i ? cross_left_shared : cross_left, pair);
    second = child_start(_i ? cross_right_shared : cross_right, pair);
    wait_until(pair->results[0] == -EDEADLK || pair->results[1] == -EDEADLK, TEST_DEADLINE);
    if (bystander)
        child_kill(bystander);
    child_succeeds(first);
    child_succeeds(second);
    ck_assert_int_eq(pair->results[0] + pair->results[1], -EDEADLK);
    assert_code(shk_rwlock_close(lock), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rwlock");
    TCase *opening = test_case(suite, "opening");
    TCase *holding = test_case(suite, "holding");
    TCase *order = test_case(suite, "order");
    TCase *deaths = test_case(suite, "deaths");
    TCase *ending = test_case(suite, "interruption, unlinking and deadlocks");

    tcase_add_test(opening, test_rwlock_is_opened_only_as_what_it_is);
    /* shared, exclusively */
    tcase_add_loop_test(opening, test_rwlock_that_is_held_keeps_its_handle_and_its_segment_open, 0,
                        2);

    tcase_add_test(holding, test_rwlock_is_held_by_many_readers_or_one_writer);
    tcase_add_test(holding, test_rwlock_share_is_acquired_again_and_released_as_often);
    tcase_add_test(holding, test_rwlock_refuses_a_thread_that_would_wait_for_itself);
    tcase_add_loop_test(holding, test_rwlock_is_released_by_its_holder_alone, 0, 2);
    tcase_add_test(holding, test_rwlock_downgrade_lets_readers_in_and_writers_not);
    tcase_add_loop_test(holding, test_rwlock_gives_up_when_the_time_is_over_and_not_before, 0,
                        4 * TIMEOUTS);
    tcase_add_test(holding, test_rwlock_has_room_for_all_members_of_its_segment);

    tcase_add_test(order, test_rwlock_writer_that_waits_lets_no_new_readers_in);
    tcase_add_test(order, test_rwlock_readers_that_wait_get_in_together_before_the_next_writer);
    tcase_add_loop_test(order, test_rwlock_starves_neither_readers_nor_writers, 0, 2);
    /* living, killed */
    tcase_add_loop_test(order, test_rwlock_readers_never_see_what_is_half_written, 0, 2);

    /* held shared, exclusively, exclusively; wanted exclusively, shared, exclusively */
    tcase_add_loop_test(deaths, test_rwlock_of_a_dead_holder_is_free_at_once, 1, 4);
    tcase_add_test(deaths, test_rwlock_tells_all_readers_of_a_dead_writer_at_once);
    tcase_add_test(deaths, test_rwlock_tells_everyone_until_a_writer_says_that_it_is_mended);
    tcase_add_test(deaths, test_rwlock_says_nothing_of_a_writer_that_died_before_it_wrote);
    tcase_add_loop_test(deaths, test_rwlock_loses_nothing_with_a_waiter_that_is_killed, 0, 4);
    tcase_add_test(deaths, test_rwlock_line_of_a_dead_reader_is_used_again);

    tcase_add_loop_test(ending, test_rwlock_wait_ends_with_an_interrupt, 0, 2);
    /* held exclusively, shared; object, segment */
    tcase_add_loop_test(ending, test_rwlock_that_is_unlinked_releases_its_waiters, 0, 4);
    /* writers, readers */
    tcase_add_loop_test(ending, test_rwlock_deadlock_is_found_through_each_reader, 0, 2);

    return run_tests(suite);
}

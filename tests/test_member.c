/*
 * Members: joining, threads, forks, deaths; and what a thread has of its own: its name, its
 * interrupt, its last error.
 */
#include "common.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define FEW (&(struct shk_segment_options){.size = 16 << 20, .max_members = 4})

static struct shk_segment_info info_of_segment(void)
{
    struct shk_segment_info info = {0};

    ck_assert(look_at_segment(segment_name(NULL), &info));
    return info;
}

/* Good until some more have been asked for. */
static const struct shk_member_info *member(pid_t tid)
{
    static struct shk_member_info infos[4];
    static unsigned next;
    struct shk_member_info *info = &infos[next++ % 4];

    ck_assert(look_at_member(segment_name(NULL), tid, info));
    return info;
}

static struct shk_event *event_open(void)
{
    struct shk_event *event;

    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    return event;
}

static struct shk_lock *lock_open(const char *name, uint32_t recursive)
{
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), name, SHK_CREATE,
                              &(struct shk_lock_options){.recursive = recursive}, &lock),
                0);
    return lock;
}

static int stay(void *argument)
{
    (void)argument;
    while (pause() < 0)
        ;
    return 0;
}

/* ---- Names ---- */

START_TEST(test_a_member_is_known_by_its_command_at_first)
{
    char command[16] = "";

    prctl(PR_GET_NAME, command);
    test_segment();
    ck_assert_str_eq(member(getpid())->name, command);
    ck_assert_str_eq(member(getpid())->command, command);
    ck_assert_int_eq(member(getpid())->pid, getpid());
}
END_TEST

static int take_odd_command(void *argument)
{
    ck_assert_int_eq(prctl(PR_SET_NAME, argument), 0);
    assert_code(shk_event_set(event_open()), 0);
    ck_assert(is_text(member(getpid())->name, SHK_NAME_MAX + 1));
    ck_assert(is_text(member(getpid())->command, 16));
    return 0;
}

START_TEST(test_an_odd_command_is_no_odd_name)
{
    test_segment();
    child_succeeds(child_start(take_odd_command, "a存款者甲乙")); /* cut off within a character */
    child_succeeds(child_start(take_odd_command, "line\nfeed\x1b[31m"));
    child_succeeds(child_start(take_odd_command, "\xff\xfe\x80"));
    child_succeeds(child_start(take_odd_command, ""));
}
END_TEST

START_TEST(test_a_member_can_be_named)
{
    static const char *const names[] = {
        "存款者甲",   "a", "012345678901234567890123456789012345678901234567890123456789012",
        "/any.thing", ".", "甲",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_code(shk_set_member_name(test_segment(), names[i]), 0);
        ck_assert_str_eq(member(getpid())->name, names[i]);
    }
    assert_code(shk_set_member_name(test_segment(), NULL), -EINVAL);
    assert_code(shk_set_member_name(test_segment(), ""), -EINVAL);
    assert_code(shk_set_member_name(test_segment(), "line\nfeed"), -EINVAL);
    assert_code(shk_set_member_name(test_segment(), "delete\x7f"), -EINVAL);
    assert_code(
        shk_set_member_name(test_segment(),
                            "0123456789012345678901234567890123456789012345678901234567890123"),
        -ENAMETOOLONG);
    assert_code(shk_set_member_name(test_segment(), "\xff"), -EILSEQ);
    assert_code(shk_set_member_name(test_segment(), "cut \xe5\xad"), -EILSEQ);
    ck_assert_str_eq(member(getpid())->name, "甲"); /* still */
}
END_TEST

#define NAME_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void assert_whole_name(pid_t child)
{
    const char *name = member(child)->name;

    if (strcmp(name, NAME_A) != 0 && strcmp(name, NAME_B) != 0)
        ck_abort_msg("seen: %s", name);
}

/* argument: to leave readers the time to look. */
static int rename_for_ever(void *argument)
{
    for (unsigned i = 0;; i++) {
        if (shk_set_member_name(test_segment(), i & 1 ? NAME_A : NAME_B) < 0)
            return 1;
        if (argument)
            sched_yield();
    }
}

static pid_t start_renaming(void *argument)
{
    pid_t child = child_start(rename_for_ever, argument);
    struct shk_member_info info;

    wait_until(look_at_member(segment_name(NULL), child, &info) &&
                   strlen(info.name) == strlen(NAME_A),
               TEST_DEADLINE);
    return child;
}

START_TEST(test_a_name_is_never_seen_half_changed)
{
    test_segment();
    pid_t child = start_renaming("with pauses");
    for (int i = 0; i < 2000; i++)
        assert_whole_name(child);
    child_kill(child);
}
END_TEST

START_TEST(test_a_member_killed_changing_its_name_has_the_old_or_the_new)
{
    test_segment();
    for (int i = 0; i < 100; i++) {
        pid_t child = start_renaming(NULL);
        child_kill(child);
        assert_whole_name(child);
    }
}
END_TEST

/* ---- Threads ---- */

enum { THREADS = 20 };

struct crew {
    struct shk_event *event;
    pthread_barrier_t all_in, all_seen;
    pid_t tids[THREADS];
    atomic_int next;
};

static void *join_crew(void *argument)
{
    struct crew *crew = argument;
    int i = atomic_fetch_add(&crew->next, 1);
    char name[32];

    crew->tids[i] = gettid();
    snprintf(name, sizeof(name), "thread %d", i);
    assert_code(shk_set_member_name(test_segment(), name), 0);
    assert_code(shk_event_is_set(crew->event), 0);
    pthread_barrier_wait(&crew->all_in);
    pthread_barrier_wait(&crew->all_seen);
    return NULL;
}

START_TEST(test_each_thread_is_a_member_as_long_as_it_lives)
{
    struct crew crew = {.event = event_open()};
    pthread_t threads[THREADS];
    char name[32];

    pthread_barrier_init(&crew.all_in, NULL, THREADS + 1);
    pthread_barrier_init(&crew.all_seen, NULL, THREADS + 1);
    ck_assert_uint_eq(info_of_segment().members_alive, 1);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, join_crew, &crew), 0);
    pthread_barrier_wait(&crew.all_in);
    ck_assert_uint_eq(info_of_segment().members_alive, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        struct shk_member_info info = *member(crew.tids[i]);
        snprintf(name, sizeof(name), "thread %d", i);
        ck_assert_str_eq(info.name, name);
        ck_assert_int_eq(info.pid, getpid());
        ck_assert_uint_eq(info.alive, 1);
    }
    pthread_barrier_wait(&crew.all_seen);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(info_of_segment().members_alive, 1);
    ck_assert_uint_eq(info_of_segment().members_dead, 0); /* they have left, not died */
    pthread_barrier_destroy(&crew.all_in);
    pthread_barrier_destroy(&crew.all_seen);
    assert_code(shk_event_close(crew.event), 0);
}
END_TEST

struct straggler {
    struct shk_event *event;
    atomic_int step;
    int codes[3];
};

static void *stay_when_main_closes(void *argument)
{
    struct straggler *straggler = argument;

    straggler->codes[0] = shk_event_is_set(straggler->event);
    atomic_store(&straggler->step, 1);
    wait_until(atomic_load(&straggler->step) == 2, TEST_DEADLINE);
    straggler->codes[1] = shk_event_is_set(straggler->event);
    straggler->codes[2] = shk_event_set(straggler->event);
    return NULL;
}

START_TEST(test_the_last_thread_unmaps)
{
    struct shk_segment *segment;
    struct straggler straggler = {0};
    pthread_t thread;

    assert_code(shk_segment_open(segment_name(NULL), SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_event_open(segment, "event", SHK_CREATE, NULL, &straggler.event), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, stay_when_main_closes, &straggler), 0);
    wait_until(atomic_load(&straggler.step) == 1, TEST_DEADLINE);
    assert_code(shk_segment_close(segment), 0);
    ck_assert_uint_eq(info_of_segment().members_alive, 1); /* the thread */
    ck_assert_uint_gt(mappings(), 0);
    atomic_store(&straggler.step, 2);
    pthread_join(thread, NULL);
    assert_result(straggler.codes[0], 0);
    assert_result(straggler.codes[1], -EBADF);
    assert_result(straggler.codes[2], -EBADF);
    ck_assert_uint_eq(mappings(), 0);
    ck_assert_uint_eq(info_of_segment().members_alive, 0);
    ck_assert_uint_eq(info_of_segment().members_dead, 0);
    assert_code(shk_event_close(straggler.event), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

static void *close_here(void *argument)
{
    struct straggler *straggler = argument;

    straggler->codes[0] = shk_segment_close(test_segment());
    return NULL;
}

START_TEST(test_another_thread_may_close)
{
    struct shk_segment *same;
    struct straggler straggler = {.event = event_open()};
    pthread_t thread;

    assert_code(shk_segment_open(segment_name(NULL), 0, NULL, &same), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, close_here, &straggler), 0);
    pthread_join(thread, NULL);
    assert_result(straggler.codes[0], 0);
    assert_code(shk_event_set(straggler.event), 0);
    assert_code(shk_event_close(straggler.event), 0);
}
END_TEST

static void *open_and_leave(void *argument)
{
    struct straggler *straggler = argument;

    straggler->codes[0] = shk_segment_open(segment_name(NULL), SHK_CREATE, NULL,
                                           (struct shk_segment **)&straggler->event);
    return NULL;
}

START_TEST(test_a_segment_stays_open_when_the_thread_that_opened_it_ends)
{
    struct straggler straggler = {0};
    struct shk_segment *segment;
    struct shk_event *event;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, open_and_leave, &straggler), 0);
    pthread_join(thread, NULL);
    assert_result(straggler.codes[0], 0);
    segment = (struct shk_segment *)straggler.event;
    ck_assert_uint_eq(info_of_segment().members_alive, 0);
    assert_code(shk_event_open(segment, "event", SHK_CREATE, NULL, &event), 0);
    ck_assert_uint_eq(info_of_segment().members_alive, 1);
    assert_code(shk_event_set(event), 0);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_segment_close(segment), 0);
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

/* ---- The table ---- */

static void *try_to_join(void *argument)
{
    struct straggler *straggler = argument;

    straggler->codes[0] = shk_event_is_set(straggler->event);
    if (straggler->codes[0] < 0 && !shk_last_error()[0])
        straggler->codes[0] = -EDOM;
    return NULL;
}

static int join_in_thread(struct shk_event *event)
{
    struct straggler straggler = {.event = event};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, try_to_join, &straggler), 0);
    pthread_join(thread, NULL);
    return straggler.codes[0];
}

/* Until it is told to end, or killed. */
static int join_and_stay(void *argument)
{
    struct shk_event *event = event_open();

    assert_code(shk_event_wait(event, SHK_FOREVER), 0);
    (void)argument;
    return 0;
}

static int open_full_segment(void *argument)
{
    struct shk_segment *segment = NULL;

    (void)argument;
    assert_code(shk_segment_close(test_segment()), 0); /* after the fork it is no member yet */
    unsigned descriptors = open_descriptors();
    for (int i = 0; i < 3; i++) {
        assert_code(shk_segment_open(segment_name(NULL), 0, NULL, &segment), -EUSERS);
        ck_assert_ptr_null(segment);
        ck_assert_uint_eq(mappings(), 0);
        ck_assert_uint_eq(open_descriptors(), descriptors);
    }
    return 0;
}

START_TEST(test_a_table_full_of_the_living_takes_no_more)
{
    pid_t children[3];

    test_segment_with(FEW);
    struct shk_event *event = event_open();
    for (int i = 0; i < 3; i++) {
        children[i] = stranger_start(join_and_stay, NULL);
        wait_until_waiting(segment_name(NULL), children[i], "event");
    }
    child_succeeds(child_start(open_full_segment, NULL));
    assert_result(join_in_thread(event), -EUSERS);
    assert_code(shk_event_is_set(event), 0); /* a member has no trouble */
    assert_code(shk_event_set(event), 0);
    for (int i = 0; i < 3; i++)
        child_succeeds(children[i]);
    assert_result(join_in_thread(event), 1);
    assert_code(shk_event_close(event), 0);
}
END_TEST

static int stay_a_member(void *argument)
{
    assert_code(shk_event_close(event_open()), 0);
    return stay(argument);
}

struct place {
    const char *object;
    int (*sleep)(void);
};

static int wait_for_event(void)
{
    return shk_event_wait(event_open(), SHK_FOREVER);
}

static int wait_for_lock(void)
{
    return shk_lock_acquire(lock_open("lock", 0), SHK_FOREVER);
}

static int wait_for_notify(void)
{
    struct shk_cond *cond;

    assert_code(shk_cond_open(test_segment(), "cond", SHK_CREATE, NULL, &cond), 0);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    return shk_cond_wait(cond, SHK_FOREVER);
}

static int wait_for_item(void)
{
    struct shk_queue *queue;
    char item[8];

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 1, .item_size = 8}, &queue),
                0);
    return shk_queue_get(queue, item, sizeof(item), SHK_FOREVER);
}

static const struct place places[] = {
    {"event", wait_for_event},
    {"lock", wait_for_lock},
    {"cond", wait_for_notify},
    {"queue", wait_for_item},
};

static int sleep_at(void *argument)
{
    return ((const struct place *)argument)->sleep();
}

/* Wherever they were asleep when they died, and though no member has cleaned up since. */
START_TEST(test_the_dead_make_room)
{
    test_segment_with(FEW);
    struct shk_event *event = event_open();
    struct shk_lock *lock = lock_open("lock", 0);

    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    for (int round = 0; round < 12; round++) {
        pid_t children[3];
        for (int i = 0; i < 3; i++) {
            const struct place *place = &places[(round + i) % 4];
            children[i] = stranger_start(sleep_at, (void *)place);
            wait_until_waiting(segment_name(NULL), children[i], place->object);
        }
        for (int i = 0; i < 3; i++)
            child_kill(children[i]);
        ck_assert_uint_eq(info_of_segment().members_dead, 3);
        ck_assert_uint_eq(info_of_segment().members_alive, 1);
    }
    assert_result(join_in_thread(event), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
    assert_code(shk_event_close(event), 0);
}
END_TEST

START_TEST(test_a_dead_member_is_shown_until_its_place_is_needed)
{
    struct shk_member_info before, after;
    pid_t children[3];

    test_segment_with(FEW);
    struct shk_event *event = event_open();
    for (int i = 0; i < 3; i++) {
        children[i] = stranger_start(join_and_stay, NULL);
        wait_until_waiting(segment_name(NULL), children[i], "event");
    }
    before = *member(children[1]);
    ck_assert_uint_eq(before.alive, 1);
    child_kill(children[1]);
    after = *member(children[1]);
    ck_assert_uint_eq(after.alive, 0);
    ck_assert_uint_eq(after.id, before.id);
    ck_assert_uint_eq(info_of_segment().members_alive, 3);
    ck_assert_uint_eq(info_of_segment().members_dead, 1);
    assert_code(shk_event_set(event), 0);
    child_succeeds(children[0]);
    child_succeeds(children[2]);
    for (int i = 0; i < 3; i++) { /* those that ended orderly make room first */
        children[i] = stranger_start(stay_a_member, NULL);
        wait_until(look_at_member(segment_name(NULL), children[i], &after), TEST_DEADLINE);
    }
    ck_assert(!look_at_member(segment_name(NULL), before.tid, &after));
    ck_assert_uint_eq(info_of_segment().members_alive, 4);
    ck_assert_uint_eq(info_of_segment().members_dead, 0);
    for (int i = 0; i < 3; i++)
        child_kill(children[i]);
    assert_code(shk_event_close(event), 0);
}
END_TEST

START_TEST(test_member_ids_never_repeat)
{
    enum { ROUNDS = 200 };
    static uint64_t ids[ROUNDS];
    struct shk_segment *segment;

    for (int i = 0; i < ROUNDS; i++) {
        assert_code(shk_segment_open(segment_name(NULL), SHK_CREATE, FEW, &segment), 0);
        ids[i] = member(getpid())->id;
        ck_assert_uint_ne(ids[i], 0);
        for (int k = 0; k < i; k++)
            if (ids[k] == ids[i])
                ck_abort_msg("%d and %d are the same", k, i);
        assert_code(shk_segment_close(segment), 0);
        ck_assert_uint_eq(info_of_segment().members_alive + info_of_segment().members_dead, 0);
    }
    assert_code(shk_segment_unlink(segment_name(NULL)), 0);
}
END_TEST

static int exit_in_the_middle(void *argument)
{
    (void)argument;
    event_open();
    return 0;
}

static int become_another_program(void *argument)
{
    (void)argument;
    event_open();
    execl("/bin/sleep", "sleep", "1000", NULL);
    return 1;
}

START_TEST(test_a_member_ends_with_exit_and_with_exec)
{
    test_segment_with(FEW);
    struct shk_event *event = event_open();
    struct shk_member_info info;

    for (int i = 0; i < 5; i++) /* more often than there is room */
        child_succeeds(stranger_start(exit_in_the_middle, NULL));
    ck_assert_uint_eq(info_of_segment().members_alive, 1);
    pid_t child = stranger_start(become_another_program, NULL);
    wait_until(look_at_member(segment_name(NULL), child, &info) && !info.alive, TEST_DEADLINE);
    ck_assert_int_eq(kill(child, 0), 0); /* the process itself is alive */
    assert_result(join_in_thread(event), 0);
    ck_assert_uint_eq(info_of_segment().members_alive, 1);
    child_kill(child);
    assert_code(shk_event_close(event), 0);
}
END_TEST

/* ---- Fork without exec ---- */

static struct shk_lock *plain, *recursive;

static int is_a_member_of_its_own(void *argument)
{
    struct shk_member_info info;

    ck_assert(!look_at_member(segment_name(NULL), getpid(), &info)); /* before its first call */
    assert_code(shk_lock_acquire(plain, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_lock_acquire(recursive, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_lock_release(plain), -EPERM);
    assert_code(shk_lock_release(recursive), -EPERM);
    info = *member(getpid());
    ck_assert_int_eq(info.pid, getpid());
    ck_assert_uint_ne(info.id, member(getppid())->id);
    ck_assert_uint_eq(member(getppid())->alive, 1);
    if (argument)
        raise(SIGKILL);
    assert_code(shk_lock_close(plain), 0); /* it holds nothing */
    assert_code(shk_segment_close(test_segment()), 0);
    return 0;
}

START_TEST(test_a_forked_child_is_a_member_of_its_own)
{
    test_segment();
    plain = lock_open("plain", 0);
    recursive = lock_open("recursive", 1);
    assert_code(shk_lock_acquire(plain, SHK_NOWAIT), 0);
    assert_code(shk_lock_acquire(recursive, SHK_NOWAIT), 0);
    for (int i = 0; i < 3; i++) {
        child_succeeds(child_start(is_a_member_of_its_own, NULL));
        ck_assert_int_eq(child_wait(child_start(is_a_member_of_its_own, "killed")), 128 + SIGKILL);
        /* the parent still has what it had */
        assert_code(shk_lock_acquire(plain, SHK_NOWAIT), -EDEADLK);
        assert_code(shk_lock_acquire(recursive, SHK_NOWAIT), 0);
        assert_code(shk_lock_release(recursive), 0);
    }
    assert_code(shk_lock_release(plain), 0);
    assert_code(shk_lock_release(recursive), 0);
    assert_code(shk_lock_release(recursive), -EPERM);
    assert_code(shk_lock_acquire(plain, SHK_NOWAIT), 0); /* and no member died holding it */
    assert_code(shk_lock_release(plain), 0);
    assert_code(shk_lock_close(plain), 0);
    assert_code(shk_lock_close(recursive), 0);
}
END_TEST

static int has_a_free_lock_after_fork(void *argument)
{
    (void)argument;
    assert_code(shk_lock_acquire(plain, SHK_FOREVER), 0);
    assert_code(shk_lock_acquire(plain, SHK_FOREVER), -EDEADLK);
    assert_code(shk_segment_close(test_segment()), -EBUSY);
    raise(SIGKILL);
    return 1;
}

START_TEST(test_a_forked_child_may_die_holding_a_lock)
{
    plain = lock_open("plain", 0);
    ck_assert_int_eq(child_wait(child_start(has_a_free_lock_after_fork, NULL)), 128 + SIGKILL);
    assert_code(shk_lock_acquire(plain, SHK_FOREVER), SHK_ORPHANED);
    assert_code(shk_lock_release(plain), 0);
    assert_code(shk_lock_close(plain), 0);
}
END_TEST

enum { BIG = 1 << 20 };

struct after_fork {
    struct shk_region *region;
    atomic_int *step;
};

static unsigned char *data_of(struct shk_region *region)
{
    void *data = NULL;

    assert_code(shk_region_data(region, &data, NULL), 0);
    return data;
}

static struct shk_region *big_region(void)
{
    struct shk_region *region;

    assert_code(shk_region_open(test_segment(), "big", SHK_CREATE | SHK_EXCL,
                                &(struct shk_region_options){.size = BIG}, &region),
                0);
    return region;
}

static int keep_what_is_used(void *argument)
{
    struct after_fork *after_fork = argument;
    unsigned char *data = data_of(after_fork->region);

    atomic_store(after_fork->step, 1);
    wait_until(atomic_load(after_fork->step) == 2, TEST_DEADLINE);
    for (int i = 0; i < BIG; i++)
        if (data[i] != 0x55)
            ck_abort_msg("byte %d has changed", i);
    assert_code(shk_region_data(after_fork->region, NULL, NULL), -ESTALE);
    return 0;
}

START_TEST(test_a_forked_child_keeps_the_memory_that_it_uses)
{
    struct after_fork after_fork = {.step = shared_memory(sizeof(*after_fork.step))};

    test_segment();
    uint64_t before = info_of_segment().resident;
    after_fork.region = big_region();
    memset(data_of(after_fork.region), 0x55, BIG);
    pid_t child = child_start(keep_what_is_used, &after_fork);
    wait_until(atomic_load(after_fork.step) == 1, TEST_DEADLINE);
    assert_code(shk_object_unlink(test_segment(), "big"), 0);
    assert_code(shk_region_close(after_fork.region), 0);
    for (int i = 0; i < 3; i++) {
        struct shk_region *other = big_region();
        memset(data_of(other), 0xff, BIG);
        assert_code(shk_object_unlink(test_segment(), "big"), 0);
        assert_code(shk_region_close(other), 0);
    }
    ck_assert_uint_ge(info_of_segment().resident, before + BIG);
    atomic_store(after_fork.step, 2);
    child_succeeds(child);
    /* the next member that changes something cleans up */
    assert_code(shk_event_close(event_open()), 0);
    ck_assert_uint_lt(info_of_segment().resident, before + BIG / 2);
}
END_TEST

static int come_too_late(void *argument)
{
    struct after_fork *after_fork = argument;
    size_t size;

    wait_until(atomic_load(after_fork->step) == 1, TEST_DEADLINE);
    assert_code(shk_region_data(after_fork->region, NULL, &size), -ESTALE);
    assert_code(shk_region_close(after_fork->region), 0);
    return 0;
}

START_TEST(test_a_forked_child_that_comes_too_late_harms_no_other)
{
    struct after_fork after_fork = {.region = big_region(),
                                    .step = shared_memory(sizeof(*after_fork.step))};

    pid_t child = child_start(come_too_late, &after_fork);
    assert_code(shk_object_unlink(test_segment(), "big"), 0);
    assert_code(shk_region_close(after_fork.region), 0);
    struct shk_region *other = big_region();
    memset(data_of(other), 0xff, BIG);
    atomic_store(after_fork.step, 1);
    child_succeeds(child);
    for (int i = 0; i < BIG; i++)
        if (data_of(other)[i] != 0xff)
            ck_abort_msg("byte %d has changed", i);
    assert_code(shk_region_close(other), 0);
}
END_TEST

/* Each holds the lock while it forks the next, which gets it when the one before is done. */
static int fork_the_next(void *argument)
{
    int generations = *(int *)argument;

    assert_code(shk_lock_acquire(plain, SHK_FOREVER), 0);
    if (generations == 0) {
        assert_code(shk_lock_release(plain), 0);
        return 0;
    }
    --*(int *)argument;
    pid_t child = child_start(fork_the_next, argument);
    wait_until_waiting(segment_name(NULL), child, "plain");
    assert_code(shk_lock_release(plain), 0);
    return child_wait(child);
}

START_TEST(test_generations_of_children)
{
    int generations = 5;

    plain = lock_open("plain", 0);
    child_succeeds(child_start(fork_the_next, &generations));
    assert_code(shk_lock_acquire(plain, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(plain), 0);
    assert_code(shk_lock_close(plain), 0);
}
END_TEST

/* ---- Interrupting ---- */

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    (void)number;
    interrupted = 1;
}

static int wait_interrupted(void *argument)
{
    struct shk_event *event = event_open();

    (void)argument;
    assert_code(shk_set_interrupt(test_segment(), &interrupted), 0);
    signal(SIGINT, note_signal);
    assert_code(shk_event_wait(event, SHK_FOREVER), -EINTR);
    assert_code(shk_event_wait(event, SHK_SEC(1000)), -EINTR); /* as long as it is set */
    assert_code(shk_event_wait(event, SHK_NOWAIT), -EAGAIN);   /* which does not block */
    interrupted = 0;
    assert_code(shk_event_wait(event, SHK_MS(1)), -ETIMEDOUT);
    interrupted = 1;
    assert_code(shk_set_interrupt(test_segment(), NULL), 0);
    assert_code(shk_event_wait(event, SHK_MS(1)), -ETIMEDOUT);
    return 0;
}

START_TEST(test_a_signal_ends_a_call_that_blocks)
{
    test_segment();
    pid_t child = stranger_start(wait_interrupted, NULL);
    wait_until_waiting(segment_name(NULL), child, "event");
    ck_assert_int_eq(kill(child, SIGINT), 0);
    child_succeeds(child);
}
END_TEST

static int do_without_blocking(void *argument)
{
    struct shk_event *event = event_open();
    struct shk_lock *lock = lock_open("lock", 0);

    (void)argument;
    interrupted = 1;
    assert_code(shk_set_interrupt(test_segment(), &interrupted), 0);
    assert_code(shk_event_set(event), 0);
    assert_code(shk_event_wait(event, SHK_FOREVER), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    assert_code(shk_lock_release(lock), 0);
    return 0;
}

START_TEST(test_a_call_that_need_not_block_ignores_the_interrupt)
{
    test_segment();
    child_succeeds(stranger_start(do_without_blocking, NULL));
}
END_TEST

static void *set_flag_when_main_waits(void *argument)
{
    wait_until_waiting(segment_name(NULL), getpid(), "event");
    __atomic_store_n((volatile sig_atomic_t *)argument, 1, __ATOMIC_RELAXED);
    return NULL;
}

START_TEST(test_another_thread_may_set_the_flag)
{
    struct shk_event *event = event_open();
    pthread_t thread;

    interrupted = 0;
    assert_code(shk_set_interrupt(test_segment(), &interrupted), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, set_flag_when_main_waits, (void *)&interrupted),
                     0);
    assert_code(shk_event_wait(event, SHK_FOREVER), -EINTR);
    pthread_join(thread, NULL);
    assert_code(shk_event_close(event), 0);
}
END_TEST

START_TEST(test_the_flag_is_for_one_segment)
{
    struct shk_segment *elsewhere;
    struct shk_event *event, *event_elsewhere;

    event = event_open();
    assert_code(shk_segment_open(segment_name("elsewhere"), SHK_CREATE, NULL, &elsewhere), 0);
    assert_code(shk_event_open(elsewhere, "event", SHK_CREATE, NULL, &event_elsewhere), 0);
    interrupted = 1;
    assert_code(shk_set_interrupt(test_segment(), &interrupted), 0);
    assert_code(shk_event_wait(event, SHK_SEC(1000)), -EINTR);
    assert_code(shk_event_wait(event_elsewhere, SHK_MS(1)), -ETIMEDOUT);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_event_close(event_elsewhere), 0);
    assert_code(shk_segment_close(elsewhere), 0);
    assert_code(shk_segment_unlink(segment_name("elsewhere")), 0);
}
END_TEST

/* ---- The last error ---- */

static void *fail_in_a_new_thread(void *argument)
{
    struct shk_segment *segment;
    const char **sentences = argument;

    sentences[0] = strdup(shk_last_error());
    if (shk_segment_open("a/b", 0, NULL, &segment) == -EINVAL)
        sentences[1] = strdup(shk_last_error());
    return NULL;
}

START_TEST(test_each_thread_has_its_last_error)
{
    struct shk_segment *segment;
    const char *sentences[2] = {NULL, NULL};
    char mine[512];
    pthread_t thread;

    assert_code(shk_segment_open(segment_name("absent"), 0, NULL, &segment), -ENOENT);
    ck_assert_ptr_nonnull(strstr(shk_last_error(), segment_name("absent") + 1)); /* says of what */
    snprintf(mine, sizeof(mine), "%s", shk_last_error());
    ck_assert(is_text(mine, sizeof(mine)));
    ck_assert_int_eq(pthread_create(&thread, NULL, fail_in_a_new_thread, sentences), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(sentences[0], ""); /* before its first failure */
    ck_assert_str_ne(sentences[1], "");
    ck_assert_str_ne(sentences[1], mine);
    ck_assert_str_eq(shk_last_error(), mine);
    test_segment();
    ck_assert_str_eq(shk_last_error(), mine); /* a success does not change it */
    assert_code(shk_object_unlink(test_segment(), "absent"), -ENOENT);
    ck_assert_str_ne(shk_last_error(), mine);
    free((void *)sentences[0]);
    free((void *)sentences[1]);
}
END_TEST

START_TEST(test_the_last_error_is_text_whatever_the_names)
{
    char name[5001];
    struct shk_segment *segment;

    memset(name, '\xff', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    assert_code(shk_segment_open(name, 0, NULL, &segment), -ENAMETOOLONG);
    ck_assert(is_text(shk_last_error(), 1000));
    assert_code(shk_segment_open(name + 4990, 0, NULL, &segment), -EILSEQ);
    ck_assert(is_text(shk_last_error(), 1000));
    assert_code(shk_segment_open("a\nb", 0, NULL, &segment), -EINVAL);
    ck_assert(is_text(shk_last_error(), 1000));
    /* a sentence with a long name in it is not cut within a character */
    for (int i = 0; i < 4; i++) {
        memset(name, 'x', 200);
        for (int k = i; k + 3 <= SHK_SEGMENT_NAME_MAX; k += 3)
            memcpy(name + k, "款", 3);
        name[SHK_SEGMENT_NAME_MAX] = 0;
        assert_code(shk_segment_open(name, 0, NULL, &segment), -ENOENT);
        ck_assert(is_text(shk_last_error(), 1000));
    }
}
END_TEST

/* ---- Too many robust mutexes ---- */

enum { HELD_MOST = 2000 };

static int hold_all(void *argument)
{
    static struct shk_lock *locks[HELD_MOST];
    struct shk_segment *elsewhere = NULL;
    char name[32];
    int code = 0, held;

    for (held = 0; held < HELD_MOST; held++) {
        snprintf(name, sizeof(name), "%d", held);
        locks[held] = lock_open(name, 0);
        code = shk_lock_acquire(locks[held], SHK_NOWAIT);
        if (code < 0)
            break;
        ck_assert_int_eq(code, 0);
    }
    assert_code(code, -ENOLCK);
    ck_assert_int_eq(held, HELD_MOST - 1); /* the member is one, too */
    unsigned mapped = mappings();
    assert_code(shk_segment_open(segment_name("elsewhere"), SHK_CREATE, NULL, &elsewhere), -ENOLCK);
    ck_assert_ptr_null(elsewhere);
    ck_assert_uint_eq(mappings(), mapped);
    ck_assert_uint_eq(shm_files(segment_name("elsewhere") + 1), 0);
    assert_code(shk_lock_release(locks[0]), 0);
    assert_code(shk_lock_acquire(locks[held], SHK_NOWAIT), 0);
    assert_code(shk_lock_acquire(locks[0], SHK_NOWAIT), -ENOLCK);
    atomic_store((atomic_int *)argument, 1);
    return stay(NULL);
}

START_TEST(test_no_more_locks_than_the_kernel_frees_at_a_death)
{
    atomic_int *ready = shared_memory(sizeof(*ready));
    char name[32];

    test_segment_with(&(struct shk_segment_options){
        .size = 64 << 20, .max_members = 8, .max_objects = HELD_MOST});
    pid_t child = stranger_start(hold_all, ready);
    wait_until(atomic_load(ready), TEST_DEADLINE);
    child_kill(child);
    for (int i = 0; i < HELD_MOST; i++) {
        snprintf(name, sizeof(name), "%d", i);
        struct shk_lock *lock = lock_open(name, 0);
        int code = shk_lock_acquire(lock, SHK_NOWAIT);
        if (code != (i == 0 ? 0 : SHK_ORPHANED))
            ck_abort_msg("lock %d: %s", i, code_name(code));
        assert_code(shk_lock_release(lock), 0);
        assert_code(shk_lock_close(lock), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("member");
    TCase *names = test_case(suite, "names");
    tcase_add_test(names, test_a_member_is_known_by_its_command_at_first);
    tcase_add_test(names, test_an_odd_command_is_no_odd_name);
    tcase_add_test(names, test_a_member_can_be_named);
    tcase_add_test(names, test_a_name_is_never_seen_half_changed);
    tcase_add_test(names, test_a_member_killed_changing_its_name_has_the_old_or_the_new);

    TCase *threads = test_case(suite, "threads");
    tcase_add_test(threads, test_each_thread_is_a_member_as_long_as_it_lives);
    tcase_add_test(threads, test_the_last_thread_unmaps);
    tcase_add_test(threads, test_another_thread_may_close);
    tcase_add_test(threads, test_a_segment_stays_open_when_the_thread_that_opened_it_ends);

    TCase *table = test_case(suite, "table");
    tcase_add_test(table, test_a_table_full_of_the_living_takes_no_more);
    tcase_add_test(table, test_the_dead_make_room);
    tcase_add_test(table, test_a_dead_member_is_shown_until_its_place_is_needed);
    tcase_add_test(table, test_member_ids_never_repeat);
    tcase_add_test(table, test_a_member_ends_with_exit_and_with_exec);

    TCase *forks = test_case(suite, "fork");
    tcase_add_test(forks, test_a_forked_child_is_a_member_of_its_own);
    tcase_add_test(forks, test_a_forked_child_may_die_holding_a_lock);
    tcase_add_test(forks, test_a_forked_child_keeps_the_memory_that_it_uses);
    tcase_add_test(forks, test_a_forked_child_that_comes_too_late_harms_no_other);
    tcase_add_test(forks, test_generations_of_children);

    TCase *interrupts = test_case(suite, "interrupts");
    tcase_add_test(interrupts, test_a_signal_ends_a_call_that_blocks);
    tcase_add_test(interrupts, test_a_call_that_need_not_block_ignores_the_interrupt);
    tcase_add_test(interrupts, test_another_thread_may_set_the_flag);
    tcase_add_test(interrupts, test_the_flag_is_for_one_segment);

    TCase *errors = test_case(suite, "errors");
    tcase_add_test(errors, test_each_thread_has_its_last_error);
    tcase_add_test(errors, test_the_last_error_is_text_whatever_the_names);
    tcase_add_test(errors, test_no_more_locks_than_the_kernel_frees_at_a_death);
    return run_tests(suite);
}

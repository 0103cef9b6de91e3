/*
 * Damaged bytes that used to hang or to abort a program; and fairness of the mutexes that hold for
 * a moment.
 */
#include "common.h"

#include "object/semaphore.h"
#include "queue/lease_records.h"
#include "segment/directory.h"
#include "segment/member.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Links ---- */

static struct shk_semaphore *open_semaphore(void)
{
    struct shk_semaphore *semaphore;

    assert_code(shk_semaphore_open(test_segment(), "permits", SHK_CREATE,
                                   &(struct shk_semaphore_options){.max = 100}, &semaphore),
                0);
    return semaphore;
}

static struct shki_entry *entry_of(const char *name)
{
    struct shki_entry *e;

    assert_code(shki_segment_lock(test_segment()), 0);
    e = shki_directory_find(test_segment(), name);
    shki_segment_unlock(test_segment());
    ck_assert_ptr_nonnull(e);
    return e;
}

static struct shki_waitlist_shared *line_of(const char *name)
{
    return (struct shki_waitlist_shared *)(void *)(test_segment()->base + entry_of(name)->offset +
                                                   offsetof(struct shki_semaphore_shared, waiters));
}

static int acquire(void *unused)
{
    (void)unused;
    return shk_semaphore_acquire(open_semaphore(), SHK_FOREVER);
}

static pid_t start_waiter(void)
{
    pid_t pid = child_start(acquire, NULL);

    wait_until_waiting(segment_name(NULL), pid, "permits");
    return pid;
}

/* Each way to spoil the links of the first of three nodes. */
static void spoil(int way)
{
    struct shk_segment *s = test_segment();
    uint32_t first = atomic_load(&line_of("permits")->first);
    struct shki_node *node = shki_node_at(s, first - 1);

    ck_assert_ptr_nonnull(node);
    if (way == 0)
        node->next = first; /* to itself */
    else if (way == 1)
        node->previous = first;
    else if (way == 2)
        node->next = node->previous = first;
    else if (way == 3)
        shki_node_at(s, node->next - 1)->next = first; /* in a circle */
    else
        node->next = UINT32_MAX;
}

START_TEST(test_damaged_links_do_not_hold_a_line_up)
{
    struct shk_semaphore *semaphore = open_semaphore();
    pid_t waiters[3];

    for (int i = 0; i < 3; i++)
        waiters[i] = start_waiter();
    spoil(_i);
    assert_code(shk_semaphore_release(semaphore, 3), 0);
    for (int i = 0; i < 3; i++)
        child_succeeds(waiters[i]);
    assert_code(shk_semaphore_close(semaphore), 0);
}
END_TEST

/* ---- Records of leases ---- */

enum { LEASES = 3 };

/* Three are leased and the last comes back, two wait. */
static void lease_three(struct shk_queue *queue, uint64_t tickets[LEASES])
{
    int64_t number;

    for (number = 0; number < 5; number++)
        assert_code(shk_queue_put(queue, &number, sizeof(number), SHK_NOWAIT), 0);
    for (int i = 0; i < LEASES; i++)
        assert_code(shk_queue_lease(queue, &number, sizeof(number), SHK_NOWAIT, &tickets[i]), 8);
    assert_code(shk_queue_nack(queue, tickets[LEASES - 1], 0), 0);
}

static void spoil_record(struct shki_lease_shared *r, int way)
{
    switch (way) {
    case 0:
        atomic_store(&r->state, UINT64_MAX);
        break;
    case 1:
        atomic_store(&r->state, atomic_load(&r->state) & ~SHKI_LEASE_STATE);
        break;
    case 2:
        atomic_store(&r->item.word, UINT64_MAX);
        break;
    case 3:
        atomic_store(&r->row, 123456);
        atomic_store(&r->member, UINT64_MAX);
        break;
    case 4:
        atomic_store(&r->pid, -1);
        atomic_store(&r->row, UINT32_MAX);
        atomic_store(&r->member, 0);
        break;
    case 5:
        atomic_store(&r->due, INT64_MIN);
        atomic_store(&r->since, INT64_MAX);
        break;
    default:
        memset((void *)r, 0xff, sizeof(*r));
    }
}

static void spoil_leases(struct shk_queue *queue, int way)
{
    enum { OF_A_RECORD = 7 };

    if (way < OF_A_RECORD) {
        for (uint32_t i = 0; i < LEASES; i++)
            spoil_record(shki_lease_at(queue, i), way);
        return;
    }
    switch (way - OF_A_RECORD) {
    case 0: /* all records are in use, which most have no memory for */
        atomic_store(&queue->shared->lease_words, UINT32_MAX);
        memset((void *)queue->leases->out, 0xff, sizeof(queue->leases->out));
        break;
    case 1:
        atomic_store(&queue->shared->lease_words, UINT32_MAX);
        memset((void *)queue->leases->back, 0xff, sizeof(queue->leases->back));
        break;
    case 2:
        memset((void *)queue->leases->out, 0, sizeof(queue->leases->out));
        break;
    case 3:
        atomic_store(&queue->leases->map[0], UINT32_MAX);
        break;
    case 4:
        atomic_store(&queue->shared->leases.changing, UINT32_MAX);
        atomic_store(&queue->shared->leases.checked_at, INT64_MAX);
        break;
    default:
        memset((void *)&queue->shared->leases, 0xff, sizeof(queue->shared->leases));
    }
}
enum { WAYS_TO_SPOIL_LEASES = 13 };

/* What each gives is no matter; but each ends, and none goes beyond the memory of the segment. */
static void call_all(struct shk_queue *queue, const uint64_t tickets[LEASES])
{
    struct shk_snapshot *look;
    struct shk_lease_info info;
    uint64_t ticket;
    const void *item;
    int64_t number = 0;
    ssize_t length;

    if (shk_snapshot_open(segment_name(NULL), &look) == 0)
        shk_snapshot_close(look);
    for (int i = 0; i < LEASES; i++)
        shk_queue_lease_info(queue, tickets[i], &info);
    shk_queue_size(queue);
    shk_queue_unfinished(queue);
    shk_queue_join(queue, SHK_NOWAIT);
    shk_queue_put(queue, &number, sizeof(number), SHK_NOWAIT);
    length = shk_queue_peek(queue, &item, SHK_NOWAIT);
    if (length >= 0) {
        ck_assert_int_le(length, 8);
        shk_queue_unpeek(queue);
    }
    shk_queue_get(queue, &number, sizeof(number), SHK_NOWAIT);
    shk_queue_lease(queue, &number, sizeof(number), SHK_MS(250), &ticket); /* and looks for dead */
    shk_queue_nack(queue, tickets[0], 0);
    shk_queue_ack(queue, tickets[1]);
    shk_queue_get(queue, &number, sizeof(number), SHK_MS(1));
    shk_queue_shutdown(queue);
    shk_queue_get(queue, &number, sizeof(number), SHK_MS(1));
}

START_TEST(test_damaged_leases_do_no_harm_beside)
{
    static const uint32_t orders[] = {SHK_FIFO, SHK_LIFO, SHK_PRIORITY};
    struct shk_queue_options options = {
        .order = orders[_i % 3], .capacity = _i % 2 ? 8 : 0, .item_size = 8};
    struct shk_lock *lock;
    struct shk_queue *queue;
    uint64_t tickets[LEASES];

    assert_code(shk_queue_open(test_segment(), "jobs", SHK_CREATE, &options, &queue), 0);
    lease_three(queue, tickets);
    spoil_leases(queue, _i / 6);
    call_all(queue, tickets);
    assert_code(shk_queue_close(queue), 0);
    assert_code(shk_object_unlink(test_segment(), "jobs"), 0);
    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_NOWAIT), 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

/* ---- Kinds of mutexes ---- */

/* Where a mutex says its kind: the only bytes of a fresh one that are not zero. */
static void flip_kind(pthread_mutex_t *m, int bit)
{
    unsigned char fresh[sizeof(*m)], *bytes = (unsigned char *)m;
    pthread_mutex_t one;

    memset(&one, 0, sizeof(one));
    ck_assert_int_eq(shki_robust_init(&one), 0);
    memcpy(fresh, &one, sizeof(fresh));
    for (size_t i = 0; i < sizeof(fresh); i++)
        if (fresh[i] != 0) {
            bytes[i] ^= (unsigned char)(1 << bit);
            return;
        }
    ck_abort_msg("a fresh mutex is zero");
}

static int open_any(uint32_t kind, const char *name, bool create)
{
    struct shk_segment *s = test_segment();
    unsigned flags = create ? SHK_CREATE : 0;
    struct shk_lock *lock = NULL;
    struct shk_cond *cond = NULL;
    struct shk_semaphore *semaphore = NULL;
    struct shk_barrier *barrier = NULL;
    struct shk_queue *queue = NULL;
    struct shk_stream *stream = NULL;
    int r = 0;

    if (kind == SHK_KIND_LOCK)
        r = shk_lock_open(s, name, flags, NULL, &lock);
    else if (kind == SHK_KIND_COND)
        r = shk_cond_open(s, name, flags, NULL, &cond);
    else if (kind == SHK_KIND_SEMAPHORE)
        r = shk_semaphore_open(s, name, flags, NULL, &semaphore);
    else if (kind == SHK_KIND_BARRIER)
        r = shk_barrier_open(s, name, flags,
                             create ? &(struct shk_barrier_options){.parties = 2} : NULL, &barrier);
    else if (kind == SHK_KIND_QUEUE)
        r = shk_queue_open(
            s, name, flags,
            create ? &(struct shk_queue_options){.capacity = 4, .item_size = 4} : NULL, &queue);
    else if (kind == SHK_KIND_STREAM)
        r = shk_stream_open(
            s, name, flags,
            create ? &(struct shk_stream_options){.sample_size = 4, .history = 4} : NULL, &stream);
    shk_lock_close(lock);
    shk_cond_close(cond);
    shk_semaphore_close(semaphore);
    shk_barrier_close(barrier);
    shk_queue_close(queue);
    shk_stream_close(stream);
    return r;
}

START_TEST(test_a_mutex_of_another_kind_is_damage)
{
    static const uint32_t kinds[] = {SHK_KIND_LOCK,    SHK_KIND_COND,  SHK_KIND_SEMAPHORE,
                                     SHK_KIND_BARRIER, SHK_KIND_QUEUE, SHK_KIND_STREAM};
    struct shki_mutex *m;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        for (unsigned k = 0; k < SHKI_MUTEXES_MAX; k++) {
            assert_code(open_any(kinds[i], "it", true), 0);
            m = shki_entry_mutex(test_segment(), entry_of("it"), k);
            for (int bit = 0; m && bit < 8; bit++) {
                flip_kind(&m->robust, bit);
                assert_code(open_any(kinds[i], "it", false), -EPROTO);
                flip_kind(&m->robust, bit);
                assert_code(open_any(kinds[i], "it", false), 0);
            }
            if (k == 0)
                ck_assert_ptr_nonnull(m);
            if (m)
                /* unlinking it wakes those that wait, if that can be done */
                flip_kind(&m->robust, 0);
            assert_code(shk_object_unlink(test_segment(), "it"), 0);
        }
}
END_TEST

START_TEST(test_a_segment_with_a_mutex_of_another_kind_is_damaged)
{
    const char *name = segment_name("damaged");
    struct shk_segment *segment;
    struct shki_header h;

    for (int which = 0; which < 2; which++) {
        assert_code(shk_segment_open(name, SHK_CREATE, NULL, &segment), 0);
        memcpy(&h, segment->header, sizeof(h));
        assert_code(shk_segment_close(segment), 0);
        flip_kind(which ? &h.watchers.mutex.robust : &h.lock.robust, 2);
        write_shm(name, 0, &h, sizeof(h));
        assert_code(shk_segment_open(name, 0, NULL, &segment), -EPROTO);
        assert_code(shk_segment_unlink_any(name), 0);
    }
}
END_TEST

START_TEST(test_a_record_with_a_mutex_of_another_kind_is_left_alone)
{
    struct shk_segment *s;
    const char *name = segment_name("record");

    assert_code(shk_segment_open(name, SHK_CREATE, NULL, &s), 0);
    for (uint32_t i = 1; i < 4; i++)
        flip_kind(&shki_record_at(s, i)->life, 1);
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();

        if (child == 0) {
            struct shk_event *event;

            _exit(shk_event_open(s, "event", SHK_CREATE, NULL, &event) != 0);
        }
        child_succeeds(child);
    }
    assert_code(shk_segment_close(s), 0);
    assert_code(shk_segment_unlink(name), 0);
}
END_TEST

/* ---- Fairness ---- */

/*
 * As if the mutex had been released time and again while a thread slept at it, and others had been
 * faster.
 */
static void barge_past(struct shki_mutex *m)
{
    for (int i = 0; i < 5000; i++)
        shki_mutex_count_release(m);
}

static bool has_handoff_target(const struct shki_mutex *m)
{
    return atomic_load(&m->handoff_target) != 0;
}

static int create_something(void *unused)
{
    struct shk_event *event;

    (void)unused;
    return shk_event_open(test_segment(), "something", SHK_CREATE, NULL, &event);
}

START_TEST(test_a_creator_that_starves_goes_first)
{
    struct shk_segment *s = test_segment();
    struct shki_mutex *m = &s->header->lock;
    pid_t child;

    assert_code(shki_segment_lock(s), 0);
    child = child_start(create_something, NULL);
    for (int i = 0; i < 500 && !has_handoff_target(m); i++) {
        barge_past(m);
        pause_briefly();
    }
    ck_assert(has_handoff_target(m));
    shki_segment_unlock(s);
    child_succeeds(child);
    ck_assert(!has_handoff_target(m));
}
END_TEST

static int acquire_for_a_second(void *unused)
{
    (void)unused;
    assert_code(shk_semaphore_acquire(open_semaphore(), SHK_SEC(1)), -EINVAL);
    return strstr(shk_last_error(), "permits is damaged") ? 0 : 2;
}

/* The waiter cannot leave the list as it should, and does not try for ever. */
START_TEST(test_a_mutex_that_is_damaged_ends_the_wait)
{
    struct shk_semaphore *semaphore = open_semaphore();
    pid_t child = child_start(acquire_for_a_second, NULL);

    wait_until_waiting(segment_name(NULL), child, "permits");
    flip_kind(&line_of("permits")->mutex.robust, 2);
    child_succeeds(child);
    flip_kind(&line_of("permits")->mutex.robust, 2);
    assert_code(shk_semaphore_close(semaphore), 0);
}
END_TEST

static int release_one(void *unused)
{
    struct shk_semaphore *semaphore = open_semaphore();

    (void)unused;
    *(_Atomic int *)unused = 1;
    return shk_semaphore_release(semaphore, 1);
}

START_TEST(test_a_member_that_starves_at_a_waitlist_goes_first)
{
    struct shk_semaphore *semaphore = open_semaphore();
    struct shki_mutex *m = &line_of("permits")->mutex;
    _Atomic int *begun = shared_memory(sizeof(*begun));
    pid_t child;

    ck_assert_int_eq(pthread_mutex_lock(&m->robust), 0);
    child = child_start(release_one, (void *)(uintptr_t)begun);
    wait_until(*begun, TEST_DEADLINE);
    for (int i = 0; i < 500 && !has_handoff_target(m); i++) {
        barge_past(m);
        pause_briefly();
    }
    ck_assert(has_handoff_target(m));
    pthread_mutex_unlock(&m->robust);
    child_succeeds(child);
    ck_assert(!has_handoff_target(m));
    assert_code(shk_semaphore_close(semaphore), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("damage");
    TCase *links = test_case(suite, "links"), *kinds = test_case(suite, "kinds"),
          *fairness = test_case(suite, "fairness");

    tcase_add_loop_test(links, test_damaged_links_do_not_hold_a_line_up, 0, 5);
    tcase_add_loop_test(links, test_damaged_leases_do_no_harm_beside, 0, 6 * WAYS_TO_SPOIL_LEASES);
    tcase_add_test(kinds, test_a_mutex_of_another_kind_is_damage);
    tcase_add_test(kinds, test_a_mutex_that_is_damaged_ends_the_wait);
    tcase_add_test(kinds, test_a_segment_with_a_mutex_of_another_kind_is_damaged);
    tcase_add_test(kinds, test_a_record_with_a_mutex_of_another_kind_is_left_alone);
    tcase_add_test(fairness, test_a_creator_that_starves_goes_first);
    tcase_add_test(fairness, test_a_member_that_starves_at_a_waitlist_goes_first);
    return run_tests(suite);
}

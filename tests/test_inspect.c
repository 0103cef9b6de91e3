/* The look from outside: it tells the truth, touches nothing, and believes nothing. */
#include "common.h"

#include "segment/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SMALL_SIZE (1 << 18)
#define SMALL \
    (&(struct shk_segment_options){.size = SMALL_SIZE, .max_members = 16, .max_objects = 16})

/* Good until some more have been asked for. */
static const struct shk_object_info *object(const char *name)
{
    static struct shk_object_info infos[4];
    static unsigned next;
    struct shk_object_info *info = &infos[next++ % 4];

    ck_assert_msg(look_at_object(segment_name(NULL), name, info), "no %s", name);
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

static struct shk_snapshot *look_open(const char *segment)
{
    struct shk_snapshot *look = NULL;

    assert_code(shk_snapshot_open(segment, &look), 0);
    ck_assert_ptr_nonnull(look);
    return look;
}

/*
 * The sizes and where the reserves begin: a new figure takes a reserved place, so that programs
 * built with an older header run on.
 */
_Static_assert(sizeof(struct shk_segment_info) == 624 &&
                   offsetof(struct shk_segment_info, reserved) == 568,
               "a part of the ABI");
_Static_assert(sizeof(struct shk_member_info) == 280 &&
                   offsetof(struct shk_member_info, reserved) == 240,
               "a part of the ABI");
_Static_assert(sizeof(struct shk_object_info) == 376 &&
                   offsetof(struct shk_object_info, as) == 184 &&
                   offsetof(struct shk_object_info, reserved) == 328,
               "a part of the ABI");

static void assert_zero(const uint64_t *reserved, size_t size)
{
    for (size_t i = 0; i < size / sizeof(*reserved); i++)
        ck_assert_uint_eq(reserved[i], 0);
}

/* ---- What has been done is what is shown ---- */

START_TEST(test_what_is_reserved_is_zero)
{
    struct shk_segment_info *list;
    struct shk_event *event;
    ssize_t n;

    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    struct shk_snapshot *snapshot = look_open(segment_name(NULL));
    assert_zero(shk_snapshot_segment(snapshot)->reserved,
                sizeof(shk_snapshot_segment(snapshot)->reserved));
    assert_zero(shk_snapshot_member(snapshot, 0)->reserved,
                sizeof(shk_snapshot_member(snapshot, 0)->reserved));
    const struct shk_object_info *info = shk_snapshot_object(snapshot, 0);
    assert_zero(info->reserved, sizeof(info->reserved));
    for (size_t i = 1; i < sizeof(info->as.room) / sizeof(info->as.room[0]); i++)
        ck_assert_uint_eq(info->as.room[i], 0); /* an event uses the first */
    shk_snapshot_close(snapshot);
    n = shk_segment_list(SHK_LIST_FOREIGN, &list);
    ck_assert_int_gt(n, 0);
    for (ssize_t i = 0; i < n; i++)
        assert_zero(list[i].reserved, sizeof(list[i].reserved));
    free(list);
    assert_code(shk_event_close(event), 0);
}
END_TEST

START_TEST(test_an_empty_segment_is_shown)
{
    struct shk_segment_options options = {
        .size = 1 << 20, .max_members = 7, .max_objects = 9, .mode = 0640};
    struct stat status;
    time_t before = time(NULL);

    test_segment_with(&options);
    ck_assert_int_eq(stat(shm_path(segment_name(NULL)), &status), 0);
    struct shk_snapshot *look = look_open(segment_name(NULL));
    const struct shk_segment_info *info = shk_snapshot_segment(look);
    ck_assert_str_eq(info->name, segment_name(NULL) + 1);
    ck_assert_uint_eq(info->state, SHK_SEGMENT_GOOD);
    ck_assert_str_eq(info->problem, "");
    ck_assert_uint_eq(info->uid, geteuid());
    ck_assert_uint_eq(info->gid, getegid());
    ck_assert_uint_eq(info->mode, 0640);
    ck_assert_uint_eq(info->size, 1 << 20);
    ck_assert_uint_eq(info->resident, (uint64_t)status.st_blocks * 512);
    ck_assert_uint_eq(info->inode, status.st_ino);
    ck_assert_uint_eq(info->layout, SHKI_LAYOUT);
    ck_assert_uint_ne(info->id, 0);
    ck_assert_int_ge(info->created, before);
    ck_assert_int_le(info->created, time(NULL));
    ck_assert_int_eq(info->creator, getpid());
    ck_assert_int_eq(stat("/proc/self/ns/pid", &status), 0);
    ck_assert_uint_eq(info->namespace_, status.st_ino);
    ck_assert_uint_eq(info->max_members, 7);
    ck_assert_uint_eq(info->max_objects, 9);
    ck_assert_uint_eq(info->members_alive, 1);
    ck_assert_uint_eq(info->members_dead, 0);
    ck_assert_uint_eq(info->objects, 0);
    ck_assert_ptr_null(shk_snapshot_object(look, 0));
    ck_assert_ptr_null(shk_snapshot_object(look, SIZE_MAX));
    ck_assert_ptr_nonnull(shk_snapshot_member(look, 0));
    ck_assert_ptr_null(shk_snapshot_member(look, 1));
    ck_assert_ptr_null(shk_snapshot_member(look, SIZE_MAX));
    ck_assert_ptr_null(shk_snapshot_find_object(look, "absent"));
    ck_assert_ptr_null(shk_snapshot_find_member(look, 0));
    ck_assert_ptr_null(shk_snapshot_find_member(look, UINT64_MAX));
    const struct shk_member_info *self = shk_snapshot_member(look, 0);
    ck_assert_ptr_eq(shk_snapshot_find_member(look, self->id), self);
    ck_assert_int_eq(self->pid, getpid());
    ck_assert_int_eq(self->tid, gettid());
    ck_assert_int_ge(self->joined, before);
    ck_assert_int_le(self->joined, time(NULL));
    ck_assert_uint_eq(self->waits_for, SHK_WAITS_NOT);
    ck_assert_str_eq(self->waits_on, "");
    shk_snapshot_close(look);
}
END_TEST

START_TEST(test_objects_are_shown_in_order_of_name)
{
    static const char *const names[] = {"m", "z", "存款者甲", "a", "ab", "M", "0"};
    static const char *const in_order[] = {"0", "M", "a", "ab", "m", "z", "存款者甲"};
    struct shk_event *events[7];

    for (int i = 0; i < 7; i++)
        assert_code(shk_event_open(test_segment(), names[i], SHK_CREATE, NULL, &events[i]), 0);
    struct shk_snapshot *look = look_open(segment_name(NULL));
    ck_assert_uint_eq(shk_snapshot_segment(look)->objects, 7);
    for (int i = 0; i < 7; i++) {
        ck_assert_str_eq(shk_snapshot_object(look, i)->name, in_order[i]);
        ck_assert_ptr_eq(shk_snapshot_find_object(look, in_order[i]), shk_snapshot_object(look, i));
        assert_code(shk_event_close(events[i]), 0);
    }
    ck_assert_ptr_null(shk_snapshot_object(look, 7));
    shk_snapshot_close(look);
}
END_TEST

START_TEST(test_every_object_has_its_common_figures)
{
    struct shk_event *event, *again;
    time_t before = time(NULL);
    uint64_t serial;

    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    struct shk_object_info info = *object("event");
    ck_assert_uint_eq(info.kind, SHK_KIND_EVENT);
    ck_assert_int_eq(info.creator, getpid());
    ck_assert_int_ge(info.created, before);
    ck_assert_int_le(info.created, time(NULL));
    ck_assert_uint_gt(info.size, 0);
    ck_assert_uint_eq(info.users, 1);
    ck_assert_uint_eq(info.waiters, 0);
    ck_assert_uint_eq(info.holder, 0);
    ck_assert_uint_eq(
        info.holders_lost + info.waiters_buried + info.wakeups_passed_on + info.rebuilds, 0);
    serial = info.serial;
    assert_code(shk_event_open(test_segment(), "event", 0, NULL, &again), 0);
    ck_assert_uint_eq(object("event")->users, 1); /* members, not handles */
    assert_code(shk_event_close(again), 0);
    ck_assert_uint_eq(object("event")->users, 1);
    assert_code(shk_event_close(event), 0);
    ck_assert_uint_eq(object("event")->users, 0);
    assert_code(shk_object_unlink(test_segment(), "event"), 0);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    ck_assert_uint_ne(object("event")->serial, serial);
    assert_code(shk_event_close(event), 0);
}
END_TEST

START_TEST(test_an_unlinked_object_is_not_shown)
{
    struct shk_event *event;

    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_object_unlink(test_segment(), "event"), 0);
    struct shk_object_info info;
    ck_assert(!look_at_object(segment_name(NULL), "event", &info));
    assert_code(shk_event_close(event), 0);
}
END_TEST

START_TEST(test_locks_are_shown)
{
    struct shk_lock *plain, *recursive;

    assert_code(shk_lock_open(test_segment(), "plain", SHK_CREATE, NULL, &plain), 0);
    assert_code(shk_lock_open(test_segment(), "recursive", SHK_CREATE,
                              &(struct shk_lock_options){.recursive = 1, .no_deadlock_check = 1},
                              &recursive),
                0);
    ck_assert_uint_eq(object("plain")->kind, SHK_KIND_LOCK);
    ck_assert_uint_eq(object("plain")->as.lock.recursive, 0);
    ck_assert_uint_eq(object("plain")->as.lock.no_deadlock_check, 0);
    ck_assert_uint_eq(object("plain")->holder, 0);
    ck_assert_uint_eq(object("recursive")->as.lock.recursive, 1);
    ck_assert_uint_eq(object("recursive")->as.lock.no_deadlock_check, 1);
    ck_assert_uint_eq(object("recursive")->as.lock.depth, 0);

    assert_code(shk_lock_acquire(plain, SHK_NOWAIT), 0);
    for (unsigned depth = 1; depth <= 3; depth++) {
        assert_code(shk_lock_acquire(recursive, SHK_NOWAIT), 0);
        ck_assert_uint_eq(object("recursive")->as.lock.depth, depth);
    }
    ck_assert_uint_eq(object("plain")->holder, member(getpid())->id);
    ck_assert_uint_eq(object("plain")->as.lock.depth, 1);
    ck_assert_uint_eq(object("recursive")->holder, member(getpid())->id);
    ck_assert_uint_eq(object("recursive")->as.lock.orphaned, 0);
    assert_code(shk_lock_release(recursive), 0);
    ck_assert_uint_eq(object("recursive")->as.lock.depth, 2);
    assert_code(shk_lock_release(recursive), 0);
    assert_code(shk_lock_release(recursive), 0);
    assert_code(shk_lock_release(plain), 0);
    ck_assert_uint_eq(object("plain")->holder, 0);
    ck_assert_uint_eq(object("recursive")->holder, 0);
    assert_code(shk_lock_close(plain), 0);
    assert_code(shk_lock_close(recursive), 0);
}
END_TEST

static int hold_for_ever(void *argument)
{
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), "lock", 0, NULL, &lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    atomic_store((atomic_int *)argument, 1);
    while (pause() < 0)
        ;
    return 0;
}

START_TEST(test_a_dead_holder_is_shown)
{
    struct shk_lock *lock;
    atomic_int *held = shared_memory(sizeof(*held));

    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &lock), 0);
    pid_t child = stranger_start(hold_for_ever, held);
    wait_until(atomic_load(held), TEST_DEADLINE);
    ck_assert_uint_eq(object("lock")->holder, member(child)->id);
    ck_assert_uint_eq(object("lock")->users, 2);
    child_kill(child);
    ck_assert_uint_eq(member(child)->alive, 0);
    ck_assert_uint_eq(object("lock")->users, 1); /* the living */
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), SHK_ORPHANED);
    ck_assert_uint_eq(object("lock")->holder, member(getpid())->id);
    ck_assert_uint_eq(object("lock")->holders_lost, 1);
    ck_assert_uint_eq(object("lock")->as.lock.orphaned, 0);
    assert_code(shk_lock_release(lock), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

START_TEST(test_conditions_are_shown)
{
    struct shk_lock *lock;
    struct shk_cond *own, *given, *pthread;

    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &lock), 0);
    assert_code(shk_cond_open(test_segment(), "own", SHK_CREATE, NULL, &own), 0);
    assert_code(shk_cond_open(test_segment(), "given", SHK_CREATE,
                              &(struct shk_cond_options){.lock = lock}, &given),
                0);
    assert_code(shk_cond_open(test_segment(), "pthread", SHK_CREATE,
                              &(struct shk_cond_options){.kind = SHK_COND_PTHREAD}, &pthread),
                0);

    ck_assert_uint_eq(object("own")->kind, SHK_KIND_COND);
    ck_assert_uint_eq(object("own")->as.cond.kind, SHK_COND_ROBUST);
    ck_assert_uint_eq(object("own")->as.cond.own_lock, 1);
    ck_assert_str_eq(object("own")->as.cond.lock, "");
    ck_assert_uint_eq(object("own")->as.cond.recursive, 1);
    ck_assert_uint_eq(object("given")->as.cond.own_lock, 0);
    ck_assert_str_eq(object("given")->as.cond.lock, "lock");
    ck_assert_uint_eq(object("given")->as.cond.recursive, 0);
    ck_assert_uint_eq(object("pthread")->as.cond.kind, SHK_COND_PTHREAD);

    assert_code(shk_cond_acquire(own, SHK_NOWAIT), 0);
    assert_code(shk_cond_acquire(own, SHK_NOWAIT), 0);
    assert_code(shk_cond_acquire(given, SHK_NOWAIT), 0);
    ck_assert_uint_eq(object("own")->holder, member(getpid())->id);
    ck_assert_uint_eq(object("own")->as.cond.depth, 2);
    ck_assert_uint_eq(object("given")->holder, 0); /* shown with the lock */
    ck_assert_uint_eq(object("given")->as.cond.depth, 1);
    ck_assert_uint_eq(object("lock")->holder, member(getpid())->id);
    assert_code(shk_cond_release(own), 0);
    assert_code(shk_cond_release(own), 0);
    assert_code(shk_cond_release(given), 0);
    ck_assert_uint_eq(object("own")->holder, 0);
    ck_assert_uint_eq(object("lock")->holder, 0);
    assert_code(shk_cond_close(own), 0);
    assert_code(shk_cond_close(given), 0);
    assert_code(shk_cond_close(pthread), 0);
    assert_code(shk_lock_close(lock), 0);
}
END_TEST

START_TEST(test_the_unfinished_tasks_of_a_member_are_shown)
{
    struct shk_queue *queue;
    char item[8];

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, NULL, &queue), 0);
    for (int i = 0; i < 2; i++) {
        assert_code(shk_queue_put(queue, "item", 4, SHK_NOWAIT), 0);
        assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), 4);
    }
    for (uint64_t tasks = 2; tasks > 0; tasks--) {
        struct shk_snapshot *snapshot = look_open(segment_name(NULL));
        ck_assert_uint_eq(shk_snapshot_member(snapshot, 0)->tasks, tasks);
        shk_snapshot_close(snapshot);
        assert_code(shk_queue_task_done(queue), 0);
    }
    struct shk_snapshot *snapshot = look_open(segment_name(NULL));
    ck_assert_uint_eq(shk_snapshot_member(snapshot, 0)->tasks, 0);
    shk_snapshot_close(snapshot);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

/*
 * Of a FIFO queue it is known when a side looks at the other: at the first get, when it is empty,
 * when it is full.
 */
START_TEST(test_the_high_water_mark_of_a_queue_is_shown)
{
    static const struct {
        unsigned puts, gets;
    } waves[] = {{5, 5}, {1, 1}, {7, 0}, {0, 7}, {3, 3}, {8, 8}, {2, 1}};
    char item[8];

    for (uint32_t order = SHK_FIFO; order <= SHK_PRIORITY; order++) {
        struct shk_queue *queue;
        unsigned most = 0;

        assert_code(shk_queue_open(test_segment(), "wave", SHK_CREATE,
                                   &(struct shk_queue_options){.order = order,
                                                               .capacity = _i == 9 ? 0 : (size_t)_i,
                                                               .item_size = 8},
                                   &queue),
                    0);
        ck_assert_uint_eq(object("wave")->as.queue.high_water, 0);
        for (size_t i = 0; i < sizeof(waves) / sizeof(waves[0]); i++) {
            for (unsigned k = 0; k < waves[i].puts; k++)
                assert_code(shk_queue_put(queue, "item", 4, SHK_NOWAIT), 0);
            most = waves[i].puts > most ? waves[i].puts : most;
            ck_assert_uint_eq(object("wave")->as.queue.high_water, most);
            for (unsigned k = 0; k < waves[i].gets; k++)
                assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), 4);
            ck_assert_uint_eq(object("wave")->as.queue.high_water, most);
        }
        assert_code(shk_queue_close(queue), 0);
        assert_code(shk_object_unlink(test_segment(), "wave"), 0);
    }
}
END_TEST

/* In each order, without limit, and with items that are larger than a block. */
static const struct shk_queue_options leased_queues[] = {
    {.order = SHK_FIFO, .capacity = 5, .item_size = 8},
    {.order = SHK_LIFO, .capacity = 5, .item_size = 8},
    {.order = SHK_PRIORITY, .capacity = 5, .item_size = 8},
    {.order = SHK_FIFO},
    {.order = SHK_LIFO, .item_size = 100000},
    {.order = SHK_PRIORITY},
};

static void assert_leases(uint64_t size, uint64_t gets, uint32_t leased, uint32_t came_back,
                          uint32_t delayed)
{
    struct shk_object_info info = *object("queue");

    ck_assert_uint_eq(info.as.queue.puts, 5);
    ck_assert_uint_eq(info.as.queue.size, size);
    ck_assert_uint_eq(info.as.queue.gets, gets);
    ck_assert_uint_eq(info.as.queue.leased, leased);
    ck_assert_uint_eq(info.as.queue.came_back, came_back);
    ck_assert_uint_eq(info.as.queue.delayed, delayed);
    ck_assert_uint_eq(member(getpid())->leases, leased);
    ck_assert_uint_eq(info.as.queue.lessee, leased ? member(getpid())->id : 0);
    ck_assert_int_eq(info.as.queue.lessee_pid, leased ? getpid() : 0);
}

START_TEST(test_leased_items_are_neither_in_the_queue_nor_taken)
{
    struct shk_queue *queue;
    uint64_t first, second, third;
    char item[32];

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, &leased_queues[_i], &queue), 0);
    for (int i = 0; i < 5; i++)
        assert_code(shk_queue_put(queue, "item", 4, SHK_NOWAIT), 0);
    assert_leases(5, 0, 0, 0, 0);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &first), 4);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &second), 4);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &third), 4);
    assert_leases(2, 0, 3, 0, 0);
    ck_assert_int_gt(object("queue")->as.queue.lease, 0);
    ck_assert_uint_eq(object("queue")->as.queue.attempts, 1);
    assert_code(shk_queue_ack(queue, first), 0);
    assert_leases(2, 1, 2, 0, 0);
    assert_code(shk_queue_nack(queue, second, SHK_SEC(1000)), 0);
    assert_leases(3, 1, 1, 1, 1);
    assert_code(shk_queue_nack(queue, third, 0), 0);
    assert_leases(4, 1, 0, 2, 1);
    assert_code(shk_queue_lease(queue, item, sizeof(item), SHK_NOWAIT, &third), 4);
    assert_leases(3, 1, 1, 1, 1);
    ck_assert_uint_eq(object("queue")->as.queue.attempts, 2);
    ck_assert_int_eq(shk_queue_size(queue), 3);
    assert_code(shk_queue_ack(queue, third), 0);
    assert_leases(3, 2, 0, 1, 1);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

START_TEST(test_events_queues_and_regions_are_shown)
{
    struct shk_event *event;
    struct shk_queue *queue;
    struct shk_region *region;
    char item[32];

    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    ck_assert_uint_eq(object("event")->as.event.is_set, 0);
    assert_code(shk_event_set(event), 0);
    ck_assert_uint_eq(object("event")->as.event.is_set, 1);
    assert_code(shk_event_clear(event), 0);
    ck_assert_uint_eq(object("event")->as.event.is_set, 0);
    assert_code(shk_event_close(event), 0);

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE,
                               &(struct shk_queue_options){.capacity = 3, .item_size = 32}, &queue),
                0);
    for (unsigned puts = 0; puts < 10; puts++) {
        struct shk_object_info info = *object("queue");
        ck_assert_uint_eq(info.kind, SHK_KIND_QUEUE);
        ck_assert_uint_eq(info.as.queue.order, SHK_FIFO);
        ck_assert_uint_eq(info.as.queue.capacity, 3);
        ck_assert_uint_eq(info.as.queue.item_size, 32);
        ck_assert_uint_eq(info.as.queue.puts, puts);
        ck_assert_uint_eq(info.as.queue.gets, puts < 2 ? 0 : puts - 2);
        ck_assert_uint_eq(info.as.queue.size, puts < 2 ? puts : 2);
        ck_assert_uint_eq(info.as.queue.shut_down, 0);
        assert_code(shk_queue_put(queue, "item", 4, SHK_NOWAIT), 0);
        if (puts >= 2)
            assert_code(shk_queue_get(queue, item, sizeof(item), SHK_NOWAIT), 4);
    }
    assert_code(shk_queue_shutdown(queue), 0);
    ck_assert_uint_eq(object("queue")->as.queue.shut_down, 1);
    assert_code(shk_queue_close(queue), 0);

    assert_code(shk_region_open(test_segment(), "region", SHK_CREATE,
                                &(struct shk_region_options){.size = 5000, .align = 256}, &region),
                0);
    ck_assert_uint_eq(object("region")->kind, SHK_KIND_REGION);
    ck_assert_uint_eq(object("region")->as.region.size, 5000);
    ck_assert_uint_eq(object("region")->as.region.align, 256);
    ck_assert_uint_ge(object("region")->size, 5000);
    assert_code(shk_region_close(region), 0);
}
END_TEST

/* ---- Waiters ---- */

static int wait_to_acquire(void)
{
    struct shk_lock *lock;

    assert_code(shk_lock_open(test_segment(), "lock", 0, NULL, &lock), 0);
    assert_code(shk_lock_acquire(lock, SHK_FOREVER), 0);
    return shk_lock_release(lock);
}

static int wait_for_notify(void)
{
    struct shk_cond *cond;

    assert_code(shk_cond_open(test_segment(), "cond", 0, NULL, &cond), 0);
    assert_code(shk_cond_acquire(cond, SHK_FOREVER), 0);
    assert_code(shk_cond_wait(cond, SHK_SEC(1000)), 0);
    return shk_cond_release(cond);
}

static int wait_for_set(void)
{
    struct shk_event *event;

    assert_code(shk_event_open(test_segment(), "event", 0, NULL, &event), 0);
    return shk_event_wait(event, SHK_FOREVER);
}

static int wait_to_put(void)
{
    struct shk_queue *queue;

    assert_code(shk_queue_open(test_segment(), "full", 0, NULL, &queue), 0);
    return shk_queue_put(queue, "b", 1, SHK_FOREVER);
}

static int wait_to_get(void)
{
    struct shk_queue *queue;
    char item[1024];

    assert_code(shk_queue_open(test_segment(), "empty", 0, NULL, &queue), 0);
    return shk_queue_get(queue, item, sizeof(item), SHK_SEC(1000)) == 1 ? 0 : 1;
}

static const struct sleeper {
    const char *object;
    enum shk_wait_for waits_for;
    int (*sleep)(void);
    bool has_deadline;
} sleepers[] = {
    {"lock", SHK_WAITS_TO_ACQUIRE, wait_to_acquire, false},
    {"cond", SHK_WAITS_FOR_NOTIFY, wait_for_notify, true},
    {"event", SHK_WAITS_FOR_SET, wait_for_set, false},
    {"full", SHK_WAITS_TO_PUT, wait_to_put, false},
    {"empty", SHK_WAITS_TO_GET, wait_to_get, true},
};

enum { SLEEPERS = sizeof(sleepers) / sizeof(sleepers[0]) };

static int put_and_die(void *argument)
{
    struct shk_queue *queue;

    (void)argument;
    assert_code(shk_queue_open(test_segment(), "queue", 0, NULL, &queue), 0);
    assert_code(shk_queue_put(queue, "a", 1, SHK_NOWAIT), 0);
    raise(SIGKILL);
    return 1;
}

static int put_and_leave(void *argument)
{
    struct shk_queue *queue;

    (void)argument;
    assert_code(shk_queue_open(test_segment(), "queue", 0, NULL, &queue), 0);
    assert_code(shk_queue_put(queue, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_queue_close(queue), 0);
    return shk_segment_close(test_segment()); /* in order */
}

static int open_event_and_die(void *argument)
{
    struct shk_event *event;

    assert_code(shk_event_open(test_segment(), "event", 0, NULL, &event), 0);
    if (*(bool *)argument)
        shk_event_wait(event, SHK_MS(1));
    raise(SIGKILL);
    return 1;
}

START_TEST(test_a_dead_member_that_gave_what_others_wait_for_is_shown)
{
    struct shk_queue *queue;
    struct shk_event *event;
    bool waits = true;

    assert_code(shk_queue_open(test_segment(), "queue", SHK_CREATE, NULL, &queue), 0);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    ck_assert_uint_eq(object("queue")->dead_giver, 0);
    child_succeeds(stranger_start(put_and_leave, NULL));
    ck_assert_uint_eq(object("queue")->dead_giver, 0);
    ck_assert_int_eq(child_wait(stranger_start(put_and_die, NULL)), 128 + SIGKILL);
    ck_assert_uint_ne(object("queue")->dead_giver, 0);
    ck_assert_uint_eq(object("queue")->dead_taker, 0);
    child_succeeds(stranger_start(put_and_leave, NULL)); /* another has come */
    ck_assert_uint_eq(object("queue")->dead_giver, 0);

    ck_assert_int_eq(child_wait(stranger_start(open_event_and_die, &waits)), 128 + SIGKILL);
    ck_assert_uint_eq(object("event")->dead_giver, 0);
    waits = false;
    ck_assert_int_eq(child_wait(stranger_start(open_event_and_die, &waits)), 128 + SIGKILL);
    ck_assert_uint_ne(object("event")->dead_giver, 0);
    assert_code(shk_event_close(event), 0);
    assert_code(shk_queue_close(queue), 0);
}
END_TEST

static struct shk_lock *stamped;
static struct shk_cond *stamped_cond;

static void *hold_as_another_thread(void *argument)
{
    (void)argument;
    assert_code(shk_lock_acquire(stamped, SHK_NOWAIT), 0);
    ck_assert_int_eq(object("lock")->held, 0);
    assert_code(shk_lock_release(stamped), 0);
    return NULL;
}

START_TEST(test_a_stamp_tells_how_long_a_lock_has_been_held)
{
    struct shk_lock *other;
    pthread_t thread;

    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &stamped), 0);
    assert_code(shk_lock_open(test_segment(), "other", SHK_CREATE, NULL, &other), 0);
    assert_code(shk_cond_open(test_segment(), "cond", SHK_CREATE, NULL, &stamped_cond), 0);
    assert_code(shk_lock_stamp(stamped), -EPERM);
    assert_code(shk_cond_stamp(stamped_cond), -EPERM);
    assert_code(shk_lock_acquire(stamped, SHK_NOWAIT), 0);
    ck_assert_int_eq(object("lock")->held, 0);
    assert_code(shk_lock_stamp(stamped), 0);
    wait_until(object("lock")->held > SHK_MS(20), TEST_DEADLINE);
    assert_code(shk_lock_stamp(stamped), 0);
    ck_assert_int_lt(object("lock")->held, SHK_SEC(60));
    ck_assert_int_gt(object("lock")->held, 0);
    /* Of the next time nothing is known, be the holder the same or another. */
    assert_code(shk_lock_release(stamped), 0);
    ck_assert_int_eq(object("lock")->held, 0);
    assert_code(shk_lock_acquire(stamped, SHK_NOWAIT), 0);
    ck_assert_int_eq(object("lock")->held, 0);
    assert_code(shk_lock_release(stamped), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, hold_as_another_thread, NULL), 0);
    pthread_join(thread, NULL);
    /* The last note counts, and is about its own lock. */
    assert_code(shk_lock_acquire(stamped, SHK_NOWAIT), 0);
    assert_code(shk_lock_acquire(other, SHK_NOWAIT), 0);
    assert_code(shk_lock_stamp(stamped), 0);
    ck_assert_int_gt(object("lock")->held, 0);
    ck_assert_int_eq(object("other")->held, 0);
    assert_code(shk_cond_acquire(stamped_cond, SHK_NOWAIT), 0);
    assert_code(shk_cond_stamp(stamped_cond), 0);
    ck_assert_int_eq(object("lock")->held, 0);
    ck_assert_int_gt(object("cond")->held, 0);
    assert_code(shk_cond_release(stamped_cond), 0);
    assert_code(shk_lock_release(other), 0);
    assert_code(shk_lock_release(stamped), 0);
    assert_code(shk_cond_close(stamped_cond), 0);
    assert_code(shk_lock_close(other), 0);
    assert_code(shk_lock_close(stamped), 0);
}
END_TEST

static int go_to_sleep(void *argument)
{
    const struct sleeper *sleeper = argument;
    char name[64];

    snprintf(name, sizeof(name), "%s sleeper", sleeper->object);
    assert_code(shk_set_member_name(test_segment(), name), 0);
    return sleeper->sleep();
}

struct bedroom {
    struct shk_lock *lock;
    struct shk_cond *cond;
    struct shk_event *event;
    struct shk_queue *full, *empty;
};

static struct bedroom bedroom_open(void)
{
    struct bedroom room;
    struct shk_queue_options one = {.capacity = 1};

    assert_code(shk_lock_open(test_segment(), "lock", SHK_CREATE, NULL, &room.lock), 0);
    assert_code(shk_cond_open(test_segment(), "cond", SHK_CREATE, NULL, &room.cond), 0);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &room.event), 0);
    assert_code(shk_queue_open(test_segment(), "full", SHK_CREATE, &one, &room.full), 0);
    assert_code(shk_queue_open(test_segment(), "empty", SHK_CREATE, &one, &room.empty), 0);
    assert_code(shk_queue_put(room.full, "a", 1, SHK_NOWAIT), 0);
    assert_code(shk_lock_acquire(room.lock, SHK_NOWAIT), 0);
    return room;
}

static void bedroom_wake(const struct bedroom *room)
{
    char item[1024];

    assert_code(shk_lock_release(room->lock), 0);
    assert_code(shk_cond_acquire(room->cond, SHK_FOREVER), 0);
    shk_cond_notify_all(room->cond);
    assert_code(shk_cond_release(room->cond), 0);
    assert_code(shk_event_set(room->event), 0);
    assert_code(shk_queue_get(room->full, item, sizeof(item), SHK_FOREVER), 1);
    assert_code(shk_queue_put(room->empty, "c", 1, SHK_FOREVER), 0);
}

static void bedroom_close(const struct bedroom *room)
{
    assert_code(shk_lock_close(room->lock), 0);
    assert_code(shk_cond_close(room->cond), 0);
    assert_code(shk_event_close(room->event), 0);
    assert_code(shk_queue_close(room->full), 0);
    assert_code(shk_queue_close(room->empty), 0);
}

START_TEST(test_sleepers_are_shown)
{
    struct bedroom room = bedroom_open();
    pid_t children[SLEEPERS];
    char name[64];

    for (int i = 0; i < SLEEPERS; i++) {
        int64_t before = time_now();
        ck_assert_uint_eq(object(sleepers[i].object)->waiters, 0);
        children[i] = stranger_start(go_to_sleep, (void *)&sleepers[i]);
        wait_until_waiting(segment_name(NULL), children[i], sleepers[i].object);
        struct shk_member_info info = *member(children[i]);
        snprintf(name, sizeof(name), "%s sleeper", sleepers[i].object);
        ck_assert_str_eq(info.name, name);
        ck_assert_uint_eq(info.waits_for, sleepers[i].waits_for);
        ck_assert_str_eq(info.waits_on, sleepers[i].object);
        ck_assert_uint_eq(info.has_deadline, sleepers[i].has_deadline);
        ck_assert_int_ge(info.waiting, 0);
        ck_assert_int_le(info.waiting, time_now() - before);
        ck_assert_uint_eq(object(sleepers[i].object)->waiters, 1);
        ck_assert_uint_eq(object(sleepers[i].object)->users, 2);
    }
    /* the time goes by, over as many recheck intervals as it takes */
    for (int i = 0; i < SLEEPERS; i++) {
        wait_until(member(children[i])->waiting > SHK_MS(300), TEST_DEADLINE);
        ck_assert_uint_eq(member(children[i])->waits_for, sleepers[i].waits_for);
    }
    bedroom_wake(&room);
    for (int i = 0; i < SLEEPERS; i++) {
        child_succeeds(children[i]);
        ck_assert_uint_eq(object(sleepers[i].object)->waiters, 0);
    }
    bedroom_close(&room);
}
END_TEST

START_TEST(test_tickets_show_the_order_of_arrival)
{
    enum { COUNT = 5 };
    struct bedroom room = bedroom_open();
    pid_t in_line[COUNT], at_event[COUNT]; /* which has no line: it releases all at once */

    for (int i = 0; i < COUNT; i++) {
        in_line[i] = stranger_start(go_to_sleep, (void *)&sleepers[1]);
        wait_until_waiting(segment_name(NULL), in_line[i], "cond");
        if (i > 0)
            ck_assert_uint_lt(member(in_line[i - 1])->ticket, member(in_line[i])->ticket);
        at_event[i] = stranger_start(go_to_sleep, (void *)&sleepers[2]);
        wait_until_waiting(segment_name(NULL), at_event[i], "event");
        ck_assert_uint_eq(member(at_event[i])->ticket, 0);
    }
    ck_assert_uint_eq(object("cond")->waiters, COUNT);
    ck_assert_uint_eq(object("event")->waiters, COUNT);
    bedroom_wake(&room);
    for (int i = 0; i < COUNT; i++) {
        child_succeeds(in_line[i]);
        child_succeeds(at_event[i]);
    }
    bedroom_close(&room);
}
END_TEST

START_TEST(test_members_are_shown_in_order_of_joining)
{
    enum { COUNT = 12 };
    struct bedroom room = bedroom_open();
    pid_t children[COUNT], joined[COUNT + 1] = {getpid()};
    const struct shk_member_info *info;

    for (int i = 0; i < COUNT; i++) {
        children[i] = stranger_start(go_to_sleep, (void *)&sleepers[2]);
        wait_until_waiting(segment_name(NULL), children[i], "event");
        joined[i + 1] = children[i];
    }
    child_kill(children[3]); /* whose record may be used again */
    child_kill(children[7]);
    memmove(joined + 8, joined + 9, 4 * sizeof(pid_t));
    memmove(joined + 4, joined + 5, 7 * sizeof(pid_t));
    joined[11] = children[3] = stranger_start(go_to_sleep, (void *)&sleepers[2]);
    wait_until_waiting(segment_name(NULL), children[3], "event");
    joined[12] = children[7] = stranger_start(go_to_sleep, (void *)&sleepers[2]);
    wait_until_waiting(segment_name(NULL), children[7], "event");

    struct shk_snapshot *look = look_open(segment_name(NULL));
    size_t alive = 0;
    for (size_t i = 0; (info = shk_snapshot_member(look, i)); i++) {
        ck_assert_ptr_eq(shk_snapshot_find_member(look, info->id), info);
        if (info->alive)
            ck_assert_int_eq(info->pid, joined[alive++]);
    }
    ck_assert_uint_eq(alive, COUNT + 1);
    shk_snapshot_close(look);
    bedroom_wake(&room);
    for (int i = 0; i < COUNT; i++)
        child_succeeds(children[i]);
    bedroom_close(&room);
}
END_TEST

/* ---- It touches nothing ---- */

static void assert_untouched(const struct stat *before)
{
    struct stat after;

    ck_assert_int_eq(stat(shm_path(segment_name(NULL)), &after), 0);
    ck_assert_int_eq(after.st_blocks, before->st_blocks);
    ck_assert_int_eq(after.st_mtim.tv_sec, before->st_mtim.tv_sec);
    ck_assert_int_eq(after.st_mtim.tv_nsec, before->st_mtim.tv_nsec);
    ck_assert_int_eq(after.st_ctim.tv_sec, before->st_ctim.tv_sec);
    ck_assert_int_eq(after.st_ctim.tv_nsec, before->st_ctim.tv_nsec);
}

static unsigned char *read_file(size_t size)
{
    unsigned char *bytes = aligned_alloc(SHKI_PAGE, size);
    int fd = open(shm_path(segment_name(NULL)), O_RDONLY | O_CLOEXEC);

    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(read(fd, bytes, size), size);
    close(fd);
    return bytes;
}

START_TEST(test_looking_changes_nothing)
{
    struct shk_segment_info *list;
    struct stat status;

    struct bedroom room = bedroom_open();
    unsigned mapped = mappings(), descriptors = open_descriptors();
    unsigned char *before = read_file(32 << 20);
    ck_assert_int_eq(stat(shm_path(segment_name(NULL)), &status), 0);
    for (int i = 0; i < 10; i++) {
        struct shk_snapshot *look = look_open(segment_name(NULL));
        ck_assert_uint_eq(shk_snapshot_segment(look)->objects, 5);
        ck_assert_uint_eq(shk_snapshot_segment(look)->members_alive, 1);
        ck_assert_uint_eq(mappings(), mapped);
        shk_snapshot_close(look);
        ck_assert_int_gt(shk_segment_list(SHK_LIST_FOREIGN, &list), 0);
        free(list);
    }
    ck_assert_uint_eq(open_descriptors(), descriptors);
    assert_untouched(&status);
    unsigned char *after = read_file(32 << 20);
    ck_assert_mem_eq(after, before, 32 << 20);
    free(before);
    free(after);
    assert_code(shk_lock_release(room.lock), 0);
    bedroom_close(&room);
}
END_TEST

START_TEST(test_looking_takes_no_lock)
{
    int fd;
    struct shk_segment_info info;

    test_segment();
    fd = open(shm_path(segment_name(NULL)), O_RDWR | O_CLOEXEC);
    struct shki_header *header =
        mmap(NULL, sizeof(*header), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(header, MAP_FAILED);
    ck_assert_int_eq(pthread_mutex_lock(&header->lock.robust), 0);
    ck_assert(look_at_segment(segment_name(NULL), &info));
    ck_assert_int_eq(pthread_mutex_unlock(&header->lock.robust), 0);
    munmap(header, sizeof(*header));
    close(fd);
}
END_TEST

/* ---- Permissions ---- */

static int look_unprivileged(void *argument)
{
    struct shk_snapshot *look = NULL;
    struct stat status;

    ck_assert_int_eq(stat(shm_path(segment_name(NULL)), &status), 0);
    become_unprivileged();
    if (argument) { /* readable */
        ck_assert_uint_eq(object("event")->as.event.is_set, 1);
        ck_assert_uint_eq(member(getppid())->alive, 1);
        assert_untouched(&status);
        return 0;
    }
    assert_code(shk_snapshot_open(segment_name(NULL), &look), -EACCES);
    ck_assert_ptr_null(look);
    struct shk_segment_info *list = NULL;
    ssize_t count = shk_segment_list(0, &list);
    ck_assert_int_gt(count, 0);
    for (ssize_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, segment_name(NULL) + 1))
            continue;
        ck_assert_uint_eq(list[i].state, SHK_SEGMENT_DENIED);
        ck_assert_str_ne(list[i].problem, "");
        ck_assert_uint_eq(list[i].mode, status.st_mode & 07777);
        ck_assert_uint_eq(list[i].uid, 0);
        ck_assert_uint_eq(list[i].size, (uint64_t)status.st_size);
        free(list);
        return 0;
    }
    return 1;
}

START_TEST(test_a_permission_to_read_is_enough)
{
    struct shk_event *event;

    if (geteuid() != 0)
        skip_test("not root: cannot become another user");
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_event_set(event), 0);
    child_succeeds(child_start(look_unprivileged, NULL)); /* 0600 */
    ck_assert_int_eq(chmod(shm_path(segment_name(NULL)), 0444), 0);
    child_succeeds(child_start(look_unprivileged, "readable"));
    ck_assert_int_eq(chmod(shm_path(segment_name(NULL)), 0004), 0);
    child_succeeds(child_start(look_unprivileged, "readable"));
    ck_assert_int_eq(chmod(shm_path(segment_name(NULL)), 0440), 0);
    child_succeeds(child_start(look_unprivileged, NULL));
    assert_code(shk_event_close(event), 0);
}
END_TEST

static int unprivileged_creates(void *argument)
{
    struct shk_segment *segment;
    struct shk_event *event;

    (void)argument;
    become_unprivileged();
    assert_code(shk_segment_open(segment_name("unprivileged"), SHK_CREATE, NULL, &segment), 0);
    assert_code(shk_event_open(segment, "event", SHK_CREATE, NULL, &event), 0);
    ck_assert_int_eq(chmod(shm_path(segment_name("unprivileged")), 0400), 0);
    return 0;
}

START_TEST(test_another_users_read_only_segment_can_be_looked_at)
{
    struct shk_object_info info;

    if (geteuid() != 0)
        skip_test("not root: cannot become another user");
    child_succeeds(child_start(unprivileged_creates, NULL));
    ck_assert(look_at_object(segment_name("unprivileged"), "event", &info));
    ck_assert_uint_eq(info.kind, SHK_KIND_EVENT);
    ck_assert_int_eq(unlink(shm_path(segment_name("unprivileged"))), 0);
}
END_TEST

/* ---- What is no good segment ---- */

static const struct shk_segment_info *find_in(const struct shk_segment_info *list, ssize_t count,
                                              const char *name)
{
    for (ssize_t i = 0; i < count; i++)
        if (!strcmp(list[i].name, name + 1))
            return &list[i];
    return NULL;
}

static void assert_cannot_be_looked_at(const char *name)
{
    struct shk_snapshot *look = NULL;

    assert_code(shk_snapshot_open(name, &look), -EPROTO);
    ck_assert_ptr_null(look);
}

/* As the list and the snapshot say it. A foreign file is listed only when asked for. */
static void assert_state(const char *name, enum shk_segment_state state, int code)
{
    struct shk_segment_info *list = NULL;
    struct shk_snapshot *look = NULL;

    assert_code(shk_snapshot_open(name, &look), code);
    if (code == 0) {
        ck_assert_uint_eq(shk_snapshot_segment(look)->state, state);
        shk_snapshot_close(look);
    } else {
        ck_assert_ptr_null(look);
    }
    for (unsigned flags = 0; flags <= SHK_LIST_FOREIGN; flags += SHK_LIST_FOREIGN) {
        ssize_t count = shk_segment_list(flags, &list);
        ck_assert_msg(count >= 0, "%s", code_name(count));
        const struct shk_segment_info *found = find_in(list, count, name);
        ck_assert_msg(!found == (state == SHK_SEGMENT_FOREIGN && !flags), "%s",
                      found ? "listed" : "not listed");
        if (found) {
            ck_assert_uint_eq(found->state, state);
            ck_assert_msg(!found->problem[0] == (state == SHK_SEGMENT_GOOD), "problem: %s",
                          found->problem);
            ck_assert(is_text(found->problem, sizeof(found->problem)));
        }
        free(list);
        list = NULL;
    }
}

#define WITH_PATCH(field, value, state)                                              \
    do {                                                                             \
        struct shki_header header;                                                   \
        __typeof__(header.field) wrong = (value);                                    \
        write_shm(copy, 0, image, SMALL_SIZE);                                       \
        write_shm(copy, offsetof(struct shki_header, field), &wrong, sizeof(wrong)); \
        assert_state(copy, state, state == SHK_SEGMENT_RETIRED ? 0 : -EPROTO);       \
    } while (0)

START_TEST(test_what_is_no_good_segment_is_told_apart)
{
    struct shk_snapshot *look = NULL;
    char copy[SHK_SEGMENT_NAME_MAX];

    strcpy(copy, segment_name("copy"));
    assert_code(shk_snapshot_open(copy, &look), -ENOENT);
    test_segment_with(SMALL);
    struct bedroom room = bedroom_open();
    assert_state(segment_name(NULL), SHK_SEGMENT_GOOD, 0);
    unsigned char *image = read_file(SMALL_SIZE);
    write_shm(copy, 0, "", 0);
    assert_state(copy, SHK_SEGMENT_FOREIGN, -EPROTO);
    write_shm(copy, 0, "something else", 14);
    assert_state(copy, SHK_SEGMENT_FOREIGN, -EPROTO);
    write_shm(copy, 0, image, SMALL_SIZE);
    assert_state(copy, SHK_SEGMENT_GOOD, 0);
    WITH_PATCH(magic[0], 'x', SHK_SEGMENT_FOREIGN);
    WITH_PATCH(layout, SHKI_LAYOUT + 1, SHK_SEGMENT_MISMATCH);
    WITH_PATCH(fingerprint, 1, SHK_SEGMENT_MISMATCH);
    WITH_PATCH(size, SMALL_SIZE / 2, SHK_SEGMENT_CORRUPT);
    WITH_PATCH(entries_offset, 1, SHK_SEGMENT_CORRUPT);
    WITH_PATCH(members_offset, UINT64_MAX, SHK_SEGMENT_CORRUPT);
    WITH_PATCH(max_members, UINT32_MAX, SHK_SEGMENT_CORRUPT);
    WITH_PATCH(max_objects, UINT32_MAX, SHK_SEGMENT_CORRUPT);
    WITH_PATCH(retired, 1, SHK_SEGMENT_RETIRED);
    write_shm(copy, 0, image, SMALL_SIZE);
    ck_assert_int_eq(truncate(shm_path(copy), 5000), 0);
    assert_state(copy, SHK_SEGMENT_CORRUPT, -EPROTO);
    ck_assert_int_eq(truncate(shm_path(copy), 100), 0);
    assert_state(copy, SHK_SEGMENT_CORRUPT, -EPROTO);
    ck_assert_int_eq(unlink(shm_path(copy)), 0);

    /* no reader waits at the other end for a writer */
    ck_assert_int_eq(mkfifo(shm_path(copy), 0600), 0);
    assert_cannot_be_looked_at(copy);
    ck_assert_int_eq(unlink(shm_path(copy)), 0);
    ck_assert_int_eq(mkdir(shm_path(copy), 0700), 0);
    assert_cannot_be_looked_at(copy);
    ck_assert_int_eq(rmdir(shm_path(copy)), 0);
    ck_assert_int_eq(symlink(shm_path(segment_name(NULL)), shm_path(copy)), 0);
    assert_cannot_be_looked_at(copy);
    ck_assert_int_eq(unlink(shm_path(copy)), 0);
    free(image);
    assert_code(shk_lock_release(room.lock), 0);
    bedroom_close(&room);
}
END_TEST

START_TEST(test_segments_are_listed_in_order_of_name)
{
    static const char *const suffixes[] = {"m", "b", "银行", "a"};
    static const char *const in_order[] = {"a", "b", "m", "银行"};
    struct shk_segment *segments[4];
    struct shk_segment_info *list = NULL;

    for (int i = 0; i < 4; i++)
        assert_code(shk_segment_open(segment_name(suffixes[i]), SHK_CREATE, SMALL, &segments[i]),
                    0);
    ssize_t count = shk_segment_list(0, &list);
    ck_assert_int_ge(count, 4);
    for (ssize_t i = 1; i < count; i++)
        ck_assert_str_lt(list[i - 1].name, list[i].name);
    for (int i = 0; i < 4; i++) {
        const struct shk_segment_info *found = find_in(list, count, segment_name(in_order[i]));
        ck_assert_ptr_nonnull(found);
        ck_assert_ptr_eq(found, find_in(list, count, segment_name(in_order[0])) + i);
        ck_assert_uint_eq(found->members_alive, 1);
        ck_assert_uint_eq(found->max_objects, 16);
    }
    free(list);
    for (int i = 0; i < 4; i++) {
        assert_code(shk_segment_close(segments[i]), 0);
        assert_code(shk_segment_unlink(segment_name(suffixes[i])), 0);
    }
}
END_TEST

static int list_nothing(void *argument)
{
    struct shk_segment_info *list = (struct shk_segment_info *)1;

    (void)argument;
    if (!replace_shm(1 << 20))
        return 77;
    assert_code(shk_segment_list(SHK_LIST_FOREIGN, &list), 0);
    free(list); /* whatever it is, it can be freed */
    return 0;
}

START_TEST(test_an_empty_list_is_a_list)
{
    int status = child_wait(child_start(list_nothing, NULL));

    if (status == 77)
        skip_test("not permitted to mount a file system of its own over /dev/shm");
    ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- Any bytes at all ---- */

#define ASSERT_TEXT(array) ck_assert(is_text(array, sizeof(array)))

static void walk(const char *segment)
{
    struct shk_snapshot *look = NULL;
    const struct shk_object_info *object;
    const struct shk_member_info *member;

    int got = shk_snapshot_open(segment, &look);
    if (got < 0) {
        if (!code_is(got, -EPROTO))
            ck_abort_msg("%s", code_name(got));
        return;
    }
    const struct shk_segment_info *info = shk_snapshot_segment(look);
    ASSERT_TEXT(info->name);
    ASSERT_TEXT(info->problem);
    size_t objects = 0, members = 0;
    for (; (object = shk_snapshot_object(look, objects)); objects++) {
        ASSERT_TEXT(object->name);
        if (object->kind == SHK_KIND_COND)
            ASSERT_TEXT(object->as.cond.lock);
        if (!shk_snapshot_find_object(look, object->name))
            ck_abort_msg("object %s is not found", object->name);
        shk_snapshot_find_member(look, object->holder);
    }
    for (; (member = shk_snapshot_member(look, members)); members++) {
        ASSERT_TEXT(member->command);
        ASSERT_TEXT(member->name);
        ASSERT_TEXT(member->waits_on);
        ck_assert_int_ge(member->waiting, 0);
        if (!shk_snapshot_find_member(look, member->id))
            ck_abort_msg("member %llu is not found", (unsigned long long)member->id);
    }
    ck_assert_uint_eq(info->objects, objects);
    ck_assert_uint_eq((size_t)info->members_alive + info->members_dead, members);
    ck_assert_uint_le(objects, info->max_objects);
    ck_assert_uint_le(members, info->max_members);
    shk_snapshot_close(look);
}

struct sample {
    unsigned char *bytes;
    size_t size;
    unsigned short seed[3];
};

/*
 * The bytes of a segment with everything in it: sleepers of all kinds, holders, items, dead
 * members.
 */
static void take_sample(struct sample *sample)
{
    pid_t children[2 * SLEEPERS];

    test_segment_with(SMALL);
    struct bedroom room = bedroom_open();
    for (int i = 0; i < 2 * SLEEPERS; i++) {
        children[i] = stranger_start(go_to_sleep, (void *)&sleepers[i % SLEEPERS]);
        wait_until_waiting(segment_name(NULL), children[i], sleepers[i % SLEEPERS].object);
    }
    child_kill(children[0]);
    child_kill(children[SLEEPERS + 1]);
    sample->size = SMALL_SIZE;
    sample->bytes = read_file(sample->size);
    for (int i = 1; i < 2 * SLEEPERS; i++)
        if (i != SLEEPERS + 1)
            child_kill(children[i]);
    assert_code(shk_lock_release(room.lock), 0);
    bedroom_close(&room);
}

static unsigned next_random(struct sample *sample)
{
    return (unsigned)jrand48(sample->seed);
}

/* What an attacker or an accident would write, rather than noise. */
static uint64_t next_value(struct sample *sample)
{
    switch (next_random(sample) % 6) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - next_random(sample) % 64;
    case 2:
        return next_random(sample) % sample->size;
    case 3:
        return (uint64_t)next_random(sample) << 32 | next_random(sample);
    case 4:
        return 1ull << next_random(sample) % 64;
    default:
        return next_random(sample) % 70;
    }
}

static void spoil(const char *segment, struct sample *sample, size_t within)
{
    unsigned count = 1 + next_random(sample) % 20;

    write_shm(segment, 0, sample->bytes, sample->size);
    for (unsigned i = 0; i < count; i++) {
        static const size_t widths[] = {1, 4, 8, 64};
        unsigned char bytes[64];
        size_t width = widths[next_random(sample) % 4],
               at = next_random(sample) % (within - 64) / width * width;
        uint64_t value = next_value(sample);
        for (size_t k = 0; k < width; k++)
            bytes[k] = value >> 8 * (k % 8);
        write_shm(segment, at, bytes, width);
    }
}

static void corrupt_at_random(size_t within(const struct sample *), int rounds, unsigned short seed)
{
    struct sample sample = {.seed = {1, 2, seed}};
    char copy[SHK_SEGMENT_NAME_MAX];

    strcpy(copy, segment_name("copy"));
    take_sample(&sample);
    write_shm(copy, 0, sample.bytes, sample.size);
    walk(copy); /* as it was */
    for (int i = 0; i < rounds; i++) {
        spoil(copy, &sample, within(&sample));
        walk(copy);
    }
    ck_assert_int_eq(unlink(shm_path(copy)), 0);
    free(sample.bytes);
}

static size_t all_of_it(const struct sample *sample)
{
    return sample->size;
}

static size_t header_only(const struct sample *sample)
{
    (void)sample;
    return 1024;
}

static size_t directory_and_members(const struct sample *sample)
{
    (void)sample;
    return shki_geometry(SMALL->max_members, SMALL->max_objects, SMALL->size).processes_offset;
}

START_TEST(test_any_bytes_in_the_header)
{
    corrupt_at_random(header_only, 1000, 1);
}
END_TEST

START_TEST(test_any_bytes_in_the_tables)
{
    corrupt_at_random(directory_and_members, 2000, 2);
}
END_TEST

START_TEST(test_any_bytes_anywhere)
{
    corrupt_at_random(all_of_it, 1000, 3);
}
END_TEST

START_TEST(test_any_bytes_in_the_objects)
{
    struct sample sample = {.seed = {1, 2, 4}};
    char copy[SHK_SEGMENT_NAME_MAX];
    struct shki_geometry geometry =
        shki_geometry(SMALL->max_members, SMALL->max_objects, SMALL->size);

    strcpy(copy, segment_name("copy"));
    take_sample(&sample);
    write_shm(copy, 0, sample.bytes, sample.size);
    for (int i = 0; i < 2000; i++) { /* each extent's first bytes, one field at a time */
        const struct shki_entry *entry = (const void *)(sample.bytes + geometry.entries_offset);
        entry += next_random(&sample) % SMALL->max_objects;
        if (entry->state != SHKI_ENTRY_LIVE)
            continue;
        uint64_t at = entry->offset + next_random(&sample) % 64 * 8, value = next_value(&sample),
                 good;
        memcpy(&good, sample.bytes + at, sizeof(good));
        write_shm(copy, at, &value, sizeof(value));
        walk(copy);
        write_shm(copy, at, &good, sizeof(good));
    }
    ck_assert_int_eq(unlink(shm_path(copy)), 0);
    free(sample.bytes);
}
END_TEST

START_TEST(test_noise_behind_a_good_header)
{
    struct sample sample = {.seed = {1, 2, 5}};
    char copy[SHK_SEGMENT_NAME_MAX];

    strcpy(copy, segment_name("copy"));
    take_sample(&sample);
    for (int i = 0; i < 50; i++) {
        for (size_t k = SHKI_PAGE; k < sample.size; k += sizeof(uint32_t)) {
            uint32_t noise = next_random(&sample) & (i & 1 ? 0x03030303 : UINT32_MAX);
            memcpy(sample.bytes + k, &noise, sizeof(noise));
        }
        write_shm(copy, 0, sample.bytes, sample.size);
        walk(copy);
    }
    ck_assert_int_eq(unlink(shm_path(copy)), 0);
    free(sample.bytes);
}
END_TEST

/* Text that others wrote: an escape sequence must not reach a terminal. */
START_TEST(test_names_that_are_no_text_are_shown_as_text)
{
    static const char *const bad[] = {"\xff\xfe",     "\x1b[31mred", "a\nb",    "cut \xe5\xad",
                                      "\xed\xa0\x80", "\xc2\x85",    "\xc0\xaf"};
    struct shk_event *event;
    struct shk_object_info info;
    char name[SHK_NAME_MAX + 1];
    struct shki_geometry geometry =
        shki_geometry(SMALL->max_members, SMALL->max_objects, SMALL->size);
    size_t at = 0;

    test_segment_with(SMALL);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    unsigned char *image = read_file(SMALL_SIZE);
    for (uint32_t i = 0; i < SMALL->max_objects; i++) {
        const struct shki_entry *entry =
            (const void *)(image + geometry.entries_offset + i * sizeof(*entry));
        if (entry->state == SHKI_ENTRY_LIVE)
            at = (const unsigned char *)entry->name - image;
    }
    ck_assert_uint_ne(at, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(name, 0, sizeof(name));
        strcpy(name, bad[i]);
        write_shm(segment_name(NULL), at, name, sizeof(name));
        walk(segment_name(NULL));
    }
    memset(name, 'x', sizeof(name)); /* that do not end */
    write_shm(segment_name(NULL), at, name, sizeof(name));
    walk(segment_name(NULL));
    memset(name, 0, sizeof(name));
    strcpy(name, "event");
    write_shm(segment_name(NULL), at, name, sizeof(name));
    ck_assert(look_at_object(segment_name(NULL), "event", &info));
    free(image);
    assert_code(shk_event_close(event), 0);
}
END_TEST

/*
 * Everybody lives and sleeps on the last object: a look that cost members times objects would take
 * minutes.
 */
START_TEST(test_the_largest_tables_are_looked_at_in_time)
{
    enum { MEMBERS = 8000, OBJECTS = 40000, STEP = 100, USERS = 10 };
    struct shk_segment_options options = {
        .size = 1 << 30, .max_members = MEMBERS, .max_objects = OBJECTS};
    struct shki_geometry at = shki_geometry(MEMBERS, OBJECTS, options.size);
    struct shk_segment *segment = test_segment_with(&options);
    struct shk_segment_info info;
    struct shki_member_shared *members = calloc(STEP, sizeof(*members));
    struct shki_entry *entries = calloc(OBJECTS, sizeof(*entries));
    uint32_t ready = MEMBERS;
    uint64_t all = UINT64_MAX;

    ck_assert(segment && members && entries && look_at_segment(segment_name(NULL), &info));
    for (uint32_t i = 0; i < OBJECTS; i++) {
        entries[i].state = SHKI_ENTRY_LIVE;
        entries[i].serial = i + 1;
        snprintf(entries[i].name, sizeof(entries[i].name), "%05u", i);
    }
    write_shm(segment_name(NULL), at.entries_offset, entries, OBJECTS * sizeof(*entries));
    for (uint32_t i = 0; i < MEMBERS; i++) {
        struct shki_member_shared *m = &members[i % STEP];

        m->id = (uint64_t)(i + 1) << SHKI_INDEX_BITS | i;
        memset(&m->life, 1, sizeof(m->life)); /* a thread's id */
        m->waits_sequence = 1;
        m->waits_for = SHK_WAITS_FOR_SET;
        m->waits_segment = info.id;
        m->waits_entry = OBJECTS - 1;
        m->waits_serial = OBJECTS;
        m->pid = (int32_t)i + 1;
        if (i < USERS) {
            uint64_t row = at.processes_offset + i * at.process_size,
                     word = (uint64_t)m->pid << 32 | SHKI_PROCESS_LIVE;

            write_shm(segment_name(NULL), (off_t)row, &word, sizeof(word));
            write_shm(
                segment_name(NULL),
                (off_t)(row + sizeof(struct shki_process) + (at.uses_words - 1) * sizeof(all)),
                &all, sizeof(all));
        }
        if ((i + 1) % STEP == 0)
            write_shm(segment_name(NULL), at.members_offset + (uint64_t)(i + 1 - STEP) * sizeof(*m),
                      members, STEP * sizeof(*m));
    }
    write_shm(segment_name(NULL), offsetof(struct shki_header, members_ready), &ready,
              sizeof(ready));
    write_shm(segment_name(NULL), offsetof(struct shki_header, processes_ready), &ready,
              sizeof(ready));

    struct shk_snapshot *look = look_open(segment_name(NULL));
    const struct shk_object_info *last = shk_snapshot_object(look, OBJECTS - 1);
    ck_assert_uint_eq(shk_snapshot_segment(look)->members_alive, MEMBERS);
    ck_assert_uint_eq(shk_snapshot_segment(look)->objects, OBJECTS);
    ck_assert_uint_eq(shk_snapshot_object(look, 0)->users, 0);
    ck_assert_uint_eq(last->users, USERS);
    ck_assert_uint_eq(last->waiters, MEMBERS);
    ck_assert_str_eq(shk_snapshot_member(look, 0)->waits_on, last->name);
    shk_snapshot_close(look);
    free(entries);
    free(members);
}
END_TEST

/* ---- While it is in use ---- */

static int change_all_the_time(void *argument)
{
    struct shk_event *event;
    char name[8];

    for (unsigned i = 0; !atomic_load((atomic_int *)argument); i++) {
        snprintf(name, sizeof(name), "%u", i % 7);
        assert_code(shk_event_open(test_segment(), name, SHK_CREATE, NULL, &event), 0);
        assert_code(shk_event_set(event), 0);
        assert_code(shk_object_unlink(test_segment(), name), 0);
        assert_code(shk_event_close(event), 0);
    }
    return 0;
}

START_TEST(test_a_look_while_objects_come_and_go)
{
    atomic_int *enough = shared_memory(sizeof(*enough));

    test_segment_with(SMALL);
    pid_t child = stranger_start(change_all_the_time, enough);
    for (int i = 0; i < 3000; i++)
        walk(segment_name(NULL));
    atomic_store(enough, 1);
    child_succeeds(child);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("inspect");
    TCase *truth = test_case(suite, "what is shown");
    tcase_add_test(truth, test_what_is_reserved_is_zero);
    tcase_add_test(truth, test_an_empty_segment_is_shown);
    tcase_add_test(truth, test_objects_are_shown_in_order_of_name);
    tcase_add_test(truth, test_every_object_has_its_common_figures);
    tcase_add_test(truth, test_an_unlinked_object_is_not_shown);
    tcase_add_test(truth, test_locks_are_shown);
    tcase_add_test(truth, test_a_dead_holder_is_shown);
    tcase_add_test(truth, test_a_stamp_tells_how_long_a_lock_has_been_held);
    tcase_add_test(truth, test_a_dead_member_that_gave_what_others_wait_for_is_shown);
    tcase_add_test(truth, test_conditions_are_shown);
    tcase_add_loop_test(truth, test_the_high_water_mark_of_a_queue_is_shown, 8, 10);
    tcase_add_test(truth, test_the_unfinished_tasks_of_a_member_are_shown);
    tcase_add_loop_test(truth, test_leased_items_are_neither_in_the_queue_nor_taken, 0,
                        sizeof(leased_queues) / sizeof(leased_queues[0]));
    tcase_add_test(truth, test_events_queues_and_regions_are_shown);
    tcase_add_test(truth, test_sleepers_are_shown);
    tcase_add_test(truth, test_tickets_show_the_order_of_arrival);
    tcase_add_test(truth, test_members_are_shown_in_order_of_joining);

    TCase *touch = test_case(suite, "what is touched");
    tcase_add_test(touch, test_looking_changes_nothing);
    tcase_add_test(touch, test_looking_takes_no_lock);
    tcase_add_test(touch, test_a_permission_to_read_is_enough);
    tcase_add_test(touch, test_another_users_read_only_segment_can_be_looked_at);

    TCase *state = test_case(suite, "states and the list");
    tcase_add_test(state, test_what_is_no_good_segment_is_told_apart);
    tcase_add_test(state, test_segments_are_listed_in_order_of_name);
    tcase_add_test(state, test_an_empty_list_is_a_list);

    TCase *bytes = test_case(suite, "any bytes");
    tcase_add_test(bytes, test_any_bytes_in_the_header);
    tcase_add_test(bytes, test_any_bytes_in_the_tables);
    tcase_add_test(bytes, test_any_bytes_anywhere);
    tcase_add_test(bytes, test_any_bytes_in_the_objects);
    tcase_add_test(bytes, test_noise_behind_a_good_header);
    tcase_add_test(bytes, test_names_that_are_no_text_are_shown_as_text);
    tcase_add_test(bytes, test_the_largest_tables_are_looked_at_in_time);
    tcase_add_test(bytes, test_a_look_while_objects_come_and_go);
    return run_tests(suite);
}

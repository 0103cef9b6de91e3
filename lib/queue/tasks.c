/*
 * task_done and join: which items have been taken and are not done, counted for each member, so
 * that no thread waits for the dead.
 *
 * What always holds: a member's count is raised before its get commits. So, at any moment at which
 * the queue is empty, each item that was put is in a count, or done.
 *
 *     consumer, with the lock            done                 join
 *     count++                            TK1: count--         read puts and items: any items? wait
 *     RQ2, CH2, OR1: the get             notify               TK1: a living member's count? wait
 *                                                             read puts and items: the same as
 *                                                             before?
 *                                                             then all is done
 *
 * If nothing was put between the two reads, the queue was empty all the time, and counts only fell.
 * Read the other way round, counts first, an item would be missed that is taken in between.
 *
 * An item that is leased, or has come back, is unfinished and no member's task: join reads the
 * records between the items and the counts. ack ends it.
 *
 * TK1: the store of a count that falls is a release, and join's load an acquire: what was done for
 * the item is visible.
 *
 * Killed: a dead member's count is not waited for. join returns SHK_ORPHANED once for it.
 */
#include "object/remote.h"
#include "queue/call.h"
#include "queue/lease_records.h"
#include "queue/state.h"

#include <shmkit/inspect.h>

void shki_task_begin(struct shk_queue *q, struct shki_member *m, struct shki_task *task)
{
    uint64_t former = load_relaxed(&task->member);

    /* The record was a dead member's. Killed between any two: its death is told once more. */
    if (load_relaxed(&task->count) > 0 && former != 0 && !(former & SHKI_TOLD))
        fetch_add_relaxed(&q->shared->orphans, 1);
    store_relaxed(&task->member, 0);
    store_release(&task->count, 0);
    store_release(&task->member, m->id);
}

int shk_queue_task_done(struct shk_queue *q)
{
    struct shki_member *m;
    struct shki_task *task;
    uint64_t count = 0;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, task_done, (q));
    task = &q->tasks[m->index];
    if (load_relaxed(&task->member) == m->id)
        count = load_relaxed(&task->count);
    if (count == 0)
        return shki_object_say(
            &q->object, -EINVAL,
            "the calling thread has no unfinished task: each item that it took is done");
    /*
     * TK1: release; pairs with the acquires in living_have_tasks() and tasks_of_the_living().
     * Killed before: a dead member's task. After: join sees it at the end of its recheck interval.
     */
    store_release(&task->count, count - 1);
    if (count == 1)
        shki_queue_notify(q, &q->shared->tasks, &q->task_adaptive);
    return 0;
}

static bool living_have_tasks(const struct shk_queue *q)
{
    struct shk_segment *s = q->object.segment;

    for (uint32_t i = 0; i < shki_members_ready(s); i++) {
        /* TK1: acquire. A member that begins meanwhile takes an item that was put meanwhile. */
        uint64_t id = load_acquire(&q->tasks[i].member);

        if (id != 0 && !(id & SHKI_TOLD) && load_acquire(&q->tasks[i].count) > 0 &&
            shki_member_is_alive(s, id))
            return true;
    }
    return false;
}

/* Reads of items and tasks until both are of one moment; after that the count may be too high. */
#define READS_MAX 4

static uint64_t tasks_of_the_living(const struct shk_queue *q)
{
    struct shk_segment *s = q->object.segment;
    uint64_t n = 0;

    for (uint32_t i = 0; i < shki_members_ready(s); i++) {
        uint64_t id = load_acquire(&q->tasks[i].member); /* TK1 */

        if (id != 0 && !(id & SHKI_TOLD) && shki_member_is_alive(s, id))
            n += load_acquire(&q->tasks[i].count);
    }
    return n;
}

ssize_t shk_queue_unfinished(struct shk_queue *q)
{
    struct shki_member *m;
    int r = q ? shki_enter(&q->object, &m) : SHKI_NO_HANDLE;
    struct shki_counts before, after;
    uint64_t tasks;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, unfinished, (q));
    /* The items first: one that is taken meanwhile counts twice, and never not at all. */
    before = q->ops->counts(q);
    for (int i = 0; i < READS_MAX; i++) {
        tasks = shki_leases_out(q) + tasks_of_the_living(q);
        atomic_thread_fence(memory_order_acquire);
        after = q->ops->counts(q);
        if (after.puts == before.puts && after.items == before.items)
            break;
        if (i < READS_MAX - 1)
            before = after;
    }
    return (ssize_t)(before.items + tasks);
}

bool shki_queue_is_done(const struct shk_queue *q)
{
    struct shki_counts before = q->ops->counts(q), after;

    /* The leases before the tasks: an item that has come back may be taken by a get meanwhile. */
    if (before.items > 0 || shki_leases_out(q) > 0 || living_have_tasks(q))
        return false;
    atomic_thread_fence(memory_order_acquire);
    after = q->ops->counts(q);
    return after.items == 0 && after.puts == before.puts;
}

static bool is_done_or_stale(const void *arg)
{
    const struct shk_queue *q = arg;

    return shki_queue_is_done(q) || shki_object_is_stale(&q->object);
}

/* Whether members have died with tasks that no join has reported yet. */
static bool tell_orphans(struct shk_queue *q)
{
    struct shk_segment *s = q->object.segment;
    bool found = exchange_relaxed(&q->shared->orphans, 0) > 0;

    for (uint32_t i = 0; i < shki_members_ready(s); i++) {
        uint64_t id = load_acquire(&q->tasks[i].member);

        if (id == 0 || id & SHKI_TOLD || load_relaxed(&q->tasks[i].count) == 0 ||
            shki_member_is_alive(s, id))
            continue;
        /*
         * Fails if the record is another member's now: then the dead one has been counted as an
         * orphan, for the next join.
         */
        if (compare_exchange_relaxed(&q->tasks[i].member, &id, id | SHKI_TOLD))
            found = true;
    }
    return found;
}

int shk_queue_join(struct shk_queue *q, int64_t timeout)
{
    struct shki_call c = {.queue = q,
                          .can_go_on = is_done_or_stale,
                          .waits_for = SHK_WAITS_TO_JOIN,
                          .timeout = timeout};
    int r = q ? shki_enter(&q->object, &c.member) : SHKI_NO_HANDLE;
    bool done = false, stale = false;

    if (r < 0)
        return SHKI_ELSEWHERE(r, q, queue, join, (q, timeout));
    c.eventcount = &q->shared->tasks;
    c.spinner = &q->tasks_spinner;
    while (r == 0 && !done && !(stale = shki_object_is_stale(&q->object))) {
        done = shki_queue_is_done(q);
        if (!done)
            r = shki_call_wait(&c);
    }
    if (stale)
        done = shki_queue_is_done(q); /* all was done before the unlink, which only woke it */
    shki_call_end(&c);
    if (r < 0)
        return r;
    if (!done)
        return shki_stale(&q->object);
    return tell_orphans(q) ? SHK_ORPHANED : 0;
}

/*
 * Deadlock: a cycle of threads, each of which waits for a lock that the next one holds.
 *
 * A waiter without a deadline searches for one at the end of each recheck interval. It follows
 * holder -> what the holder waits for -> the holder of that, across segments (a walk of the
 * wait-for graph, depth first). Which members hold an object that is waited for, its kind says:
 * shki_kind.owner. A writer waits for all readers of a rwlock, so each of them leads on.
 *
 * Why a cycle that is found is one: each of its threads is alive and sleeps in an acquire, the same
 * one (by its sequence number) in two walks, and holds the lock that the thread before it waits
 * for. A holder notes its id after it was given the mutex and removes the id before it unlocks. A
 * thread that sleeps in an acquire does neither. With one walk a thread could have gone from one
 * lock to another meanwhile. An edge that cannot be read means no verdict.
 *
 * A wait for a condition ends with an acquire of its lock that cannot be refused. Such a thread is
 * part of a cycle, and another one is told. (Where monitors are nested, this is the usual cycle: a
 * notifier holds the inner lock and wants the outer one, which a waiter on the inner condition
 * holds.) Of the threads in the cycle that can be told, the one with the highest random id is.
 *
 * Segments that the thread is a member of are read in their mapping, others through descriptors:
 * damaged or foreign ones do no harm.
 */
#include "base/thread.h"
#include "object/lock.h"
#include "segment/image.h"

#include <shmkit/inspect.h>
#include <string.h>

#define CYCLE_MAX 256 /* a longer one is not found */

struct step {
    uint64_t thread;
    uint32_t sequence;
    uint32_t how;
};

struct walk {
    struct step steps[CYCLE_MAX];
    unsigned n;
};

/* A thread's wait, copied out of one of its records. */
struct wait {
    uint64_t segment, inode, serial;
    uint64_t member; /* one of the thread's ids, perhaps in another segment */
    uint32_t entry;
    unsigned followed; /* so many of those that it waits for */
    struct step step;
};

static bool is_acquire(uint32_t waits_for)
{
    return waits_for == SHK_WAITS_TO_ACQUIRE || waits_for == SHK_WAITS_TO_READ ||
           waits_for == SHK_WAITS_FOR_ONCE;
}

/* False if it does not sleep in an acquire without a deadline. */
static bool read_wait(const struct shki_image *r, uint64_t id, struct wait *w)
{
    struct shki_member_shared m, again;
    uint32_t index = shki_member_index(id);

    if (!shki_image_member(r, index, &m) || load_relaxed(&m.id) != id ||
        !shki_robust_is_held(&m.life) || shki_thread_is_gone(m.tid))
        return false;
    w->member = id;
    w->followed = 0;
    w->segment = load_relaxed(&m.waits_segment);
    w->inode = load_relaxed(&m.waits_inode);
    w->serial = load_relaxed(&m.waits_serial);
    w->entry = load_relaxed(&m.waits_entry);
    w->step = (struct step){m.thread, load_relaxed(&m.waits_sequence), load_relaxed(&m.waits_how)};
    if (!(w->step.sequence & 1) || !is_acquire(load_relaxed(&m.waits_for)) ||
        w->step.how == SHKI_WAITS_TIMED)
        return false;
    return shki_image_member(r, index, &again) && load_relaxed(&again.id) == id &&
           load_relaxed(&again.waits_sequence) == w->step.sequence; /* WT1 */
}

static bool is_thread(const struct shki_image *r, uint64_t id, uint64_t thread)
{
    struct shki_member_shared m;

    return shki_image_member(r, shki_member_index(id), &m) && load_relaxed(&m.id) == id &&
           m.thread == thread;
}

/* The id of the waiting thread in the segment of what it waits for; 0: it is no member. */
static uint64_t read_waiter(const struct shki_image *r, const struct wait *w)
{
    struct shki_member_shared members[SHKI_IMAGE_BATCH];
    uint32_t n;

    if (is_thread(r, w->member, w->step.thread))
        return w->member;
    for (uint32_t first = 0; (n = shki_image_members(r, first, members)) != 0; first += n)
        for (uint32_t i = 0; i < n; i++)
            if (members[i].thread == w->step.thread && shki_robust_is_held(&members[i].life))
                return load_relaxed(&members[i].id);
    return 0;
}

/* The next holder of the lock that is waited for: a member id, or 0. */
static uint64_t read_holder(const struct shk_segment *s, const struct shki_image *r, struct wait *w)
{
    const struct shki_kind *kind;
    struct shki_entry e;

    if (!shki_image_entry(r, w->entry, &e) || load_relaxed(&e.live_serial) != w->serial)
        return 0;
    kind = shki_kind_of(s, e.kind);
    return kind && kind->owner ? kind->owner(r, &e, read_waiter(r, w), w->followed++) : 0;
}

/*
 * From a wait to that of the next holder of the lock: 1; 0: that holder does not wait; -1: there is
 * none.
 */
static int follow(const struct shk_segment *s, struct wait *w, struct wait *next)
{
    const struct shk_segment *mine = shki_member_segment(w->inode, w->segment);
    struct shki_image r;
    uint64_t holder;
    int found;

    if (mine)
        shki_image_use_mapped(&r, mine);
    else if (shki_image_find(&r, w->inode, w->segment) < 0)
        return -1;
    holder = read_holder(s, &r, w);
    found = holder == 0 ? -1 : read_wait(&r, holder, next);
    shki_image_close(&r);
    return found;
}

static bool has_been_visited(const struct walk *visited, uint64_t thread)
{
    for (unsigned i = 0; i < visited->n; i++)
        if (visited->steps[i].thread == thread)
            return true;
    return false;
}

/* All the way round, from a wait back to the same thread. */
static bool walk_round(const struct shk_segment *s, const struct wait *start, struct walk *walk)
{
    struct walk visited = {.n = 0};
    struct wait path[CYCLE_MAX], next;
    unsigned n = 1;
    int found;

    path[0] = *start;
    while (n > 0) {
        found = follow(s, &path[n - 1], &next);
        if (found < 0) {
            n--;
        } else if (found > 0 && next.step.thread == start->step.thread) {
            walk->n = n;
            for (unsigned i = 0; i < n; i++)
                walk->steps[i] = path[i].step;
            return true;
        } else if (found > 0 && !has_been_visited(&visited, next.step.thread)) {
            if (visited.n == CYCLE_MAX || n == CYCLE_MAX)
                return false;
            visited.steps[visited.n++] = next.step;
            path[n++] = next;
        }
    }
    return false;
}

int shki_deadlock_check(const struct shki_object *o, const struct shki_member *m)
{
    struct walk first, second;
    struct wait mine = {.segment = o->segment->id,
                        .inode = o->segment->inode,
                        .serial = o->serial,
                        .member = m->id,
                        .entry = o->index};

    mine.step = (struct step){m->record->thread, load_relaxed(&m->record->waits_sequence),
                              SHKI_WAITS_CHECKED};
    if (!walk_round(o->segment, &mine, &first) || !walk_round(o->segment, &mine, &second))
        return 0;
    if (first.n != second.n ||
        memcmp(first.steps, second.steps, first.n * sizeof(first.steps[0])) != 0)
        return 0;
    for (unsigned i = 1; i < first.n; i++)
        if (first.steps[i].how == SHKI_WAITS_CHECKED && first.steps[i].thread > mine.step.thread)
            return 0; /* that one gives way */
    return shki_fail(-EDEADLK,
                     "%s/%s: deadlock: %u threads wait for each other's locks in a circle",
                     o->segment->name, o->name, first.n);
}

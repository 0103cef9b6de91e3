/*
 * Deadlock: a cycle of threads, each of which waits for a lock that the next one holds.
 *
 * A waiter without a deadline searches for one at the end of each recheck interval. It follows
 * holder -> what the holder waits for -> the holder of that, across segments (a walk of the
 * wait-for graph). Which member holds an object that is waited for, its kind says: shki_kind.owner.
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
    uint32_t entry;
    struct step step;
};

/* False if it does not sleep in an acquire without a deadline. */
static bool read_wait(const struct shki_image *r, uint64_t id, struct wait *w)
{
    struct shki_member_shared m, again;
    uint32_t index = shki_member_index(id);

    if (!shki_image_member(r, index, &m) || load_relaxed(&m.id) != id ||
        !shki_robust_is_held(&m.life) || shki_thread_is_gone(m.tid))
        return false;
    w->segment = load_relaxed(&m.waits_segment);
    w->inode = load_relaxed(&m.waits_inode);
    w->serial = load_relaxed(&m.waits_serial);
    w->entry = load_relaxed(&m.waits_entry);
    w->step = (struct step){m.thread, load_relaxed(&m.waits_sequence), load_relaxed(&m.waits_how)};
    if (!(w->step.sequence & 1) || load_relaxed(&m.waits_for) != SHK_WAITS_TO_ACQUIRE ||
        w->step.how == SHKI_WAITS_TIMED)
        return false;
    return shki_image_member(r, index, &again) && load_relaxed(&again.id) == id &&
           load_relaxed(&again.waits_sequence) == w->step.sequence; /* WT1 */
}

/* The holder of the lock that is waited for: a member id, or 0. */
static uint64_t read_holder(const struct shk_segment *s, const struct shki_image *r,
                            const struct wait *w)
{
    const struct shki_kind *kind;
    struct shki_entry e;

    if (!shki_image_entry(r, w->entry, &e) || load_relaxed(&e.live_serial) != w->serial)
        return 0;
    kind = shki_kind_of(s, e.kind);
    return kind && kind->owner ? kind->owner(r, &e) : 0;
}

/* One step: from a wait to the wait of the lock's holder. */
static bool follow(const struct shk_segment *s, struct wait *w)
{
    const struct shk_segment *mine = shki_member_segment(w->inode, w->segment);
    struct shki_image r;
    uint64_t holder;
    bool ok;

    if (mine)
        shki_image_use_mapped(&r, mine);
    else if (shki_image_find(&r, w->inode, w->segment) < 0)
        return false;
    holder = read_holder(s, &r, w);
    ok = holder != 0 && read_wait(&r, holder, w);
    shki_image_close(&r);
    return ok;
}

/* All the way round, from a wait back to the same thread. */
static bool walk_round(const struct shk_segment *s, struct wait w, struct walk *walk)
{
    uint64_t start = w.step.thread;

    walk->n = 0;
    do {
        walk->steps[walk->n++] = w.step;
        if (!follow(s, &w))
            return false;
    } while (w.step.thread != start && walk->n < CYCLE_MAX);
    return w.step.thread == start;
}

int shki_deadlock_check(const struct shki_object *o, const struct shki_member *m)
{
    struct walk first, second;
    struct wait mine = {.segment = o->segment->id,
                        .inode = o->segment->inode,
                        .serial = o->serial,
                        .entry = o->index};

    mine.step = (struct step){m->record->thread, load_relaxed(&m->record->waits_sequence),
                              SHKI_WAITS_CHECKED};
    if (!walk_round(o->segment, mine, &first) || !walk_round(o->segment, mine, &second))
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

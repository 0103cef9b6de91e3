#include "segment/lock.h"

#include "base/error.h"
#include "base/thread.h"
#include "segment/blocks.h"
#include "segment/tables.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The lock is held for microseconds; a thread that holds it for longer is stopped. */
#define LOCK_LIMIT SHK_SEC(10)

static _Thread_local const struct shk_segment *locked __attribute__((tls_model("initial-exec")));

bool shki_segment_lock_is_mine(const struct shk_segment *s)
{
    return locked == s;
}

/* Recompute what is computed from the entries. Killed in it: the next holder does it once more. */
static void repair(struct shk_segment *s)
{

    for (uint32_t i = 0; i < s->max_objects; i++) {
        struct shki_entry *e = shki_entry_at(s, i);

        /*
         * DE1: the store that a dead unlinker left out. A publisher stores the live serial before
         * the state, so no entry that is being published looks like this.
         */
        if (shki_entry_state(e) == SHKI_ENTRY_LIVE && load_relaxed(&e->live_serial) == 0)
            store_release(&e->state, SHKI_ENTRY_UNLINKED);
        if (shki_entry_has_extent(e) && e->serial >= s->header->next_serial)
            s->header->next_serial = e->serial + 1;
    }
    shki_blocks_repair(s);
    s->header->heap_top = shki_heap_top(s);
}

int shki_segment_lock_within(struct shk_segment *s, int64_t limit)
{
    struct shki_deadline deadline = shki_deadline(limit, NULL);
    struct shki_mutex *m = &s->header->lock;
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    int r = shki_mutex_lock(m, &deadline, tid, NULL, &s->recovery, NULL, NULL);

    if (r < 0)
        return r;
    /*
     * Relaxed: waiters read it one SHKI_RECHECK later. Killed before or between: the thread id in
     * the mutex alone says which thread holds it.
     */
    store_relaxed(&m->holder, shki_thread_start());
    store_release(&m->state, tid);
    locked = s;
    if (r == 1)
        repair(s);
    return 0;
}

int shki_segment_lock_in_any_state(struct shk_segment *s)
{
    int r = shki_segment_lock_within(s, LOCK_LIMIT);

    if (r == -ETIMEDOUT)
        return shki_fail(
            -EBUSY, "segment /%s: a thread has held the segment's lock for 10 s; it may be stopped",
            s->name);
    return r < 0 ? shki_fail(r, "segment /%s: the segment's lock cannot be acquired: %s", s->name,
                             strerror(-r))
                 : 0;
}

int shki_segment_lock(struct shk_segment *s)
{
    int r = shki_segment_lock_in_any_state(s);

    if (r == 0 && shki_segment_is_retired(s)) {
        shki_segment_unlock(s);
        return shki_fail(-ESTALE, "segment /%s has been unlinked", s->name);
    }
    return r;
}

void shki_segment_unlock(struct shk_segment *s)
{
    locked = NULL;
    store_relaxed(&s->header->lock.state, 0);
    shki_mutex_unlock(&s->header->lock);
}

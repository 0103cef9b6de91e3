#include "segment/recover.h"

#include "base/error.h"
#include "base/thread.h"
#include "segment/lock.h"
#include "segment/tables.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOCK_LIMIT SHK_MS(50)  /* for the segment's lock: a later check tries again */
#define POLLED     SHK_MS(5)   /* between two checks of one mutex that a thread polls */
#define THOROUGHLY SHK_MS(250) /* between two checks of a thread that read files of /proc */
#define BATCH      2u          /* records of which one sweep compares the start time, in turn */

/* ---- Which thread it is ---- */

/* Written once, before the record's id; another id before and after means another thread. */
static uint64_t start_of(const struct shki_member_shared *m)
{
    return __atomic_load_n(&m->start, __ATOMIC_RELAXED);
}

static int32_t tid_of(const struct shki_member_shared *m)
{
    return __atomic_load_n(&m->tid, __ATOMIC_RELAXED);
}

/* Whether a thread id means the same thread here as in the segment: in its pid namespace only. */
static bool tids_are_comparable(const struct shk_segment *s)
{
    uint64_t there = s->header->pid_namespace;

    return there != 0 && there == shki_pid_namespace();
}

/* Whether the record's thread holds its life, as far as the kernel has said. */
static bool is_attached(const struct shki_member_shared *m, int32_t tid)
{
    return tid_of(m) == tid && shki_robust_holder(&m->life) == tid;
}

/* The record of the member with that thread id, that of `hint` perhaps; or NULL. */
static struct shki_member_shared *find_attached(const struct shk_segment *s, uint64_t hint,
                                                int32_t tid)
{
    uint32_t ready = shki_members_ready(s), index = shki_member_index(hint);

    if (index < ready && is_attached(shki_record_at(s, index), tid))
        return shki_record_at(s, index);
    for (uint32_t i = 0; i < ready; i++)
        if (is_attached(shki_record_at(s, i), tid))
            return shki_record_at(s, i);
    return NULL;
}

static bool is_gone(int32_t tid, uint64_t start, bool thoroughly)
{
    return shki_thread_is_gone(tid) || (thoroughly && shki_thread_is_another(tid, start));
}

/* A thread that was killed between taking a life and filling in its record has no start time. */
static bool has_gone(const struct shki_member_shared *m, int32_t tid, bool thoroughly)
{
    return is_gone(tid, tid_of(m) == tid ? start_of(m) : 0, thoroughly);
}

/* ---- Marking ---- */

/*
 * What the kernel's handle_futex_death() does. False if the thread with that id does not hold it.
 */
static bool mark(pthread_mutex_t *m, int32_t tid)
{
    uint32_t *word = (uint32_t *)(void *)((char *)m + shki_robust_word_offset());
    uint32_t was = __atomic_load_n(word, __ATOMIC_RELAXED);

    do
        if ((int32_t)(was & FUTEX_TID_MASK) != tid)
            return false;
    while (!__atomic_compare_exchange_n(word, &was, (was & FUTEX_WAITERS) | FUTEX_OWNER_DIED, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
    /* Killed here: the waiter that would have been woken sees it after a SHKI_RECHECK. */
    if (was & FUTEX_WAITERS)
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
    return true;
}

/* Under the segment's lock, which keeps the extents where they are. */
static void mark_in_objects(struct shk_segment *s, int32_t tid)
{
    for (uint32_t i = 0; i < s->max_objects; i++) {
        const struct shki_entry *e = shki_entry_at(s, i);
        uint32_t state = load_relaxed(&e->state);

        if (state != SHKI_ENTRY_LIVE && state != SHKI_ENTRY_UNLINKED)
            continue;
        for (unsigned k = 0; k < SHKI_MUTEXES_MAX; k++) {
            struct shki_mutex *m = shki_entry_mutex(s, e, k);

            if (m)
                mark(&m->robust, tid);
        }
    }
    mark(&s->header->watchers.mutex.robust, tid);
}

/*
 * Under the segment's lock: recover a member if its thread is gone. Killed anywhere in it: its life
 * is not marked yet, and the next one does it all once more; or it is marked, and nothing is left
 * to do.
 */
static bool recover_member(struct shk_segment *s, struct shki_member_shared *m, bool thoroughly,
                           bool own_tid)
{
    int32_t tid = shki_robust_holder(&m->life);

    if (tid == 0 || !(own_tid || has_gone(m, tid, thoroughly)))
        return false;
    mark_in_objects(s, tid);
    return mark(&m->life, tid);
}

/* ---- The segment's lock ---- */

/*
 * Marked without a lock. One fault remains: the caller is stopped between check and mark until the
 * thread id has been used again, and that thread holds the lock at the moment when the caller is
 * continued. Then it loses the lock.
 */
static void recover_segment_lock(struct shk_segment *s)
{
    struct shki_mutex *m = &s->header->lock;
    uint32_t releases = load_relaxed(&m->releases);
    int32_t tid = shki_robust_holder(&m->robust);
    uint64_t start = (int32_t)load_relaxed(&m->state) == tid ? load_relaxed(&m->holder) : 0;
    bool gone = tid > 0 && (tid == (int32_t)syscall(SYS_gettid) || is_gone(tid, start, true));

    if (gone && tids_are_comparable(s) && load_relaxed(&m->releases) == releases)
        mark(&m->robust, tid);
}

/* Acquire it unless the caller has it: 0, or an error. `taken`: to be released. */
static int lock(struct shk_segment *s, bool *taken)
{
    struct shki_saved_error saved;
    int r = 0;

    *taken = !shki_segment_lock_is_mine(s);
    if (*taken) {
        shki_error_save(&saved);
        r = shki_segment_lock_within(s, LOCK_LIMIT);
        shki_error_settle(0, &saved); /* a later check tries again */
    }
    return r;
}

/* ---- Checks ---- */

bool shki_recover_locked(struct shk_segment *s, bool thoroughly)
{
    bool found = false;

    if (!shki_repair_enabled(SHKI_REPAIR_UNMARKED) || !tids_are_comparable(s))
        return false;
    for (uint32_t i = 0; i < shki_members_ready(s); i++)
        found |= recover_member(s, shki_record_at(s, i), thoroughly, false);
    return found;
}

void shki_recover_own_tid(struct shk_segment *s)
{
    int32_t tid = (int32_t)syscall(SYS_gettid);

    if (!shki_repair_enabled(SHKI_REPAIR_UNMARKED) || !tids_are_comparable(s))
        return;
    for (uint32_t i = 0; i < shki_members_ready(s); i++)
        if (shki_robust_holder(&shki_record_at(s, i)->life) == tid)
            recover_member(s, shki_record_at(s, i), false, true);
}

/* Whether this caller is to sweep. */
static bool is_due(struct shk_segment *s)
{
    int64_t now = shki_now(), last = load_relaxed(&s->header->last_sweep);

    /* A time in the future was written in another time namespace. */
    if (now - last < SHKI_RECHECK / 2 && last <= now)
        return false;
    /* Relaxed: it only says when. Killed after: the next sweep is half a SHKI_RECHECK later. */
    return compare_exchange_relaxed(&s->header->last_sweep, &last, now);
}

/*
 * For people: when it was first found dead. A record that has been used again meanwhile has another
 * id.
 */
static void note_death(struct shki_member_shared *m)
{
    uint64_t id = load_relaxed(&m->id);

    if (id != 0 && !shki_robust_is_held(&m->life) && load_relaxed(&m->id) == id)
        shki_member_note_death(m);
}

void shki_recover(struct shk_segment *s)
{
    static _Atomic uint32_t next; /* relaxed: whose start time is compared has only to change */
    uint32_t n = shki_members_ready(s), first;
    bool found = false, taken;

    if (n == 0 || !is_due(s) || shki_segment_is_lost(s) ||
        !shki_repair_enabled(SHKI_REPAIR_UNMARKED))
        return;
    first = fetch_add_relaxed(&next, BATCH) % n;
    for (uint32_t i = 0; i < n && !found; i++) {
        struct shki_member_shared *m = shki_record_at(s, i);
        int32_t tid = shki_robust_holder(&m->life);

        note_death(m);
        found = tid > 0 && has_gone(m, tid, (i + n - first) % n < BATCH);
    }
    if (!found || !tids_are_comparable(s) || lock(s, &taken) < 0)
        return;
    shki_recover_locked(s, true);
    if (taken)
        shki_segment_unlock(s);
}

void shki_recover_one(struct shk_segment *s, uint64_t id)
{
    uint32_t index = shki_member_index(id);
    struct shki_member_shared *m;
    bool taken;

    if (!shki_repair_enabled(SHKI_REPAIR_UNMARKED) || !shki_member_is_alive(s, id))
        return;
    m = shki_record_at(s, index);
    if (!has_gone(m, shki_robust_holder(&m->life), false) || !tids_are_comparable(s) ||
        lock(s, &taken) < 0)
        return;
    recover_member(s, m, false, false);
    if (taken)
        shki_segment_unlock(s);
}

/* Whether to check: a thread that polls a mutex many times per SHKI_RECHECK checks now and then. */
static bool is_to_check(const struct shki_mutex *m, int32_t tid, bool *thoroughly)
{
    static _Thread_local struct {
        const struct shki_mutex *mutex;
        int32_t tid;
        int64_t checked, checked_thoroughly;
    } last __attribute__((tls_model("initial-exec")));
    int64_t now = shki_now();

    *thoroughly = now - last.checked_thoroughly >= THOROUGHLY;
    if (*thoroughly)
        last.checked_thoroughly = now;
    if (last.mutex == m && last.tid == tid && now - last.checked < POLLED)
        return false;
    last.mutex = m;
    last.tid = tid;
    last.checked = now;
    return true;
}

void shki_recover_mutex(void *segment, struct shki_mutex *m)
{
    struct shk_segment *s = segment;
    int32_t tid = shki_robust_holder(&m->robust);
    uint32_t releases = load_relaxed(&m->releases);
    struct shki_member_shared *member;
    bool thoroughly, taken;

    if (tid == 0 || !shki_repair_enabled(SHKI_REPAIR_UNMARKED) || !is_to_check(m, tid, &thoroughly))
        return;
    if (m == &s->header->lock) {
        recover_segment_lock(s);
        return;
    }
    if (!shki_thread_is_gone(tid)) {
        member = thoroughly ? find_attached(s, load_relaxed(&m->holder), tid) : NULL;
        if (member == NULL || !shki_thread_is_another(tid, start_of(member)))
            return;
    }
    if (!tids_are_comparable(s) || lock(s, &taken) < 0)
        return;
    member = find_attached(s, load_relaxed(&m->holder), tid);
    if (member)
        recover_member(s, member, true, false);
    else if (load_relaxed(&m->releases) == releases && shki_thread_is_gone(tid))
        mark(&m->robust, tid); /* held without a life: not by a call of this library */
    if (taken)
        shki_segment_unlock(s);
}

void shki_recover_enable(struct shk_segment *s)
{
    s->recovery = (struct shki_recovery){shki_recover_mutex, s};
}

bool shki_holder_is_gone(const struct shk_segment *s, const struct shki_mutex *m)
{
    int32_t tid = shki_robust_holder(&m->robust);

    return tid > 0 && shki_thread_is_gone(tid) && tids_are_comparable(s);
}

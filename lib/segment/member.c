#include "segment/member.h"

#include "base/error.h"
#include "base/fence.h"
#include "base/name.h"
#include "base/permits.h"
#include "base/thread.h"
#include "segment/lock.h"
#include "segment/process.h"
#include "segment/recover.h"
#include "segment/slab.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct shki_member shki_no_member; /* its segment is NULL, for ever */
_Thread_local struct shki_member *shki_last_member __attribute__((tls_model("initial-exec"))) =
    &shki_no_member;
_Thread_local struct shki_member *shki_members_of_thread __attribute__((tls_model("initial-exec")));
static _Thread_local uint64_t thread_id __attribute__((tls_model("initial-exec")));

_Static_assert(sizeof(struct shki_member) <= SHKI_SLAB_SLOT, "a member fits into a slot");

struct shki_member *shki_member_search(struct shk_segment *s)
{
    for (struct shki_member *m = shki_members_of_thread; m; m = m->next_of_thread) {
        if (m->segment == s) {
            shki_last_member = m;
            return m;
        }
    }
    return NULL;
}

struct shk_segment *shki_member_segment(uint64_t inode, uint64_t id)
{
    for (struct shki_member *m = shki_members_of_thread; m; m = m->next_of_thread)
        if (m->segment && m->segment->inode == inode && m->segment->id == id)
            return m->segment;
    return NULL;
}

/* ---- Robust mutexes that the thread holds ---- */

#define ALLOWANCE 32 /* mutexes: by so much an allowance is extended */

/* How many more the thread may hold, beside its lives and the allowances of its members. */
static unsigned may_hold_more(void)
{
    unsigned n = 0;

    for (const struct shki_member *m = shki_members_of_thread; m; m = m->next_of_thread)
        n += 1 + m->may_hold;
    return n < SHKI_HELD_MAX ? SHKI_HELD_MAX - n : 0;
}

/* The same, after unused allowances have been withdrawn if there is nothing left. */
static unsigned find_more_to_hold(void)
{
    unsigned n = may_hold_more();

    if (n == 0) {
        for (struct shki_member *m = shki_members_of_thread; m; m = m->next_of_thread)
            m->may_hold = m->held;
        n = may_hold_more();
    }
    if (n == 0)
        shki_fail(
            -ENOLCK,
            "the thread holds %u robust mutexes already; the kernel would not free more if it died",
            SHKI_HELD_MAX);
    return n;
}

int shki_held_extend(struct shki_member *m)
{
    unsigned n = find_more_to_hold();

    m->may_hold += n < ALLOWANCE ? n : ALLOWANCE;
    return n ? 0 : -ENOLCK;
}

/* ---- Records ---- */

static bool node_is_free(const struct shk_segment *s, uint32_t index)
{
    return load_acquire(&shki_node_at(s, index)->list) == 0;
}

/*
 * Acquire a record's life, if no living thread has it and no waitlist its node. Under the segment's
 * lock, as every lock of a life.
 */
static bool acquire_life(struct shk_segment *s, uint32_t index)
{
    struct shki_member_shared *m = shki_record_at(s, index);
    int r;

    if (shki_robust_is_held(&m->life) || !node_is_free(s, index) ||
        !shki_robust_is_intact(&m->life))
        return false;
    if (!shki_repair_enabled(SHKI_REPAIR_REAP) && load_relaxed(&m->id) != 0)
        return false;
    /*
     * ME2: the id goes before the life is locked, and what the dead member has stored is visible to
     * a thread that sees it gone; pairs with the acquires in shki_member_is_alive(). In the other
     * order the dead member would look alive until its id went: a revoker that had found it dead
     * would not repair what it left. Killed from here to the next ME2: a record without an id is
     * used again.
     */
    /* A member that leaves clears the id: this is the id of one that died. Published by ME2. */
    if (load_relaxed(&m->id) != 0)
        store_relaxed(&m->died_before, load_relaxed(&m->id));
    store_release(&m->id, 0);
    atomic_thread_fence(memory_order_release);
    r = pthread_mutex_trylock(&m->life);
    if (r == EOWNERDEAD) {
        pthread_mutex_consistent(&m->life);
        r = 0;
    }
    return r == 0;
}

/* Allocate the next few records and initialise their lives. Under the segment's lock. */
static int add_records(struct shk_segment *s)
{
    uint32_t from = shki_members_ready(s);
    uint32_t to =
        s->max_members - from > SHKI_MEMBERS_STEP ? from + SHKI_MEMBERS_STEP : s->max_members;
    int r;

    r = shki_allocate(
        s, s->geometry.members_offset + (uint64_t)from * sizeof(struct shki_member_shared),
        (uint64_t)(to - from) * sizeof(struct shki_member_shared), false);
    if (r == 0)
        r = shki_allocate(s, s->geometry.nodes_offset + (uint64_t)from * sizeof(struct shki_node),
                          (uint64_t)(to - from) * sizeof(struct shki_node), false);
    if (r < 0)
        return shki_fail(r, "segment /%s: out of memory for more members: %s", s->name,
                         strerror(-r));
    for (uint32_t i = from; i < to; i++) {
        struct shki_member_shared *m = shki_record_at(s, i);

        r = shki_robust_init(&m->life);
        if (r < 0 || shki_permits_init(&m->park) != 0)
            return shki_fail(r < 0 ? r : -errno, "segment /%s: cannot initialise a member record",
                             s->name);
    }
    /*
     * ME1: publishes the records; pairs with the acquire in shki_members_ready(). Killed before:
     * the next one does it all once more, and no member has used them.
     */
    store_release(&s->header->members_ready, to);
    return 0;
}

/* A record whose life the caller has acquired: a free one, else a dead member's. */
static bool find_used_record(struct shk_segment *s, uint32_t *index)
{
    for (int dead = 0; dead < 2; dead++) {
        for (uint32_t i = 0; i < shki_members_ready(s); i++) {
            uint64_t id = load_relaxed(&shki_record_at(s, i)->id);

            if ((id != 0) == dead && acquire_life(s, i)) {
                *index = i;
                return true;
            }
        }
    }
    return false;
}

/* … else one of a member that has died unnoticed, else a new one. */
static int find_record(struct shk_segment *s, uint32_t *index)
{
    uint32_t ready = shki_members_ready(s);
    int r;

    shki_recover_own_tid(s);
    if (find_used_record(s, index) ||
        (shki_recover_locked(s, ready == s->max_members) && find_used_record(s, index)))
        return 0;
    if (ready == s->max_members)
        return shki_fail(-EUSERS, "segment /%s has %u members already; it was created for no more",
                         s->name, ready);
    r = add_records(s);
    if (r < 0)
        return r;
    *index = ready;
    return acquire_life(s, ready)
               ? 0
               : shki_fail(-EPROTO, "segment /%s: a fresh member record is in use", s->name);
}

static uint64_t random_id(void)
{
    uint64_t n = 0;

    if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
        n = (uint64_t)shki_now() * 0x9e3779b97f4a7c15u ^ (uint64_t)syscall(SYS_gettid);
    return n ? n : 1;
}

void shki_record_rename(struct shki_member_shared *m, const char *name)
{
    uint32_t n = load_relaxed(&m->renames) + 1;

    memset(m->names[n % 2], 0, sizeof(m->names[0]));
    memcpy(m->names[n % 2], name, strlen(name));
    /* NM1: commits; pairs with the inspector's two copies. Killed before: it has its old name. */
    store_release(&m->renames, n);
}

/* Everything but the id: until that is stored, no member reads the rest. */
static void fill_record(struct shki_member_shared *m)
{
    char command[16] = "";
    char label[sizeof(command)];

    if (thread_id == 0)
        thread_id = random_id();
    prctl(PR_GET_NAME, command);
    m->pid = getpid();
    /* Atomic: a recoverer reads them, and the id afterwards. */
    __atomic_store_n(&m->start, shki_thread_start(), __ATOMIC_RELAXED);
    __atomic_store_n(&m->tid, (int32_t)syscall(SYS_gettid), __ATOMIC_RELAXED);
    m->thread = thread_id;
    m->joined = time(NULL);
    memcpy(m->command, command, sizeof(m->command));
    shki_copy_label(label, sizeof(label), command, sizeof(command));
    shki_record_rename(m, label);
    store_relaxed(&m->waits_for, 0);
    store_relaxed(&m->waits_serial, 0);
    store_relaxed(&m->held_since, 0);
    store_relaxed(&m->death_noticed, 0);
    store_relaxed(&m->waits_sequence, (load_relaxed(&m->waits_sequence) | 1) + 1);
}

static int join_locked(struct shk_segment *s, struct shki_member *m)
{
    int r = find_record(s, &m->index);

    if (r < 0)
        return r;
    m->record = shki_record_at(s, m->index);
    m->node = shki_node_at(s, m->index);
    /*
     * BL2: release, after the id; pairs with the acquire in shki_biased_is_in(). A revoker that
     * reads this 0 reads that the id is gone, so it takes the former member for dead, and repairs.
     * Otherwise it could take that member for alive, and for one that has left.
     */
    store_release(&m->record->biased_in, 0);
    fill_record(m->record);
    m->id = s->header->next_join++ << SHKI_INDEX_BITS | m->index;
    /*
     * ME2: commits the join; pairs with the acquires in shki_member_is_alive(). Killed after: a
     * dead member, whose record is used again.
     */
    store_release(&m->record->id, m->id);
    return 0;
}

/* ---- Joining and leaving ---- */

static void leave_at_thread_exit(void *unused)
{
    (void)unused;
    shki_registry_lock();
    while (shki_members_of_thread && shki_members_of_thread->segment) { /* NULL: a raw fork */
        struct shki_member *m = shki_members_of_thread;
        struct shk_segment *s = m->segment;

        /*
         * A thread that ends holding a lock stays a member: its death frees the lock, and the
         * mapping must stay until then.
         */
        if (m->held || shki_member_leave(s) < 0) {
            shki_members_of_thread = m->next_of_thread;
            continue;
        }
        shki_segment_unmap_if_unused(s);
    }
    shki_last_member = &shki_no_member;
    shki_registry_unlock();
}

/* From now on the end of the thread ends its members. */
static int watch_for_end(void)
{
    static bool has_key; /* both with the registry's lock, which fork(2) acquires */
    static pthread_key_t at_thread_exit;
    int r = 0;

    shki_registry_lock();
    if (!has_key) {
        r = pthread_key_create(&at_thread_exit, leave_at_thread_exit);
        has_key = r == 0;
    }
    shki_registry_unlock();
    if (r == 0)
        r = pthread_setspecific(at_thread_exit, &has_key); /* any value but NULL */
    return r ? shki_fail(-ENOMEM, "there is no thread-specific key left: %s", strerror(r)) : 0;
}

/*
 * The C library stores a thread's id and puts it into the mutexes that the thread locks. In the
 * child of a raw fork(2) or clone(2) that id is still the parent's, and so the mutexes would seem
 * to be the parent's. Source: pthread_getcpuclockid(3), whose clocks contain the stored id.
 */
static int check_thread_id(void)
{
    clockid_t clock;
    bool knows = pthread_getcpuclockid(pthread_self(), &clock) != 0 ||
                 ~(clock >> 3) == (clockid_t)syscall(SYS_gettid);

    /* Nor does the kernel know such a child's list of mutexes, which it has to mark. */
    knows = knows && !shki_robust_list_is_missing();
    if (knows)
        return 0;
    return shki_say(
        -ENOTSUP,
        "this process was made by a raw fork or clone system call, and the C library takes it for "
        "its parent: use fork(3)");
}

static int may_join(struct shk_segment *s)
{
    int r = check_thread_id();

    if (r == 0)
        r = watch_for_end();
    if (r == 0)
        r = find_more_to_hold() ? 0 : -ENOLCK;
    if (r == 0) /* a fork may have led into another one */
        r = shki_check_namespace(s->name, s->header->pid_namespace);
    if (r == 0 && s->asymmetric && !shki_fence_register())
        r = shki_fail(-ENOSYS,
                      "segment /%s relies on membarrier(2), which this process may not call; "
                      "SHK_MEMBARRIER=0 creates one that does not",
                      s->name);
    return r;
}

int shki_member_join(struct shk_segment *s, struct shki_member **out)
{
    struct shki_member *m;
    int r = shki_segment_pin(s); /* nothing else keeps the mapping until it is a member */

    if (r < 0)
        return r;
    r = may_join(s);
    m = r == 0 ? shki_slab_allocate() : NULL;
    if (r == 0 && m == NULL)
        r = shki_say(-ENOMEM, "out of memory");
    if (r == 0)
        r = shki_segment_lock(s);
    if (r == 0) {
        m->segment = s;
        r = join_locked(s, m);
        shki_segment_unlock(s);
    }
    if (r == 0) {
        pthread_mutex_lock(&s->local);
        m->next_in_segment = s->members;
        s->members = m;
        shki_process_joins(s);
        pthread_mutex_unlock(&s->local);
        m->next_of_thread = shki_members_of_thread;
        shki_members_of_thread = m;
        *out = shki_last_member = m;
    } else if (m) {
        shki_slab_free(m);
    }
    shki_segment_unpin(s);
    return r;
}

int shki_member_leave(struct shk_segment *s)
{
    struct shki_member *m = shki_member_search(s), **link;

    if (m == NULL)
        return 0;
    if (m->held)
        return shki_fail(-EBUSY, "the thread still holds a lock of segment /%s", s->name);
    if (m->call.running)
        return shki_fail(
            -EBUSY, "segment /%s: the thread's interrupt call cannot end the wait by closing it",
            s->name);
    pthread_mutex_lock(&s->local);
    /* ME2: the record is free. Killed between the two: likewise, and the kernel frees the life. */
    store_release(&m->record->id, 0);
    pthread_mutex_unlock(&m->record->life);
    for (link = &s->members; *link != m; link = &(*link)->next_in_segment)
        ;
    *link = m->next_in_segment;
    pthread_mutex_unlock(&s->local);
    for (link = &shki_members_of_thread; *link != m; link = &(*link)->next_of_thread)
        ;
    *link = m->next_of_thread;
    shki_last_member = &shki_no_member;
    m->segment = NULL;
    shki_slab_free(m);
    return 0;
}

void shki_members_after_fork(struct shk_segment *s)
{
    s->members = NULL; /* their memory is free: see slab.h */
}

void shki_members_forget_parent(void)
{
    shki_last_member = &shki_no_member;
    shki_members_of_thread = NULL;
    thread_id = 0;
}

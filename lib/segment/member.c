#include "segment/member.h"

#include "base/error.h"
#include "base/fence.h"
#include "base/name.h"
#include "base/thread.h"
#include "segment/directory.h"
#include "segment/recover.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Thread_local struct shki_member *shki_last_member __attribute__((tls_model("initial-exec")));
static _Thread_local struct shki_member *members __attribute__((tls_model("initial-exec")));
static _Thread_local uint64_t thread_id __attribute__((tls_model("initial-exec")));

static pthread_mutex_t pool = PTHREAD_MUTEX_INITIALIZER; /* the following; taken last */
static struct block *blocks;
static struct slot *free_slots;
static bool has_key;
static pthread_key_t at_thread_exit;

/*
 * Members lie in memory that a forked child finds zeroed. So the child of a raw fork(2), which
 * runs no handlers, does not take its parent's members for its own.
 * Source: madvise(2), MADV_WIPEONFORK.
 */
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#define BLOCK_SIZE (UINT64_C(16) << 10) /* bytes */

union slot_size {
    struct shki_member member;
    alignas(64) unsigned char lines[1];
};

struct slot {
    union slot_size used;
    struct slot *next; /* while it is free */
};

struct block {
    struct block *next;
    struct slot *slots;
};

static void free_block(struct block *b)
{
    for (size_t i = 0; i < BLOCK_SIZE / sizeof(struct slot); i++) {
        b->slots[i].next = free_slots;
        free_slots = &b->slots[i];
    }
}

/* With `pool`. */
static bool more_slots(void)
{
    struct block *b = malloc(sizeof(*b));
    void *slots;

    if (b == NULL)
        return false;
    slots = mmap(NULL, BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (slots == MAP_FAILED) {
        free(b);
        return false;
    }
    madvise(slots, BLOCK_SIZE, MADV_WIPEONFORK); /* kernels before 4.14 do without */
    *b = (struct block){blocks, slots};
    blocks = b;
    free_block(b);
    return true;
}

/* Zeroed; NULL: no memory. */
static struct shki_member *member_new(void)
{
    struct slot *slot = NULL;

    pthread_mutex_lock(&pool);
    if (free_slots || more_slots()) {
        slot = free_slots;
        free_slots = slot->next;
        memset(slot, 0, sizeof(*slot));
    }
    pthread_mutex_unlock(&pool);
    return slot ? &slot->used.member : NULL;
}

static void member_free(struct shki_member *m)
{
    struct slot *slot = (struct slot *)(void *)m;

    m->segment = NULL;
    pthread_mutex_lock(&pool);
    slot->next = free_slots;
    free_slots = slot;
    pthread_mutex_unlock(&pool);
}

struct shki_member_shared *shki_record_at(const struct shk_segment *s, uint32_t index)
{
    if (index >= s->max_members)
        return NULL;
    return (struct shki_member_shared *)(void *)(s->base + s->geometry.members_offset) + index;
}

struct shki_node *shki_node_at(const struct shk_segment *s, uint32_t number)
{
    if (number >= s->max_members)
        return NULL;
    return (struct shki_node *)(void *)(s->base + s->geometry.nodes_offset) + number;
}

uint32_t shki_members_ready(const struct shk_segment *s)
{
    /*
     * ME1: acquire; pairs with the release in more_records(). Bounded by the private copy, whatever
     * it says.
     */
    uint32_t n = load_acquire(&s->header->members_ready);

    return n < s->max_members ? n : s->max_members;
}

bool shki_member_is_alive(const struct shk_segment *s, uint64_t id)
{
    uint32_t index = shki_member_index(id);
    const struct shki_member_shared *m;

    if (id == 0 || index >= shki_members_ready(s))
        return false;
    m = shki_record_at(s, index);
    /*
     * ME2: acquire on the id; pairs with the releases in join and leave. The life is looked at
     * between two looks at the id: a record used anew in between shows another id.
     */
    if (load_acquire(&m->id) != id)
        return false;
    return shki_robust_is_held(&m->life) && load_acquire(&m->id) == id;
}

struct shki_member *shki_member_search(struct shk_segment *s)
{
    for (struct shki_member *m = members; m; m = m->next_of_thread) {
        if (m->segment == s) {
            shki_last_member = m;
            return m;
        }
    }
    return NULL;
}

struct shk_segment *shki_member_segment(uint64_t inode, uint64_t id)
{
    for (struct shki_member *m = members; m; m = m->next_of_thread)
        if (m->segment && m->segment->inode == inode && m->segment->id == id)
            return m->segment;
    return NULL;
}

#define ALLOWANCE 32

/*
 * How many more robust mutexes the thread may hold, beside its lives and what its members have
 * been allowed.
 */
static unsigned may_hold_more(void)
{
    unsigned n = 0;

    for (const struct shki_member *m = members; m; m = m->next_of_thread)
        n += 1 + m->may_hold;
    return n < SHKI_HELD_MAX ? SHKI_HELD_MAX - n : 0;
}

/* The same, allowances that are not used having been taken back if there is nothing left. */
static unsigned find_more_to_hold(void)
{
    unsigned n = may_hold_more();

    if (n == 0) {
        for (struct shki_member *m = members; m; m = m->next_of_thread)
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

static bool nodes_are_free(const struct shk_segment *s, uint32_t index)
{
    return load_acquire(&shki_node_at(s, index)->list) == 0;
}

/*
 * Take over a record's life, if nobody living has it and no waitlist knows it. Under the segment's
 * lock, as every lock of a life.
 */
static bool take_life(struct shk_segment *s, uint32_t index)
{
    struct shki_member_shared *m = shki_record_at(s, index);
    int r;

    if (shki_robust_is_held(&m->life) || !nodes_are_free(s, index) ||
        !shki_robust_is_intact(&m->life))
        return false;
    if (!shki_repair_enabled(SHKI_REPAIR_REAP) && load_relaxed(&m->id) != 0)
        return false;
    r = pthread_mutex_trylock(&m->life);
    if (r == EOWNERDEAD) {
        /*
         * killed between here and ME2: the record has the id of a dead member, or none, and is
         * taken over likewise
         */
        pthread_mutex_consistent(&m->life);
        r = 0;
    }
    return r == 0;
}

/* Memory and initialised lives for the next few records. Under the segment's lock. */
static int more_records(struct shk_segment *s)
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
        if (r < 0 || sem_init(&m->park, 1, 0) != 0)
            return shki_fail(r < 0 ? r : -errno, "segment /%s: cannot initialise a member record",
                             s->name);
    }
    /*
     * ME1: publishes the records. Killed before: the next one does it all once more, nobody has
     * used them.
     */
    store_release(&s->header->members_ready, to);
    return 0;
}

/* A record whose life the caller has taken: a free one, else a dead member's. */
static bool find_used_record(struct shk_segment *s, uint32_t *index)
{
    for (int dead = 0; dead < 2; dead++) {
        for (uint32_t i = 0; i < shki_members_ready(s); i++) {
            uint64_t id = load_relaxed(&shki_record_at(s, i)->id);

            if ((id != 0) == dead && take_life(s, i)) {
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
    r = more_records(s);
    if (r < 0)
        return r;
    *index = ready;
    return take_life(s, ready)
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

static void set_name(struct shki_member_shared *m, const char *name)
{
    uint32_t n = load_relaxed(&m->renames) + 1;

    memset(m->names[n % 2], 0, sizeof(m->names[0]));
    memcpy(m->names[n % 2], name, strlen(name));
    /* NM1: commits; pairs with the inspector's second look. Killed before: it has its old name. */
    store_release(&m->renames, n);
}

/* Everything before the id: nobody looks at it yet. */
static void fill_record(struct shki_member_shared *m)
{
    char command[16] = "";
    char label[sizeof(command)];

    if (thread_id == 0)
        thread_id = random_id();
    prctl(PR_GET_NAME, command);
    m->pid = getpid();
    /* Atomic: read by recoverers, which look at the id afterwards. */
    __atomic_store_n(&m->start, shki_thread_start(), __ATOMIC_RELAXED);
    __atomic_store_n(&m->tid, (int32_t)syscall(SYS_gettid), __ATOMIC_RELAXED);
    m->thread = thread_id;
    m->joined = time(NULL);
    memcpy(m->command, command, sizeof(m->command));
    shki_copy_label(label, sizeof(label), command, sizeof(command));
    set_name(m, label);
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
    /* killed up to ME2: a life without an id, or with a dead member's: free */
    store_relaxed(&m->record->id, 0);
    /* after the id: what is said of a dead member's place is true, or not of it any more */
    store_release(&m->record->biased_in, 0);
    fill_record(m->record);
    m->id = s->header->next_join++ << SHKI_INDEX_BITS | m->index;
    /* ME2: commits the joining. Killed after: a dead member, whose record the next one takes. */
    store_release(&m->record->id, m->id);
    return 0;
}

static void leave_at_thread_exit(void *unused)
{
    (void)unused;
    shki_registry_lock();
    while (members && members->segment) { /* NULL: the child of a raw fork */
        struct shki_member *m = members;
        struct shk_segment *s = m->segment;

        /*
         * A thread that ends holding a lock stays a member: its death will tell the others, and the
         * mapping must stay until then.
         */
        if (m->held || shki_member_leave(s) < 0) {
            members = m->next_of_thread;
            continue;
        }
        shki_segment_unmap_if_unused(s);
    }
    shki_last_member = NULL;
    shki_registry_unlock();
}

void shki_members_before_fork(void)
{
    pthread_mutex_lock(&pool);
}

void shki_members_after_fork(struct shk_segment *s)
{
    s->members = NULL; /* their memory is free: see below */
}

void shki_members_after_fork_in_parent(void)
{
    pthread_mutex_unlock(&pool);
}

void shki_members_forget_parent(void)
{
    shki_last_member = NULL;
    members = NULL;
    thread_id = 0;
    free_slots = NULL;
    for (struct block *b = blocks; b; b = b->next)
        free_block(b);
    pthread_mutex_unlock(&pool);
}

/* From now on the thread's end is noticed. */
static int watch_for_end(void)
{
    int r = 0;

    pthread_mutex_lock(&pool);
    if (!has_key) {
        r = pthread_key_create(&at_thread_exit, leave_at_thread_exit);
        has_key = r == 0;
    }
    pthread_mutex_unlock(&pool);
    if (r == 0)
        r = pthread_setspecific(at_thread_exit, &pool); /* any value but NULL */
    return r ? shki_fail(-ENOMEM, "there is no thread-specific key left: %s", strerror(r)) : 0;
}

/*
 * The C library notes a thread's id and puts it into the mutexes that it locks. In the child of a
 * raw fork(2) or clone(2) that is the parent's, for which the mutexes would be taken.
 * Source: pthread_getcpuclockid(3), whose clocks contain the id that was noted.
 */
static int check_thread_id(void)
{
    struct robust_list_head *list = NULL;
    clockid_t clock;
    size_t length;
    bool knows = pthread_getcpuclockid(pthread_self(), &clock) != 0 ||
                 ~(clock >> 3) == (clockid_t)syscall(SYS_gettid);

    /* Nor does the kernel know such a child's list of mutexes, which it is to mark. */
    if (syscall(SYS_get_robust_list, 0, &list, &length) == 0 && list == NULL)
        knows = false;
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
    if (r == 0)
        /* fork may have led into another one */
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
    m = r == 0 ? member_new() : NULL;
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
        pthread_mutex_unlock(&s->local);
        m->next_of_thread = members;
        members = m;
        *out = shki_last_member = m;
    } else if (m) {
        member_free(m);
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
    /*
     * ME2: the record is free; killed between the two: free all the same, and the kernel frees the
     * life
     */
    store_release(&m->record->id, 0);
    pthread_mutex_unlock(&m->record->life);
    for (link = &s->members; *link != m; link = &(*link)->next_in_segment)
        ;
    *link = m->next_in_segment;
    pthread_mutex_unlock(&s->local);
    for (link = &members; *link != m; link = &(*link)->next_of_thread)
        ;
    *link = m->next_of_thread;
    shki_last_member = NULL;
    member_free(m);
    return 0;
}

void shki_member_sleeps(const struct shki_member *where, uint32_t waits_for, uint32_t entry,
                        uint64_t serial, enum shki_waits_how how)
{
    int64_t now = shki_now();

    for (struct shki_member *m = members; m; m = m->next_of_thread) {
        struct shki_member_shared *r = m->record;

        /*
         * Relaxed: only this thread writes them; a reader that sees WT1 odd and unchanged around
         * its reads has seen them all. Killed anywhere: the record is a dead member's.
         */
        store_relaxed(&r->waits_segment, where->segment->id);
        store_relaxed(&r->waits_inode, where->segment->inode);
        store_relaxed(&r->waits_entry, entry);
        store_relaxed(&r->waits_serial, serial);
        store_relaxed(&r->waits_since, now);
        store_relaxed(&r->waits_how, how);
        store_relaxed(&r->waits_for, waits_for);
        store_release(&r->waits_sequence, load_relaxed(&r->waits_sequence) | 1); /* WT1 */
    }
}

void shki_member_is_awake(void)
{
    for (struct shki_member *m = members; m; m = m->next_of_thread) {
        struct shki_member_shared *r = m->record;
        uint32_t n = load_relaxed(&r->waits_sequence);

        /* WT1: even before the fields change again */
        store_relaxed(&r->waits_sequence, (n | 1) + 1);
        atomic_thread_fence(memory_order_release);
        store_relaxed(&r->waits_for, 0);
    }
}

void shki_member_holds(const struct shki_member *m, uint64_t serial, uint32_t turns)
{
    struct shki_member_shared *r = m->record;

    /*
     * Relaxed: only this thread writes them. Killed anywhere: there is no note, and the lock's
     * holder is dead.
     */
    store_relaxed(&r->held_since, 0);
    atomic_thread_fence(memory_order_release);
    store_relaxed(&r->held_serial, serial);
    store_relaxed(&r->held_releases, turns);
    store_release(&r->held_since, shki_now()); /* WT2: commits */
}

const char *shki_member_name(const struct shki_member *m)
{
    return m->record->names[load_relaxed(&m->record->renames) % 2];
}

void shki_member_note_death(struct shki_member_shared *m)
{
    int64_t not_noticed = 0;

    /* Relaxed: for people. Killed before: the next member that finds it dead notes its own time. */
    if (load_relaxed(&m->death_noticed) == 0)
        compare_exchange_relaxed(&m->death_noticed, &not_noticed, time(NULL));
}

int shk_set_member_name(struct shk_segment *s, const char *utf8)
{
    struct shki_member *m;
    int r;

    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    r = shki_check_label("the member's name", utf8, SHK_NAME_MAX);
    if (r < 0)
        return r;
    m = shki_member_find(s);
    if (m == NULL) {
        r = shki_member_join(s, &m);
        if (r < 0)
            return r;
    }
    if (shki_segment_is_retired(s))
        return shki_fail(-ESTALE, "segment /%s has been unlinked", s->name);
    set_name(m->record, utf8);
    return 0;
}

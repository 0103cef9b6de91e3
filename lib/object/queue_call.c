/* How a call on a queue takes its turn at a gate, and how it sleeps and wakes. */
#include "object/queue.h"

#include "base/thread.h"
#include "segment/recover.h"
#include "wait/leader.h"
#include "wait/park.h"

#include <sched.h>
#include <shmkit/inspect.h>

const struct shki_order *shki_order_of(const struct shk_queue *q)
{
    if (q->order == SHK_PRIORITY)
        return &shki_priority;
    if (q->grows)
        return q->order == SHK_FIFO ? &shki_flow : &shki_stack;
    return q->order == SHK_FIFO ? &shki_fifo : &shki_lifo;
}

/* ---- What is true of a queue: loads only ---- */

static const struct shki_member *record_of(const struct shk_queue *q, uint64_t id)
{
    uint32_t index = shki_member_index(id);

    return index < shki_members_ready(q->object.segment) ? shki_member_at(q->object.segment, index)
                                                         : NULL; /* NULL: damaged bytes */
}

static bool is_inside(const struct shk_queue *q, const struct shki_gate *gate, uint64_t id)
{
    const struct shki_member *m = record_of(q, id);

    /* G3: acquire; pairs with the release in step_out: what it has done is visible. */
    return m && atomic_load_explicit(&m->inside, memory_order_acquire) == shki_gate_at(q, gate) &&
           atomic_load_explicit(&m->id, memory_order_acquire) == id;
}

bool shki_queue_is_over(const struct shk_queue *q)
{
    const struct shki_queue_shared *shared = q->shared;
    const struct shki_gate *gate = &shared->put_gate;
    uint32_t state = shki_shut_down(q);
    uint64_t who;
    bool held;

    if (__builtin_expect(state == SHKI_OPEN, 1))
        return false;
    if (state != SHKI_SHUT_FOR_PUTS || q->order != SHK_FIFO)
        return true; /* other orders: the caller has the only gate, or asks for a hint */
    held = shki_robust_is_held(&gate->mutex.robust);
    who = atomic_load_explicit(&gate->mutex.holder, memory_order_acquire);
    if (held && !shki_member_is_alive(q->object.segment, who))
        return false; /* nobody keeps it, but somebody has it at the moment */
    if (held && atomic_load_explicit(&gate->open, memory_order_acquire) == SHKI_OPEN_RESERVATION)
        return false;
    /* F4: shut_down before whether a member is inside or has the lock; pairs with G1, G4 */
    shki_fence_heavy(q->asymmetric);
    if (!shki_robust_is_held(&gate->mutex.robust)) {
        /*
         * Somebody may go in and out without the mutex. Acquire: pairs with the releases in
         * put_out(): it has left, or is the one or the other.
         */
        who = atomic_load_explicit(&gate->tenant, memory_order_acquire);
        if (who == 0)
            who = atomic_load_explicit(&gate->leaving, memory_order_acquire);
        return who == 0 || !is_inside(q, gate, who) ||
               !shki_member_is_alive(q->object.segment, who);
    }
    who = atomic_load_explicit(&gate->mutex.holder, memory_order_acquire);
    return shki_member_is_alive(q->object.segment, who) && !is_inside(q, gate, who) &&
           atomic_load_explicit(&gate->open, memory_order_acquire) != SHKI_OPEN_RESERVATION;
}

uint64_t shki_queue_items(const struct shk_queue *q)
{
    uint64_t head, tail;

    if (q->order != SHK_FIFO)
        return shki_ordered_size(q);
    /*
     * Q1, Q2: acquire, head first: it is beyond the tail that is read after it only if that is
     * late, and what it leaves out is gone.
     */
    head = atomic_load_explicit(&q->shared->head, memory_order_acquire);
    tail = shki_fifo_tail(q);
    return (int64_t)(tail - head) > 0 ? tail - head : 0;
}

bool shki_queue_is_readable(const struct shk_queue *q)
{
    bool there =
        q->order == SHK_FIFO && !q->grows ? shki_fifo_has_item(q) : shki_queue_items(q) > 0;

    return there || shki_queue_is_over(q);
}

bool shki_queue_has_item(const void *arg)
{
    const struct shk_queue *q = arg;

    return shki_queue_is_readable(q) || shki_object_is_stale(&q->object);
}

bool shki_queue_is_writable(const struct shk_queue *q)
{
    uint64_t head, items;

    if (q->grows)
        return true;
    if (q->order == SHK_FIFO) {
        /*
         * Q2: acquire. The tail may be late: then somebody is, or has died, in the gate, and that
         * is the place to find out.
         */
        head = atomic_load_explicit(&q->shared->head, memory_order_acquire);
        items = atomic_load_explicit(&q->shared->tail, memory_order_relaxed) - head;
    } else {
        items = shki_ordered_size(q);
    }
    return (int64_t)items < (int64_t)q->capacity || shki_shut_down(q) != SHKI_OPEN;
}

bool shki_queue_has_room(const void *arg)
{
    const struct shk_queue *q = arg;

    return shki_queue_is_writable(q) || shki_object_is_stale(&q->object);
}

/* ---- The gate ---- */

struct shki_call shki_put_call(struct shk_queue *q, struct shki_membership *m, int64_t timeout)
{
    struct shki_queue_shared *shared = q->shared;

    return (struct shki_call){.queue = q,
                              .member = m,
                              .gate = &shared->put_gate,
                              .gate_spinner = &q->put_gate_spinner,
                              .bed = &shared->full,
                              .other = &shared->empty,
                              .spinner = &q->full_spinner,
                              .habits = &q->put_habits,
                              .puts = true,
                              .can_go_on = shki_queue_has_room,
                              .waits_for = SHK_WAITS_TO_PUT,
                              .timeout = timeout,
                              .heeds_shutdown = true};
}

struct shki_call shki_get_call(struct shk_queue *q, struct shki_membership *m, int64_t timeout)
{
    struct shki_queue_shared *shared = q->shared;
    bool fifo = q->order == SHK_FIFO;

    return (struct shki_call){.queue = q,
                              .member = m,
                              .gate = fifo ? &shared->get_gate : &shared->put_gate,
                              .gate_spinner = fifo ? &q->get_gate_spinner : &q->put_gate_spinner,
                              .bed = &shared->empty,
                              .other = &shared->full,
                              .spinner = &q->empty_spinner,
                              .habits = &q->get_habits,
                              .can_go_on = shki_queue_has_item,
                              .waits_for = SHK_WAITS_TO_GET,
                              .timeout = timeout,
                              .heeds_shutdown = true};
}

/* Why a call waits, for the sentence that tells that it did so in vain. */
static const char *state_of(const struct shki_call *c)
{
    if (c->waits_for == SHK_WAITS_TO_JOIN)
        return "there are unfinished tasks";
    return c->puts ? "the queue is full" : "the queue is empty";
}

/*
 * The wait begins: what comes from now on, it is told, though it may be over again when the sleeper
 * runs.
 */
static void begin(struct shki_call *c)
{
    if (c->begun)
        return;
    c->begun = true;
    c->shutdowns = shki_shut_word(c->queue) & ~SHKI_SHUT_STATE;
    c->patience = shki_object_patience(&c->queue->object, c->timeout, state_of(c));
}

/*
 * Whether the queue has been shut down since, and opened again. If it still is shut down, there may
 * be a reservation to wait for: shki_queue_is_over().
 */
static bool was_shut(const struct shki_call *c)
{
    uint32_t word = shki_shut_word(c->queue);

    return c->begun && c->heeds_shutdown && (word & SHKI_SHUT_STATE) == SHKI_OPEN &&
           word != c->shutdowns;
}

static bool can_go_on(const void *arg)
{
    const struct shki_call *c = arg;

    return c->can_go_on(c->queue) || was_shut(c);
}

bool shki_side_is_kept(const struct shki_call *c)
{
    const struct shki_mutex *mutex = &c->gate->mutex;

    return shki_robust_is_held(&mutex->robust) &&
           shki_member_is_alive(c->queue->object.segment,
                                atomic_load_explicit(&mutex->holder, memory_order_relaxed));
}

/* Nothing is gained by waiting for the side's lock any longer. */
static bool is_settled(const void *arg)
{
    const struct shki_call *c = arg;

    return !shki_robust_is_held(&c->gate->mutex.robust) || !c->can_go_on(c->queue) ||
           shki_side_is_kept(c);
}

static int say_drained(const struct shk_queue *q)
{
    return shki_object_say(&q->object, -EPIPE, "the queue has been shut down and is drained");
}

/*
 * After each slice of waiting for a gate, which may have been claimed: is there still something to
 * wait for?
 */
static int each_slice(void *arg)
{
    const struct shki_call *c = arg;
    struct shk_queue *q = c->queue;

    if (c->puts)
        return was_shut(c) ? shki_say_shut(q) : shki_may_put(q);
    if (shki_object_is_stale(&q->object))
        return shki_stale(&q->object);
    /* Other orders: somebody may have a reservation open behind the same gate. */
    if (q->order != SHK_FIFO && shki_shut_down(q) != SHKI_SHUT_DOWN)
        return 0;
    if ((was_shut(c) || shki_queue_is_over(q)) && shki_queue_items(q) == 0)
        return say_drained(q);
    return 0;
}

#define WANTED_FIRST     64u        /* visits in a row make a tenant */
#define WANTED_MAX       (1u << 20) /* … when it has been put out often */
#define STEP_OUT_SOON    20000      /* ns: so long an operation may last if nothing comes between */
#define STEP_OUT_NAP     50000      /* ns, doubled … */
#define STEP_OUT_NAP_MAX SHK_MS(5)

/* One who has been struck out, and has perhaps not noticed. */
struct leaving {
    const struct shk_queue *queue;
    const struct shki_gate *gate;
    uint64_t id;
};

static bool has_left(const void *arg)
{
    const struct leaving *l = arg;

    return !is_inside(l->queue, l->gate, l->id);
}

/*
 * What whoever had the gate, by the mutex or not, has left half done when it died. Killed anywhere
 * in here: all of it is done once more.
 */
static void repair(struct shk_queue *q, const struct shki_gate *gate)
{
    if (q->order != SHK_FIFO)
        shki_ordered_repair(q);
    else if (gate == &q->shared->put_gate)
        shki_fifo_repair(q);
}

static void count_loss(struct shk_queue *q)
{
    atomic_fetch_add_explicit(&q->shared->repairs.holders_lost, 1, memory_order_relaxed);
}

/*
 * With the mutex: see to it that nobody else is in the gate. 0, or -EBUSY: it does not come out
 * soon. Killed in here, or busy: `leaving` stays, and whoever has the mutex next comes here.
 */
static int put_out(struct shk_queue *q, struct shki_gate *gate, bool inherited)
{
    uint64_t tenant = atomic_load_explicit(&gate->tenant, memory_order_relaxed);
    struct leaving l = {
        q, gate, tenant ? tenant : atomic_load_explicit(&gate->leaving, memory_order_relaxed)};
    uint32_t wanted = atomic_load_explicit(&gate->wanted, memory_order_relaxed);

    /*
     * Killed between the two: it still is the tenant. Release: so that nobody sees neither; pairs
     * with the looks of shki_queue_is_over().
     */
    atomic_store_explicit(&gate->leaving, l.id, memory_order_relaxed);
    atomic_store_explicit(&gate->tenant, 0, memory_order_release);
    /* G2: the tenant before this look at its record; pairs with G1 */
    shki_fence_heavy(q->asymmetric);
    if (tenant && wanted < WANTED_MAX && shki_member_is_alive(q->object.segment, tenant))
        atomic_store_explicit(&gate->wanted, 2 * wanted, memory_order_relaxed);
    if (!has_left(&l) && !shki_spin_for(STEP_OUT_SOON, has_left, &l) &&
        shki_member_is_alive(q->object.segment, l.id))
        return -EBUSY;
    /* The dead may have been inside, though their record is somebody else's by now. */
    if (!shki_member_is_alive(q->object.segment, l.id)) {
        if (!inherited && !has_left(&l))
            count_loss(q);
        repair(q, gate);
    }
    atomic_store_explicit(&gate->leaving, 0, memory_order_release);
    return 0;
}

/*
 * The mutex is the caller's, inherited (1) or not (0). 0, or -EBUSY: the mutex has been given back,
 * since somebody is inside.
 */
static int take_over(struct shk_queue *q, struct shki_membership *m, struct shki_gate *gate,
                     int inherited)
{
    uint64_t tenant = atomic_load_explicit(&gate->tenant, memory_order_relaxed);
    int r = 0;

    if (__builtin_expect((tenant != 0 && tenant != m->id) ||
                             atomic_load_explicit(&gate->leaving, memory_order_relaxed) != 0,
                         0))
        r = put_out(q, gate, inherited);
    if (r < 0) {
        /* if inherited, then from one who has not been in the gate: somebody else still is */
        shki_mutex_unlock(&gate->mutex);
        return r;
    }
    if (__builtin_expect(inherited, 0)) {
        count_loss(q);
        repair(q, gate);
        /* killed before: a dead holder's again */
        atomic_store_explicit(&gate->mutex.holder, 0, memory_order_relaxed);
    }
    /*
     * G4: the lock is held before shut_down is read; pairs with F4. Otherwise, on ARM, a producer
     * could read that the queue is open before its lock is visible; a consumer that sees it shut
     * down and the lock free would take what it finds for the last.
     */
    shki_fence_light_locked(q->asymmetric);
    return 0;
}

int shki_gate_try(struct shk_queue *q, struct shki_membership *m, struct shki_gate *gate)
{
    int r;

    if (__builtin_expect(shki_gate_is_kept_by(gate, m), 0)) /* and not as the tenant */
        return shki_object_say(&q->object, -EDEADLK,
                               "the calling thread has a reservation or a peek open");
    r = shki_mutex_trylock(&gate->mutex, m->id);
    return r < 0 || take_over(q, m, gate, r) < 0;
}

void shki_gate_unlock(struct shk_queue *q, struct shki_membership *m, struct shki_gate *gate)
{
    uint32_t streak, wanted;

    /*
     * Relaxed, all of them: the mutex orders them. Killed around any: who comes next may have to
     * come more often.
     */
    if (q->asymmetric && atomic_load_explicit(&gate->last, memory_order_relaxed) == m->id) {
        streak = atomic_load_explicit(&gate->streak, memory_order_relaxed) + 1;
        wanted = atomic_load_explicit(&gate->wanted, memory_order_relaxed);
        atomic_store_explicit(&gate->streak, streak, memory_order_relaxed);
        if (wanted < WANTED_FIRST)
            atomic_store_explicit(&gate->wanted, WANTED_FIRST, memory_order_relaxed);
        else if (streak >= wanted) /* killed after: a dead tenant */
            atomic_store_explicit(&gate->tenant, m->id, memory_order_relaxed);
    } else if (q->asymmetric) {
        atomic_store_explicit(&gate->last, m->id, memory_order_relaxed);
        atomic_store_explicit(&gate->streak, 0, memory_order_relaxed);
    }
    shki_mutex_unlock(&gate->mutex);
}

int shki_call_lock(struct shki_call *c, int (*slice)(void *), void *arg)
{
    struct timespec nap = {.tv_nsec = STEP_OUT_NAP};
    int64_t looked = 0, now;
    int r;

    begin(c);
    if (!c->patience.nowait)
        shki_object_sleeps(&c->queue->object, c->member, c->waits_for,
                           shki_waits_how(&c->patience));
    for (;;) {
        r = shki_mutex_lock(&c->gate->mutex, &c->patience, c->member->id, c->gate_spinner,
                            &c->queue->object.segment->recovery, slice, arg);
        if (r >= 0)
            r = take_over(c->queue, c->member, c->gate, r);
        if (r != -EBUSY)
            break;
        /*
         * Somebody is inside, without the mutex, and does not come out: interrupted, or stopped.
         * Nothing is held meanwhile.
         */
        shki_recover(c->queue->object.segment); /* it may be dead */
        r = shki_patience_over(&c->patience);
        now = shki_now();
        if (r == 0 && slice && looked != 0 && now - looked >= SHKI_SLICE)
            r = slice(arg);
        if (r == 0 && now - looked >= SHKI_SLICE && looked != 0)
            shki_patience_slept(&c->patience);
        if (looked == 0 || now - looked >= SHKI_SLICE)
            looked = now;
        if (r < 0)
            break;
        nanosleep(&nap, NULL);
        nap.tv_nsec = 2 * nap.tv_nsec < STEP_OUT_NAP_MAX ? 2 * nap.tv_nsec : STEP_OUT_NAP_MAX;
    }
    if (!c->patience.nowait)
        shki_member_is_awake();
    return r;
}

/*
 * The thread in whose way the caller is: the holder of the lock, or a bias owner in the middle of
 * an operation. 0: none.
 */
static int32_t thread_in_the_way(const struct shki_call *c)
{
    int32_t thread = shki_robust_holder(&c->gate->mutex.robust);
    uint64_t id = atomic_load_explicit(&c->gate->leaving, memory_order_relaxed); /* a hint */
    const struct shki_member *m = record_of(c->queue, id);

    return thread == 0 && id != 0 && m && is_inside(c->queue, c->gate, id) ? m->tid : thread;
}

static int say_in_the_way(const struct shki_call *c, int32_t thread, const char *what)
{
    return shki_fail(-EBUSY, "%s/%s: thread %d, in the middle of an operation on the %s side, %s",
                     c->queue->object.segment->name, c->queue->object.name, (int)thread,
                     c->puts ? "producer" : "consumer", what);
}

static int say_kept(const struct shki_call *c)
{
    const struct shki_member *m =
        record_of(c->queue, atomic_load_explicit(&c->gate->mutex.holder, memory_order_relaxed));
    uint32_t open = atomic_load_explicit(&c->gate->open, memory_order_relaxed); /* a hint, both */

    return shki_fail(-EBUSY, "%s/%s: %.15s (%d) %s", c->queue->object.segment->name,
                     c->queue->object.name, m ? m->command : "a member", m ? (int)m->pid : 0,
                     open == SHKI_OPEN_PEEK          ? "has an item peeked"
                     : open == SHKI_OPEN_RESERVATION ? "has a reservation open"
                     : c->puts                       ? "has claimed the producer side"
                                                     : "has claimed the consumer side");
}

/*
 * For SHK_NOWAIT, and a time that is over already. The lock of a side is held for one copy: to wait
 * for that is not to wait for an item or for room, even if the holder has to wait for a CPU. The
 * wait ends when the queue is found empty (or full), when a member is found to keep the side, when
 * the holder is found stopped, and after SHKI_BUSY_LIMIT.
 *
 * Returns 0: entered; -EAGAIN, -ETIMEDOUT: empty, full; -EBUSY: there may be something, but a
 * member is in the way.
 */
static int enter_at_once(struct shki_call *c)
{
    const struct shki_patience nowait = c->patience;
    int64_t end = shki_now() + SHKI_BUSY_LIMIT;
    int32_t thread;
    int r;

    shki_spin_for(SHKI_BUSY_SPIN, is_settled, c);
    for (;;) {
        if (!c->can_go_on(c->queue))
            return shki_patience_over(&nowait);
        if (shki_side_is_kept(c)) { /* by a member whose death is not known yet? */
            shki_recover_mutex(c->queue->object.segment, &c->gate->mutex);
            if (shki_side_is_kept(c))
                return say_kept(c);
        }
        c->patience = shki_patience(SHKI_BUSY_SLICE, NULL);
        r = shki_call_lock(c, NULL, NULL);
        c->patience = nowait;
        if (r != -ETIMEDOUT)
            return r;
        thread = thread_in_the_way(c);
        if (thread != 0 && shki_thread_is_stopped(thread))
            return say_in_the_way(c, thread, "is stopped");
        if (shki_now() >= end)
            return say_in_the_way(c, thread, "does not come to its end");
    }
}

/*
 * Enter the gate: 0 or the end of patience. With SHK_NOWAIT what counts is the truth, not whether a
 * member is busy for a moment.
 */
static int enter(struct shki_call *c)
{
    struct shk_queue *q = c->queue;
    int r;

    /* Who is to keep the gate needs its mutex, and has it if it keeps it already. */
    c->tenant = (!c->keep || shki_gate_is_kept_by(c->gate, c->member)) &&
                shki_gate_step_in(q, c->member, c->gate);
    r = c->tenant ? 0 : shki_gate_try(q, c->member, c->gate);
    if (r <= 0)
        return r;
    begin(c);
    return c->timeout <= 0 ? enter_at_once(c) : shki_call_lock(c, each_slice, c);
}

int shki_carry_out(struct shki_call *c, shki_act *act, struct shki_work *work)
{
    int r;

    for (;;) {
        r = enter(c);
        if (r < 0)
            break;
        /*
         * A put that was asleep when the queue was shut down is told, room or not; a get, when
         * there is no item.
         */
        r = c->puts && was_shut(c) ? shki_say_shut(c->queue) : act(c->queue, c->member, work);
        if ((r == 0 || r == -ESTALE) && was_shut(c))
            r = say_drained(c->queue);
        if (r > 0 && c->keep)
            return r;
        shki_gate_leave(c->queue, c->member, c->gate, c->tenant);
        if (r > 0 || r == -EPIPE)
            shki_bed_wake(c->queue, c->other, c->habits);
        if (r != 0)
            break;
        r = shki_call_wait(c);
        if (r < 0)
            break;
    }
    shki_call_end(c);
    return r;
}

void shki_gate_keep(struct shki_call *c, uint32_t claimed, uint32_t open)
{
    struct shki_gate *gate = c->gate;

    /* killed anywhere in here: a dead holder, whose claims mean nothing */
    atomic_store_explicit(&gate->claimed, claimed, memory_order_relaxed);
    atomic_store_explicit(&gate->open, open, memory_order_relaxed);
    /* after what it keeps it for: see shki_queue_is_over() */
    atomic_store_explicit(&gate->mutex.holder, c->member->id, memory_order_release);
    /*
     * Who has something open is not the tenant: its calls find their way to the mutex, and are
     * told. Who has claimed it is, and nobody gets the mutex.
     */
    atomic_store_explicit(&gate->tenant, open ? 0 : c->member->id, memory_order_relaxed);
}

void shki_gate_give(struct shki_gate *gate)
{
    /* killed anywhere in here: a dead holder */
    atomic_store_explicit(&gate->tenant, 0, memory_order_relaxed);
    atomic_store_explicit(&gate->mutex.holder, 0, memory_order_relaxed);
    shki_mutex_unlock(&gate->mutex);
}

/* ---- The bed ---- */

/* commits without a sleeper; a heavy fence costs as much as hundreds of real ones */
#define CALM 1000u
/*
 * ns: so long a side that does not sleep goes before those who do; doubled while nobody makes use
 * of it, up to TURN << VAIN_MAX
 */
#define TURN     200000
#define VAIN_MAX 11u
#define GIVE_WAY 50000 /* ns: so long it lets them */

/*
 * S2: whoever clears the flags wakes. Ordered by F2; and S1: acquire, so that whoever this wakes
 * sees what the one who set the flag had counted.
 */
static void wake(struct shk_segment *s, struct shki_bed *bed)
{
    uint32_t was = atomic_fetch_and_explicit(&bed->flags, SHKI_FENCED, memory_order_acquire);

    if (was & SHKI_SLEEPER)
        sem_post(&bed->semaphore);
    if (was & SHKI_WATCHERS)
        shki_watchers_wake(s);
}

void shki_queue_wake(struct shk_segment *s, struct shki_queue_shared *shared)
{
    struct shki_bed *beds[] = {&shared->empty, &shared->full, &shared->tasks};
    uint32_t sleepers;

    atomic_thread_fence(memory_order_seq_cst); /* F2 */
    for (size_t i = 0; i < sizeof(beds) / sizeof(beds[0]); i++) {
        wake(s, beds[i]);
        /*
         * All sleepers, now: after a reopen a sleeper that is told would not find that the others
         * could go on, and would not wake them.
         */
        sleepers = atomic_load_explicit(&beds[i]->sleepers, memory_order_relaxed);
        for (uint32_t n = 1; n < sleepers && n < s->max_members; n++)
            sem_post(&beds[i]->semaphore);
    }
}

static bool has_no_item(const void *q)
{
    return !shki_queue_has_item(q);
}

static bool has_no_room(const void *q)
{
    return !shki_queue_has_room(q);
}

/*
 * wake-ups; then one who sleeps gets its chance against those who are awake, though it is a small
 * one
 */
#define SPARED_MAX 32u

/*
 * Has somebody who is awake made use of what has been committed, so that those in the bed could not
 * go on? Then nobody need be woken who would only find that out. Their flag stays up: whoever
 * commits next wakes them. Killed meanwhile: as before the wake-up.
 */
static bool is_used_up(const struct shk_queue *q, const struct shki_bed *bed,
                       struct shki_habits *habits)
{
    uint32_t spared;

    if (bed == &q->shared->tasks ||
        !shki_glance(&habits->others, bed == &q->shared->empty ? has_no_item : has_no_room, q))
        return false;
    spared = atomic_load_explicit(&habits->spared, memory_order_relaxed) + 1;
    atomic_store_explicit(&habits->spared, spared, memory_order_relaxed);
    return spared % SPARED_MAX != 0;
}

void shki_bed_wake_slow(struct shk_queue *q, struct shki_bed *bed, struct shki_habits *habits)
{
    uint32_t calm = 0, fenced = SHKI_FENCED, flags;

    if (q->asymmetric)
        atomic_thread_fence(memory_order_seq_cst); /* F2: a flag is up */
    flags = atomic_load_explicit(&bed->flags, memory_order_relaxed);
    if ((flags & ~(uint32_t)SHKI_FENCED) == SHKI_SLEEPER && is_used_up(q, bed, habits))
        return;
    if (flags != SHKI_FENCED)
        wake(q->object.segment, bed);
    else
        calm = atomic_load_explicit(&habits->calm, memory_order_relaxed) + 1;
    /*
     * Fails if somebody has gone to sleep meanwhile. Whoever does so later finds it down, and
     * fences heavily.
     */
    if (calm >= CALM)
        atomic_compare_exchange_strong_explicit(&bed->flags, &fenced, 0, memory_order_relaxed,
                                                memory_order_relaxed);
    atomic_store_explicit(&habits->calm, calm, memory_order_relaxed);
}

/* S1, and the look that follows it. */
static bool announce(struct shki_call *c)
{
    bool asymmetric = c->queue->asymmetric;
    /* S1: `sleepers` before the flag: release. */
    uint32_t was = atomic_fetch_or_explicit(&c->bed->flags,
                                            asymmetric ? SHKI_SLEEPER | SHKI_FENCED : SHKI_SLEEPER,
                                            memory_order_release);

    /* F1: the flags before the look; pairs with F2 */
    shki_fence_heavy(asymmetric && !(was & SHKI_FENCED));
    return c->can_go_on(c->queue);
}

/* How many items this side has moved so far, about. */
static uint64_t moved(const struct shki_call *c)
{
    const struct shki_queue_shared *shared = c->queue->shared;
    uint64_t puts = atomic_load_explicit(&shared->tail, memory_order_relaxed);

    if (c->puts)
        return puts;
    return c->queue->order == SHK_FIFO ? atomic_load_explicit(&shared->head, memory_order_relaxed)
                                       : puts - shki_ordered_size(c->queue);
}

/*
 * Eventual fairness: a side that stays awake goes before those who sleep, who when woken find that
 * it was faster. That is what makes it fast, but not for longer than a turn: then it wakes the one
 * that has slept longest, and does nothing for a moment. If nobody sleeps, somebody may wait for
 * this CPU, to go on where it was interrupted. True if it is worth another try after that.
 */
static bool give_way(struct shki_call *c)
{
    static const struct timespec moment = {.tv_nsec = GIVE_WAY};
    struct shki_habits *habits = c->habits;
    uint32_t waits = atomic_load_explicit(&habits->waits, memory_order_relaxed) + 1,
             vain = atomic_load_explicit(&habits->vain, memory_order_relaxed);
    int64_t since = atomic_load_explicit(&habits->since, memory_order_relaxed), now;
    uint64_t before;

    atomic_store_explicit(&habits->waits, waits, memory_order_relaxed);
    if (waits % SHKI_LOOK_AT_CLOCK != 0)
        return false;
    now = shki_now();
    if (since != 0 && now - since < (int64_t)TURN << vain)
        return false;
    atomic_store_explicit(&habits->since, now, memory_order_relaxed);
    if (since == 0)
        return false;
    if (atomic_load_explicit(&c->bed->sleepers, memory_order_relaxed) == 0) {
        sched_yield();
        return c->can_go_on(c->queue);
    }
    before = moved(c);
    wake(c->queue->object.segment, c->bed);
    nanosleep(&moment, NULL);
    if (moved(c) != before)
        vain = 0;
    else if (vain < VAIN_MAX) /* stopped, or killed, and counted for ever */
        vain++;
    atomic_store_explicit(&habits->vain, vain, memory_order_relaxed);
    return true;
}

int shki_call_wait(struct shki_call *c)
{
    struct shki_role role = {
        c->queue->object.segment, c->member, c->bed->leaders, &c->bed->followers, 0, false, false};
    struct timespec until;
    int r;

    begin(c);
    r = shki_patience_over(&c->patience);
    if (r < 0)
        return r;
    if (c->habits && give_way(c))
        return 0;
    if (shki_spin(c->spinner, can_go_on, c))
        return 0;
    shki_object_sleeps(&c->queue->object, c->member, c->waits_for, shki_waits_how(&c->patience));
    /* before the flag, by S1 */
    atomic_fetch_add_explicit(&c->bed->sleepers, 1, memory_order_relaxed);
    c->slept = true;
    /*
     * The permits first, as in park.h. In the bed they are not the thread's alone: one that was
     * meant for another sleeper is paid back by what follows, as by any thread that a permit has
     * woken: the flag is up, and a waiter that leaves wakes the next if there is something
     * to do.
     */
    while (shki_take_permits(&c->bed->semaphore), !announce(c) && !was_shut(c) && r == 0) {
        until = shki_patience_slice(&c->patience, shki_repairs(SHKI_REPAIR_BACKSTOP)
                                                      ? shki_role_slice(&role, &c->patience)
                                                      : SHK_SEC(3600));
        if (!shki_sleep_on(&c->bed->semaphore, &until)) {
            role.slices++;
            shki_patience_slept(&c->patience);
            shki_recover(c->queue->object.segment);
        }
        if (can_go_on(c))
            break;
        r = shki_patience_over(&c->patience);
    }
    atomic_fetch_sub_explicit(&c->bed->sleepers, 1, memory_order_relaxed);
    if (shki_role_end(&role))
        /* one that sleeps takes over; killed before: the other leader looks */
        sem_post(&c->bed->semaphore);
    shki_member_is_awake();
    if (c->habits)
        atomic_store_explicit(&c->habits->since, 0, memory_order_relaxed);
    return r;
}

void shki_call_end(struct shki_call *c)
{
    if (!c->slept)
        return;
    /* Relaxed: whoever is not counted yet has still to look for itself. */
    if (atomic_load_explicit(&c->bed->sleepers, memory_order_relaxed) > 0 && announce(c))
        wake(c->queue->object.segment, c->bed);
}

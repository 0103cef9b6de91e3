/*
 * Litmus test, on ARM, of the eventcount of lib/sync/eventcount.h, with the labels that it has
 * there: does no waiter sleep on although its condition holds?
 *
 * Modelled: WAITERS waiters, once each: shki_eventcount_wait(), shki_eventcount_cascade(). A
 * notifier makes the condition hold, and notifies; the condition changes back; the notifier makes
 * it hold again, and notifies: shki_eventcount_notify(). NEED_FENCE may be set before all this, and
 * the notifier may clear it where it finds no waiter (there, after many quiet commits). With
 * SYMMETRIC all fences are full ones, and NEED_FENCE is not used. The memory: arm.pml. sem_post()
 * is a release, sem_wait() an acquire. Not modelled, since eventcount.pml has it: deaths,
 * deadlines, rechecks, a change that is used up before the waiter is woken.
 *
 * Claim: when no thread can move any more, each waiter has come through.
 *
 * The acquire of EC2 is left out: on ARM the release of sem_post(), which follows it, is enough. C
 * asks for it.
 */
#ifndef WAITERS
#define WAITERS 1
#endif
#define THREADS (WAITERS + 1)
#define NOTIFIER WAITERS
#include "arm.pml"

/* A waiter: a round that may come again, and the cascade. */
#define COUNT_IN 1
#define TAKE 2
#define PREPARE 4
#define FENCE 8    /* of its own */
#define BARRIER 16 /* in the other threads, one after the other */
#define CHECK 32
#define SLEEP 64
#define SECOND 128
#define COUNT_OUT 256
#define OTHERS 512
#define PREPARE_2 1024
#define FENCE_2 2048
#define BARRIER_2 4096
#define CHECK_2 8192
#define CLEAR 16384
#define POST 32768
#define ROUND (before(COUNT_OUT) & ~before(TAKE))
#define CASCADE (before(65536) & ~before(OTHERS))
#define WAITER_ENDS before(65536)

/* The notifier, time r, and in between the condition changes back. */
#define OP(r, n) (1 << (7 * (r) + (n)))
#define CHANGE(r) OP(r, 0)
#define N_FLAGS(r) OP(r, 1)
#define N_FENCE(r) OP(r, 2)
#define N_AGAIN(r) OP(r, 3)
#define N_CLEAR(r) OP(r, 4)
#define N_POST(r) OP(r, 5)
#define CHANGE_BACK OP(0, 6)
#define NOTIFY(r) (N_FENCE(r) | N_AGAIN(r) | N_CLEAR(r) | N_POST(r))
#define NOTIFIER_ENDS before(OP(1, 6))

#define NEED_WAKEUP 1
#define NEED_FENCE 2

/* EC1, EC2: what keeps the order, or does not. */
#ifdef NO_EC1_WAITER
#define EC1(fences) 0
#else
#define EC1(fences) (fences)
#endif
#ifdef NO_EC1_NOTIFIER
#define EC1_N(r) 0
#else
#define EC1_N(r) N_FENCE(r)
#endif
#ifdef NO_EC2_RELEASE
#define EC2_RELEASE(op) 0
#else
#define EC2_RELEASE(op) before(op)
#endif
#ifdef SYMMETRIC
#define SETS NEED_WAKEUP
#define needs_barrier false
#define LIGHT(r) EC1_N(r) /* the notifier's fence comes before the first read of the flags */
#define N_FENCE_AFTER(r) before(N_FLAGS(r))
#else
#define SETS (NEED_WAKEUP | NEED_FENCE)
#ifdef NO_EC1_HEAVY
#define needs_barrier false
#else
#define needs_barrier (!(were & NEED_FENCE))
#endif
#define LIGHT(r) 0
#define N_FENCE_AFTER(r) before(N_FENCE(r))
#endif
#ifdef NO_CASCADE
#define cascades false
#else
#define cascades (sleepers > 0)
#endif

byte changes
#define HOLDS (changes == 1 || changes == 3)
byte flags, sleepers, permits

/* prepare_wait(); EC2 is one step that reads and writes. */
#define PREPARES(prepare, fence, barrier, after) \
    :: d_step { \
           NEXT(prepare, EC2_RELEASE(prepare) | (after)) -> \
           were = flags; \
           flags = flags | SETS; \
           perform(prepare) \
       } \
    :: d_step { NEXT(fence, before(fence)) -> perform(fence) } \
    :: d_step { \
           NEXT(barrier, before(barrier)) && (!needs_barrier || next == THREADS) -> \
           next = 0; \
           perform(barrier) \
       } \
    :: d_step { \
           NEXT(barrier, before(barrier)) && needs_barrier && next < THREADS && \
           (next == me || is_at_one_place(next)) -> \
           next++ \
       }

proctype waiter(byte me)
{
    byte were, next;
    bool again;

    do
    :: d_step { NEXT(COUNT_IN, 0) -> sleepers++; perform(COUNT_IN) }
    :: d_step { NEXT(TAKE, 0) -> permits = 0; perform(TAKE) }
    PREPARES(PREPARE, FENCE, BARRIER, 0)
    :: d_step {
           NEXT(CHECK, EC1(PREPARE | FENCE | BARRIER)) ->
           if
           :: HOLDS -> perform(CHECK | SLEEP | SECOND)
           :: else -> perform(CHECK)
           fi
       }
    :: d_step { NEXT(SLEEP, TAKE | CHECK) && permits > 0 -> permits--; perform(SLEEP) }
    :: d_step { NEXT(SECOND, CHECK | SLEEP) -> again = !HOLDS; perform(SECOND) }
    :: d_step {
           again && did[me] == before(COUNT_OUT) ->
           again = false;
           did[me] = did[me] & ~ROUND
       }
    :: d_step {
           NEXT(COUNT_OUT, COUNT_IN | CHECK | SECOND) && !again ->
           sleepers--;
           perform(COUNT_OUT)
       }
    :: d_step {
           NEXT(OTHERS, COUNT_OUT) ->
           if
           :: cascades -> perform(OTHERS)
           :: else -> perform(CASCADE)
           fi
       }
    PREPARES(PREPARE_2, FENCE_2, BARRIER_2, PREPARE | CHECK | SECOND | OTHERS)
    :: d_step {
           NEXT(CHECK_2, CHECK | SECOND | OTHERS | EC1(PREPARE_2 | FENCE_2 | BARRIER_2)) ->
           if
           :: HOLDS -> perform(CHECK_2)
           :: else -> perform(CHECK_2 | CLEAR | POST)
           fi
       }
    :: d_step {
           NEXT(CLEAR, PREPARE_2 | CHECK_2) ->
           perform((flags & NEED_WAKEUP -> CLEAR : CLEAR | POST));
           flags = flags & NEED_FENCE
       }
    :: d_step { NEXT(POST, before(POST)) -> permits++; perform(POST) }
    :: did[me] == WAITER_ENDS -> break
    od
}

/* `earlier`: the fences, the acquires and what is at the same place, of the first time. */
#define NOTIFIES(r, earlier) \
    :: d_step { NEXT(CHANGE(r), before(CHANGE(r))) -> changes++; perform(CHANGE(r)) } \
    :: d_step { \
           NEXT(N_FLAGS(r), LIGHT(r) | (earlier)) -> \
           if \
           :: flags == 0 -> perform(N_FLAGS(r) | NOTIFY(r)) \
           :: else -> perform(N_FLAGS(r)) \
           fi \
       } \
    :: d_step { NEXT(N_FENCE(r), N_FENCE_AFTER(r)) -> perform(N_FENCE(r)) } \
    :: d_step { \
           NEXT(N_AGAIN(r), EC1_N(r) | N_FLAGS(r)) -> \
           found = flags; \
           if \
           :: found == NEED_FENCE -> perform(N_AGAIN(r) | N_CLEAR(r) | N_POST(r)) \
           :: found == NEED_FENCE -> perform(N_AGAIN(r)) \
           :: else -> perform(N_AGAIN(r)) \
           fi \
       } \
    :: d_step { \
           NEXT(N_CLEAR(r), N_AGAIN(r)) -> \
           if \
           :: found == NEED_FENCE -> \
              flags = (flags == NEED_FENCE -> 0 : flags); \
              perform(N_CLEAR(r) | N_POST(r)) \
           :: else -> \
              perform((flags & NEED_WAKEUP -> N_CLEAR(r) : N_CLEAR(r) | N_POST(r))); \
              flags = flags & NEED_FENCE \
           fi; \
           found = 0 \
       } \
    :: d_step { NEXT(N_POST(r), before(N_POST(r))) -> permits++; perform(N_POST(r)) }

proctype notifier(byte me)
{
    byte found;

    do
    NOTIFIES(0, 0)
    :: d_step {
           NEXT(CHANGE_BACK, before(CHANGE_BACK)) -> changes++; perform(CHANGE_BACK)
       }
    NOTIFIES(1, N_FLAGS(0) | N_AGAIN(0) | N_CLEAR(0) | EC1_N(0))
    :: did[me] == NOTIFIER_ENDS -> break
    od
}

init
{
    byte m;

    atomic {
#ifndef SYMMETRIC
        if
        :: flags = NEED_FENCE
        :: true
        fi;
#endif
        for (m : 0 .. WAITERS - 1) {
            run waiter(m)
        }
        run notifier(NOTIFIER);
        m = 0
    };
    timeout -> /* no thread can move any more */
    assert(did[NOTIFIER] == NOTIFIER_ENDS);
    for (m : 0 .. WAITERS - 1) {
        assert(did[m] == WAITER_ENDS)
    }
}

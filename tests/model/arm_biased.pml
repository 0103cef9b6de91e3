/*
 * Litmus test, on ARM, of the biased lock of lib/sync/biased.h, with the labels that it has there:
 * are the owner and the revoker in the lock at different times, and does each find what the other
 * has done there?
 *
 * Modelled: the owner visits twice by its bias, and once by the mutex when it finds that it has
 * been revoked; a revoker visits by the mutex. Each visit adds one to a number in plain memory.
 * With SYMMETRIC all fences are full ones. The memory: arm.pml. Not modelled, since biased.pml has
 * it: deaths, how a member becomes the owner, a revoker that gives up.
 *
 * Claim: at the end the number is that of the visits.
 */
#define THREADS 2
#define OWNER 0
#define REVOKER 1
#include "arm.pml"

/* The owner: visit v by the bias, and one by the mutex. */
#define OP(v, n) (1 << (7 * (v) + (n)))
#define CHECK(v) OP(v, 0)
#define ENTER(v) OP(v, 1)
#define FENCE(v) OP(v, 2)
#define SECOND(v) OP(v, 3)
#define LOAD(v) OP(v, 4)
#define STORE(v) OP(v, 5)
#define LEAVE(v) OP(v, 6)
#define LATER(v) (before(OP(2, 0)) & ~before(OP(v, 0))) /* visit v and those after it */
#define LOCK OP(2, 0)
#define LOCKED OP(2, 1)
#define LOCKED_LOAD OP(2, 2)
#define LOCKED_STORE OP(2, 3)
#define UNLOCK OP(2, 4)
#define BY_MUTEX (LOCK | LOCKED | LOCKED_LOAD | LOCKED_STORE | UNLOCK)
#define OWNER_ENDS before(OP(2, 5))

/* The revoker. */
#define R_LOCK 1
#define R_LOCKED 2
#define R_OWNER 4
#define R_REVOKING 8
#define R_REVOKE 16
#define R_FENCE 32   /* of its own */
#define R_BARRIER 64 /* in the owner's thread */
#define R_WAIT 128
#define R_LOAD 256
#define R_STORE 512
#define R_REVOKED 1024
#define R_UNLOCK 2048
#define REVOKER_ENDS before(4096)

/* BL1, BL2: what keeps the order, or does not. */
#if defined(SYMMETRIC) && !defined(NO_BL1_LIGHT)
#define LIGHT(v) FENCE(v)
#else
#define LIGHT(v) 0
#endif
#if defined(SYMMETRIC) && defined(NO_BL1_HEAVY)
#define HEAVY 0
#else
#define HEAVY (R_FENCE | R_BARRIER)
#endif
#if defined(SYMMETRIC) || defined(NO_BL1_HEAVY)
#define has_barrier true
#else
#define has_barrier is_at_one_place(OWNER)
#endif
#ifdef NO_BL2_RELEASE
#define LEAVES_AFTER(v) (ENTER(v) | SECOND(v)) /* the same place, a branch */
#else
#define LEAVES_AFTER(v) before(LEAVE(v))
#endif
#ifdef NO_BL2_ACQUIRE
#define ACQUIRE 0
#else
#define ACQUIRE R_WAIT
#endif
#ifdef NO_BL2_WAIT
#define is_out true
#else
#define is_out (!biased_in)
#endif
#ifdef NO_SECOND_CHECK
#define is_revoked false
#else
#define is_revoked (bias_owner != OWNER + 1)
#endif

byte bias_owner = OWNER + 1, revoking /* thread + 1; 0: none */
bool biased_in
byte mutex   /* thread + 1; 0: free */
byte locking /* the same, while that is not visible yet */
byte number, visits

/* What the owner finds in the number: its own store, if that is not visible yet. */
#define own_number(v) ((v) > 0 && !(did[me] & STORE(0)) -> found[0] + 1 : number)

#define BY_BIAS(v) \
    :: d_step { \
           NEXT(CHECK(v), v * SECOND(0)) -> \
           if \
           :: bias_owner == OWNER + 1 -> perform(CHECK(v)) \
           :: else -> revoked = true; perform(LATER(v)) \
           fi \
       } \
    :: d_step { NEXT(ENTER(v), before(ENTER(v))) -> biased_in = true; perform(ENTER(v)) } \
    :: d_step { NEXT(FENCE(v), before(FENCE(v))) -> perform(FENCE(v)) } \
    :: d_step { \
           NEXT(SECOND(v), CHECK(v) | LIGHT(v)) -> \
           if \
           :: is_revoked -> \
              revoked = true; \
              turns_back = true; \
              perform(SECOND(v) | LOAD(v) | STORE(v) | LATER(v + 1)) \
           :: else -> perform(SECOND(v) | (v * BY_MUTEX)) \
           fi \
       } \
    :: d_step { \
           NEXT(LOAD(v), LIGHT(0) | LIGHT(v) | v * LOAD(0)) -> \
           found[v] = own_number(v); \
           perform(LOAD(v)) \
       } \
    :: d_step { \
           NEXT(STORE(v), SECOND(v) | LOAD(v) | v * STORE(0)) -> \
           number = found[v] + 1; \
           visits++; \
           perform(STORE(v)) \
       } \
    :: d_step { \
           NEXT(LEAVE(v), (turns_back -> ENTER(v) | SECOND(v) : LEAVES_AFTER(v))) -> \
           biased_in = false; /* BL2 */ \
           perform(LEAVE(v)) \
       }

proctype owner(byte me)
{
    byte found[3];
    bool revoked, turns_back;

    do
    BY_BIAS(0)
    BY_BIAS(1)
    :: d_step {
           NEXT(LOCK, 0) && revoked && mutex == 0 && locking == 0 ->
           locking = OWNER + 1;
           perform(LOCK)
       }
    :: d_step {
           NEXT(LOCKED, LOCK) -> mutex = OWNER + 1; locking = 0; perform(LOCKED)
       }
    :: d_step {
           NEXT(LOCKED_LOAD, LOCK | LOAD(0)) -> found[2] = own_number(2); perform(LOCKED_LOAD)
       }
    :: d_step {
           NEXT(LOCKED_STORE, LOCK | LOCKED_LOAD | STORE(0)) ->
           number = found[2] + 1;
           visits++;
           perform(LOCKED_STORE)
       }
    :: d_step { NEXT(UNLOCK, before(UNLOCK)) -> mutex = 0; perform(UNLOCK) }
    :: did[me] == OWNER_ENDS -> break
    od
}

/* take_over(), revoke_bias(). */
proctype revoker(byte me)
{
    byte found;

    do
    :: d_step {
           NEXT(R_LOCK, 0) && mutex == 0 && locking == 0 -> locking = REVOKER + 1; perform(R_LOCK)
       }
    :: d_step { NEXT(R_LOCKED, R_LOCK) -> mutex = REVOKER + 1; locking = 0; perform(R_LOCKED) }
    :: d_step { NEXT(R_OWNER, R_LOCK) -> assert(bias_owner == OWNER + 1); perform(R_OWNER) }
    :: d_step { NEXT(R_REVOKING, R_OWNER) -> revoking = OWNER + 1; perform(R_REVOKING) } /* BL3 */
    :: d_step { NEXT(R_REVOKE, before(R_REVOKE)) -> bias_owner = 0; perform(R_REVOKE) }  /* BL3 */
    :: d_step { NEXT(R_FENCE, before(R_FENCE)) -> perform(R_FENCE) }                     /* BL1 */
    :: d_step { NEXT(R_BARRIER, before(R_BARRIER)) && has_barrier -> perform(R_BARRIER) }
    :: d_step { NEXT(R_WAIT, R_LOCK | HEAVY) && is_out -> perform(R_WAIT) }              /* BL2 */
    :: d_step { NEXT(R_LOAD, R_LOCK | HEAVY | ACQUIRE) -> found = number; perform(R_LOAD) }
    :: d_step {
           NEXT(R_STORE, R_LOCK | HEAVY | R_WAIT | R_LOAD) ->
           number = found + 1;
           visits++;
           perform(R_STORE)
       }
    :: d_step { NEXT(R_REVOKED, before(R_REVOKED)) -> revoking = 0; perform(R_REVOKED) } /* BL3 */
    :: d_step { NEXT(R_UNLOCK, before(R_UNLOCK)) -> mutex = 0; perform(R_UNLOCK) }
    :: did[me] == REVOKER_ENDS -> break
    od
}

init
{
    atomic {
        run owner(OWNER);
        run revoker(REVOKER)
    };
    timeout ->
    assert(did[OWNER] == OWNER_ENDS && did[REVOKER] == REVOKER_ENDS);
    assert(visits >= 2 && number == visits)
}

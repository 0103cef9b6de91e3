/*
 * When a queue is over: shki_queue_is_over() of lib/queue/state.c, beside shk_queue_shutdown()
 * and the ways into the put lock, with the labels of lib/queue/state.h and lib/sync/biased.h.
 * Fences are full ones here, as with SHK_MEMBARRIER=0.
 *
 * Modelled: a member claims the producer side, puts once as the bias owner, and unclaims;
 * PRODUCERS producers put once each, by the mutex; a closer shuts the queue down, without the
 * lock if it is kept at that moment; a consumer takes what there is until it finds that nothing
 * more comes. Memory is weak: what a member stores waits in its buffer, from where it becomes
 * visible in order. A mutex that is locked is visible at once, but what is loaded behind it may
 * have been loaded before, as on ARM, unless a fence stands between.
 *
 * Not modelled: reservations, deaths, revocation (biased.pml).
 *
 * Claim: once the consumer has found that nothing more comes, nothing more comes.
 */
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#define CLAIMER PRODUCERS
#define CLOSER (PRODUCERS + 1)
#define MEMBERS (PRODUCERS + 2)

mtype = { STEP_IN, COMMIT, STEP_OUT, KEEP, GIVE, SHUT, UNLOCK } /* what a member stores */
mtype = { OPEN, SHUT_WHILE_KEPT, SHUT_DOWN }

chan buffer[MEMBERS] = [6] of { mtype }
byte lock                  /* member + 1; 0: free */
bool kept                  /* its holder has claimed it, and is the bias owner */
bool inside                /* the claimer */
mtype shut_down = OPEN
byte items, taken
bool over

#define fence() empty(buffer[me])

proctype memory(byte me)
{
end:
    do
    :: d_step { buffer[me]?STEP_IN -> inside = true }                    /* BL1 */
    :: d_step { buffer[me]?COMMIT -> assert(!over); items++ }            /* RQ1 */
    :: d_step { buffer[me]?STEP_OUT -> inside = false }                  /* BL2 */
    :: d_step { buffer[me]?KEEP -> kept = true }
    :: d_step { buffer[me]?GIVE -> kept = false }
    :: d_step { buffer[me]?SHUT -> shut_down = SHUT_DOWN }               /* SD1 */
    :: d_step { buffer[me]?UNLOCK -> lock = 0 }
    od
}

proctype producer(byte me)
{
    mtype seen;

#ifdef NO_BL4
    seen = shut_down;
    atomic { lock == 0 -> lock = me + 1 };
#else
    atomic { lock == 0 -> lock = me + 1 };
    d_step { fence() -> seen = shut_down }; /* BL4 */
#endif
    if
    :: seen == OPEN -> buffer[me]!COMMIT
    :: seen != OPEN
    fi;
    buffer[me]!UNLOCK
}

proctype claimer(byte me)
{
    mtype seen;

    atomic { lock == 0 -> lock = me + 1 };
    buffer[me]!KEEP;
    buffer[me]!STEP_IN;
#ifdef NO_BL1
    seen = shut_down;
#else
    d_step { fence() -> seen = shut_down }; /* BL1 */
#endif
    if
    :: seen == OPEN -> buffer[me]!COMMIT
    :: seen != OPEN
    fi;
    buffer[me]!STEP_OUT;
    buffer[me]!GIVE;
    buffer[me]!UNLOCK
}

proctype closer(byte me)
{
    if
    :: atomic { lock != 0 && kept -> shut_down = SHUT_WHILE_KEPT } /* SD1 */
    :: atomic { lock == 0 -> lock = me + 1 };
       buffer[me]!SHUT;
       buffer[me]!UNLOCK
    fi
}

/* What shki_queue_is_over() loads behind SD2. */
inline load_the_rest()
{
    is_locked = lock != 0;
    is_kept = kept;
    is_biased_in = inside
}

proctype consumer()
{
    mtype seen;
    bool is_locked, is_kept, is_biased_in;

next:
    if
    :: d_step { items > taken -> taken++ }; goto next
    :: items == taken
    fi;
#ifdef NO_SD2
    load_the_rest();
#endif
    seen = shut_down;
    if
    :: seen == OPEN -> goto next
    :: seen == SHUT_DOWN -> goto second_check
    :: seen == SHUT_WHILE_KEPT
    fi;
    if
    :: lock != 0 && !kept -> goto next /* a producer has it at the moment */
    :: lock == 0 || kept
    fi;
#ifndef NO_SD2
    load_the_rest();
#endif
    if
    :: !is_locked && (!is_kept || !is_biased_in)
    :: is_locked && is_kept && !is_biased_in
    :: is_locked && (!is_kept || is_biased_in) -> goto next
    :: !is_locked && is_kept && is_biased_in -> goto next
    fi;
second_check:
    if
    :: d_step { items > taken -> taken++ }; goto next
    :: d_step { items == taken -> over = true }
    fi
}

init
{
    byte m;

    atomic {
        for (m : 0 .. MEMBERS - 1) {
            run memory(m)
        }
        for (m : 0 .. PRODUCERS - 1) {
            run producer(m)
        }
        run claimer(CLAIMER);
        run closer(CLOSER);
        run consumer()
    }
}

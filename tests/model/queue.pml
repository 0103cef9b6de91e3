/*
 * When a queue is over: shki_queue_is_over() of lib/queue/call.c, beside shk_queue_shutdown() and the ways into the producer side, with
 * the labels that they have there. Fences are ordinary ones here, as with SHK_MEMBARRIER=0.
 *
 * Modelled: a keeper claims the producer side, puts once as the bias owner, and gives the side back; PRODUCERS producers put once
 * each, by the lock; a closer shuts the queue down, without the lock if the side is kept at that moment; a consumer takes what
 * there is until it finds that nothing more comes. Memory is weak: what a member stores waits in its buffer, from where it becomes
 * visible in order; a lock that is taken is visible at once, but what is loaded behind it may have been loaded before, as on ARM,
 * unless a fence stands between.
 *
 * Not modelled: reservations, deaths, revocation (lock.pml).
 *
 * Claim: once the consumer has found that nothing more comes, nothing more comes.
 */
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#define KEEPER PRODUCERS
#define CLOSER (PRODUCERS + 1)
#define MEMBERS (PRODUCERS + 2)

mtype = { STEP_IN, COMMIT, STEP_OUT, KEEP, GIVE, SHUT, UNLOCK } /* what a member stores */
mtype = { OPEN, SHUT_FOR_PUTS, SHUT_DOWN }

chan buffer[MEMBERS] = [6] of { mtype }
byte lock                  /* member + 1; 0: free */
bool kept                  /* the holder says so, and is the bias owner */
bool inside                /* the keeper */
mtype shut_down = OPEN
byte items, taken
bool over

#define fence() empty(buffer[me])

proctype memory(byte me)
{
end:
    do
    :: d_step { buffer[me]?STEP_IN -> inside = true }                    /* G1 */
    :: d_step { buffer[me]?COMMIT -> assert(!over); items++ }            /* Q1 */
    :: d_step { buffer[me]?STEP_OUT -> inside = false }                  /* G3 */
    :: d_step { buffer[me]?KEEP -> kept = true }
    :: d_step { buffer[me]?GIVE -> kept = false }
    :: d_step { buffer[me]?SHUT -> shut_down = SHUT_DOWN }               /* Q3 */
    :: d_step { buffer[me]?UNLOCK -> lock = 0 }
    od
}

proctype producer(byte me)
{
    mtype seen;

#ifdef NO_G4
    seen = shut_down;
    atomic { lock == 0 -> lock = me + 1 };
#else
    atomic { lock == 0 -> lock = me + 1 };
    d_step { fence() -> seen = shut_down }; /* G4 */
#endif
    if
    :: seen == OPEN -> buffer[me]!COMMIT
    :: seen != OPEN
    fi;
    buffer[me]!UNLOCK
}

proctype keeper(byte me)
{
    mtype seen;

    atomic { lock == 0 -> lock = me + 1 };
    buffer[me]!KEEP;
    buffer[me]!STEP_IN;
#ifdef NO_G1
    seen = shut_down;
#else
    d_step { fence() -> seen = shut_down }; /* G1 */
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
    :: atomic { lock != 0 && kept -> shut_down = SHUT_FOR_PUTS } /* Q3 */
    :: atomic { lock == 0 -> lock = me + 1 };
       buffer[me]!SHUT;
       buffer[me]!UNLOCK
    fi
}

/* What shki_queue_is_over() loads behind F4. */
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

look:
    if
    :: d_step { items > taken -> taken++ }; goto look
    :: items == taken
    fi;
#ifdef NO_F4
    load_the_rest();
#endif
    seen = shut_down;
    if
    :: seen == OPEN -> goto look
    :: seen == SHUT_DOWN -> goto second_look
    :: seen == SHUT_FOR_PUTS
    fi;
    if
    :: lock != 0 && !kept -> goto look /* a producer has it at the moment */
    :: lock == 0 || kept
    fi;
#ifndef NO_F4
    load_the_rest();
#endif
    if
    :: !is_locked && (!is_kept || !is_biased_in)
    :: is_locked && is_kept && !is_biased_in
    :: is_locked && (!is_kept || is_biased_in) -> goto look
    :: !is_locked && is_kept && is_biased_in -> goto look
    fi;
second_look:
    if
    :: d_step { items > taken -> taken++ }; goto look
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
        run keeper(KEEPER);
        run closer(CLOSER);
        run consumer()
    }
}

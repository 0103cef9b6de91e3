/*
 * The event: shk_event_set(), shk_event_clear() and shk_event_wait() of lib/object/event.c, with shki_event_finish(). A
 * setter sets it, and perhaps clears it again, up to SETS times. line.pml is the waitlist below it, and says what is
 * modelled; that a set event lets everybody pass who comes is read at once, by one load.
 *
 * Claims: when nobody can move any more, nobody is asleep who was waiting when it was set, cleared again or not; nobody
 * is asleep while it is set, or stuck at the mutex. No wait that slept ends without a set that came after it had begun.
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef SETS
#define SETS 2
#endif
#define MEMBERS (WAITERS + 1)

bool is_set             /* V1 */
byte notifications      /* how often it has been set */
bool owed[WAITERS]      /* it has been set since this one entered */

#define give(n) skip
#ifdef NO_FINISH
#define finish() skip
#else
#define finish() if :: is_set -> line_notify_all() :: !is_set fi
#endif
#include "line.pml"

inline die()
{
    d_step {
        orphaned = orphaned || mutex == me + 1;
        mutex = (mutex == me + 1 -> 0 : mutex);
        doing[me] = DEAD;
        deaths++
    }
}

proctype waiter(byte me)
{
    LINE_VARIABLES;

    {
        if
        :: is_set
        :: !is_set ->
           line_lock();
           if
           :: is_set -> line_unlock()
           :: !is_set ->
              line_enter();
              line_unlock();
              line_sleep();
              if
              :: gave_up
              :: !gave_up -> d_step { node[me].in = false; assert(notifications > since) }
              fi
           fi
        fi;
        atomic { doing[me] = DONE; since = 0; gave_up = false }
    } unless { killed[me] -> die() }
}

proctype setter(byte me)
{
    LINE_VARIABLES;
    byte calls;

    {
        do
        :: calls < SETS ->
           calls++;
           line_lock();
           d_step {
               is_set = true; /* V1 */
               notifications++;
               for (i : 0 .. WAITERS - 1) {
                   owed[i] = owed[i] || is_waiting(i)
               }
               i = 0
           };
           if
           :: count > 0 -> line_notify_all()
           :: count == 0
           fi;
           line_unlock();
           if
           :: true
           :: line_lock(); is_set = false; line_unlock()
           fi
        :: break
        od;
        atomic { doing[me] = DONE; calls = 0 }
    } unless { killed[me] -> die() }
}

init
{
    byte m;

    atomic {
        for (m : 0 .. WAITERS - 1) {
            run waiter(m)
        }
        run setter(WAITERS);
        run fate()
    };
    timeout -> /* nobody can move any more */
    assert(mutex == 0);
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD || doing[m] == ASLEEP && !is_released(m) && !is_set && !owed[m])
    }
}

/*
 * The condition: shk_cond_wait(), shk_cond_notify() and shk_cond_notify_all() of lib/object/cond.c,
 * as they are used: WAITERS wait for work, the notifier adds some and notifies, up to NOTIFIES
 * times, all with the lock held. waitlist.pml is the waitlist below it, and says what is modelled.
 * Work is counted in the step that commits the notification, and taken in the step that ends a
 * wait: so every wake-up lost shows as work left over, whichever member died where.
 *
 * Not modelled: recursive locks, two conditions on one lock, SHK_ORPHANED, unlinking.
 *
 * Claims: when no member can move any more, none is asleep while there is work, or stuck at a
 * mutex. No wait ends without a notification that came after it had begun. Without CRASHES that is
 * so without any recheck.
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef NOTIFIES
#define NOTIFIES 2
#endif
#define MEMBERS (WAITERS + 1)

byte lock               /* member + 1 of the holder; 0: free, or its holder is dead */
byte work, notifications

#define give(n) work = work + (n); notifications = notifications + ((n) > 0 -> 1 : 0)
#include "waitlist.pml"

inline die()
{
    d_step {
        lock = (lock == me + 1 -> 0 : lock);
        marked = marked || mutex == me + 1;
        mutex = (mutex == me + 1 -> 0 : mutex);
        doing[me] = DEAD;
        deaths++
    }
}

proctype waiter(byte me)
{
    LIST_VARIABLES;
    bool has_some;

    {
        atomic { lock == 0 -> lock = me + 1 };
        do
        :: !has_some && !gave_up ->
           if
           :: d_step { work > 0 -> work--; has_some = true }
           :: work == 0 ->
              with_mutex {
                  list_lock();
                  list_enter();
                  list_unlock()
              };
               lock = 0; /* shki_lock_release_all() */
               list_sleep();
#ifdef RESUME_EARLY
              node[me].in = false;
#endif
              atomic { lock == 0 -> lock = me + 1 }; /* shki_lock_reacquire() */
              if
              :: gave_up
              :: !gave_up ->
                 d_step {
                     check_verdict();
                     node[me].in = false; /* shki_waitlist_resume() */
                     assert(notifications > since);
                     if
                     :: work > 0 -> work--; has_some = true
                     :: else
                     fi
                 }
              fi
           fi
        :: has_some || gave_up -> break
        od;
        lock = 0;
        atomic { doing[me] = DONE; since = 0; gave_up = false; has_some = false }
    } unless { killed[me] -> die() }
}

proctype notifier(byte me)
{
    LIST_VARIABLES;
    byte calls;

    {
        do
        :: calls < NOTIFIES ->
           calls++;
           atomic { lock == 0 -> lock = me + 1 };
           if
#ifdef COUNT_EARLY
           :: count == 0 ->
              if
              :: d_step { !marked -> give(1) }
              :: marked -> list_lock(); list_notify(); list_unlock()
              fi
#else
           :: d_step { count == 0 -> give(1) }
#endif
           :: count > 0 ->
              if
              :: with_mutex { list_lock(); list_notify(); list_unlock() }
#ifndef ONE_BY_ONE
              :: with_mutex { list_lock(); list_notify_all(0); list_unlock() }
#ifdef VERDICTS
              :: with_mutex { list_lock(); list_notify_all(1); list_unlock() }
#endif
#endif
              fi
           fi;
           lock = 0
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
        run notifier(WAITERS);
        run fate()
    };
    timeout -> /* no member can move any more */
    assert(lock == 0 && mutex == 0);
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD ||
               doing[m] == ASLEEP && !is_released(m) && work == 0)
    }
}

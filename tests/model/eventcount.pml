/*
 * The eventcount of lib/sync/eventcount.h, with a queue as the condition: shki_eventcount_wait(),
 * shki_eventcount_notify(), shki_eventcount_cascade(), with the labels that they have there, called
 * by put, get and shutdown of a queue.
 *
 * Modelled: GETTERS consumers make up to GETS calls each, PUTTERS producers up to PUTS, on a queue
 * with room for one item; up to DEADLINES of these calls may run out of time, at any moment; with
 * SHUTDOWN a member shuts the queue down, and with REOPEN opens it again at once. Up to CRASHES
 * members die, between any two steps. The kernel hands on a dead holder's lock; and a waiter checks
 * again after a recheck interval (where that changes nothing, it is no step). Memory is weak: what
 * a member stores waits in its buffer, from where it becomes visible in order, a relaxed store
 * perhaps before others; loads do not wait for that, a fence waits until the buffer is empty, a
 * heavy one until each member's has been, one after the other, as membarrier(2) does. sem_post()
 * has two steps: the value, and the wake-up by the kernel. With SYMMETRIC all fences are full ones.
 *
 * Not modelled: the items' bytes; the cached copies of head and tail; that a check reads two words
 * (what changes after the first read is as if it came after the check); spinning before a sleep
 * (more checks); fairness at the locks; loads that overtake loads (they are acquire loads, or
 * follow a fence).
 *
 * Claim: when no member can move any more, no living member is stuck at a lock, or asleep although
 * it could go on. Without CRASHES that is so without any recheck.
 */
#ifndef GETTERS
#define GETTERS 2
#endif
#ifndef PUTTERS
#define PUTTERS 1
#endif
#ifndef GETS
#define GETS 1
#endif
#ifndef PUTS
#define PUTS 2
#endif
#ifndef DEADLINES
#define DEADLINES 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifdef SHUTDOWN
#define MEMBERS (GETTERS + PUTTERS + 1)
#else
#define MEMBERS (GETTERS + PUTTERS)
#endif
#define CAPACITY 1

/* The two sides. Each has its lock, and the eventcount that it sleeps on. */
#define GET 0
#define PUT 1
#define side_of(member) (member < GETTERS -> GET : PUT)

mtype = { COMMIT, SHUT, UNLOCK, COUNT_IN, COUNT_OUT } /* what a process stores */
mtype = { RUNNING, ASLEEP, DONE, DEAD }

chan buffer[MEMBERS] = [5] of { mtype }
byte items                  /* tail - head */
bool shut_down
#ifdef REOPEN
byte shutdowns              /* how often it has been shut down, in the same word */
byte began[MEMBERS]         /* the count when the member's wait began */
#endif
byte lock[2]                /* member + 1; 0: free */
bool flag[2]                /* SHKI_NEED_WAKEUP */
bool need_fence[2]              /* SHKI_NEED_FENCE */
byte sleepers[2]
byte permits[2]             /* the semaphore's value */
byte in_futex[2], kicks[2]  /* asleep in the kernel; how many of those it has woken */
mtype doing[MEMBERS] = RUNNING
bool killed[MEMBERS]        /* dies at its next step */
bool late[MEMBERS]          /* its deadline is over */

#define has_item (items > 0)
#define has_room (items < CAPACITY)
#define can_go_on(side) (shut_down || (side == GET -> has_item : has_room))
#define fence() empty(buffer[me])

/* Shut down since the wait began, and open again; asleep, and not told. */
#ifdef REOPEN
#define count_shutdown() shutdowns++
#define begin_wait() began[me] = (slept -> began[me] : shutdowns)
#define has_missed_one(member) (shutdowns != began[member])
#else
#define count_shutdown() skip
#define begin_wait() skip
#define has_missed_one(member) false
#endif
#ifdef NO_COUNT
#define was_shut(member) false
#else
#define was_shut(member) (!shut_down && has_missed_one(member))
#endif
#define holds (can_go_on(side) || was_shut(me))
#ifdef USED_UP_UNSEEN
#define USED_UP(eventcount) true
#else
#define USED_UP(eventcount) (!can_go_on(eventcount))
#endif
#ifdef NO_EC1_NOTIFIER
#define EC1_NOTIFIER true
#else
#define EC1_NOTIFIER fence()
#endif

proctype memory(byte me; bit side)
{
end:
    do
    :: d_step { buffer[me]?COMMIT -> items = (side == PUT -> items + 1 : items - 1) } /* RQ1, RQ2 */
    /* SD1 */
    :: d_step { buffer[me]?SHUT -> shut_down = true; count_shutdown() }
    :: d_step { buffer[me]?UNLOCK -> lock[side] = 0 }
    :: d_step { buffer[me]?COUNT_IN -> sleepers[side]++ }
    :: d_step { buffer[me]?COUNT_OUT -> sleepers[side]-- }
    od
}

/* EC2 and EC1. EC2 is one step that reads and writes; the counting before it is visible then. */
inline prepare_wait()
{
#ifdef NO_EC2_RELEASE
    atomic { first = !need_fence[side]; flag[side] = true; need_fence[side] = true };
#else
    atomic { fence() -> first = !need_fence[side]; flag[side] = true; need_fence[side] = true };
#endif
    if
#if !defined(SYMMETRIC) && !defined(NO_EC1_HEAVY)
    :: first -> heavy_fence(); first = false
    :: !first
#else
    :: first = false
#endif
    fi
}

inline heavy_fence()
{
    other = 0;
    do
    :: other < MEMBERS && empty(buffer[other]) -> other++
    :: other == MEMBERS -> other = 0; break
    od
}

inline post(eventcount)
{
    d_step { fence() -> permits[eventcount]++ }; /* a release */
    /* killed here: no waiter is woken */
    d_step {
        if
        :: in_futex[eventcount] > kicks[eventcount] -> kicks[eventcount]++
        :: else
        fi
    }
}

/* Clear the flag, and post if it was set. */
inline wake_slow(eventcount)
{
    if
    :: d_step { flag[eventcount] -> flag[eventcount] = false }; post(eventcount)
    :: !flag[eventcount]
    fi
}

/*
 * EC1, EC2: light, unless a flag is set. Now and then NEED_FENCE is cleared, in one step that finds
 * no waiter asleep.
 */
inline wake(eventcount)
{
    if
#ifndef SYMMETRIC
    :: !flag[eventcount] && !need_fence[eventcount]
#endif
    :: EC1_NOTIFIER -> /* a flag was set */
       if
       :: d_step { flag[eventcount] -> flag[eventcount] = false }; post(eventcount)
       :: !flag[eventcount]
       :: USED_UP(eventcount) /* a thread that is awake has used the change */
       :: d_step { !flag[eventcount] && need_fence[eventcount] -> need_fence[eventcount] = false }
       fi
    fi
}

inline get_up()
{
    in_futex[side]--;
    doing[me] = RUNNING
}

/* Gone before it was woken, or together with its wake-up. */
inline get_up_unasked()
{
    if
    :: kicks[side] > 0 -> kicks[side]--
    :: kicks[side] < in_futex[side]
    fi;
    get_up()
}

#if (CRASHES || defined(RECHECK)) && !defined(NO_RECHECK)
#define recheck_is_due (holds || !flag[side])
#else
#define recheck_is_due false
#endif

/* sem_clockwait() */
inline sleep_on_eventcount()
{
    do
    :: d_step { permits[side] > 0 -> permits[side]-- }; break
    :: d_step { permits[side] == 0 -> in_futex[side]++; doing[me] = ASLEEP };
       if
       :: d_step { kicks[side] > 0 -> kicks[side]--; get_up() }
       :: atomic { recheck_is_due || late[me] -> get_up_unasked() }; break
       fi
    od
}

/* Killed when? After all it is seen to have done: what is not visible yet it may not have done. */
inline die()
{
    atomic {
        do
        :: buffer[me]?_
        :: empty(buffer[me]) -> break
        od;
#ifndef NOT_ROBUST
        if
        :: lock[side] == me + 1 -> lock[side] = 0
        :: else
        fi;
#endif
        if
        :: doing[me] == ASLEEP -> get_up_unasked()
        :: else
        fi;
        doing[me] = DEAD
    }
}

proctype caller(byte me; bit side)
{
    byte calls, other;
    bool slept, first;

    {
        calls = 0;
call:
        if
        :: calls < (side == GET -> GETS : PUTS) -> calls++
#ifdef WAITERS_FIRST
        :: calls > 0 -> goto over
#else
        :: goto over
#endif
        fi;
again:
        atomic { lock[side] == 0 -> lock[side] = me + 1 };
        if
        :: atomic {
               side == GET && has_item || side == PUT && has_room && !shut_down ->
               buffer[me]!COMMIT; /* RQ1, RQ2 */
               buffer[me]!UNLOCK
           };
           wake(1 - side);
           goto leave
        :: atomic { /* -EPIPE */
               (shut_down || slept && was_shut(me)) && (side == PUT || !has_item) ->
               buffer[me]!UNLOCK;
               goto leave
           }
        :: atomic {
               !shut_down && !(slept && was_shut(me)) && (side == GET -> !has_item : !has_room) ->
               buffer[me]!UNLOCK
           }
        fi;
        /* shki_eventcount_wait() */
        if
        :: late[me] -> goto leave
        :: atomic { buffer[me]!COUNT_IN; begin_wait(); slept = true }
        fi;
        do
        :: prepare_wait();
#ifndef NO_CHECK
           if
           :: holds -> break
           :: !holds
           fi;
#endif
           sleep_on_eventcount();
           if
           :: holds -> break
           :: !holds
           :: late[me] -> buffer[me]!COUNT_OUT; goto leave
           fi
        od;
        buffer[me]!COUNT_OUT;
        goto again;
leave:  /* shki_eventcount_cascade() */
#ifndef NO_CASCADE
        if
        :: slept && sleepers[side] > 0 ->
           prepare_wait();
           if
           :: can_go_on(side) -> wake_slow(side)
           :: !can_go_on(side)
           fi
        :: !slept || sleepers[side] == 0
        fi;
#endif
        atomic { slept = false; late[me] = false };
        goto call;
over:
        atomic { doing[me] = DONE; calls = 0 }
    } unless { killed[me] -> die() }
}

/* shki_eventcount_wake_all(): the condition may change back before the first waiter runs. */
inline wake_all(eventcount)
{
    atomic { fence() -> other = sleepers[eventcount] };
    if
    :: d_step { flag[eventcount] -> flag[eventcount] = false }; post(eventcount)
    :: !flag[eventcount]
    fi;
#ifndef NO_POST_ALL
#ifdef COUNT_LATE
    other = sleepers[eventcount];
#endif
    other = (other > 1 -> other - 1 : 0);
    do
    :: other > 0 -> post(eventcount); other--
    :: other == 0 -> break
    od
#endif
}

/*
 * shk_queue_shutdown(); with REOPEN shk_queue_reopen(), too. A waiter that comes after the reopen
 * can take the permit that was posted for one that was there before; that one is told at the end
 * of its recheck interval (RECHECK). With WAITERS_FIRST there is no such waiter, and none needs
 * it.
 */
proctype closer(byte me; bit side)
{
    byte other;

    {
#ifdef WAITERS_FIRST
        sleepers[GET] == GETTERS;
#endif
        d_step { lock[PUT] == 0 -> lock[PUT] = me + 1 };
        atomic { buffer[me]!SHUT; buffer[me]!UNLOCK }; /* SD1 */
#ifdef REOPEN
        wake_all(GET);
        wake_all(PUT);
        atomic { fence() -> shut_down = false };
#else
        wake(GET);
        wake(PUT);
#endif
        doing[me] = DONE
    } unless { killed[me] -> die() }
}

inline choose(m)
{
    m = 0;
    do
    :: m < MEMBERS - 1 -> m++
    :: doing[m] != DONE && doing[m] != DEAD -> break
    od
}

/* Kills, and lets deadlines end. */
proctype fate()
{
    byte crashes, deadlines, m;

    do
    :: crashes < CRASHES -> atomic { choose(m); killed[m] = true; m = 0; crashes++ }
    :: deadlines < DEADLINES -> atomic { choose(m); late[m] = true; m = 0; deadlines++ }
    :: atomic { crashes = 0; deadlines = 0 }; break
    od
}

init
{
    byte m;

    atomic {
        for (m : 0 .. MEMBERS - 1) {
            run memory(m, side_of(m));
            if
            :: m < GETTERS + PUTTERS -> run caller(m, side_of(m))
            :: else -> run closer(m, PUT)
            fi
        }
        run fate()
    };
    timeout -> /* no member can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD ||
               doing[m] == ASLEEP && !can_go_on(side_of(m)) && !has_missed_one(m))
    }
}

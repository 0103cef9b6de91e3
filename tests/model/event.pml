/*
 * The event: shk_event_set(), shk_event_clear() and shk_event_wait() of lib/object/event.c.
 * SETTERS set it, up to SETS times each, and perhaps clear it again. With UNLINK it is unlinked at
 * some moment: wake_at_unlink().
 *
 * Modelled: the state is one word, so each change of it is a step, and so are the kernel's two: it
 * compares and puts to sleep, and it wakes all. (An exchange that fails is a check, and is tried
 * again.) Up to CRASHES members die, between any two steps. At the end of a recheck interval a
 * sleeper checks whether it has been released; if not, it is no step. Up to DEADLINES waits reach
 * their deadline. Not modelled: weak memory (all is in one word), spinning (another check), a
 * number that comes round.
 *
 * Claims: when no process can move any more, none is asleep that was waiting when it was set,
 * cleared again or not, and none is asleep while it is set. No wait ends without a set that came
 * after it had begun. Without CRASHES that is so without any recheck. A wait that was released
 * before the unlink is told that, and not that it is unlinked.
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef SETTERS
#define SETTERS 1
#endif
#ifndef SETS
#define SETS 2
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef DEADLINES
#define DEADLINES 0
#endif
#define MEMBERS (WAITERS + SETTERS)

mtype = { RUNNING, ASLEEP, DONE, DEAD }

bool is_set, sleeper; byte sets /* state: EV1 */
mtype doing[MEMBERS] = RUNNING
bool waits[WAITERS]     /* has found it clear, and has not come back */
bool must_wake[WAITERS]      /* it has been set since */
bool due[WAITERS]       /* … and before the unlink */
bool unlinked           /* of the same word */
bool killed[MEMBERS]    /* dies at its next step */
bool late[MEMBERS]      /* its deadline is over */

#ifdef NO_NUMBER
#define is_released is_set
#define is_as_it_was (!is_set)
#else
#define is_released (sets != clear)
#define is_as_it_was (!is_set && !unlinked && sets == clear)
#endif

#if CRASHES && !defined(NO_BACKSTOP)
#define recheck_is_due (is_released || unlinked)
#else
#define recheck_is_due false
#endif

#ifdef NO_COMPARISON
#define kernel_finds_it_changed false
#else
#define kernel_finds_it_changed (!sleeper || !(is_as_it_was))
#endif

inline commit_set()
{
    d_step {
        if
        :: !is_set ->
           sets++;
           for (i : 0 .. WAITERS - 1) {
               must_wake[i] = must_wake[i] || waits[i]
           }
           i = 0
        :: else
        fi;
        is_set = true;
#ifndef MARK_APART
        wake = sleeper;
        sleeper = false
#endif
    }
}

proctype waiter(byte me)
{
    byte clear;
    bool over;

    {
        if
        :: is_set
        :: d_step { !is_set -> clear = sets; waits[me] = true };
           do
           :: true ->
              over = late[me] || unlinked;
              if
              :: d_step { is_released -> assert(must_wake[me]); waits[me] = false }; break
              :: !is_released ->
                 if
                 :: over -> d_step { assert(!due[me]); waits[me] = false }; break
                 :: !over ->
                    if
                    :: d_step { is_as_it_was -> sleeper = true };
                       if
                       :: atomic { kernel_finds_it_changed }
                       :: atomic { !kernel_finds_it_changed -> doing[me] = ASLEEP };
                          atomic {
                              doing[me] != ASLEEP || recheck_is_due || late[me] ->
                              doing[me] = RUNNING
                          }
                       fi
                    :: !(is_as_it_was)
                    fi
                 fi
              fi
           od
        fi;
        atomic { doing[me] = DONE; clear = 0; over = false }
    } unless { killed[me] -> d_step { doing[me] = DEAD; waits[me] = false } }
}

proctype setter(byte me)
{
    byte calls, i;
    bool wake;

    {
        do
        :: calls < SETS ->
           calls++;
#ifdef MARK_APART
           d_step { wake = sleeper; sleeper = false };
#endif
           commit_set();
           if
           :: wake ->
              d_step {
                  for (i : 0 .. WAITERS - 1) {
                      doing[i] = (doing[i] == ASLEEP -> RUNNING : doing[i])
                  }
                  i = 0
              }
           :: !wake
           fi;
           wake = false;
           if
           :: true
           :: is_set = false
           fi
        :: break
        od;
        atomic { doing[me] = DONE; calls = 0 }
    } unless { killed[me] -> doing[me] = DEAD }
}

proctype unlinker()
{
    byte i;

    d_step {
        unlinked = true;
#ifdef UNLINK_COUNTS
        sets++;
#endif
        for (i : 0 .. WAITERS - 1) {
            due[i] = must_wake[i] && waits[i]
        }
        i = 0
    };
    d_step {
        for (i : 0 .. WAITERS - 1) {
            doing[i] = (doing[i] == ASLEEP -> RUNNING : doing[i])
        }
        i = 0
    }
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
        for (m : 0 .. WAITERS - 1) {
            run waiter(m)
        }
        for (m : WAITERS .. MEMBERS - 1) {
            run setter(m)
        }
        run fate();
#ifdef UNLINK
        run unlinker()
#endif
    };
    timeout -> /* no process can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD ||
               doing[m] == ASLEEP && !is_set && !must_wake[m] && !unlinked)
    }
}

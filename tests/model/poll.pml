/*
 * Waiting for any of several objects, which lib/object/watch.h tells: shki_set_wait(),
 * shki_watched_wake(), and the requests of lib/sync/waitlist.h: shki_waitlist_request(), with the
 * labels that they have there.
 *
 * Modelled: two watchers, each of one object, in one line; WAKERS make the first object ready, up
 * to COMMITS times each, and a taker makes it not ready again, up to TAKES times. The second
 * object never becomes ready: its watcher only has the line's mutex now and then. Each store is a
 * step. Up to CRASHES wakers die, between any two steps; a dead holder's mutex is free. At the end
 * of a recheck interval a watcher checks (where that changes nothing, it is no step).
 *
 * Not modelled: weak memory (the fences PW3, PW4 and those of WL5 and WL6 stand between the two
 * steps of each side), spinning (another check), the links of the line (waitlist.pml).
 *
 * Claim: when no process can move any more, no watcher sleeps while its object is ready. Without
 * CRASHES that is so without any recheck.
 */
#ifndef WAKERS
#define WAKERS 2
#endif
#ifndef COMMITS
#define COMMITS 1
#endif
#ifndef TAKES
#define TAKES 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#define WATCHERS 2
#define MEMBERS (WATCHERS + WAKERS)

mtype = { RUNNING, ASLEEP, DONE, DEAD }

bool ready[WATCHERS], mark[WATCHERS] /* of the object of the watcher of that number */
bool in[WATCHERS], released[WATCHERS]
byte mutex              /* member + 1 of the holder; 0: free */
byte asked, answered
mtype doing[MEMBERS] = RUNNING
bool killed[MEMBERS]    /* dies at its next step */

#if CRASHES && !defined(NO_BACKSTOP)
#define recheck_is_due ready[me]
#else
#define recheck_is_due false
#endif

/* WL6 */
inline answer()
{
    do
    :: asked != answered ->
       if
       :: atomic { mutex == 0 -> mutex = me + 1 };
          n = asked;
          d_step {
              released[0] = released[0] || in[0];
              released[1] = released[1] || in[1];
              in[0] = false;
              in[1] = false
          };
          answered = n;
          n = 0;
          mutex = 0
       :: mutex != 0 -> break
       fi
    :: asked == answered -> break
    od
}

inline line_unlock()
{
    mutex = 0;
#ifndef NO_ANSWER
    answer()
#else
    skip
#endif
}

proctype watcher(byte me)
{
    byte n;

    do
    :: ready[me] -> break
    :: !ready[me] ->
#ifdef MARK_LATE
       atomic { mutex == 0 -> mutex = me + 1 };
       if
       :: ready[me] -> line_unlock(); break
       :: !ready[me] -> mark[me] = true; in[me] = true; line_unlock()
       fi;
#else
       mark[me] = true; /* PW2 */
       atomic { mutex == 0 -> mutex = me + 1 };
       d_step { in[me] = true; released[me] = false }; /* PW1 */
#ifndef NO_PW6
       if
       :: !mark[me] -> mark[me] = true
       :: mark[me]
       fi;
#endif
       if
       :: ready[me] -> in[me] = false; line_unlock(); break
       :: !ready[me] -> line_unlock()
       fi;
#endif
       atomic { doing[me] = ASLEEP };
       if
       :: atomic { released[me] -> released[me] = false; doing[me] = RUNNING }
       :: atomic { recheck_is_due -> doing[me] = RUNNING };
          atomic { mutex == 0 -> mutex = me + 1 };
          d_step { in[me] = false; released[me] = false };
          line_unlock()
       fi
    od;
    doing[me] = DONE
}

proctype waker(byte me)
{
    byte n, commits;
    bool was;

    {
        do
        :: commits < COMMITS ->
           commits++;
           ready[0] = true;
           d_step { was = mark[0]; mark[0] = false }; /* PW5 */
           if
           :: was ->
              was = false;
#ifdef ASK_LATE
              if
              :: mutex == 0 -> asked++; answer() /* WL5, after a check of the mutex */
              :: mutex != 0
              fi
#else
              asked++; /* WL5 */
              answer()
#endif
           :: !was
           fi
        :: break
        od;
        atomic { doing[me] = DONE; commits = 0 }
    } unless {
        killed[me] -> d_step {
            mutex = (mutex == me + 1 -> 0 : mutex);
            doing[me] = DEAD
        }
    }
}

proctype taker()
{
    byte takes;

    do
    :: takes < TAKES && ready[0] -> ready[0] = false; takes++
    :: break
    od
}

init
{
    byte m;

    atomic {
        run watcher(0);
        run watcher(1);
        for (m : WATCHERS .. MEMBERS - 1) {
            run waker(m)
        }
        run taker();
        m = WATCHERS
    };
#if CRASHES
    if
    :: true
    :: killed[m] = true
    fi;
#endif
    timeout -> /* no process can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD || doing[m] == ASLEEP && !ready[m])
    }
}

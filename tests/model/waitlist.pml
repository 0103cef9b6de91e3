/*
 * The waitlist of lib/sync/waitlist.h, for models that wait in one, with the labels it has there.
 *
 * Modelled: each store to shared memory is a step. What is read with the mutex held is read in one
 * step, since no other member changes it; only a released owner leaves without the mutex, which
 * waitlist_leave.pml checks. Up to CRASHES members die, between any two steps; a dead holder's
 * mutex is free, and the next one to lock it is told. At the end of a recheck interval a waiter
 * does what there is to do (if there is nothing, it is no step). Up to DEADLINES waits run out of
 * time.
 *
 * Not modelled: weak memory (the mutexes order all but the leaving), spinning before a sleep
 * (another check), the kernel's half of sem_post() (killed before it: as before the whole),
 * records that are used again by new members. `woken`: the members to unpark when the mutex is
 * free again.
 *
 * A model that includes this defines WAITERS, members 0 to WAITERS - 1, which have nodes; MEMBERS;
 * and what belongs to a notification of n waiters, give(n).
 */
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef DEADLINES
#define DEADLINES 0
#endif

/*
 * With the mutex: step by step; or in one step, for more members and deaths than could be checked
 * otherwise.
 */
#ifdef AT_ONCE
#define with_mutex d_step
#define one_step
#define atomic_step
#else
#define with_mutex
#define one_step d_step
#define atomic_step atomic
#endif

mtype = { RUNNING, ASLEEP, DONE, DEAD }

typedef waiter_node {
    bool in;                /* list */
    bool notified;          /* state */
#ifdef VERDICTS
    bit verdict;            /* what its release was for, */
    bit given;              /* ... as the releasing step had it; not in the code */
#endif
    byte ticket, notify_bound;
    byte next, previous     /* member + 1; 0: none */
}
waiter_node node[WAITERS]
byte mutex                  /* member + 1 of the holder; 0: free */
bool marked               /* the holder died, and no member has locked it since */
byte next_ticket = 1, released, first, last, count
bool permit[WAITERS]        /* park; a second one would be harmless, and is not worth a state */
mtype doing[MEMBERS] = RUNNING
bool killed[MEMBERS]        /* dies at its next step */
bool late[MEMBERS]          /* its deadline is over */
byte deaths

#define is_dead(w) (doing[w] == DEAD)
#define is_released(w) (node[w].notified || node[w].ticket < released)
#define is_waiting(w) (node[w].in && !is_released(w))

/* The verdict is stored before the step that releases; VERDICT_LATE: after it. */
#ifdef VERDICTS
#define give_verdict(w, v) node[w].given = v
#define check_verdict() assert(node[me].verdict == node[me].given)
#else
#define give_verdict(w, v) skip
#define check_verdict() skip
#endif
#if defined(VERDICTS) && !defined(VERDICT_LATE)
#define set_verdict(w, v) node[w].verdict = v
#else
#define set_verdict(w, v) skip
#endif
#if defined(VERDICTS) && defined(VERDICT_LATE)
#define set_verdict_late(w, v) node[w].verdict = v
#else
#define set_verdict_late(w, v) skip
#endif

inline append(w)
{
    node[w].next = 0;
    node[w].previous = last;
    if
    :: last > 0 -> node[last - 1].next = w + 1
    :: last == 0 -> first = w + 1
    fi;
    last = w + 1
}

inline unlink(w)
{
#ifdef COUNT_EARLY
    count--;
#endif
    if
    :: node[w].previous > 0 -> node[node[w].previous - 1].next = node[w].next
    :: node[w].previous == 0 -> first = node[w].next
    fi;
    if
    :: node[w].next > 0 -> node[node[w].next - 1].previous = node[w].previous
    :: node[w].next == 0 -> last = node[w].previous
    fi
}

inline lower_count()
{
#ifndef COUNT_EARLY
    count--
#else
    skip
#endif
}

/*
 * The member that waits with the lowest ticket from `from` on; WAITERS: none. Sets `counted` to how
 * many there are.
 */
inline find_waiting(w)
{
    one_step {
        w = WAITERS;
        counted = 0;
        for (i : 0 .. WAITERS - 1) {
            if
            :: is_waiting(i) && node[i].ticket >= from ->
               counted++;
               w = (w == WAITERS || node[i].ticket < node[w].ticket -> i : w)
            :: else
            fi
        }
        i = 0
    }
}

inline rebuild()
{
    for (i : 0 .. WAITERS - 1) {
        permit[i] = permit[i] || node[i].in && (is_dead(i) || is_released(i))
    }
    find_waiting(other);
#ifdef COUNT_EARLY
    count = 0;
#endif
    one_step { count = counted; counted = 0 };
    first = 0;
    last = 0;
    do
    :: other < WAITERS ->
       append(other);
       next_ticket = (node[other].ticket >= next_ticket -> node[other].ticket + 1 : next_ticket);
       from = node[other].ticket + 1;
       find_waiting(other)
    :: other == WAITERS -> break
    od;
    atomic_step { other = 0; from = 0; counted = 0 }
}

inline list_lock()
{
    atomic_step { mutex == 0 -> mutex = me + 1; owner_died = marked; marked = false };
    if
    :: owner_died ->
       owner_died = false
#ifndef NO_REBUILD
       ;
       rebuild()
#endif
    :: else
    fi
}

inline list_unlock()
{
    mutex = 0;
    if
    :: woken ->
       for (w : 0 .. WAITERS - 1) {
           permit[w] = permit[w] || (woken >> w) & 1
       }
       atomic_step { w = 0; woken = 0 }
    :: else
    fi
}

inline list_enter()
{
    node[me].ticket = next_ticket;
    node[me].notified = false;
    set_verdict(me, 0);
    one_step { node[me].in = true; since = notifications }; /* WL1 */
    next_ticket++;
    append(me);
    count++
}

/* Of those with lower tickets than `before`, release the first living. */
inline release_first(before, n)
{
    do
    :: first > 0 && node[first - 1].ticket < before ->
       w = first - 1;
       unlink(w);
       if
       :: is_dead(w) ->
          node[w].in = false;
          lower_count()
       :: !is_dead(w) ->
          node[w].notify_bound = before;
          set_verdict(w, 0);
          one_step { node[w].notified = true; give_verdict(w, 0); give(n) }; /* WL2 */
          set_verdict_late(w, 0);
          lower_count();
          woken = woken | (1 << w);
          break
       fi
    ::  atomic_step { first == 0 || node[first - 1].ticket >= before -> give(n) }; break
    od;
    w = 0
}

inline list_notify()
{
    release_first(next_ticket, 1)
}

inline list_notify_all(v)
{
#ifdef VERDICTS
    for (w : 0 .. WAITERS - 1) {
        if
        :: is_waiting(w) -> set_verdict(w, v)
        :: else
        fi
    }
    w = 0;
#endif
    find_waiting(w); /* those that it will unpark */
    first = 0;
    last = 0;
#ifdef COUNT_EARLY
    count = 0;
#endif
    one_step {
#ifdef VERDICTS
        for (w : 0 .. WAITERS - 1) {
            if
            :: is_waiting(w) -> give_verdict(w, v)
            :: else
            fi
        }
        w = 0;
#endif
        released = next_ticket;
        give(counted);
        counted = 0
    }; /* WL3 */
#if defined(VERDICTS) && defined(VERDICT_LATE)
    for (w : 0 .. WAITERS - 1) {
        set_verdict_late(w, v)
    }
    w = 0;
#endif
    count = 0;
    one_step {
        for (w : 0 .. WAITERS - 1) {
            woken = woken | (node[w].in << w)
        }
        w = 0
    }
}

#define is_earlier(a, b) (node[a].notify_bound < node[b].notify_bound)

/* The member that is in, dead and released, with the earliest notification; WAITERS: none. */
inline find_dead(w)
{
    one_step {
        w = WAITERS;
        for (i : 0 .. WAITERS - 1) {
            if
            :: node[i].in && is_dead(i) && is_released(i) &&
               (w == WAITERS || is_earlier(i, w)) -> w = i
            :: else
            fi
        }
        i = 0
    }
}

#ifdef NO_NOTIFY_BOUND
#define BOUND next_ticket
#else
#define BOUND node[other].notify_bound
#endif

inline list_reap()
{
    /* First those that wait. */
    for (other : 0 .. WAITERS - 1) {
        if
        :: node[other].in && is_dead(other) && !is_released(other) ->
           unlink(other);
           node[other].in = false;
           lower_count()
        :: else
        fi
    }
    find_dead(other);
    do
    :: other < WAITERS ->
#ifndef NO_FORWARD
       if
       :: node[other].ticket >= released -> release_first(BOUND, 0)
       :: node[other].ticket < released /* by a broadcast: so were all that waited then */
       fi;
#endif
       node[other].in = false;
       find_dead(other)
    :: other == WAITERS -> break
    od;
    other = 0
}

/* Loads only: is there anything to do for the first living waiter? */
#define in_and_dead(w) (node[w].in && is_dead(w))
#define some_dead \
    (in_and_dead(0) || in_and_dead(1) || in_and_dead(WAITERS - 2) || in_and_dead(WAITERS - 1))
#define needs_repair \
    (marked || first == 0 || first != me + 1 && is_dead(first - 1) || first == me + 1 && some_dead)

inline recheck()
{
    with_mutex {
        list_lock();
        deaths_before = deaths;
        list_reap();
        assert(deaths > deaths_before || is_released(me) || !needs_repair);
        deaths_before = 0;
        list_unlock()
    }
}

#if CRASHES && !defined(NO_RECHECK)
#define recheck_is_due (is_released(me) || needs_repair)
#else
#define recheck_is_due false
#endif

inline withdraw()
{
    with_mutex {
        list_lock();
        if
        :: is_released(me)
        :: !is_released(me) ->
           unlink(me);
           node[me].in = false;
           lower_count();
           gave_up = true
        fi;
        list_unlock()
    }
}

/* gave_up, or released and still in. */
inline list_sleep()
{
    doing[me] = ASLEEP;
    do
    :: is_released(me) -> break
    :: !is_released(me) ->
       if
       :: permit[me] -> permit[me] = false
       :: recheck_is_due ->
          if
          :: needs_repair -> recheck()
          :: else
          fi
       :: late[me] -> withdraw(); break
       fi
    od;
    doing[me] = RUNNING
}

/* What the calling process needs beside its own. */
#define LIST_VARIABLES \
    byte i, w, other, from, counted, deaths_before, since, woken; \
    bool owner_died, gave_up

inline choose(m)
{
    m = 0;
    do
    :: m < MEMBERS - 1 -> m++
    :: doing[m] != DONE && doing[m] != DEAD -> break
    od
}

/* Kills, and lets deadline end. */
proctype fate()
{
    byte crashes, deadlines, m;

    do
    :: crashes < CRASHES -> atomic { choose(m); killed[m] = true; m = 0; crashes++ }
    :: deadlines < DEADLINES -> atomic { choose(m); late[m] = true; m = 0; deadlines++ }
    :: atomic { crashes = 0; deadlines = 0 }; break
    od
}

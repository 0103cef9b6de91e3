/*
 * A semaphore with owners: lib/object/semaphore.c and lib/object/holdings.h, with the labels that
 * they have there; and notifications that are taken back from waiters that do not run: those of
 * lib/sync/waitlist_repair.c.
 *
 * Modelled: MEMBERS members, each in a process of its own, acquire permits and release them, ROUNDS
 * times each; there are PERMITS, and every third member wants all of them. Each store to shared
 * memory is a step. Up to CRASHES members die, between any two steps; a dead holder's mutex is
 * free, and the next one to lock it is told. At the end of a recheck interval a waiter checks
 * (where there is nothing to do, it is no step). Up to STOPS times a waiter that has been notified
 * runs late: after a recheck interval, or only when no other process can move any more (it is
 * stopped). It may be killed meanwhile.
 *
 * Not modelled: weak memory (all of it is written and read with the waitlist's mutex); the links of
 * the waitlist, which are right here at each step, and its wake-ups (waitlist.pml); rows that
 * another process uses again.
 *
 * Claims: living processes never have more permits than there are. A member that comes later does
 * not take permits while another one waits that runs. Without deaths, what has been promised is
 * there. What has been taken back is not promised to a stopped waiter again. When no process can
 * move any more, no living member waits, except the stopped; when those have gone on, too, no
 * living member waits at all. Then one that is not killed can acquire all permits: each has come
 * back, and once.
 */
#ifndef MEMBERS
#define MEMBERS 3
#endif
#ifndef PERMITS
#define PERMITS 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#define LAST MEMBERS /* the member that is not killed */

mtype = { OUT, WAITING, NOTIFIED } /* a node */

byte lock                     /* member + 1 of the holder; 0: free */
bool marked                   /* the holder died, and no member has locked it since */
byte value = PERMITS          /* SM1 */
byte promised, withheld
byte held[MEMBERS + 1]        /* SM2: of each process */
mtype node[MEMBERS + 1] = OUT
byte ticket[MEMBERS + 1], next_ticket
bool dead[MEMBERS + 1], done[MEMBERS + 1]
byte crashes = CRASHES
bool taken_back[MEMBERS + 1]
bool late[MEMBERS + 1]        /* notified for longer than a recheck interval */
bool stopped[MEMBERS + 1], go_on
byte stops = STOPS
byte uses[MEMBERS + 1]        /* from the return of acquire to the call of release */

#define wants(m) ((m) % 3 == 2 || (m) == LAST -> PERMITS : 1)
#define is_free(n) (value >= promised + withheld + (n))

inline die()
{
    atomic {
        crashes--;
        dead[me] = true;
        uses[me] = 0;
        marked = (lock == me + 1 -> true : marked);
        lock = (lock == me + 1 -> 0 : lock)
    }
    goto over
}

#if CRASHES == 0
#define may_die() skip
#else
inline may_die()
{
    if
    :: true
    :: crashes > 0 && me != LAST -> die()
    fi
}
#endif

#ifdef NO_SKIP
#define is_skipped(m) false
#else
#define is_skipped(m) (taken_back[m] && !dead[m])
#endif

/* The first that waits and can be notified: `w`; MEMBERS + 1: none. */
inline find_first()
{
    d_step {
        w = MEMBERS + 1;
        for (i : 0 .. MEMBERS) {
            if
            :: node[i] == WAITING && !is_skipped(i) && (w > MEMBERS || ticket[i] < ticket[w]) ->
                w = i
            :: else
            fi
        }
        i = 0
    }
}

/* shki_waitlist_notify() of n permits; `n` is what is left of them. A dead waiter is taken out. */
inline notify()
{
    do
    :: find_first();
       if
       :: n > 0 && w <= MEMBERS && dead[w] -> node[w] = OUT
       :: n > 0 && w <= MEMBERS && !dead[w] && wants(w) <= n ->
           atomic {
               assert(!stopped[w]);
               n = n - wants(w);
               late[w] = false;
               node[w] = NOTIFIED
           }
       :: else -> break
       fi;
       may_die()
    od
}

inline promise()
{
    find_first();
    if
    :: value > promised && w <= MEMBERS ->
        d_step { n = value - promised; was = n };
        notify();
        promised = promised + was - n;
        may_die();
        find_first()
    :: else
    fi;
#ifndef NO_WITHHELD
    withheld = (value > promised && w <= MEMBERS -> value - promised : 0);
#endif
    d_step { n = 0; was = 0; w = 0 };
    may_die()
}

/* shki_holdings_settle(), and what follows from it. */
inline settle()
{
    r = 0;
    do
    :: r <= MEMBERS && dead[r] && held[r] > 0 ->
#ifdef ADD_BACK
        value = value + held[r];
        may_die();
#endif
        held[r] = 0; /* SM2 */
        may_die();
        r++
    :: r <= MEMBERS && (!dead[r] || held[r] == 0) -> r++
    :: r > MEMBERS -> r = 0; break
    od;
#ifndef ADD_BACK
    atomic {
        n = 0;
        for (r : 0 .. MEMBERS) {
            n = n + held[r]
        }
        r = 0;
        value = PERMITS - n; /* SM1 */
        n = 0
    };
    may_die()
#endif
}

/* shki_waitlist_notified() */
inline count_promises()
{
#ifdef NO_RECOUNT
    skip
#else
    d_step {
        promised = 0;
        for (r : 0 .. MEMBERS) {
            promised = (node[r] == NOTIFIED -> promised + wants(r) : promised)
        }
        r = 0
    };
    may_die()
#endif
}

/* recover() */
inline recover()
{
    settle();
    count_promises();
    promise()
}

/* shki_waitlist_reap(); what was notified is promised to others by recover(). */
inline reap()
{
    do
    :: d_step {
           w = 0;
           do
           :: w < MEMBERS && !(dead[w] && node[w] != OUT) -> w++
           :: else -> break
           od
       };
       if
       :: w < MEMBERS -> found = true; node[w] = OUT; w = 0; may_die()
       :: else -> w = 0; break
       fi
    od;
    if
    :: found -> found = false; recover()
    :: else
    fi
}

#if STOPS
#define is_overdue(m) (node[m] == NOTIFIED && late[m])
#else
#define is_overdue(m) false
#endif
#ifdef NO_TAKE_BACK
#define are_overdue false
#else
#define are_overdue (is_overdue(0) || is_overdue(1) || (MEMBERS > 2 && is_overdue(2)))
#endif

/* shki_waitlist_take_back() */
inline take_back()
{
#if STOPS
    do
    :: are_overdue ->
        d_step {
            w = 0;
            do
            :: !is_overdue(w) -> w++
            :: else -> break
            od
        };
        found = true;
        taken_back[w] = true;
        may_die();
        node[w] = WAITING;
        w = 0;
        may_die()
    :: else -> break
    od;
    if
    :: found ->
        found = false;
#ifndef NO_RECOVER
        recover()
#else
        skip
#endif
    :: else
    fi
#else
    skip
#endif
}

/* come_back(): its owner runs. */
inline come_back()
{
#if STOPS
    if
    :: taken_back[me] ->
        taken_back[me] = false;
        may_die();
#ifdef NO_PROMISE
        skip
#else
        recover()
#endif
    :: else
    fi
#else
    skip
#endif
}

/* Having been notified: it does not run for a while. */
inline may_be_late()
{
#if STOPS
    if
    :: true
    :: atomic { stops > 0 && node[me] == NOTIFIED -> stops--; late[me] = true };
       if
       :: true
       :: stopped[me] = true;
          if
          :: go_on -> stopped[me] = false
          :: crashes > 0 && me != LAST -> die()
          fi
       fi
    fi
#else
    skip
#endif
}

/* shki_holdings_are_due(), for up to three members */
#define is_due(m) (dead[m] && held[m] > 0)
#define are_due (is_due(0) || is_due(1) || (MEMBERS > 2 && is_due(2)))
#define is_gone(m) (dead[m] && node[m] != OUT)
/* shki_waitlist_needs_repair() */
#ifdef NOT_DUE
#define needs_repair (marked || is_gone(0) || is_gone(1) || (MEMBERS > 2 && is_gone(2)))
#else
#define needs_repair                                                    \
    (marked || are_due || are_overdue || taken_back[me] || is_gone(0) || \
     is_gone(1) || (MEMBERS > 2 && is_gone(2)))
#endif

inline lock_it()
{
    d_step { lock == 0 -> lock = me + 1; told = marked; marked = false };
    if
    :: told -> told = false; recover()
    :: !told
    fi
}

inline unlock()
{
    d_step { assert(value <= PERMITS); lock = 0 }
}

inline take()
{
    held[me] = held[me] + wants(me); /* SM2 */
    may_die();
    value = value - wants(me);       /* SM1 */
    may_die()
}

inline check_use()
{
    d_step {
        uses[me] = wants(me);
        for (i : 0 .. MEMBERS) {
            n = n + uses[i]
        }
        assert(n <= PERMITS);
        i = 0;
        n = 0
    }
}

/* A member that takes what is free is not ahead of one that waits. */
inline check_line()
{
    d_step {
        for (i : 0 .. MEMBERS) {
            assert(node[i] != WAITING || taken_back[i] || dead[i])
        }
        i = 0
    }
}

proctype member(byte me)
{
    byte rounds, n, was, w, i, r;
    bool told, found;

    do
    :: rounds == ROUNDS -> break
    :: rounds < ROUNDS ->
        rounds++;
        /* shk_semaphore_acquire_many() */
        lock_it();
        may_die();
        if
        :: !is_free(wants(me)) ->
            /* recover_dead() */
            if
            :: value > 0 -> take_back(); reap()
            :: else
            fi;
            if
            :: are_due -> recover()
            :: else
            fi
        :: else
        fi;
        if
        :: is_free(wants(me)) -> check_line(); take(); goto acquired
        :: else
        fi;
enter:
        atomic {
            next_ticket++;
            ticket[me] = next_ticket;
            taken_back[me] = false;
            node[me] = WAITING
        };
        may_die();
        promise();
sleep:
        unlock();
        do
        :: node[me] == NOTIFIED -> may_be_late(); break
#if CRASHES || STOPS
        :: needs_repair ->
            lock_it();
            come_back();
            take_back();
            reap();
            if
            :: are_due -> recover()
            :: else
            fi;
            unlock()
        :: crashes > 0 && me != LAST -> die()
#endif
        od;
        lock_it();
#if STOPS && !defined(UNSEEN)
        /* shki_waitlist_was_taken_back() */
        if
        :: node[me] != NOTIFIED -> come_back(); goto sleep
        :: else
        fi;
#endif
        /* take_promised() */
        node[me] = OUT;
        may_die();
        promised = (promised > wants(me) -> promised - wants(me) : 0);
        may_die();
        if
        :: value < wants(me) -> assert(CRASHES > 0); goto enter
        :: else
        fi;
        take();
acquired:
        check_use();
        unlock();
        may_die();
        /* shk_semaphore_release() */
        uses[me] = 0;
        lock_it();
        may_die();
        held[me] = held[me] - wants(me); /* SM2 */
        may_die();
        value = value + wants(me);       /* SM1 */
        may_die();
        promise();
        unlock();
        may_die()
    od;
    done[me] = true;
over:
    skip
}

init
{
    byte m;

    atomic {
        for (m : 0 .. MEMBERS - 1) {
            run member(m)
        }
        m = 0
    };
    timeout -> /* no process can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(dead[m] || done[m] || stopped[m])
    }
    m = 0;
#if STOPS
    go_on = true;
    timeout ->
    for (m : 0 .. MEMBERS - 1) {
        assert(dead[m] || done[m])
    }
    m = 0;
#endif
    run member(LAST);
    timeout ->
    assert(done[LAST] && value == PERMITS)
}

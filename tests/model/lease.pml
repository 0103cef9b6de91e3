/*
 * Leased items, lib/queue/lease_records.h, with the labels that they have there, beside the word
 * that commits a get of a FIFO queue (RQ2; the other orders have one such word, too).
 *
 * Modelled: ITEMS items in the store at first; with PUT_LATE the last one is put meanwhile.
 * CONSUMERS members, each in a process of its own, take the next item ROUNDS times: they lease it,
 * and acknowledge it or give it back, or get it, if it has come back. A checker looks for dead
 * owners without the lock, and a member in join looks, without it, whether all is done. With
 * CRASHES a consumer or the checker dies, between any two steps, or in the repair of what another
 * one has left.
 *
 * Not modelled: weak memory (the stores are releases, their readers acquire, and each reads in the
 * order that it has here); due times, sleep and LS5; the bias; memory for records, of which there
 * are enough; searches for dead owners by a member with the lock.
 *
 * Claims: an item that is handed out is in the hands of no other living process, and has not been
 * done. A join returns only when all is done. When all have come to their end, one that is not
 * killed is given each item that has not been done; and each is done once. Without deaths it need
 * not look for what has come back.
 */
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CHECKS
#define CHECKS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef CHECKERS
#define CHECKERS 1
#endif
#define RECORDS ITEMS /* one is always free */
#define LAST (CONSUMERS + 1) /* the member that is not killed; 0 is none */

mtype = { FREE, LEASED, RETURNING, BACK }

mtype state[RECORDS] = FREE /* LS1: one word with the number */
byte number[RECORDS]
byte content[RECORDS], owner[RECORDS]
byte out, back              /* the bits: LS2, LS3 */
byte head, tail = ITEMS     /* RQ2, RQ1 */
byte before, changing       /* LS4 */
byte lock                   /* the holder; 0: free */
bool dead[CONSUMERS + 2]    /* dead[0] */
byte crashes = CRASHES

bool done[ITEMS]
byte has[ITEMS]             /* the member that has it; 0: none */

#define bit(r) (1 << (r))

#if CRASHES == 0
#define may_die() skip
#else
inline may_die()
{
    if
    :: true
    :: crashes > 0 && me != LAST -> atomic { crashes--; dead[me] = true }; goto over
    fi
}
#endif

inline finish(item)
{
    assert(!done[item]);
    done[item] = true;
    has[item] = 0
}

inline take(item)
{
    assert(dead[has[item]] && !done[item]);
    has[item] = me
}

/* ---- With the lock ---- */

inline clear_bits(r)
{
    back = back & ~bit(r); /* LS3 */
    may_die();
    out = out & ~bit(r);   /* LS3 */
    may_die()
}

/* shki_lease_repair() */
inline repair()
{
    if
    :: changing > 0 ->
        r = changing - 1;
#ifdef NO_BEFORE
        if
        :: state[r] == LEASED -> state[r] = FREE
        :: else
        fi;
#else
        if
        :: state[r] == LEASED && before == head -> state[r] = FREE /* LS1 */
        :: else
        fi;
#endif
        may_die();
        if
        :: state[r] == FREE -> clear_bits(r)
        :: else
        fi;
        changing = 0; /* LS4 */
        may_die()
    :: else
    fi
}

inline acquire()
{
    atomic { dead[lock] -> lost = lock != 0; lock = me };
    if
#ifdef NO_REPAIR
    :: lost
#else
    :: lost -> repair()
#endif
    :: else
    fi
}

/* Record r, which has come back, or none: RECORDS. */
inline find_back()
{
    r = 0;
    do
    :: r < RECORDS && !(back & bit(r)) -> r++
    :: r < RECORDS && back & bit(r) ->
        if
        :: state[r] == BACK -> break /* LS1 */
        :: else -> /* shki_lease_not_back() */
            back = back & ~bit(r);
            may_die();
#ifndef NO_SECOND_READ
            if
            :: state[r] == BACK -> back = back | bit(r); may_die()
            :: else
            fi;
#endif
            r++
        fi
    :: else -> break
    od
}

inline find_free()
{
    r = 0;
    do
#ifdef NO_LS3
    :: state[r] != FREE -> r++
#else
    :: out & bit(r) -> r++ /* LS3 */
#endif
    :: else -> break
    od
}

inline fill()
{
    content[r] = item;
    owner[r] = me
}

/* lease_first(), shki_lease_new() */
inline lease_first()
{
    find_free();
    item = head;
#ifdef FILLED_LATE
    d_step { take(item); head++ };
    may_die();
#endif
    d_step { fill(); before = head };
    may_die();
    changing = r + 1; /* LS4 */
    may_die();
    d_step { number[r]++; state[r] = LEASED }; /* LS1 */
    may_die();
#ifndef NO_LS2
    out = out | bit(r); /* LS2 */
    may_die();
#endif
#ifndef FILLED_LATE
    d_step { take(item); head++ }; /* RQ2 */
    may_die();
#endif
#ifdef NO_LS2
    out = out | bit(r);
    may_die();
#endif
    changing = 0; /* LS4 */
    may_die()
}

/* shki_lease_hand_out() */
inline hand_out()
{
    d_step { item = content[r]; owner[r] = me };
    may_die();
    d_step { take(item); number[r]++; state[r] = LEASED }; /* LS1 */
    may_die();
    back = back & ~bit(r); /* LS3 */
    may_die()
}

/* shki_lease_free(): a get */
inline get_back()
{
    changing = r + 1; /* LS4 */
    may_die();
    d_step { item = content[r]; take(item); finish(item); state[r] = FREE }; /* LS1 */
    may_die();
    clear_bits(r);
    changing = 0; /* LS4 */
    may_die()
}

/* shki_lease_none() */
inline clear_left()
{
    r = 0;
    do
    :: r < RECORDS ->
        if
#ifdef CLEARED_FOR_THE_LIVING
        :: out & bit(r) && state[r] == FREE -> out = out & ~bit(r); may_die()
#else
        :: out & bit(r) && state[r] == FREE && dead[owner[r]] -> out = out & ~bit(r); may_die()
#endif
        :: else
        fi;
        r++
    :: else -> break
    od
}

/* ---- Without a lock ---- */

/* LS1 of an owner, if it still is that lease. */
inline end_lease(to)
{
    assert(state[r] == LEASED && number[r] == ticket && content[r] == item);
    state[r] = to
}

inline ack()
{
    d_step { end_lease(FREE); finish(item) }; /* LS1 */
    may_die();
    out = out & ~bit(r); /* LS3 */
    may_die()
}

inline nack()
{
    d_step { end_lease(RETURNING); has[item] = 0 }; /* LS1 */
    may_die();
    state[r] = BACK; /* LS1 */
    may_die();
    back = back | bit(r);
    may_die()
}

/* check_one() of each record */
inline check()
{
    r = 0;
    do
    :: r < RECORDS && out & bit(r) -> /* LS2 */
        d_step { seen = state[r]; ticket = number[r] }; /* LS1 */
        if
        :: seen == LEASED || seen == RETURNING ->
            if
            :: dead[owner[r]] ->
                if
#ifndef NO_LS4
                :: changing == r + 1 /* LS4 */
#endif
                :: else ->
                    if
#ifdef NO_NUMBER
                    :: d_step { state[r] == seen -> state[r] = BACK };
#else
                    :: d_step { /* LS1 */
                           state[r] == seen && number[r] == ticket -> state[r] = BACK
                       };
#endif
                       may_die();
                       back = back | bit(r);
                       may_die()
                    :: else
                    fi
                fi
            :: else
            fi
#ifndef NO_CHECK_OF_BACK
        :: seen == BACK && !(back & bit(r)) -> back = back | bit(r); may_die()
#endif
        :: else
        fi;
        r++
    :: r < RECORDS && !(out & bit(r)) -> r++
    :: else -> break
    od
}

/* ---- The members ---- */

proctype consumer(byte me)
{
    byte round, r, item, ticket;
    bool lost, leased;

    do
    :: round < ROUNDS ->
        round++;
        leased = false;
        acquire();
        find_back();
        if
        :: r < RECORDS -> hand_out(); leased = true
        :: r < RECORDS -> get_back()
        :: r == RECORDS && head < tail -> lease_first(); leased = true
        :: r == RECORDS && head == tail -> clear_left()
        fi;
        atomic {
            if
            :: leased -> ticket = number[r]
            :: else
            fi;
            lock = 0
        };
        may_die();
        if
        :: leased -> ack()
        :: leased -> nack()
        :: !leased
        fi;
        r = 0; item = 0; ticket = 0
    :: else -> break
    od;
over:
    skip
}

proctype checker()
{
    byte me, r, ticket, checks;
    mtype seen;

    do
    :: checks < CHECKS -> checks++; check()
    :: true -> break
    od;
over:
    skip
}

proctype producer()
{
    tail++ /* RQ1 */
}

inline all_done()
{
    r = 0;
    do
    :: r < ITEMS -> assert(done[r]); r++
    :: else -> break
    od
}

/* A join, or a producer that counts what is in the queue. */
proctype joiner()
{
    byte bits, r;

    head == ITEMS; /* RQ2 */
    bits = out;    /* LS2 */
    do
    :: r < RECORDS && (!(bits & bit(r)) || state[r] == FREE) -> r++ /* LS1 */
    :: r < RECORDS && bits & bit(r) && state[r] != FREE -> goto over
    :: else -> break
    od;
    atomic { all_done() };
over:
    skip
}

init
{
    byte me = LAST, m, r, item, ticket;
    bool lost;
    mtype seen;

    atomic {
        dead[0] = true;
        run joiner(); /* may still be there at the end: the last items are taken only then */
#ifdef PUT_LATE
        tail--;
        run producer();
#endif
        for (m : 1 .. CONSUMERS) {
            run consumer(m)
        }
        for (m : 1 .. CHECKERS) {
            run checker()
        }
    }
    _nr_pr <= 2;
    acquire();
    do
    :: 
#if CRASHES > 0
        check();
#endif
        find_back();
        if
        :: r < RECORDS -> get_back()
        :: r == RECORDS && head < tail -> item = head; d_step { take(item); head++; finish(item) }
        :: r == RECORDS && head == tail -> break
        fi
    od;
    clear_left();
    atomic { all_done() };
    assert(out == 0);
over:
    skip
}

/*
 * Lines that end, lib/segment/presence.h, with the labels that they have there.
 *
 * Modelled: PRODUCERS processes that open an object as a producer and close it, ROUNDS times each;
 * and CHECKERS waiters that check for the end at each recheck interval. With CRASHES a producer or
 * a checker dies, between any two steps. A producer that closes checks, too.
 *
 * Not modelled: weak memory (RO1 is one word, which is only exchanged, and RO2 is ordered by it or
 * by a full fence); the rows of processes, which a checker takes by an exchange.
 *
 * Claims: when a line is ended, no living producer has it open; and if one has died that had it
 * open since the line began, DIED says so. When all have come to their end, one more check ends the
 * line.
 */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CHECKERS
#define CHECKERS 1
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef CHECKS
#define CHECKS 2 /* of each, at most */
#endif
#ifndef CRASHES
#define CRASHES 0
#endif

bool marked[PRODUCERS], dead[PRODUCERS]
bool has_open[PRODUCERS] /* from RO1 to the clearing of its bit */
bool had, ended, died
byte openers, crashes = CRASHES
bool unsaid /* one has died that had it open, since the line began */

/* RO1 of an opener. */
inline begin(me)
{
    atomic {
        openers++;
        had = true;
        if
        :: ended -> ended = false; died = false; unsaid = false
        :: else
        fi;
        has_open[me] = true
    }
}

inline may_die(me)
{
    if
    :: true
    :: crashes > 0 ->
        atomic {
            crashes--;
            unsaid = unsaid || has_open[me];
            has_open[me] = false;
            dead[me] = true
        }
        goto over
    fi
}

/* In a check, in which a producer has nothing open any more. */
inline may_leave()
{
    if
    :: true
    :: atomic { mortal && crashes > 0 -> crashes-- }; goto over
    fi
}

/* RO1, then RO2 of each, then RO1. */
inline check()
{
    before = openers;
    r = 0;
    found = !had || ended;
    do
    :: r < PRODUCERS && !found ->
        if
        :: marked[r] && !dead[r] -> found = true
        :: marked[r] && dead[r] ->
#ifdef DIED_LATE
            marked[r] = false;
            may_leave();
            died = true
#else
            died = true;
            may_leave();
            marked[r] = false
#endif
        :: !marked[r]
        fi;
        r++
    :: else -> break
    od;
    if
    :: found
    :: else ->
        atomic {
            if
#ifdef NO_OPENERS
            :: !ended ->
#else
            :: !ended && openers == before ->
#endif
                r = 0;
                do
                :: r < PRODUCERS -> assert(!has_open[r] || dead[r]); r++
                :: else -> break
                od;
                assert(!unsaid || died);
                ended = true
            :: else
            fi
        }
    fi
}

proctype producer(byte me)
{
    byte round, r, before;
    bool found, mortal = true;

    do
    :: round < ROUNDS ->
        round++;
#ifdef RO1_FIRST
        begin(me);
        may_die(me);
        marked[me] = true;
#else
        marked[me] = true; /* RO2 */
        may_die(me);
        begin(me);
#endif
        may_die(me);
        atomic { has_open[me] = false; marked[me] = false } /* RO2 */
        may_die(me);
        check()
    :: else -> break
    od;
over:
    skip
}

proctype checker()
{
    byte r, before, checks;
    bool found, mortal = true;

    do
    :: checks < CHECKS -> checks++; check()
    :: true -> break
    od;
over:
    skip
}

/* At last one that is not killed checks. */
init
{
    byte r, before;
    bool found, mortal;

    atomic {
        do
        :: r < PRODUCERS -> run producer(r); r++
        :: else -> break
        od;
        r = 0;
        do
        :: r < CHECKERS -> run checker(); r++
        :: else -> break
        od
    }
    _nr_pr == 1;
    check();
over:
    assert(!had || ended)
}

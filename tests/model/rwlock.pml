/*
 * The rwlock of lib/object/rwlock.c: enter(), wait_for_writer(), shki_rw_leave(), begin_turn(),
 * sleep_until_drained(), shki_rw_end_turn(), recover_writer(), with the labels that they have
 * there.
 *
 * Modelled: READERS readers and WRITERS writers make VISITS visits each. Up to CRASHES of them die,
 * between any two steps. What a reader stores in its line waits in its buffer, from where it
 * becomes visible; its loads do not wait for that. A heavy fence waits for the buffer of each
 * reader, one after the other, as membarrier(2) does; a light one is no step. The state changes by
 * atomic operations. A sleep has no recheck: a wake-up that is lost is a deadlock. The kernel wakes
 * one of those that sleep beside a member when that dies. A reader sets BIASED whenever it can.
 *
 * Claim: no member reads while another writes; what is half written is read by no member that is
 * not told; and when no member can move any more, all living members are done.
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef VISITS
#define VISITS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#define MEMBERS (READERS + WRITERS)

mtype = { ENTERS, WAITS, LEAVES }
mtype = { RUNNING, DONE, DEAD }

chan buffer[READERS] = [4] of { mtype, byte }
bool mark[READERS]    /* of a reader's line */
byte waits[READERS]   /* 0: it reads; else the turn that it waits for the end of */
byte turn
bool writer, writing, orphaned, need_wakeup
bool biased = true
byte mutex            /* member + 1; 0: free */
byte holder           /* the last that had it for its turn, + 1 */
byte exits
bool need_exit        /* the writer sleeps until a line changes */

bool asleep[READERS]  /* until the turn is over */
byte beside[READERS]  /* … or this member dies */
bool sleeping         /* the writer with its turn */
byte reading[READERS], is_writing
bool torn
mtype doing[MEMBERS] = RUNNING
bool killed[MEMBERS]

proctype memory(byte me)
{
    byte t;

end:
    do
    :: d_step { buffer[me]?ENTERS(t) -> waits[me] = 0; mark[me] = true } /* RW1 */
    :: d_step { buffer[me]?WAITS(t) -> waits[me] = t; t = 0 } /* RW3 */
    :: d_step { buffer[me]?LEAVES(t) -> reading[me] = 0; mark[me] = false } /* RW2 */
    od
}

inline read_it()
{
    assert(is_writing == 0);
    assert(!torn || orphaned);
    reading[me] = 1
}

inline wake_readers()
{
    d_step {
        i = 0;
        do
        :: i < READERS -> asleep[i] = false; i++
        :: i == READERS -> i = 0; break
        od
    }
}

inline end_turn()
{
    atomic {
        writer = false;
        writing = false;
        was = need_wakeup;
        need_wakeup = false
    };
    if
    :: was -> wake_readers(); was = false
    :: !was
    fi
}

/* With the mutex: a dead writer's turn is over. */
inline end_turn_of_dead()
{
    if
    :: writer ->
#ifndef ORPHANED_LATE
       if
       :: writing -> orphaned = true
       :: !writing
       fi;
#endif
       end_turn();
#ifdef ORPHANED_LATE
       if
       :: torn -> orphaned = true
       :: !torn
       fi
#endif
    :: !writer
    fi
}

/* RW4: what was stored before is visible before this. */
inline tell_writer()
{
#ifndef TELL_EARLY
    empty(buffer[me]);
#endif
    d_step {
        exits++;
        if
        :: need_exit -> need_exit = false; sleeping = false
        :: else
        fi
    }
}

/*
 * Killed when? What a reader has stored, and is not visible yet, it may not have done. The kernel
 * marks the mutex, and wakes one of those that sleep beside the dead.
 */
inline die(index)
{
    atomic {
        if
        :: mutex == index + 1 -> mutex = 0
        :: else
        fi;
        if
        :: index >= READERS -> is_writing = 0
        :: else -> reading[index] = 0
        fi;
        doing[index] = DEAD;
#ifndef NO_KERNEL
        if
        :: asleep[0] && beside[0] == index + 1 -> asleep[0] = false
        :: asleep[READERS - 1] && beside[READERS - 1] == index + 1 -> asleep[READERS - 1] = false
        :: else
        fi
#endif
    }
}

proctype reader(byte me)
{
    byte visits, t, i, near;
    bool was;

    {
        visits = 0;
visit:
        if
        :: visits < VISITS -> visits++
        :: visits == VISITS -> goto over
        fi;
        buffer[me]!ENTERS(0);
        if
        :: atomic { !writer && biased -> read_it() }; goto leave
        :: atomic { writer -> t = turn }; goto wait
        :: !writer && !biased
        fi;
#ifndef NO_RW1_FENCE
        empty(buffer[me]);
#endif
        if
        :: atomic { !writer -> read_it(); biased = true }; goto leave
        :: atomic { !writer -> read_it() }; goto leave
        :: atomic { writer -> t = turn }
        fi;
wait:
        buffer[me]!WAITS(t);
#ifndef NO_RW3_FENCE
        empty(buffer[me]);
        if
        :: atomic { writer && turn != t -> t = turn }; goto wait
        :: !(writer && turn != t)
        fi;
#endif
        tell_writer();
again:
        if
        :: !(writer && turn == t) ->
#ifdef ENTER_UNASKED
           d_step { waits[me] = 0 };
           atomic { read_it(); t = 0 };
           goto enough
#else
           atomic {
               empty(buffer[me]);
               if
               :: waits[me] == t -> waits[me] = 0; read_it(); t = 0
               :: else -> t = waits[me]
               fi
           };
           if
           :: t == 0 -> goto enough
           :: t != 0 -> goto again
           fi
#endif
        :: writer && turn == t && doing[holder - 1] == DEAD ->
           /* recover_writer() */
           if
           :: atomic { mutex == 0 -> mutex = me + 1 };
              end_turn_of_dead();
              mutex = 0
           :: mutex != 0 /* its owner ends the turn */
           fi
        :: writer && turn == t && doing[holder - 1] != DEAD
        fi;
        near = holder;
        if
        :: atomic {
               writer && turn == t && doing[near - 1] != DEAD ->
               need_wakeup = true; asleep[me] = true; beside[me] = near
           };
           !asleep[me]
        :: atomic {
               writer && turn == t && doing[near - 1] == DEAD && mutex != 0 ->
               need_wakeup = true; asleep[me] = true; beside[me] = 0
           };
           !asleep[me]
        :: writer && turn == t && doing[near - 1] == DEAD && mutex == 0
        :: !(writer && turn == t)
        fi;
        goto again;
enough:
#ifndef NO_PASSING_ON
        if
        :: near != 0 && doing[near - 1] == DEAD -> wake_readers()
        :: else
        fi;
#endif
        near = 0;
leave:
        buffer[me]!LEAVES(0);
        if
        :: !writer && biased -> goto visit
        :: writer
        :: !writer && !biased ->
           empty(buffer[me]);
           if
           :: writer
           :: !writer -> goto visit
           fi
        fi;
        tell_writer();
        goto visit;
over:
        atomic { doing[me] = DONE; visits = 0 }
    } unless { killed[me] -> die(me) }
}

#define COUNTS(i) (mark[i] && doing[i] != DEAD && waits[i] != turn)

proctype writes(byte me)
{
    byte visits, i, e, near;
    bool was, told;

    {
        visits = 0;
visit:
        if
        :: visits < VISITS -> visits++
        :: visits == VISITS -> goto over
        fi;
        atomic { mutex == 0 -> mutex = me + 1 };
        end_turn_of_dead();
        holder = me + 1;
#ifdef BIAS_ENDS_EARLY
        atomic { turn++; writer = true; was = biased; biased = false };
#else
        atomic { turn++; writer = true; was = biased };
#endif
        if
        :: was -> /* RW1: the heavy fence */
#ifndef NO_RW1_HEAVY
           i = 0;
           do
           :: i < READERS && empty(buffer[i]) -> i++
           :: i == READERS -> i = 0; break
           od;
#endif
           was = false;
           biased = false
        :: !was
        fi;
drain:
#ifndef SAY_LATE
        atomic { e = exits; need_exit = true }; /* RW4 */
#endif
        i = 0;
        do
#ifdef WAITERS_DO_NOT_COUNT
        :: i < READERS && !(COUNTS(i) && waits[i] == 0) -> i++
        :: i < READERS && COUNTS(i) && waits[i] == 0 -> near = i + 1; break
#else
        :: i < READERS && !COUNTS(i) -> i++ /* RW2 */
        :: i < READERS && COUNTS(i) -> near = i + 1; break
#endif
        :: i == READERS -> break
        od;
        i = 0;
        if
        :: near == 0 -> e = 0; goto drained
        :: near != 0
        fi;
#ifdef SAY_LATE
        atomic { e = exits; need_exit = true };
#endif
#ifdef TAKE_BACK
        if
        :: d_step { /* RW3 */
               mark[near - 1] && waits[near - 1] != 0 && waits[near - 1] != turn ->
               waits[near - 1] = turn; near = 0
           };
           goto drain
        :: true
        fi;
#endif
        atomic {
            if
            :: exits == e && doing[near - 1] != DEAD -> sleeping = true
            :: else
            fi
        };
        !sleeping || doing[near - 1] == DEAD;
        atomic { sleeping = false; near = 0 };
        goto drain;
drained:
        writing = true;
        d_step {
            i = 0;
            do
            :: i < READERS -> assert(reading[i] == 0); i++
            :: i == READERS -> i = 0; break
            od;
            assert(is_writing == 0 && (!torn || orphaned));
            is_writing = 1;
            torn = true
        };
        torn = false;
        orphaned = false; /* shk_rwlock_recover() */
        is_writing = 0;
        end_turn();
        mutex = 0;
        goto visit;
over:
        atomic { doing[me] = DONE; visits = 0 }
    } unless { killed[me] -> die(me) }
}

proctype fate()
{
    byte crashes, m;

    do
    :: crashes < CRASHES ->
       atomic {
           m = 0;
           do
           :: m < MEMBERS - 1 -> m++
           :: doing[m] == RUNNING -> killed[m] = true; break
           :: break
           od;
           m = 0;
           crashes++
       }
    :: atomic { crashes = 0; break }
    od
}

init
{
    byte m;

    atomic {
        for (m : 0 .. READERS - 1) {
            run memory(m);
            run reader(m)
        }
        for (m : READERS .. MEMBERS - 1) {
            run writes(m)
        }
        run fate()
    };
    timeout -> /* no member can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD)
    }
}

/*
 * Going through a lock without its mutex, which lib/queue/queue.h tells: shki_biased_enter(), shki_biased_leave(), take_over(), revoke(), repair(),
 * shki_biased_unlock(), with the labels that they have there.
 *
 * Modelled: MEMBERS members make up to VISITS visits each; each visit may make a bias_owner of who came by the mutex. Up to CRASHES of them die, between any
 * two steps. Memory is weak: what a member stores waits in its buffer, from where it becomes visible; loads do not wait for that. A heavy fence waits
 * for its own buffer and then for that of each member, one after the other, as membarrier(2) does; the light one is nothing.
 *
 * Who finds the other inside may give up. Not modelled: that it takes many visits to become the bias_owner; claims (the bias_owner whose mutex nobody gets).
 *
 * Claim: no two members are in the lock at once, one that died there counting until it has been repaired; and when nobody can move any more, all living members
 * are done.
 */
#ifndef MEMBERS
#define MEMBERS 2
#endif
#ifndef VISITS
#define VISITS 2
#endif
#ifndef CRASHES
#define CRASHES 0
#endif

mtype = { STEPS_IN, COMES_OUT, TURNS_BACK, LEAVES, STRIKES_OUT, HAS_LEFT, MOVES_IN, UNLOCKS, GIVES_UP } /* what a member stores */
mtype = { RUNNING, DONE, DEAD }

chan buffer[MEMBERS] = [8] of { mtype }
byte mutex            /* member + 1; 0: free */
bool orphaned         /* its holder has died */
byte bias_owner, leaving  /* member + 1; 0: nobody */
bool inside[MEMBERS]
byte busy[MEMBERS]    /* in the lock, or what it stored there is not visible yet; how often */
mtype doing[MEMBERS] = RUNNING
bool killed[MEMBERS]

proctype memory(byte me)
{
end:
    do
    :: d_step { buffer[me]?STEPS_IN -> inside[me] = true } /* G1 */
    :: d_step { buffer[me]?COMES_OUT -> busy[me]--; inside[me] = false } /* G3: a release */
    :: d_step { buffer[me]?TURNS_BACK -> inside[me] = false }
    :: d_step { buffer[me]?LEAVES -> leaving = bias_owner }
    :: d_step { buffer[me]?HAS_LEFT -> leaving = 0 }
    :: d_step { buffer[me]?STRIKES_OUT -> bias_owner = 0 }
    :: d_step { buffer[me]?MOVES_IN -> bias_owner = me + 1 }
    :: d_step { buffer[me]?UNLOCKS -> busy[me]--; mutex = 0 }
    :: d_step { buffer[me]?GIVES_UP -> mutex = 0 }
    od
}

inline heavy_fence()
{
    empty(buffer[me]);
    i = 0;
    do
    :: i < MEMBERS && empty(buffer[i]) -> i++
    :: i == MEMBERS -> i = 0; break
    od
}

/* What a member itself has stored it sees, visible or not. */
inline go_in()
{
    d_step {
        i = 0;
        do
        :: i < MEMBERS -> assert(i == me || busy[i] == 0); i++
        :: i == MEMBERS -> i = 0; break
        od;
        busy[me]++
    }
}

/* Of whoever died. */
inline repair()
{
    i = 0;
    do
    :: i < MEMBERS -> busy[i] = (doing[i] == DEAD -> 0 : busy[i]); i++
    :: i == MEMBERS -> break
    od;
    i = 0
}

/* Killed when? After all it is seen to have done: what nobody has seen yet it may not have done. In the lock it stays, until somebody repairs. */
inline die()
{
    atomic {
        do
        :: buffer[me]?_
        :: empty(buffer[me]) -> break
        od;
        if
        :: mutex == me + 1 -> mutex = 0; orphaned = true
        :: else
        fi;
        doing[me] = DEAD
    }
}

proctype member(byte me)
{
    byte visits, i, who;
    bool owner_died;

    {
        visits = 0;
visit:
        if
        :: visits < VISITS -> visits++
        :: goto over
        fi;
        /* shki_biased_enter() */
        if
        :: bias_owner == me + 1 -> buffer[me]!STEPS_IN
        :: bias_owner != me + 1 -> goto by_mutex
        fi;
#ifdef NO_LOOK
        go_in();
        goto step_out;
#else
        if
        :: atomic { bias_owner == me + 1 -> go_in() }; goto step_out
        :: bias_owner != me + 1 -> buffer[me]!TURNS_BACK; goto by_mutex
        fi;
#endif
step_out:
        buffer[me]!COMES_OUT;
        goto visit;
by_mutex:
        skip;
        d_step { mutex == 0 && empty(buffer[me]) -> mutex = me + 1; owner_died = orphaned; orphaned = false };
        if
        :: atomic { bias_owner != 0 && bias_owner != me + 1 -> who = bias_owner };
#ifndef NO_LEAVING
           buffer[me]!LEAVES;
#endif
           buffer[me]!STRIKES_OUT
        :: (bias_owner == 0 || bias_owner == me + 1) && leaving != 0 -> who = leaving
        :: (bias_owner == 0 || bias_owner == me + 1) && leaving == 0 -> goto in_it
        fi;
#ifndef NO_G2
        heavy_fence();
#endif
#ifndef NO_WAIT
        if
        :: !inside[who - 1] /* G3 */
        :: doing[who - 1] == DEAD
        :: inside[who - 1] && doing[who - 1] != DEAD -> who = 0; owner_died = false; buffer[me]!GIVES_UP; goto visit /* busy */
        fi;
#endif
        skip;
        d_step {
            if
            :: doing[who - 1] == DEAD -> repair()
            :: else
            fi;
            who = 0
        };
        buffer[me]!HAS_LEFT;
in_it:
        skip;
        if
        :: d_step { owner_died -> owner_died = false; repair() }
        :: !owner_died
        fi;
        go_in();
        if
        :: true
        :: buffer[me]!MOVES_IN
        fi;
        buffer[me]!UNLOCKS;
        goto visit;
over:
        atomic { doing[me] = DONE; visits = 0 }
    } unless { killed[me] -> die() }
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
        for (m : 0 .. MEMBERS - 1) {
            run memory(m);
            run member(m)
        }
        run fate()
    };
    timeout -> /* nobody can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD)
    }
}

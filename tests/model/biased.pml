/*
 * The biased lock of lib/sync/biased.h: shki_biased_enter(), shki_biased_leave(), revoke_bias(),
 * take_over(), shki_biased_unlock(), with the labels that they have there.
 *
 * Modelled: MEMBERS members make up to VISITS visits each; each visit by the mutex may make the
 * visitor the bias owner. Up to CRASHES of them die, between any two steps. Memory is weak: what a
 * member stores waits in its buffer, from where it becomes visible; loads do not wait for that. A
 * heavy fence waits for its own buffer and then for that of each member, one after the other, as
 * membarrier(2) does; the light one is no step.
 *
 * A revoker that finds the former owner in the lock may give up. Not modelled: that it takes many
 * visits to become the bias owner; claims (the owner whose mutex no other member gets). A thread
 * that joins may use the record of one that died anew, at any moment: ME2. It locks the life of the
 * record and clears the id, and clears biased_in after that; what it does as a member is another
 * member's.
 *
 * Claim: no two members are in the lock at once, one that died there counting until it has been
 * repaired; and when no member can move any more, all living members are done.
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

/* what a member stores */
mtype = {
    ENTERS, LEAVES, TURNS_BACK, NOTES_REVOKED, REVOKES, ENDS_REVOKING, BECOMES_OWNER, UNLOCKS,
    GIVES_UP
}
mtype = { RUNNING, DONE, DEAD }

chan buffer[MEMBERS] = [8] of { mtype }
byte mutex            /* member + 1; 0: free */
bool marked           /* its holder has died */
byte bias_owner, revoking /* member + 1; 0: none */
bool biased_in[MEMBERS]
byte busy[MEMBERS]    /* in the lock, or what it stored there is not visible yet; how often */
mtype doing[MEMBERS] = RUNNING
bool killed[MEMBERS]
bool looks_alive[MEMBERS] /* a dead one: the life of its record is held, and its id still there */

/* shki_member_is_alive() */
#define IS_DEAD(m) (doing[m] == DEAD && !looks_alive[m])

proctype memory(byte me)
{
end:
    do
    :: d_step { buffer[me]?ENTERS -> biased_in[me] = true } /* BL1 */
    :: d_step { buffer[me]?LEAVES -> busy[me]--; biased_in[me] = false } /* BL2: a release */
    :: d_step { buffer[me]?TURNS_BACK -> biased_in[me] = false }
    :: d_step { buffer[me]?NOTES_REVOKED -> revoking = bias_owner }
    :: d_step { buffer[me]?ENDS_REVOKING -> revoking = 0 }
    :: d_step { buffer[me]?REVOKES -> bias_owner = 0 }
    :: d_step { buffer[me]?BECOMES_OWNER -> bias_owner = me + 1 }
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
inline be_in()
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

/* What the dead have left. */
inline repair()
{
    i = 0;
    do
    :: i < MEMBERS -> busy[i] = (doing[i] == DEAD -> 0 : busy[i]); i++
    :: i == MEMBERS -> break
    od;
    i = 0
}

/*
 * Killed when? After all that it is seen to have done: what is not visible yet it may not have
 * done. In the lock it stays, until it is repaired.
 */
inline die()
{
    atomic {
        do
        :: buffer[me]?_
        :: empty(buffer[me]) -> break
        od;
        if
        :: mutex == me + 1 -> mutex = 0; marked = true
        :: else
        fi;
        doing[me] = DEAD
    }
}

proctype member(byte me)
{
    byte visits, i, former;
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
        :: bias_owner == me + 1 -> buffer[me]!ENTERS
        :: bias_owner != me + 1 -> goto by_mutex
        fi;
#ifdef NO_SECOND_CHECK
        be_in();
        goto leave;
#else
        if
        :: atomic { bias_owner == me + 1 -> be_in() }; goto leave
        :: bias_owner != me + 1 -> buffer[me]!TURNS_BACK; goto by_mutex
        fi;
#endif
leave:
        buffer[me]!LEAVES;
        goto visit;
by_mutex:
        skip;
        d_step {
            mutex == 0 && empty(buffer[me]) -> mutex = me + 1;
            owner_died = marked;
            marked = false
        };
        if
        :: atomic { bias_owner != 0 && bias_owner != me + 1 -> former = bias_owner };
#ifndef NO_BL3_REVOKING
           buffer[me]!NOTES_REVOKED;
#endif
           buffer[me]!REVOKES
        :: (bias_owner == 0 || bias_owner == me + 1) && revoking != 0 -> former = revoking
        :: (bias_owner == 0 || bias_owner == me + 1) && revoking == 0 -> goto in_it
        fi;
#ifndef NO_BL1_HEAVY
        heavy_fence();
#endif
#ifndef NO_BL2_WAIT
        if
        :: !biased_in[former - 1] /* BL2 */
        :: IS_DEAD(former - 1)
        :: biased_in[former - 1] && !IS_DEAD(former - 1) ->
           former = 0;
           owner_died = false;
           buffer[me]!GIVES_UP;
           goto visit /* busy */
        fi;
#endif
        skip;
        d_step {
            if
            :: IS_DEAD(former - 1) -> repair()
            :: else
            fi;
            former = 0
        };
        buffer[me]!ENDS_REVOKING;
in_it:
        skip;
        if
        :: d_step { owner_died -> owner_died = false; repair() }
        :: !owner_died
        fi;
        be_in();
        if
        :: true
        :: buffer[me]!BECOMES_OWNER
        fi;
        buffer[me]!UNLOCKS;
        goto visit;
over:
        atomic { doing[me] = DONE; visits = 0 }
    } unless { killed[me] -> die() }
}

/* A thread joins with the record of a member that has died: acquire_life(), join_locked(). */
proctype joiner()
{
    byte m;

end:
    if
    :: atomic { doing[0] == DEAD -> m = 0 }
#if MEMBERS > 1
    :: atomic { doing[1] == DEAD -> m = 1 }
#endif
#if MEMBERS > 2
    :: atomic { doing[2] == DEAD -> m = 2 }
#endif
    fi;
#ifdef NO_ME2_ID_FIRST
    looks_alive[m] = true;
    looks_alive[m] = false; /* the id is gone */
#endif
    biased_in[m] = false /* BL2 */
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
        run fate();
        run joiner()
    };
    timeout -> /* no member can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD)
    }
}

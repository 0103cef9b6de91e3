/*
 * The one thing that a waiter does to a waitlist without its mutex: it leaves when it has been
 * released, and may then enter another list. Meanwhile a member has the mutex of the first list,
 * and rebuilds it or reaps its dead: shki_waitlist_collect(), with what shki_waitlist_rebuild() and
 * shki_waitlist_reap() do to the nodes that it has found; with the labels of lib/sync/waitlist.h.
 *
 * Modelled: one node, in list A, released there by notify or by broadcast; its owner, which leaves
 * A (shki_waitlist_resume()), enters B (shki_waitlist_enter(), with the mutex of B, which no other
 * member wants here), and may be killed at any step; the holder of A's mutex. Memory is weak: what
 * the owner stores waits in a buffer, from where it becomes visible in order, relaxed stores
 * perhaps before others, unless a fence keeps them back.
 *
 * Claim: the holder of A's mutex changes only nodes that are in A and wait there, or are a dead
 * member's in A.
 */
#define A 1
#define B 2
#define TICKET_IN_B 5

mtype = { LEAVE, TICKET, STATE, ENTER, FENCE } /* what the owner stores; in between, the fence */

chan buffer = [6] of { mtype }
byte list = A
bool notified
byte ticket = 1, released_in_a
bool dead, killed

#define is_released_in_a (notified || ticket < released_in_a)
#define overtakes(store) (!buffer??[FENCE] && buffer??[store])

active proctype memory()
{
end:
    do
    :: d_step { buffer?LEAVE -> list = 0 }
    :: buffer?FENCE
    :: d_step { buffer?TICKET -> ticket = TICKET_IN_B }
    :: d_step { buffer?STATE -> notified = false }
    :: d_step { buffer?ENTER -> list = B }                              /* WL1 */
    :: d_step { overtakes(TICKET) -> buffer??TICKET; ticket = TICKET_IN_B }
    :: d_step { overtakes(STATE) -> buffer??STATE; notified = false }
    od
}

proctype owner()
{
    {
        buffer!LEAVE;
#ifndef NO_WL4_FENCE
        buffer!FENCE; /* WL4 */
#endif
        buffer!TICKET;
        buffer!STATE;
        buffer!ENTER
    } unless { killed }
    /* What it has stored becomes visible, and then the kernel says that it is dead. */
    empty(buffer) -> dead = killed
}

#ifdef NO_SECOND_READ
#define second_read true
#else
#define second_read (list == A)
#endif

proctype rebuilder()
{
    if
    :: list == A -> /* WL1 */
       if
       :: !is_released_in_a ->
          if
          :: second_read -> assert(list == A && !is_released_in_a) /* links it */ /* WL4 */
          :: else
          fi
       :: else
       fi
    :: else
    fi
}

proctype undertaker()
{
    if
    :: list == A ->
       if
       :: dead ->
          if
          :: second_read -> assert(list == A && dead) /* takes it out: list = 0 */ /* WL4 */
          :: else
          fi
       :: else
       fi
    :: else
    fi
}

init
{
    atomic {
        if
        :: notified = true   /* WL2 */
        :: released_in_a = 2 /* WL3 */
        fi;
        run owner();
        if
        :: run rebuilder()
        :: run undertaker()
        fi
    };
    if
    :: killed = true
    :: true
    fi
}

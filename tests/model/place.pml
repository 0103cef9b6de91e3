/*
 * How many bytes are in a queue whose items lie at their length: lib/queue/place.h, with the labels
 * that it has there; and the limit in bytes, a high-water mark (lib/queue/state.h), with the
 * producers that wait for it.
 *
 * Modelled: PRODUCERS producers put PUTS items each into a FIFO queue, by the mutex; every second
 * producer's are short, the others' long. A consumer, which is the bias owner of its side, gets
 * GETS items. A producer that finds the queue full reads the consumer's bytes without its lock, and
 * sleeps. With CRASHES a producer or the consumer dies, between any two steps, another consumer
 * comes, and a sleeper checks again at the end of a recheck interval (where that changes nothing,
 * it is no step). Memory is weak: what a member stores waits in its buffer, from where it becomes
 * visible in order, a relaxed store perhaps before others; loads behind an acquire are done in any
 * order.
 *
 * Not modelled: the records; that a waiter reads the bytes of both sides as that producer does (it
 * reads the right ones, one side after the other); sleeping consumers; the revocation of the bias
 * (biased.pml); the eventcount's semaphore, its light fence, and what becomes of a wake-up of a
 * dead waiter (eventcount.pml).
 *
 * Claims: the bytes that a thread reads without the lock are those of the count that it has read. A
 * put begins only if there are fewer bytes than the limit. A count has a place, whatever has died.
 * When no process can move any more, each living producer has put all its items, or sleeps, and the
 * queue is full.
 */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef PUTS
#define PUTS 2
#endif
#ifndef GETS
#define GETS 2
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef LIMIT
#define LIMIT 2
#endif
#define CONSUMER PRODUCERS
#define MEMBERS (PRODUCERS + 1)
#define COUNTS (PRODUCERS * PUTS + 1)

/* The two sides. */
#define PUT 0
#define GET 1

mtype = { BYTES, NUMBER, COMMIT, UNLOCK } /* what a member stores */
mtype = { RUNNING, ASLEEP, DONE, DEAD }

chan buffer[MEMBERS] = [9] of { mtype, byte, byte }
byte count[2]             /* CH1, CH2: the commit words, tail and head */
byte number[4], bytes[4]  /* the places: two of each side */
byte total[2 * COUNTS]    /* the bytes that go with a count; not in the code */
byte length[COUNTS]       /* of the item with which a count was reached */
byte cached               /* cached_bytes */
byte lock                 /* of the producers: member + 1; 0: free */
bool flag                 /* SHKI_NEED_WAKEUP of not_full */
byte sleepers, permits
mtype doing[MEMBERS] = RUNNING
bool killed[MEMBERS]      /* dies at its next step */

#define size_of(member) ((member) % 2 == 0 -> 2 : 1)
#define has_stored(store) (buffer[me]??[store, _, _])
#define in_queue (total[PUT * COUNTS + count[PUT]] - total[GET * COUNTS + count[GET]])

/* As a high-water mark it is the same for all items. */
#ifdef FITS
#define is_full(n) ((n) + size_of(me) > LIMIT)
#define FULL_FOR(member) (in_queue + size_of(member) > LIMIT)
#else
#define is_full(n) ((n) >= LIMIT)
#define FULL_FOR(member) (in_queue >= LIMIT)
#endif

proctype memory(byte me; bit side)
{
    byte x, y;

end:
    do
    :: d_step { buffer[me]?BYTES, x, y -> bytes[x] = y; x = 0; y = 0 }              /* BY1 */
#ifdef NO_BY1_RELEASE
    :: d_step { has_stored(BYTES) -> buffer[me]??BYTES, x, y; bytes[x] = y; x = 0; y = 0 }
#endif
    :: d_step { buffer[me]?NUMBER, x, y -> number[x] = y; x = 0; y = 0 }
    /* before the bytes, but not before the commit that these follow */
    :: d_step {
           buffer[me]?[BYTES, _, _] && has_stored(NUMBER) -> buffer[me]??NUMBER, x, y;
           number[x] = y; x = 0; y = 0
       }
#ifdef NO_CH2_RELEASE
    :: d_step { has_stored(COMMIT) -> buffer[me]??COMMIT, x, _; count[side] = x; x = 0 }
#else
    :: d_step { buffer[me]?COMMIT, x, _ -> count[side] = x; x = 0 }                 /* CH1, CH2 */
#endif
    :: d_step { buffer[me]?UNLOCK, _, _ -> lock = 0 }
    od
}

/* Killed after all it is seen to have done: what is not visible yet it may not have done. */
inline die()
{
    atomic {
        do
        :: buffer[me]?_, _, _
        :: empty(buffer[me]) -> break
        od;
        lock = (lock == me + 1 -> 0 : lock);
        doing[me] = DEAD
    }
}

/* With the lock: the place of the count; the one that is alive is `place`, with `own` bytes. */
inline find_own(side, n)
{
    if
    :: number[2 * side] == n -> place = 2 * side
    :: number[2 * side] != n && number[2 * side + 1] == n -> place = 2 * side + 1
    :: else -> assert(false)
    fi;
    own = bytes[place];
    assert(own == total[side * COUNTS + n])
}

#ifdef ONE_PLACE
#define other_place(p) (p)
#else
#define other_place(p) ((p) ^ 1)
#endif

/* shki_place_set(), and the commit: of count n, with an item of that size. */
inline move(side, n, size)
{
    place = other_place(place);
    own = own + size;
    total[side * COUNTS + n] = own;
#ifdef COMMIT_FIRST
    buffer[me]!COMMIT, n, 0;
#endif
    buffer[me]!BYTES, place, own; /* BY1 */
    buffer[me]!NUMBER, place, n
#ifndef COMMIT_FIRST
    ;
    buffer[me]!COMMIT, n, 0       /* CH1, CH2 */
#endif
}

#ifdef NO_BY1_ACQUIRE
#define BY1 true
#else
#define BY1 has_bytes
#endif

/*
 * shki_place_bytes(), one try: `found` bytes, or `busy`. The numbers of the places are read in one
 * step: only one of them can be that of the count.
 */
inline read_bytes(side)
{
    n = count[side]; /* CH1, CH2: acquire */
    if
    :: at = 2 * side
    :: at = 2 * side + 1
    fi;
    do
    :: d_step {
           !has_number -> is_it = (number[at] == n && (at == 2 * side || number[2 * side] != n));
           has_number = true
       }
    :: d_step { !has_bytes -> found = bytes[at]; has_bytes = true } /* BY1 */
    :: d_step { BY1 && !has_second -> same = (count[side] == n); has_second = true }
    :: has_number && has_bytes && has_second -> break
    od;
    atomic {
#ifdef NO_SECOND_READ
        busy = !is_it;
#else
        busy = !is_it || !same;
#endif
        assert(busy || found == total[side * COUNTS + n]);
        n = 0; at = 0; is_it = false; same = false;
        has_number = false; has_bytes = false; has_second = false
    }
}

/* has_room() of chunks.c: taken first. Busy, it would be worth another try. */
inline look_for_room()
{
    taken = total[GET * COUNTS + count[GET]];
    has_room = !is_full(total[PUT * COUNTS + count[PUT]] - taken);
    taken = 0
}

/* EC2, EC1: a heavy fence */
inline prepare_wait()
{
    flag = true;
    do
    :: other < MEMBERS && empty(buffer[other]) -> other++
    :: other == MEMBERS -> other = 0; break
    od
}

inline wake()
{
    if
    :: d_step { flag -> flag = false; permits++ }
    :: !flag
    fi
}

#if CRASHES
#define recheck_is_due (!FULL_FOR(me))
#else
#define recheck_is_due false
#endif

proctype producer(byte me)
{
    byte puts, place, own, n, at, found, taken, other;
    bool is_it, same, has_number, has_bytes, has_second, busy, has_room, slept;

    {
        do
        :: puts < PUTS ->
again:      atomic { lock == 0 -> lock = me + 1; find_own(PUT, count[PUT]) };
            if
            :: is_full(own - cached) ->
                read_bytes(GET);
                d_step {
                    cached = (busy -> cached : found);
                    busy = false;
                    found = 0
                }
            :: !is_full(own - cached)
            fi;
            if
            :: atomic {
                   !is_full(own - cached) ->
                   assert(!FULL_FOR(me));
                   length[count[PUT] + 1] = size_of(me);
                   move(PUT, count[PUT] + 1, size_of(me));
                   buffer[me]!UNLOCK, 0, 0;
                   puts++;
                   place = 0;
                   own = 0
               }
            :: atomic { is_full(own - cached) -> lock = 0; place = 0; own = 0; sleepers++ };
                do
                :: prepare_wait();
                   look_for_room();
                   if
                   :: has_room -> break
                   :: !has_room -> doing[me] = ASLEEP
                   fi;
                   if
                   :: d_step { permits > 0 -> permits--; doing[me] = RUNNING; slept = true }; break
                   :: d_step { permits == 0 && recheck_is_due -> doing[me] = RUNNING }; break
                   fi
                od;
                atomic { has_room = false; sleepers-- };
                goto again
            fi;
            if
            :: slept && sleepers > 0 -> /* shki_eventcount_cascade() */
                prepare_wait();
                look_for_room();
                if
                :: has_room -> wake()
                :: !has_room
                fi
            :: else
            fi;
            d_step { slept = false; has_room = false }
        :: puts == PUTS -> break
        od;
        doing[me] = DONE
    } unless { killed[me] -> die() }
}

/* The bias owner: what it has stored itself it sees at once. */
proctype consumer(byte me)
{
    byte head, place, own;

    {
        d_step { head = count[GET]; find_own(GET, head) };
        do
        :: atomic {
               head < GETS && count[PUT] > head -> /* CH1 */
               head++;
               move(GET, head, length[head])
           };
           wake()
        :: head == GETS -> break
        od;
        doing[me] = DONE
    } unless { killed[me] -> die() }
}

init
{
    byte m;

    atomic {
        for (m : 0 .. MEMBERS - 1) {
            if
            :: m < PRODUCERS -> run memory(m, PUT); run producer(m)
            :: else -> run memory(m, GET); run consumer(m)
            fi
        }
        m = 0
    };
#if CRASHES
    if
    :: true
    :: atomic {
           do
           :: m < MEMBERS - 1 -> m++
           :: doing[m] != DONE -> break
           od;
           killed[m] = true
       };
       if
       :: atomic { /* the next one */
              m == CONSUMER && doing[m] == DEAD -> doing[m] = RUNNING;
              killed[m] = false;
              run consumer(m)
          }
       :: m != CONSUMER || doing[m] == DONE
       fi;
       m = 0
    fi;
#endif
    timeout -> /* no process can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD ||
               (m == CONSUMER && count[PUT] == count[GET]) ||
               (doing[m] == ASLEEP && FULL_FOR(m)))
    }
}

/*
 * Litmus test, on ARM, of the ring of lib/queue/ring.h, with the labels that it has there: does a
 * consumer find the items that were put, whole, and those that a count says?
 *
 * Modelled: a producer puts two items into a ring with one slot, a consumer gets both: each is
 * alone at its side, as a bias owner is. A third thread reads the count of what was put, and then
 * the slot: shki_ring_tail(). A thread that finds no room, or no item, reads again. The memory:
 * arm.pml. Not modelled: the locks (arm_biased.pml), sleeping (arm_eventcount.pml), the cached
 * copies of head and tail, deaths.
 *
 * Claim: item n has the bytes n; a count of n finds item n, or a later one in its slot.
 *
 * Without the acquire of RQ2 a branch keeps the order: a store does not overtake the load that
 * decides whether it is done. C knows no such order. With NO_BRANCH, for a compiler that has made
 * something else of it, the acquire is needed.
 */
#define THREADS 3
#define PRODUCER 0
#define CONSUMER 1
#define COUNTER 2
#include "arm.pml"

/* Item n is 1 or 2. */
#define PUT(n, i) (1 << (4 * (n) - 4 + (i)))
#define ROOM(n) PUT(n, 0)
#define FILL(n) PUT(n, 1)
#define WORD(n) PUT(n, 2)
#define TAIL(n) PUT(n, 3)
#define PRODUCER_ENDS before(PUT(3, 0))

#define GET(n, i) (1 << (3 * (n) - 3 + (i)))
#define FIND(n) GET(n, 0)
#define COPY(n) GET(n, 1)
#define HEAD(n) GET(n, 2)
#define CONSUMER_ENDS before(GET(3, 0))

#define COUNT 1
#define SLOT 2
#define COUNTER_ENDS before(4)

/* RQ1, RQ2, RQ3: what keeps the order, or does not: then only what is at the same place does. */
#ifdef NO_RQ1_RELEASE
#define WORD_AFTER(n) ROOM(n)
#else
#define WORD_AFTER(n) before(WORD(n))
#endif
#ifdef NO_RQ1_ACQUIRE
#define FOUND(n) 0
#else
#define FOUND(n) FIND(n)
#endif
#ifdef NO_RQ2_RELEASE
#define HEAD_AFTER(n) FIND(n)
#else
#define HEAD_AFTER(n) before(HEAD(n))
#endif
#ifdef NO_RQ2_ACQUIRE
#ifdef NO_BRANCH
#define HAS_ROOM(n) 0
#else
#define HAS_ROOM(n) ROOM(n)
#endif
#else
#define HAS_ROOM(n) ROOM(n)
#endif
#ifdef NO_RQ3_RELEASE
#define TAIL_AFTER(n) ROOM(n)
#else
#define TAIL_AFTER(n) before(TAIL(n))
#endif
#ifdef NO_RQ3_ACQUIRE
#define COUNTED 0
#else
#define COUNTED COUNT
#endif

byte bytes, word, tail, head

/* Of the first item, what the second one's operations come after. */
#define at_second(n, op) ((n) == 2 -> (op) : 0)

#define PUTS(n) \
    :: d_step { NEXT(ROOM(n), at_second(n, ROOM(1))) && head == n - 1 -> perform(ROOM(n)) } \
    :: d_step { \
           NEXT(FILL(n), HAS_ROOM(n) | at_second(n, FILL(1))) -> bytes = n; perform(FILL(n)) \
       } \
    :: d_step { \
           NEXT(WORD(n), WORD_AFTER(n) | at_second(n, WORD(1))) -> word = n; perform(WORD(n)) \
       } \
    :: d_step { \
           NEXT(TAIL(n), TAIL_AFTER(n) | at_second(n, TAIL(1))) -> tail = n; perform(TAIL(n)) \
       }

/* ring_put_one() */
proctype producer(byte me)
{
    do
    PUTS(1)
    PUTS(2)
    :: did[me] == PRODUCER_ENDS -> break
    od
}

#define GETS(n) \
    :: d_step { NEXT(FIND(n), at_second(n, FIND(1))) && word == n -> perform(FIND(n)) } \
    :: d_step { \
           NEXT(COPY(n), FOUND(n) | at_second(n, FOUND(1) | COPY(1))) -> \
           assert(bytes == n); \
           perform(COPY(n)) \
       } \
    :: d_step { \
           NEXT(HEAD(n), HEAD_AFTER(n) | at_second(n, HEAD(1))) -> head = n; perform(HEAD(n)) \
       }

/* ring_get_one() */
proctype consumer(byte me)
{
    do
    GETS(1)
    GETS(2)
    :: did[me] == CONSUMER_ENDS -> break
    od
}

/* A thread that counts, and then reads the slot of what it has counted. */
proctype counter(byte me)
{
    byte counted, found;

    do
    :: d_step { NEXT(COUNT, 0) -> counted = tail; perform(COUNT) }
    :: d_step { NEXT(SLOT, COUNTED) -> found = word; perform(SLOT) }
    :: did[me] == COUNTER_ENDS -> break
    od;
    assert(found >= counted)
}

init
{
    atomic {
        run producer(PRODUCER);
        run consumer(CONSUMER);
        run counter(COUNTER)
    };
    timeout ->
    assert(did[PRODUCER] == PRODUCER_ENDS && did[CONSUMER] == CONSUMER_ENDS)
}

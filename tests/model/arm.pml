/*
 * The memory of ARMv8 (and of the other 64-bit ARM machines), for litmus tests; included by
 * arm_*.pml. Source: the architecture's reference manual, "The AArch64 Application Level Memory
 * Model"; Pulte, Flur, Deacon and others, "Simplifying ARM Concurrency" (POPL 2018). Memory is
 * multi-copy atomic: what one other thread sees, all see.
 *
 * A thread is a straight list of at most 31 operations; branches only leave some of them out. Each
 * operation is performed in one step, at any moment, in any order, but for what it must come after.
 * That is: a load reads memory when it is performed, however early; a store becomes visible when it
 * is performed, however late. The operations are bits, in the order of the program:
 *
 *     :: NEXT(LOAD, CHECK) -> ...; perform(LOAD)       LOAD, once CHECK has been performed
 *     :: NEXT(STORE, before(STORE)) -> ...             a release, or a full fence: after all before
 *
 * What an operation must come after:
 *   - each acquire before it, and each full fence;
 *   - all before it, if it is a release or a full fence;
 *   - a load whose value it stores, or from which it knows where (a data or address dependency);
 *   - a store also each branch before it, and so the loads that decide it (a control dependency).
 *     A load does not wait for a branch: the processor guesses;
 *   - what comes earlier in the program at the same place. A load may read its own thread's store
 *     before that is visible: it says so.
 * An operation that reads and writes at once (an atomic instruction, or a pair of exclusive load
 * and store that succeeds) is one step. Of the one that locks a mutex the two halves matter: it is
 * an acquire when it has read, and its write may become visible later. No other thread gets the
 * mutex in between.
 *
 * membarrier(2) executes a full fence in each thread of others, at some moment: at that moment all
 * that the thread has before some place in its program has been performed, and nothing behind it.
 */
#define before(op) ((op) - 1) /* each operation before it */
#define NEXT(op, after) (!(did[me] & (op)) && (did[me] & (after)) == (after))
#define perform(op) did[me] = did[me] | (op)
#define is_at_one_place(thread) ((did[thread] & (did[thread] + 1)) == 0)

int did[THREADS] /* the operations that a thread has performed, or left out */

/*
 * The newest value, lib/object/value.h: shk_value_set() and shk_value_get(), with the labels that
 * they have there.
 *
 * Modelled: version 1 is there; WRITERS writers set the value SETS times each; READERS readers get
 * it GETS times each, without a lock, and with writer_lock after copies that were spoiled. There
 * are BUFFERS buffers, fewer than in the code, so that a reader is disturbed sooner. A value is two
 * words, which say what set wrote them. With CRASHES a writer or a reader dies, between any two
 * steps; the kernel hands on its lock. Memory is weak: what a writer stores waits in its buffer,
 * from where it becomes visible in order, a relaxed store perhaps before others; a reader's loads
 * are done in any order; the fences prevent what they prevent.
 *
 * Not modelled: the length, which is read and written as the words are; the waiters, which are
 * those of a broadcast (event.pml); compare-and-set and add, which are a set after a read with the
 * lock; how often a reader is spoiled before it takes the lock (at any time, here).
 *
 * Claims: what a reader gets is whole, and what the set of that version wrote. With the lock the
 * newest version can always be read. When all have come to their end, the newest version can be
 * read, and no version was left out.
 */
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef SETS
#define SETS 2
#endif
#ifndef GETS
#define GETS 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifdef ONE_BUFFER
#define BUFFERS 1
#endif
#ifndef BUFFERS
#define BUFFERS 2
#endif
#define MEMBERS (WRITERS + READERS)
#define VERSIONS (WRITERS * SETS + 2)

/* what a writer stores; in between, the fence */
mtype = { VERSION, FENCE, WORD, NEWEST, UNLOCK }

chan buffer[WRITERS] = [6] of { mtype, byte, byte }
byte newest
byte version[BUFFERS], words[2 * BUFFERS]
byte content[VERSIONS] /* what the set of a version wrote; not in the code */
byte lock              /* member + 1 of the holder; 0: free */
bool killed[MEMBERS]   /* dies at its next step */
byte crashes = CRASHES

#define overtakes(store) (!buffer[me]??[FENCE, 0, 0] && buffer[me]??[store, _, _])

proctype memory(byte me)
{
    byte x, y;

end:
    do
    :: d_step { buffer[me]?VERSION, x, y -> version[x] = y; x = 0; y = 0 }         /* VA1 */
    :: d_step { buffer[me]?FENCE, _, _ }                                           /* VA1 */
    :: d_step { buffer[me]?WORD, x, y -> words[x] = y; x = 0; y = 0 }
    :: d_step { overtakes(WORD) -> buffer[me]??WORD, x, y; words[x] = y; x = 0; y = 0 }
#ifdef NO_VA2_RELEASE
    :: d_step {
           overtakes(NEWEST) -> buffer[me]??NEWEST, x, y;
           content[x] = y; newest = x; x = 0; y = 0
       }
#else
    :: d_step {
           buffer[me]?NEWEST, x, y -> /* VA2 */
           assert(x == newest + 1);
           content[x] = y; newest = x; x = 0; y = 0
       }
#endif
    :: d_step { buffer[me]?UNLOCK, _, _ -> lock = 0 }
    od
}

/* Killed after all it is seen to have done: what no other has seen yet it may not have done. */
inline die()
{
    atomic {
        if
        :: me < WRITERS ->
            do
            :: buffer[me]?_, _, _
            :: empty(buffer[me]) -> break
            od
        :: else
        fi;
        lock = (lock == me + 1 -> 0 : lock)
    }
}

/* Each set writes something else, also if it is of the same version as a dead writer's. */
#define set_of(v) (8 * (v) + me)
#define SET_FIRST 255

proctype writer(byte me)
{
    byte sets, next;

    {
        do
        :: sets < SETS ->
            sets++;
            atomic { lock == 0 -> lock = me + 1; next = newest + 1 };
#ifndef VERSION_LATE
            buffer[me]!VERSION, next % BUFFERS, next; /* VA1 */
#ifndef NO_VA1_FENCE
            buffer[me]!FENCE, 0, 0;
#endif
#endif
            buffer[me]!WORD, 2 * (next % BUFFERS), set_of(next);
            buffer[me]!WORD, 2 * (next % BUFFERS) + 1, set_of(next);
#ifdef VERSION_LATE
            buffer[me]!FENCE, 0, 0;
            buffer[me]!VERSION, next % BUFFERS, next;
#endif
            buffer[me]!NEWEST, next, set_of(next); /* VA2 */
            buffer[me]!UNLOCK, 0, 0;
            next = 0
        :: else -> break
        od;
        empty(buffer[me])
    } unless { killed[me] -> die() }
}

#ifdef NO_VA2_ACQUIRE
/* as if the words were read of the buffer that the version turns out to be in */
#define VA2 true
#else
#define VA2 has_newest
#endif
#ifdef NO_VA3_FENCE
#define VA3 has_newest
#else
#define VA3 (has_newest && has[0] && has[1])
#endif

/* copy_newest() */
inline copy()
{
    do
    :: !has_newest ->
        atomic {
            v = newest;
            has_newest = true;
            if
            :: !has[0] && !has[1] -> at = v % BUFFERS
            :: else -> at == v % BUFFERS /* blocks: another order than is looked for */
            fi
        }
    :: d_step { VA2 && !has[0] -> word[0] = words[2 * at]; has[0] = true }
    :: d_step { VA2 && !has[1] -> word[1] = words[2 * at + 1]; has[1] = true }
    :: d_step { VA3 && !has_seen -> seen = version[at]; has_seen = true }
    :: has_newest && has[0] && has[1] && has_seen -> break
    od
}

inline forget()
{
    d_step {
        v = 0; at = 0; word[0] = 0; word[1] = 0; seen = 0;
        has_newest = false; has[0] = false; has[1] = false; has_seen = false
    }
}

inline check_copy()
{
    assert(word[0] == word[1] && word[0] == content[v])
}

#ifdef NO_SECOND_READ
#define is_whole true
#else
#define is_whole (seen == v)
#endif

proctype reader(byte me)
{
    byte gets, v, at, seen;
    byte word[2];
    bool has_newest, has[2], has_seen;

    {
        do
        :: gets < GETS ->
#ifdef NO_VA2_ACQUIRE
            if
            :: at = 0
            :: at = 1
            fi;
#endif
            copy();
            if
            :: is_whole -> d_step { check_copy(); gets++ }
            :: !is_whole /* once more */
            :: !is_whole ->
                /* copy_locked() */
                forget();
#ifndef NO_LOCK
                atomic { lock == 0 -> lock = me + 1 };
#endif
                copy();
                assert(is_whole);
                check_copy();
                d_step { lock = (lock == me + 1 -> 0 : lock); gets++ }
            fi;
            forget()
        :: else -> break
        od
    } unless { killed[me] -> die() }
}

init
{
    byte m;

    atomic {
        newest = 1;
        version[1 % BUFFERS] = 1;
        words[2 * (1 % BUFFERS)] = SET_FIRST;
        words[2 * (1 % BUFFERS) + 1] = SET_FIRST;
        content[1] = SET_FIRST;
        for (m : 0 .. MEMBERS - 1) {
            if
            :: m < WRITERS -> run memory(m); run writer(m)
            :: else -> run reader(m)
            fi
        }
        m = 0
    };
#if CRASHES
    do
    :: m < MEMBERS && crashes > 0 -> killed[m] = true; crashes--; m++
    :: m < MEMBERS -> m++
    :: break
    od;
    m = 0;
#endif
    timeout -> /* no process can move any more */
    assert(lock == 0);
    assert(version[newest % BUFFERS] == newest &&
           words[2 * (newest % BUFFERS)] == content[newest] &&
           words[2 * (newest % BUFFERS) + 1] == content[newest]);
#if CRASHES == 0
    assert(newest == 1 + WRITERS * SETS)
#endif
}

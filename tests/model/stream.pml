/*
 * The stream, lib/object/stream.c: shk_stream_append() and shk_reader_read(), with the labels that
 * they have there.
 *
 * Modelled: WRITERS writers make up to APPENDS calls each, of one to PIECE samples; READERS
 * readers read one sample at a time, beginning at the oldest or the next, and sleep when there is
 * none. The ring is full at first. A sample is two words, which say which member wrote them at
 * which position. With CRASHES a member dies, between any two steps, and another writer takes the
 * place of a writer; the kernel hands on what a dead member held. Memory is weak: what a member
 * stores waits in its buffer, from where it becomes visible in order, a relaxed store perhaps
 * before others; a reader's loads are done in any order; the fences prevent what they prevent. At
 * the end of a recheck interval a sleeper checks (where that changes nothing, it is no step).
 *
 * Not modelled: what the line of waiters does with its mutex (waitlist.pml), spinning before a
 * sleep (more checks), wait_any; that a writer that a stopped reader keeps from the line goes
 * without waking (as one that dies there).
 *
 * Claims: no sample is delivered that is torn, or is not the one of its position. When no process
 * can move any more, each living reader sleeps, and has come to the end. Without CRASHES that is
 * so without any recheck.
 */
#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef APPENDS
#define APPENDS 2
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#define MEMBERS (WRITERS + READERS)
#define HISTORY 1
#define PIECE 2
#define SLOTS 3 /* HISTORY + PIECE at least */

/* what a member stores; in between, the fence */
mtype = { CLAIM, FENCE, WORD, PUBLISH, UNLOCK, COUNT_IN, UNLOCK_LINE }
mtype = { RUNNING, ASLEEP, DONE, DEAD }

chan buffer[MEMBERS] = [10] of { mtype, byte, byte }
byte claimed = SLOTS, published = SLOTS
byte words[2 * SLOTS]       /* the member that wrote it, at which position */
byte lock, line             /* member + 1 of the holder; 0: free */
byte count                  /* how many are in the line */
bool in[MEMBERS], released[MEMBERS]
byte position[MEMBERS]
mtype doing[MEMBERS] = RUNNING
bool killed[MEMBERS]        /* dies at its next step */

#define sample(life, at) (16 * (life) + (at) + 1) /* at < 15 */
#define is_sample_of(word, at) ((word) % 16 == (at) + 1)
#define word_at(at, half) words[2 * ((at) % SLOTS) + half]
#define fence() empty(buffer[me])
#define overtakes(store) (!buffer[me]??[FENCE, 0, 0] && buffer[me]??[store, _, _])

#ifdef NO_ST4
#define ST4 true
#else
#define ST4 fence()
#endif
#ifdef NO_ST5
#define ST5 true
#else
#define ST5 fence()
#endif

proctype memory(byte me)
{
    byte x, y;

end:
    do
    :: d_step { buffer[me]?CLAIM, x, _ -> claimed = x; x = 0 }                      /* ST1 */
    :: d_step { buffer[me]?FENCE, _, _ }
    :: d_step { buffer[me]?WORD, x, y -> words[x] = y; x = 0; y = 0 }
    :: d_step { overtakes(WORD) -> buffer[me]??WORD, x, y; words[x] = y; x = 0; y = 0 }
#ifdef NO_ST2_RELEASE
    :: d_step { buffer[me]??PUBLISH, x, _ -> published = x; x = 0 }
#else
    :: d_step { buffer[me]?PUBLISH, x, _ -> published = x; x = 0 }                  /* ST2 */
#endif
    :: d_step { buffer[me]?UNLOCK, _, _ -> lock = 0 }
    :: d_step { buffer[me]?COUNT_IN, _, _ -> count++ }
    :: d_step { buffer[me]?UNLOCK_LINE, _, _ -> line = 0 }
    od
}

/* Killed after all it is seen to have done: what no other has seen yet it may not have done. */
inline die()
{
    atomic {
        do
        :: buffer[me]?_, _, _
        :: empty(buffer[me]) -> break
        od;
        lock = (lock == me + 1 -> 0 : lock);
        line = (line == me + 1 -> 0 : line);
        doing[me] = DEAD
    }
}

/* With the line: everybody in it is released. */
inline release_all()
{
    d_step {
        for (i : WRITERS .. MEMBERS - 1) {
            released[i] = released[i] || in[i];
            in[i] = false
        }
        i = 0;
        count = 0
    }
}

proctype writer(byte me, life)
{
    byte appends, n, from, mine, i;

    {
        do
        :: appends < APPENDS ->
           appends++;
           atomic { lock == 0 -> lock = me + 1; from = published; mine = claimed };
           if
           :: n = 1
           :: n = PIECE
           fi;
           /* append_piece() */
           if
           :: from + n > mine -> buffer[me]!CLAIM, from + n, 0 /* ST1 */
           :: from + n <= mine /* not backwards */
           fi;
#ifndef NO_ST1_FENCE
           buffer[me]!FENCE, 0, 0;
#endif
           for (i : 0 .. n - 1) {
               buffer[me]!WORD, 2 * ((from + i) % SLOTS), sample(life, from + i);
               buffer[me]!WORD, 2 * ((from + i) % SLOTS) + 1, sample(life, from + i)
           }
           i = 0;
           buffer[me]!PUBLISH, from + n, 0; /* ST2 */
           buffer[me]!UNLOCK, 0, 0;
           atomic { n = 0; from = 0; mine = 0 };
           /* wake_readers() */
           if
           :: ST4 && count == 0
           :: ST4 && count > 0 ->
              d_step { line == 0 -> line = me + 1 };
              release_all();
              d_step { fence() -> line = 0 }
           fi
        :: break
        od;
        atomic { doing[me] = DONE; appends = 0 }
    } unless { killed[me] -> die() }
}

#if CRASHES && !defined(NO_BACKSTOP)
#define recheck_is_due (published != position[me])
#else
#define recheck_is_due false
#endif

proctype reader(byte me)
{
    byte end, from, seen;
    byte word[2];
    bool has_end, has[2], has_seen;

    {
copy:   /* copy_samples(), of one sample */
        do
        :: !has_end ->
           d_step {
               end = published; /* ST2 */
               has_end = true;
               if
               /* read at another place then */
               :: end - from > SLOTS -> from = end - HISTORY; has[0] = false; has[1] = false
               :: else
               fi
           };
           if
           :: end == from -> goto nothing
           :: end != from
           fi
#ifdef NO_ST2_ACQUIRE
#define ST2 true
#else
#define ST2 has_end
#endif
        :: d_step { ST2 && !has[0] -> word[0] = word_at(from, 0); has[0] = true }
        :: d_step { ST2 && !has[1] -> word[1] = word_at(from, 1); has[1] = true }
#ifdef NO_ST3
        :: d_step { has_end && !has_seen -> seen = claimed; has_seen = true }
#else
        /* ST3 */
        :: d_step { has[0] && has[1] && has_end && !has_seen -> seen = claimed; has_seen = true }
#endif
        :: has_end && has[0] && has[1] && has_seen -> break
        od;
#ifndef NO_RECHECK
        if
        :: seen > from + SLOTS /* torn: counted as lost */
        :: seen <= from + SLOTS ->
#endif
           assert(is_sample_of(word[0], from) && word[0] == word[1])
#ifndef NO_RECHECK
        fi
#endif
        ;
        atomic {
            from++;
            position[me] = from;
            end = 0; seen = 0; word[0] = 0; word[1] = 0;
            has_end = false; has[0] = false; has[1] = false; has_seen = false;
            goto copy
        };
nothing:
        atomic {
            position[me] = from;
            end = 0; word[0] = 0; word[1] = 0;
            has_end = false; has[0] = false; has[1] = false
        };
        /* one recheck interval */
        d_step { line == 0 -> line = me + 1 };
        d_step { in[me] = true; buffer[me]!COUNT_IN, 0, 0 };
        if
        :: ST5 && published != position[me] -> /* leaves the line at once */
           d_step { fence() -> in[me] = false; count-- };
           d_step { line = 0 };
           goto copy
        :: ST5 && published == position[me]
        fi;
        buffer[me]!UNLOCK_LINE, 0, 0;
        doing[me] = ASLEEP;
        if
        /* and leaves: shki_waitlist_resume() */
        :: d_step { released[me] -> released[me] = false; doing[me] = RUNNING }
        :: atomic { !released[me] && recheck_is_due -> doing[me] = RUNNING };
           d_step { line == 0 -> line = me + 1 };
           d_step { count = (in[me] -> count - 1 : count); in[me] = false; released[me] = false };
           d_step { line = 0 }
        fi;
        goto copy
    } unless { killed[me] -> die() }
}

init
{
    byte m;

    atomic {
        for (m : 0 .. SLOTS - 1) {
            words[2 * m] = sample(0, m);
            words[2 * m + 1] = sample(0, m)
        }
        for (m : 0 .. MEMBERS - 1) {
            run memory(m);
            if
            :: m < WRITERS -> run writer(m, 0)
            :: else -> run reader(m)
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
       /* the next one */
       :: atomic {
              m < WRITERS && doing[m] == DEAD -> doing[m] = RUNNING;
              killed[m] = false;
              run writer(m, 1)
          }
       :: m >= WRITERS || doing[m] == DONE
       fi;
       m = 0
    fi;
#endif
    timeout -> /* no process can move any more */
    for (m : 0 .. MEMBERS - 1) {
        assert(doing[m] == DONE || doing[m] == DEAD ||
               doing[m] == ASLEEP && position[m] == published)
    }
}

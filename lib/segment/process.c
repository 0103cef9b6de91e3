#include "segment/process.h"

#include "base/error.h"
#include "base/deadline.h"
#include "base/thread.h"
#include "segment/presence.h"
#include "segment/tables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FORK_LIMIT SHK_SEC(10) /* how long a child may take to its first handler */
#define ROWS_STEP  16u         /* rows that are allocated at a time */
#define NO_ROW     SHKI_NO_ROW

#define STATE_BITS      2
#define GENERATION_BITS 30

static uint64_t word_of(int32_t pid, uint64_t before, enum shki_process_state state)
{
    uint64_t generation = (before >> STATE_BITS) + 1;

    return (uint64_t)(uint32_t)pid << 32 |
           (generation & ((UINT64_C(1) << GENERATION_BITS) - 1)) << STATE_BITS | state;
}

static enum shki_process_state state_of(uint64_t word)
{
    return (enum shki_process_state)(word & ((1 << STATE_BITS) - 1));
}

static struct shki_process *row_at(const struct shk_segment *s, uint32_t index)
{
    return (struct shki_process *)(void *)(s->base + s->geometry.processes_offset +
                                           index * s->geometry.process_size);
}

/* PR1: acquire; pairs with the release of each exchange, and with those of `uses`. */
static uint64_t load(const struct shki_process *p)
{
    return load_acquire(&p->word);
}

static bool exchange(struct shki_process *p, uint64_t from, uint64_t to)
{
    return compare_exchange_acq_rel(&p->word, &from, to);
}

/* PR2: acquire; pairs with add_rows(). The private copy bounds it, whatever the bytes are. */
static uint32_t rows_ready(const struct shk_segment *s)
{
    uint32_t n = load_acquire(&s->header->processes_ready);

    return n < s->max_members ? n : s->max_members;
}

/* Killed in it: the rows are allocated or not; the next one allocates them once more. */
static int add_rows(struct shk_segment *s, uint32_t ready)
{
    uint32_t n = s->max_members - ready < ROWS_STEP ? s->max_members - ready : ROWS_STEP;
    uint32_t before = ready;
    int r;

    if (n == 0)
        return -EUSERS;
    r = shki_allocate(s, s->geometry.processes_offset + ready * s->geometry.process_size,
                      n * s->geometry.process_size, false);
    if (r == 0)
        compare_exchange_acq_rel(&s->header->processes_ready, &before, ready + n); /* PR2 */
    return r;
}

/* ---- Which processes are over ---- */

/* Whether a line of /proc/PID/maps is about the segment's file. Source: proc(5). */
static bool is_mapping(const char *line, const struct shk_segment *s)
{
    unsigned long long inode;
    unsigned major_, minor_;

    return sscanf(line, "%*s %*s %*s %x:%x %llu", &major_, &minor_, &inode) == 3 &&
           inode == s->inode && makedev(major_, minor_) == s->device;
}

/* Whether a process maps the segment; true if that is hidden. */
static bool maps(const struct shk_segment *s, int32_t pid)
{
    char path[32], line[512];
    bool found = false, is_empty = true;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return true;
    while (!found && fgets(line, sizeof(line), file)) {
        is_empty = false;
        found = is_mapping(line, s);
    }
    fclose(file);
    /* The list is empty when the first thread has ended and others are there. */
    return found || is_empty;
}

static bool is_own(const struct shk_segment *s, const struct shki_process *p, uint64_t word)
{
    return s->row != NO_ROW && p == row_at(s, s->row) && word == s->row_word;
}

/* Cheap: a pid that is used again counts as its process. */
static bool is_gone(const struct shki_process *p, uint64_t word)
{
    int64_t forked = load_relaxed(&p->forked);

    if (state_of(word) == SHKI_PROCESS_FORKING && forked != 0)
        return shki_now() - forked > FORK_LIMIT;
    return shki_process_has_ended(shki_process_pid(word));
}

/* Most often true, and no system call. */
static bool has_living_member(const struct shk_segment *s, int32_t pid)
{
    for (uint32_t i = 0; i < shki_members_ready(s); i++) {
        const struct shki_member_shared *m = shki_record_at(s, i);

        if (m->pid == pid && shki_member_is_alive(s, load_acquire(&m->id)))
            return true;
    }
    return false;
}

static bool is_over(const struct shk_segment *s, const struct shki_process *p, uint64_t word)
{
    uint64_t started = load_relaxed(&p->started);

    if (is_own(s, p, word))
        return false;
    if (state_of(word) == SHKI_PROCESS_LIVE && has_living_member(s, shki_process_pid(word)))
        return false;
    if (is_gone(p, word))
        return true;
    if (state_of(word) != SHKI_PROCESS_LIVE)
        return false;
    return shki_process_pid(word) == getpid() ||
           shki_thread_is_another(shki_process_pid(word), started) ||
           !maps(s, shki_process_pid(word));
}

/* ---- Rows ---- */

static _Atomic uint64_t *role_words(const struct shk_segment *s, struct shki_process *p,
                                    unsigned side)
{
    return &p->uses[(size_t)(1 + side) * s->geometry.uses_words];
}

/*
 * The process has died: so have a producer, or a consumer, of each object of which it was one. A
 * child of fork(2) that has not made a call was none, though it kept their lines open.
 */
static void note_deaths(const struct shk_segment *s, struct shki_process *p)
{
    for (unsigned side = 0; side < SHKI_SIDES && load_relaxed(&p->has_joined); side++)
        for (uint32_t i = 0; i < s->geometry.uses_words; i++)
            for (uint64_t bits = load_relaxed(&role_words(s, p, side)[i]); bits; bits &= bits - 1) {
                struct shki_entry *e = shki_entry_at(s, i * 64 + (uint32_t)__builtin_ctzll(bits));

                if (e)
                    shki_presence_note_death(e, side);
            }
}

static void forget_roles(const struct shk_segment *s, struct shki_process *p)
{
    for (uint32_t i = 0; i < SHKI_SIDES * s->geometry.uses_words; i++)
        store_relaxed(&role_words(s, p, 0)[i], 0);
}

/*
 * Free a row that has that word, and is the caller's to free. `has_died`: its process did not leave
 * by itself.
 */
static bool clear_row(const struct shk_segment *s, struct shki_process *p, uint64_t word,
                      bool has_died)
{
    uint64_t mine = word_of(getpid(), word, SHKI_PROCESS_CLEARING);

    if (!exchange(p, word, mine))
        return false;
    /*
     * Killed here: the row is CLEARING by a process that is over, and is cleared once more. A death
     * that is noted twice is one.
     */
    if (has_died)
        note_deaths(s, p);
    store_relaxed(&p->started, 0);
    store_relaxed(&p->forked, 0);
    store_relaxed(&p->has_joined, 0);
    for (uint32_t i = 0; i < s->geometry.uses_words; i++)
        store_relaxed(&p->uses[i], 0);
    forget_roles(s, p);
    return exchange(p, mine, word_of(0, mine, SHKI_PROCESS_FREE));
}

/* The first free row, as this process's; NO_ROW. */
static uint32_t claim_free(struct shk_segment *s, enum shki_process_state state, uint64_t *word)
{
    for (uint32_t i = 0; i < rows_ready(s); i++) {
        uint64_t before = load(row_at(s, i));

        *word = word_of(getpid(), before, state);
        if (state_of(before) == SHKI_PROCESS_FREE && exchange(row_at(s, i), before, *word))
            return i;
    }
    return NO_ROW;
}

/* Free the rows of processes that are over: how many. */
static uint32_t clear_rows(struct shk_segment *s)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < rows_ready(s); i++) {
        uint64_t word = load(row_at(s, i));

        if (state_of(word) != SHKI_PROCESS_FREE && is_over(s, row_at(s, i), word))
            n += clear_row(s, row_at(s, i), word, true);
    }
    return n;
}

static int claim(struct shk_segment *s, enum shki_process_state state, uint32_t *row,
                 uint64_t *word)
{
    int r = 0;

    *row = claim_free(s, state, word);
    while (*row == NO_ROW && r == 0) {
        r = add_rows(s, rows_ready(s));
        if (r < 0 && clear_rows(s) > 0)
            r = 0;
        *row = claim_free(s, state, word);
    }
    return *row == NO_ROW ? r : 0;
}

static void note_start(struct shki_process *p)
{
    store_relaxed(&p->started, shki_process_start());
}

static void note_untracked(struct shk_segment *s)
{
    /* PR3: release; pairs with the acquire in shki_process_any_uses(). */
    store_release(&s->header->untracked, 1);
}

/*
 * A row that bears this process's pid already is that of the program before an exec(3), or of an
 * earlier process.
 */
static void clear_former(struct shk_segment *s)
{
    for (uint32_t i = 0; i < rows_ready(s); i++) {
        uint64_t word = load(row_at(s, i));

        if (state_of(word) == SHKI_PROCESS_LIVE && shki_process_pid(word) == getpid())
            clear_row(s, row_at(s, i), word, true);
    }
}

int shki_process_enter(struct shk_segment *s)
{
    int r;

    clear_former(s);
    r = claim(s, SHKI_PROCESS_LIVE, &s->row, &s->row_word);

    if (r == -EUSERS) { /* max_members processes have the segment mapped */
        note_untracked(s);
        return 0;
    }
    if (r < 0)
        return shki_fail(r, "no memory for another process in segment /%s: %s", s->name,
                         strerror(-r));
    note_start(row_at(s, s->row));
    return 0;
}

void shki_process_leave(struct shk_segment *s)
{
    if (s->row != NO_ROW &&
        shki_process_pid(s->row_word) == getpid()) /* not the child of a raw fork */
        clear_row(s, row_at(s, s->row), s->row_word, false);
    s->row = NO_ROW;
}

static bool has_row(const struct shk_segment *s)
{
    return s->row != NO_ROW && load(row_at(s, s->row)) == s->row_word &&
           shki_process_pid(s->row_word) == getpid();
}

void shki_process_uses(struct shk_segment *s, uint32_t entry)
{
    if (has_row(s))
        fetch_or_release(&row_at(s, s->row)->uses[entry / 64], UINT64_C(1) << entry % 64);
    else
        note_untracked(s);
}

void shki_process_uses_no_more(struct shk_segment *s, uint32_t entry)
{
    if (has_row(s))
        fetch_and_release(&row_at(s, s->row)->uses[entry / 64], ~(UINT64_C(1) << entry % 64));
}

bool shki_process_any_uses(struct shk_segment *s, uint32_t entry)
{
    if (load_acquire(&s->header->untracked)) /* PR3 */
        return true;
    for (uint32_t i = 0; i < rows_ready(s); i++) {
        struct shki_process *p = row_at(s, i);
        uint64_t word = load(p);
        uint64_t bits = load_acquire(&p->uses[entry / 64]);

        if (state_of(word) != SHKI_PROCESS_LIVE && state_of(word) != SHKI_PROCESS_FORKING)
            continue;
        if (bits >> entry % 64 & 1 && !is_over(s, p, word))
            return true;
    }
    return false;
}

bool shki_process_self(const struct shk_segment *s, uint32_t *row, uint64_t *word)
{
    *row = s->row;
    *word = s->row_word;
    return has_row(s);
}

bool shki_process_is_over(const struct shk_segment *s, uint32_t row, uint64_t word)
{
    return row >= rows_ready(s) || load(row_at(s, row)) != word || is_over(s, row_at(s, row), word);
}

/* ---- Roles: see presence.h ---- */

void shki_process_joins(struct shk_segment *s)
{
    if (has_row(s)) /* Relaxed: killed before, it has put nothing yet. */
        store_relaxed(&row_at(s, s->row)->has_joined, 1);
}

int shki_process_takes_role(struct shk_segment *s, uint32_t entry, unsigned side)
{
    if (!has_row(s))
        return shki_fail(-EUSERS,
                         "segment /%s: more processes than it was created for; no role "
                         "can be noted for this one",
                         s->name);
    /* RO2: release; pairs with the acquire in shki_process_any_has_role(). */
    fetch_or_release(&role_words(s, row_at(s, s->row), side)[entry / 64], UINT64_C(1)
                                                                              << entry % 64);
    return 0;
}

void shki_process_gives_up_role(struct shk_segment *s, uint32_t entry, unsigned side)
{
    if (has_row(s)) /* RO2: release: what it has put comes before */
        fetch_and_release(&role_words(s, row_at(s, s->row), side)[entry / 64],
                          ~(UINT64_C(1) << entry % 64));
}

/*
 * The roles of a process that is over end: true, or another process is about that. What it had open
 * stays in its row, for people.
 */
static bool end_roles(struct shk_segment *s, struct shki_process *p, uint64_t word)
{
    uint64_t mine = word_of(getpid(), word, SHKI_PROCESS_CLEARING);

    if (state_of(word) != SHKI_PROCESS_LIVE)
        return clear_row(s, p, word, true);
    /* The exchange makes the row the caller's: no process takes it, with roles of its own. */
    if (!exchange(p, word, mine))
        return false;
    /* Killed here: the row is CLEARING by a process that is over, and is cleared as a whole. */
    note_deaths(s, p);
    forget_roles(s, p);
    return exchange(p, mine, word_of(shki_process_pid(word), mine, SHKI_PROCESS_LIVE));
}

bool shki_process_any_has_role(struct shk_segment *s, uint32_t entry, unsigned side)
{
    for (uint32_t i = 0; i < rows_ready(s); i++) {
        struct shki_process *p = row_at(s, i);
        uint64_t word = load(p);
        uint64_t bits = load_acquire(&role_words(s, p, side)[entry / 64]); /* RO2 */

        if (state_of(word) == SHKI_PROCESS_FREE || !(bits >> entry % 64 & 1))
            continue;
        if (!is_over(s, p, word) || !end_roles(s, p, word))
            return true;
    }
    return false;
}

void shki_process_forget_role(struct shk_segment *s, uint32_t entry)
{
    for (uint32_t i = 0; i < rows_ready(s); i++)
        for (unsigned side = 0; side < SHKI_SIDES; side++) {
            _Atomic uint64_t *bits = &role_words(s, row_at(s, i), side)[entry / 64];

            /* Relaxed: they are of processes that are over. */
            if (load_relaxed(bits) >> entry % 64 & 1)
                fetch_and_release(bits, ~(UINT64_C(1) << entry % 64));
        }
}

/* ---- Around fork(2) ---- */

void shki_process_before_fork(struct shk_segment *s)
{
    struct shki_process *p;

    s->child = NO_ROW;
    if (claim(s, SHKI_PROCESS_FORKING, &s->child, &s->child_word) < 0) {
        note_untracked(s);
        return;
    }
    p = row_at(s, s->child);
    for (uint32_t i = 0; i < s->max_objects; i++) {
        if (s->uses[i])
            fetch_or_release(&p->uses[i / 64], UINT64_C(1) << i % 64);
        for (unsigned side = 0; side < SHKI_SIDES; side++)
            if (s->roles[SHKI_SIDES * i + side]) /* RO2 */
                fetch_or_release(&role_words(s, p, side)[i / 64], UINT64_C(1) << i % 64);
    }
    /*
     * Killed before: it is the row of a process that is over. A fork that fails leaves the row for
     * FORK_LIMIT.
     */
    store_release(&p->forked, shki_now());
}

void shki_process_after_fork(struct shk_segment *s)
{
    uint64_t word = word_of(getpid(), s->child_word, SHKI_PROCESS_LIVE);

    s->row = s->child;
    s->row_word = word;
    if (s->child != NO_ROW && !exchange(row_at(s, s->child), s->child_word, word)) {
        /* it took longer than FORK_LIMIT */
        if (claim(s, SHKI_PROCESS_LIVE, &s->row, &s->row_word) < 0)
            s->row = NO_ROW;
        for (uint32_t i = 0; i < s->max_objects; i++) {
            if (s->uses[i])
                shki_process_uses(s, i);
            for (unsigned side = 0; side < SHKI_SIDES; side++)
                if (s->roles[SHKI_SIDES * i + side] && has_row(s)) {
                    shki_process_takes_role(s, i, side);
                    shki_presence_note_begin(shki_entry_at(s, i), side);
                }
        }
    }
    if (s->row != NO_ROW)
        note_start(row_at(s, s->row));
}

/*
 * board BOARD: reads a notice board of several lines, or with --write writes a new edition of it.
 * A rwlock keeps readers from an edition that is half written.
 */
#include "common.h"

#include <stdatomic.h>
#include <stdio.h>

#define LINES 5

/* In shared memory, zero at first; under the rwlock. All lines of an edition have its number. */
struct board {
    _Atomic uint64_t edition[LINES];
};

struct member {
    const struct place *place;
    struct shk_rwlock *lock;
    struct shk_region *region;
    struct board *board;
};

static const char *name; /* of this process */
static int64_t times = 1, interval, hold, timeout = SHK_FOREVER;
static bool writes;

/* ---- with the lock ---- */

static bool is_whole(const struct board *board)
{
    for (int i = 1; i < LINES; i++)
        if (board->edition[i] != board->edition[0])
            return false;
    return true;
}

static int read_board(struct member *m, bool orphaned)
{
    uint64_t edition = m->board->edition[0];
    bool whole = is_whole(m->board);

    pause_for(hold);
    if (m->board->edition[0] != edition || is_whole(m->board) != whole || (!whole && !orphaned)) {
        complain("%s: an edition that is half written was seen", m->place->path);
        return FAILED;
    }
    if (whole)
        return say("%s%*s 读到第 %llu 版\n", name, padding(name, NAME_COLUMNS), "",
                   (unsigned long long)edition);
    return say("%s%*s 看到第 %llu 版只写了一半\n", name, padding(name, NAME_COLUMNS), "",
               (unsigned long long)edition);
}

/* Line by line, with a pause before each: a kill in the middle leaves a part of the edition. */
static void write_edition(struct board *board, uint64_t edition)
{
    for (int i = 0; i < LINES; i++) {
        board->edition[i] = edition;
        pause_for(hold / LINES);
    }
}

/* A former writer died: what it left is made whole, and no other need be told any more. */
static int mend(struct member *m)
{
    uint64_t edition = m->board->edition[0];
    int r;

    for (int i = 1; i < LINES; i++)
        m->board->edition[i] = edition;
    r = shk_rwlock_recover(m->lock);
    if (r < 0)
        return failed(m->place, r);
    return say("%s%*s 修好第 %llu 版\n", name, padding(name, NAME_COLUMNS), "",
               (unsigned long long)edition);
}

static int write_board(struct member *m, bool orphaned)
{
    uint64_t edition;
    int status = orphaned ? mend(m) : DONE;

    if (status != DONE)
        return status;
    if (!is_whole(m->board)) {
        complain("%s: an edition is half written, and no writer has died", m->place->path);
        return FAILED;
    }
    edition = m->board->edition[0] + 1;
    write_edition(m->board, edition);
    return say("%s%*s 写完第 %llu 版\n", name, padding(name, NAME_COLUMNS), "",
               (unsigned long long)edition);
}

/* ---- */

static int go_once(struct member *m)
{
    int r =
        writes ? shk_rwlock_acquire(m->lock, timeout) : shk_rwlock_acquire_shared(m->lock, timeout);
    int status;

    if (r < 0)
        return failed(m->place, r);
    status = writes ? write_board(m, r == SHK_ORPHANED) : read_board(m, r == SHK_ORPHANED);
    shk_rwlock_release(m->lock);
    return status;
}

/* "board.lock": what belongs to the board is named after it. */
static int open_board(struct member *m)
{
    const struct shk_region_options options = {.size = sizeof(struct board),
                                               .align = _Alignof(struct board)};
    char part[2 * SHK_NAME_MAX];
    int r = shk_region_open(m->place->segment, m->place->object, SHK_CREATE, &options, &m->region);

    if (r == 0)
        r = shk_region_data(m->region, (void **)&m->board, NULL);
    snprintf(part, sizeof(part), "%s.lock", m->place->object);
    if (r == 0)
        r = shk_rwlock_open(m->place->segment, part, SHK_CREATE, NULL, &m->lock);
    return r < 0 ? failed(m->place, r) : DONE;
}

static const struct option_row options[] = {
    {"name", "NAME", "its name, here and in shmctl ps (process-PID)", .text = &name},
    {"write", NULL, "write a new edition each time, instead of reading", .flag = &writes},
    {"times", "N", "how often (1)", .number = &times, .least = 0},
    {"hold", "DURATION", "how long it takes each time (0)", .duration = &hold},
    {"interval", "DURATION", "pause before each time (0)", .duration = &interval},
    {"timeout", "DURATION", "wait that long at most each time (for ever)", .duration = &timeout},
    {0},
};

static const struct program program = {
    .name = "board",
    .operand = "SEGMENT/BOARD",
    .purpose = "Read a notice board that processes share, or write to it, under a rwlock.",
    .notes = "The board is made, empty, if it is absent. Its rwlock is BOARD.lock.\n",
    .options = options,
};

int main(int argc, char **argv)
{
    struct place place;
    struct member member = {.place = &place};
    int status = enter(argc, argv, &program, &name, &place);

    if (status == DONE)
        status = open_board(&member);
    for (int64_t i = 0; status == DONE && i < times; i++) {
        pause_for(interval);
        status = interrupted ? FAILED : go_once(&member);
    }
    shk_rwlock_close(member.lock);
    shk_region_close(member.region);
    return leave(&place, status);
}

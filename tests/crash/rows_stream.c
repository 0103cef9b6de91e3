/* The stream, killed. */
#include "harness.h"

#include <errno.h>

#define HISTORY 8
#define PIECE   2 /* samples an append writes at a step: a quarter of the history */

/* A row's variant: how many samples there are at first; and */
enum {
    SAMPLES = 31,
    SEVERAL = 32, /* the victim appends 5 at once, in three steps; else 1 */
    STAMPED = 64, /* samples have time stamps, which go with their numbers */
};

enum { CHANNELS = 6, RATE = 250, NEW_RATE = 500 };

/* A sample of six channels says itself whether it is whole. */
struct sample {
    int64_t number, check[5];
};

static int64_t stamp_of(int64_t number)
{
    return ~number * 1000003;
}

static int64_t append_numbers(struct world *w, int64_t first, int64_t n)
{
    struct sample s[5];
    int64_t stamps[5];

    for (int64_t i = 0; i < n; i++) {
        stamps[i] = stamp_of(first + i);
        s[i].number = first + i;
        for (int k = 0; k < 5; k++)
            s[i].check[k] = ~(first + i) * (k + 1);
    }
    return w->row->variant & STAMPED ? shk_stream_append_stamped(w->stream, s, stamps, (size_t)n)
                                     : shk_stream_append(w->stream, s, (size_t)n);
}

static int64_t append_next(struct world *w, int64_t unused)
{
    (void)unused;
    return append_numbers(w, shk_stream_position(w->stream), 1);
}

static int64_t append(struct world *w, int64_t unused)
{
    (void)unused;
    return append_numbers(w, w->row->variant & SAMPLES, w->row->variant & SEVERAL ? 5 : 1);
}

static int64_t position(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_stream_position(w->stream);
}

static int64_t set_rate(struct world *w, int64_t unused)
{
    (void)unused;
    return shk_stream_set_rate(w->stream, NEW_RATE);
}

static int64_t rate(struct world *w, int64_t unused)
{
    double noted;
    int r = shk_stream_rate(w->stream, &noted);

    (void)unused;
    return r < 0 ? r : (int64_t)noted;
}

/* The number of the next sample, or -errno; -EILSEQ: torn, out of order, or another's stamp. */
static int64_t read_one(struct world *w, int64_t timeout)
{
    bool stamped = w->row->variant & STAMPED;
    struct sample s;
    int64_t stamp;
    ssize_t n = stamped ? shk_reader_read_stamped(w->reader, &s, &stamp, 1, timeout)
                        : shk_reader_read(w->reader, &s, 1, timeout);

    if (n < 0)
        return n;
    if (stamped && stamp != stamp_of(s.number))
        return -EILSEQ;
    for (int k = 0; k < 5; k++)
        if (s.check[k] != ~s.number * (k + 1))
            return -EILSEQ;
    return s.number;
}

static int64_t read_next(struct world *w, int64_t unused)
{
    (void)unused;
    return read_one(w, SHK_FOREVER);
}

static int64_t read_for_a_while(struct world *w, int64_t unused)
{
    (void)unused;
    return read_one(w, IN_TIME);
}

/*
 * Read all that can be read from the oldest on: how many, if they are in order, whole and end with
 * the last.
 */
static int64_t read_all(struct world *w, int64_t unused)
{
    struct shk_reader *mine = w->reader;
    int64_t r = shk_reader_open(w->stream, SHK_OLDEST, &w->reader), n = 0, last = -1,
            end = shk_stream_position(w->stream);

    (void)unused;
    while (r == 0 && last != end - 1) {
        int64_t number = read_one(w, SHK_NOWAIT);

        if (number < 0 || (n > 0 && number != last + 1))
            r = number < 0 ? number : -EILSEQ;
        last = number;
        n++;
    }
    shk_reader_close(w->reader);
    w->reader = mine;
    return r < 0 ? r : n;
}

static int64_t create(struct world *w, int64_t variant)
{
    const struct shk_stream_options options = {.sample_size = sizeof(struct sample),
                                               .history = HISTORY,
                                               .channels = CHANNELS,
                                               .stamped = !!(variant & STAMPED),
                                               .rate = RATE};
    int64_t r = create_segment(w, 0);

    if (r == 0)
        r = shk_stream_open(w->segment, STREAM, SHK_CREATE, &options, &w->stream);
    for (int64_t i = 0; r == 0 && i < (variant & SAMPLES); i++)
        r = append_numbers(w, i, 1);
    return r == 0 ? shk_reader_open(w->stream, SHK_NEXT, &w->reader) : r;
}

static void readers_0(struct world *w)
{
    start_host(w, create, w->row->variant);
}

static void readers_2(struct world *w)
{
    readers_0(w);
    start_sleeper(w, read_next, 0);
    start_sleeper(w, read_next, 0);
}

static void host_appends(struct world *w)
{
    EXPECT(w, call(w, HOST, append_next, 0) == 0, "the host cannot append");
}

static void all_read(struct world *w, int64_t first)
{
    for (unsigned actor = SLEEPER_1; actor <= w->last_sleeper; actor++)
        if (is_busy(w, actor))
            EXPECT(w, finish(w, actor) == first, "a reader did not get the next sample, whole");
}

/*
 * So and so many of the first are there, all of them if it was acknowledged; what is there can be
 * read.
 */
static void check_append(struct world *w)
{
    int64_t before = w->row->variant & SAMPLES, all = w->row->variant & SEVERAL ? 5 : 1,
            there = call(w, HOST, position, 0) - before, n;

    EXPECT(w, there >= 0 && there <= all, "%lld of %lld samples", (long long)there, (long long)all);
    EXPECT(w, !w->acknowledged || there == all, "acknowledged samples are lost");
    EXPECT(w, !w->untouched || there == 0, "samples that the victim has not appended");
    n = before + there == 0 ? 0 : call(w, HOST, read_all, 0);
    EXPECT(w, n >= (before + there < HISTORY - PIECE ? before + there : HISTORY - PIECE),
           "only %lld samples can be read", (long long)n);
    if (there == 0)
        host_appends(w);
    all_read(w, before);
}

static void check_rate(struct world *w)
{
    int64_t noted = call(w, HOST, rate, 0);

    EXPECT(w, noted == RATE || noted == NEW_RATE, "a rate of %lld", (long long)noted);
    EXPECT(w, !w->acknowledged || noted == NEW_RATE, "an acknowledged rate is lost");
    EXPECT(w, !w->untouched || noted == RATE, "a rate that the victim has not set");
}

/* A reader's death changes nothing for the others. */
static void check_read(struct world *w)
{
    if (!w->on_sleep_runs)
        host_appends(w);
    all_read(w, w->row->variant & SAMPLES);
}

static void carry_on(struct world *w)
{
    int64_t end = call(w, HOST, position, 0);

    start_attached(w, NEWCOMER);
    start(w, NEWCOMER, read_next, 0);
    EXPECT(w, falls_asleep(w, NEWCOMER), "the newcomer does not wait");
    EXPECT(w, call(w, HOST, append_next, 0) == 0 && finish(w, NEWCOMER) == end,
           "the newcomer does not get the host's sample");
    EXPECT(w, call(w, NEWCOMER, append_next, 0) == 0 && call(w, HOST, read_all, 0) > 0,
           "the newcomer's sample cannot be read");
}

#define APPENDS .operation = append, .check = check_append, .carry_on = carry_on
#define READS \
    .operation = read_next, .on_sleep = host_appends, .check = check_read, .carry_on = carry_on

/* clang-format off */
static const struct row rows[] = {
    {"shk_stream_append", "empty", .setup = readers_0, APPENDS},
    {"shk_stream_append", "empty, two readers asleep", .setup = readers_2, APPENDS},
    {"shk_stream_append", "overwrites the oldest", .setup = readers_0, APPENDS, .variant = 20},
    {"shk_stream_append", "five at once, two readers asleep", .setup = readers_2, APPENDS,
     .variant = 20 | SEVERAL},
    {"shk_stream_append_stamped", "empty, two readers asleep", .setup = readers_2, APPENDS,
     .variant = STAMPED},
    {"shk_stream_append_stamped", "five at once, two readers asleep", .setup = readers_2, APPENDS,
     .variant = 20 | SEVERAL | STAMPED},
    {"shk_stream_set_rate", "another rate", .setup = readers_0, .operation = set_rate,
     .check = check_rate, .carry_on = carry_on},
    {"shk_reader_read", "nothing new", .setup = readers_0, READS, .variant = 3},
    {"shk_reader_read_stamped", "nothing new", .setup = readers_0, READS, .variant = 3 | STAMPED},
    {"shk_reader_read", "nothing new, two others asleep", .setup = readers_2, READS},
    {"shk_reader_read", "nothing new, timeout", .setup = readers_0, .operation = read_for_a_while,
     .on_sleep = host_appends, .on_sleep_from = NEVER, .check = check_read, .carry_on = carry_on},
};
/* clang-format on */
const struct rows stream_rows = ROWS(rows);

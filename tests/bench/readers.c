/* W8: the CPU time that an append to a stream costs its writer, with few and many readers. */
#include "common.h"

#include <errno.h>
#include <time.h>

static struct shk_stream *open_stream(void)
{
    struct shk_stream *stream;

    must(shk_stream_open(common_segment(NULL), "signal", SHK_CREATE,
                         &(struct shk_stream_options){.sample_size = 8}, &stream));
    return stream;
}

static int64_t my_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* As fast as it goes. */
static void writer(void *argument, unsigned role)
{
    const struct contest *contest = argument;
    struct shk_stream *stream = open_stream();
    uint64_t sample = 0;
    int64_t before, used = 0;

    stage_ready();
    do {
        before = my_time();
        for (int i = 0; i < (contest->capacity ? 1 : 1000); i++, sample++)
            must(shk_stream_append(stream, &sample, 1));
        used += my_time() - before;
        if (contest->capacity) /* so many a second: all roles sleep in between */
            nanosleep(&(struct timespec){.tv_nsec = 1000000000 / contest->capacity}, NULL);
    } while (!stopped());
    stage->role[role].figure[0] = (double)used / (double)sample;
}

static void reader(void *argument, unsigned role)
{
    struct shk_reader *reader;
    uint64_t samples[256], last = 0;

    (void)argument;
    (void)role;
    must(shk_reader_open(open_stream(), SHK_NEXT, &reader));
    stage_ready();
    while (!stopped()) {
        ssize_t n = shk_reader_read(reader, samples, COUNT(samples), SHK_MS(50));
        if (n == -ETIMEDOUT)
            continue;
        must(n);
        for (ssize_t i = 0; i < n; i++) {
            if (samples[i] < last)
                give_up("sample %llu has come after %llu", (unsigned long long)samples[i],
                        (unsigned long long)last);
            last = samples[i];
        }
    }
}

static bool measure_stream(const struct contest *contest, const struct subject *subject,
                           double figures[FIGURES])
{
    const unsigned *readers = subject->what;

    team_start();
    team_add(writer, (void *)contest, bench.cpu[0]);
    for (unsigned i = 0; i < *readers; i++)
        team_add(reader, NULL, bench.cpu[1]);
    bool well = team_run(contest_seconds(contest));
    figures[0] = stage->role[0].figure[0];
    in_child(common_unlink, NULL);
    return well;
}

void run_w8(void)
{
    static const struct unit append = {.name = "CPU ns", .scale = 1};
    static const struct {
        const char *name;
        unsigned rate;
    } rows[] = {{"append", 0}, {"append, 1000 samples/s", 1000}};
    static const unsigned readers[] = {1, 4, 16};
    /*
     * One reader is what more are compared with, turn by turn: how far the two CPUs are apart
     * changes when the host moves them.
     */
    const struct subject subjects[] = {{"1 reader", OURS | LIMIT, &readers[0]},
                                       {"4 readers", OURS, &readers[1]},
                                       {"16 readers", OURS, &readers[2]}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        struct contest contest = {.workload = "W8",
                                  .row = rows[i].name,
                                  .place = "pinned",
                                  .unit = &append,
                                  .measure = measure_stream,
                                  .capacity = rows[i].rate};
        contest_run(&contest, subjects, COUNT(subjects));
    }
}

/*
 * sampler STREAM: appends samples at a steady rate: random numbers, a synthetic EEG, a recording;
 * or those of its standard input.
 */
#include "common.h"
#include "edf.h"
#include "eeg.h"
#include "lines.h"
#include "noise.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char *name, *recording, *label;
static bool random_numbers, synthetic, from_stdin, verbose;
static int64_t rate, count, history, seed = -1;

static const struct option_row options[] = {
    {"name", "NAME", "its name in shmctl ps (process-PID)", .text = &name},
    {"random", NULL, "numbers from 0 to 1 (what it does without a source)",
     .flag = &random_numbers},
    {"eeg", NULL, "a synthetic EEG in µV: alpha, beta, noise, blinks", .flag = &synthetic},
    {"edf", "FILE", "a signal of a recording in EDF or BDF, at its own rate", .text = &recording},
    {"signal", "LABEL", "with --edf: which signal; without it they are listed", .text = &label},
    {"stdin", NULL, "numbers of standard input, one on a line, as they come", .flag = &from_stdin},
    {"rate", "N", "samples a second (1000)", .number = &rate, .least = 1, .most = 1000000},
    {"count", "N", "end after N samples (never; or at the end of the input)", .number = &count,
     .least = 1},
    {"seed", "N", "random numbers or an EEG that are always the same", .number = &seed},
    {"history", "N", "samples that the stream keeps", .number = &history, .least = 1,
     .most = (int64_t)1 << 30},
    {"verbose", NULL, "report the rate each second", .flag = &verbose},
    {0},
};

static const struct program program = {
    .name = "sampler",
    .operand = "SEGMENT/STREAM",
    .purpose = "Append samples to a stream at a steady rate, for others to read as they come.",
    .notes = "The first program to use the stream makes it, of 10000 samples if --history\n"
             "says nothing else. With --history, a stream that is there must be like that.\n"
             "The rate that was reached is told on standard error in the end.\n",
    .options = options,
};

/* ---- sources ---- */

enum { BATCH_MAX = 1024 };

/*
 * Where samples come from. next: fills in at most n of them; returns how many, 0 at the end, -1
 * after saying what is wrong.
 */
struct source {
    ssize_t (*next)(struct source *, double *samples, size_t n);
    double rate;
    struct noise noise;
    struct eeg eeg;
    struct edf edf;
};

static ssize_t next_random(struct source *source, double *samples, size_t n)
{
    for (size_t i = 0; i < n; i++)
        samples[i] = noise_uniform(&source->noise);
    return n;
}

static ssize_t next_eeg(struct source *source, double *samples, size_t n)
{
    for (size_t i = 0; i < n; i++)
        samples[i] = eeg_next(&source->eeg);
    return n;
}

static ssize_t next_recorded(struct source *source, double *samples, size_t n)
{
    return edf_next(&source->edf, samples, n);
}

static int begin_source(struct source *source)
{
    uint64_t number = seed;

    if (seed < 0 && getrandom(&number, sizeof(number), 0) < 0)
        number = now();
    source->rate = rate ? rate : 1000;
    if (recording) {
        int status = edf_begin(&source->edf, recording, label);

        source->next = next_recorded;
        if (rate == 0)
            source->rate = source->edf.rate;
        return status;
    }
    if (synthetic) {
        source->next = next_eeg;
        eeg_begin(&source->eeg, number, source->rate);
    } else {
        source->next = next_random;
        source->noise.state = number;
    }
    return DONE;
}

/* ---- at a steady rate ---- */

/*
 * Sample k is due at start + k / rate: from the number, not from the sample before, so that no
 * error adds up. After a delay what is due is appended in one piece. After more than a second
 * (stopped, or the machine was asleep) the clock goes on from there.
 */
struct clock {
    int64_t start, skipped; /* nanoseconds; start has been moved by skipped */
    double rate;
    int64_t done;                  /* samples */
    int64_t reported, report_time; /* what was done at the last report, and when that was */
};

static int64_t due(const struct clock *clock, int64_t k)
{
    return clock->start + (int64_t)(k * (1e9L / clock->rate));
}

/* Sleep until there is something to do, and return how many samples are due. */
static size_t wait_for_samples(struct clock *clock)
{
    int64_t batch = clock->rate / 1000, late; /* about a millisecond's worth */

    if (batch > BATCH_MAX)
        batch = BATCH_MAX;
    pause_until(due(clock, clock->done + (batch > 1 ? batch - 1 : 0)));
    late = now() - due(clock, clock->done);
    if (late > SHK_SEC(1)) {
        clock->start += late;
        clock->skipped += late;
        late = 0;
    }
    batch = late < 0 ? 0 : (int64_t)(late * (clock->rate / 1e9)) + 1;
    return batch > BATCH_MAX ? BATCH_MAX : batch;
}

static void report_second(struct clock *clock)
{
    int64_t time = now();

    if (!verbose || time - clock->report_time < SHK_SEC(1))
        return;
    complain("%lld samples, %.1f a second", (long long)clock->done,
             (clock->done - clock->reported) * 1e9 / (time - clock->report_time));
    clock->reported = clock->done;
    clock->report_time = time;
}

/* From the first sample to the last there is one interval less than there are samples. */
static void report_end(const struct clock *clock, int64_t last)
{
    double seconds = (last - (clock->start - clock->skipped)) / 1e9;

    if (clock->done > 1 && seconds > 0)
        complain("%lld samples in %.3f s, %.1f a second", (long long)clock->done, seconds,
                 (clock->done - 1) / seconds);
    else
        complain("%lld samples", (long long)clock->done);
    if (clock->skipped > 0)
        complain("held up for %.1f s, and went on from there", clock->skipped / 1e9);
}

static int sample(const struct place *place, struct shk_stream *stream, struct source *source)
{
    struct clock clock = {.start = now(), .rate = source->rate};
    int64_t last = clock.start;
    int status = DONE;

    clock.report_time = clock.start;
    while (!interrupted && status == DONE && (count == 0 || clock.done < count)) {
        double samples[BATCH_MAX];
        ssize_t n = wait_for_samples(&clock);
        int r;

        if (n == 0)
            continue;
        if (count > 0 && n > count - clock.done)
            n = count - clock.done;
        n = source->next(source, samples, n);
        if (n == 0)
            break;
        r = n < 0 ? 0 : shk_stream_append(stream, samples, n);
        if (n < 0)
            status = FAILED;
        else if (r < 0)
            status = failed(place, r);
        else
            clock.done += n;
        last = now();
        report_second(&clock);
    }
    report_end(&clock, last);
    return status;
}

/* ---- as they come ---- */

enum { LONGEST_LINE = 1000 };

/* The whole line is to be one finite number; blanks around it do no harm. */
static bool parse_sample(const char *line, size_t length, double *sample)
{
    char text[LONGEST_LINE + 1], *end;

    memcpy(text, line, length);
    text[length] = '\0';
    *sample = strtod(text, &end);
    if (end == text || !isfinite(*sample))
        return false;
    end += strspn(end, " \t\r");
    return end == text + length;
}

static void complain_of_line(int64_t number, const char *line, size_t length)
{
    enum { SHOWN = 40 };
    char *text = printable(line, length < SHOWN ? length : SHOWN);

    if (text)
        complain("standard input: line %lld: '%s%s' is not a number", (long long)number, text,
                 length > SHOWN ? "..." : "");
    free(text);
}

static int sample_lines(const struct place *place, struct shk_stream *stream, struct input *input,
                        struct clock *clock)
{
    while (!interrupted && (count == 0 || clock->done < count)) {
        const char *line;
        size_t length;
        double sample;
        int r = next_line(input, LONGEST_LINE, &line, &length);

        if (r == 0)
            return DONE;
        if (r == -EMSGSIZE)
            complain("standard input: line %lld is longer than %d bytes, so it is not a number",
                     (long long)clock->done + 1, LONGEST_LINE);
        else if (r < 0 && !interrupted)
            complain("standard input: %s", strerror(-r));
        if (r < 0)
            return FAILED;
        if (!parse_sample(line, length, &sample)) {
            complain_of_line(clock->done + 1, line, length);
            return FAILED;
        }
        r = shk_stream_append(stream, &sample, 1);
        if (r < 0)
            return failed(place, r);
        if (clock->done++ == 0)
            clock->start = now();
        report_second(clock);
    }
    return DONE;
}

static int sample_stdin(const struct place *place, struct shk_stream *stream)
{
    struct clock clock = {.start = now()};
    struct input input = {0};
    int status;

    clock.report_time = clock.start;
    status = sample_lines(place, stream, &input, &clock);
    report_end(&clock, now());
    close_input(&input);
    return status;
}

/* ---- */

static int check_options(void)
{
    if (random_numbers + synthetic + from_stdin + (recording != NULL) > 1)
        complain("only one of --random, --eeg, --edf and --stdin");
    else if (label && !recording)
        complain("--signal is for --edf");
    else if (from_stdin && rate)
        complain("--rate is not for --stdin, whose numbers are taken as they come");
    else
        return DONE;
    return USAGE;
}

/* The source comes first: what cannot be played is to leave no segment behind. */
int main(int argc, char **argv)
{
    struct place place = {0};
    struct source source = {.edf = {.handle = -1}};
    struct shk_stream *stream = NULL;
    const char *path = *begin(argc, argv, &program);
    int status = check_options();

    if (status == DONE && !from_stdin)
        status = begin_source(&source);
    if (status == DONE)
        status = place_enter(&place, path, &name);
    if (status == DONE)
        status = open_stream(&place, history, &stream);
    if (status == DONE)
        status = from_stdin ? sample_stdin(&place, stream) : sample(&place, stream, &source);
    edf_end(&source.edf);
    shk_stream_close(stream);
    return leave(&place, status);
}

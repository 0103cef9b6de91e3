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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char *name, *recording, *label;
static bool random_numbers, synthetic, from_stdin, verbose, follow, gaps, stamped;
static bool keeps_readers;
static int64_t rate, count, history, channels, seed = -1;

enum { BATCH_MAX = 1024, CHANNELS_MAX = 1024 };

static const struct option_row options[] = {
    {"name", "NAME", "its name in shmctl ps (process-PID)", .text = &name},
    {"random", NULL, "numbers from 0 to 1 (what it does without a source)",
     .flag = &random_numbers},
    {"eeg", NULL, "a synthetic EEG in µV: alpha, beta, noise, blinks", .flag = &synthetic},
    {"edf", "FILE", "signals of a recording in EDF or BDF, at its own rate", .text = &recording},
    {"signal", "LABELS",
     "with --edf: which signals, by label or number, or all;\n"
     "without it they are listed",
     .text = &label},
    {"follow", NULL, "with --edf: wait for more until it is complete", .flag = &follow},
    {"stdin", NULL, "numbers of standard input, as they come, a sample a line",
     .flag = &from_stdin},
    {"gaps", NULL,
     "with --stdin: a line that is no sample is a gap (nan),\n"
     "and is counted",
     .flag = &gaps},
    {"channels", "N", "numbers of a sample (1; of a recording: its signals)", .number = &channels,
     .least = 1, .most = CHANNELS_MAX},
    {"stamped", NULL, "each sample has a time stamp", .flag = &stamped},
    {"rate", "N", "samples a second (1000)", .number = &rate, .least = 1, .most = 1000000},
    {"count", "N", "end after N samples (never; or at the end of the input)", .number = &count,
     .least = 1},
    {"seed", "N", "random numbers or an EEG that are always the same", .number = &seed},
    {"history", "N", "samples that the stream keeps", .number = &history, .least = 1,
     .most = (int64_t)1 << 30},
    {"keep-readers", NULL,
     "readers do not end with it (for one that is started\n"
     "again)",
     .flag = &keeps_readers},
    {"verbose", NULL, "report the rate each second", .flag = &verbose},
    {0},
};

static const struct program program = {
    .name = "sampler",
    .operand = "SEGMENT/STREAM",
    .purpose = "Append samples to a stream at a steady rate, for others to read as they come.",
    .notes = "The first program to use the stream makes it, of 10000 samples if --history\n"
             "says nothing else. With --history, a stream that is there must be like that.\n"
             "It is a producer of the stream by role: when the last one has ended, 'shmctl\n"
             "stream read --follow' and 'record' end behind its last sample.\n"
             "The rate that was reached is told on standard error in the end.\n",
    .options = options,
};

/* ---- sources ---- */

/*
 * Where samples come from. next: fills in at most n of them, each of `channels` numbers; returns
 * how many, 0 at the end, -1 after saying what is wrong.
 */
struct source {
    ssize_t (*next)(struct source *, double *samples, size_t n);
    size_t channels;
    double rate;
    struct noise noise;
    struct eeg eeg[CHANNELS_MAX];
    struct edf edf;
};

static ssize_t next_random(struct source *source, double *samples, size_t n)
{
    for (size_t i = 0; i < n * source->channels; i++)
        samples[i] = noise_uniform(&source->noise);
    return n;
}

static ssize_t next_eeg(struct source *source, double *samples, size_t n)
{
    for (size_t i = 0; i < n * source->channels; i++)
        samples[i] = eeg_next(&source->eeg[i % source->channels]);
    return n;
}

static ssize_t next_recorded(struct source *source, double *samples, size_t n)
{
    return edf_next(&source->edf, samples, n);
}

static int begin_recording(struct source *source)
{
    int status;

    source->edf.follow = follow;
    status = edf_begin(&source->edf, recording, label);
    source->next = next_recorded;
    source->channels = source->edf.channels;
    if (rate == 0)
        source->rate = source->edf.rate;
    if (status != DONE)
        return status;
    if (channels && channels != source->edf.channels)
        complain("--channels %lld, but --signal names %d of the recording", (long long)channels,
                 source->edf.channels);
    else if (source->rate == 0)
        complain("%s: its records have no duration, and so no rate: --rate says one", recording);
    else
        return DONE;
    return USAGE;
}

/* Channels differ, and the first one is that of a single channel of this seed. */
static void begin_eegs(struct source *source, uint64_t number)
{
    for (size_t i = 0; i < source->channels; i++)
        eeg_begin(&source->eeg[i], number ^ i * UINT64_C(0xD1B54A32D192ED03), source->rate);
}

static int begin_source(struct source *source)
{
    uint64_t number = seed;

    if (seed < 0 && getrandom(&number, sizeof(number), 0) < 0)
        number = now();
    source->channels = channels ? channels : 1;
    if (from_stdin)
        return DONE;
    source->rate = rate ? rate : 1000;
    if (recording)
        return begin_recording(source);
    if (synthetic) {
        source->next = next_eeg;
        begin_eegs(source, number);
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

/* Nothing is there yet: the next sample is due as soon as it is. */
static void wait_for_recorder(struct clock *clock)
{
    pause_for(SHK_MS(100));
    clock->start += now() - due(clock, clock->done);
}

/* A sample's time stamp is when it was due, so that it does not depend on what held it up. */
static int append(const struct clock *clock, struct shk_stream *stream, const double *samples,
                  size_t n)
{
    int64_t stamps[BATCH_MAX];

    for (size_t i = 0; stamped && i < n; i++)
        stamps[i] = due(clock, clock->done + i);
    return stamped ? shk_stream_append_stamped(stream, samples, stamps, n)
                   : shk_stream_append(stream, samples, n);
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

static int sample(const struct place *place, struct shk_stream *stream, struct source *source,
                  double *samples)
{
    struct clock clock = {.start = now(), .rate = source->rate};
    int64_t last = clock.start;
    int status = DONE;

    clock.report_time = clock.start;
    while (!interrupted && status == DONE && (count == 0 || clock.done < count)) {
        ssize_t n = wait_for_samples(&clock);
        int r;

        if (n == 0)
            continue;
        if (count > 0 && n > count - clock.done)
            n = count - clock.done;
        n = source->next(source, samples, n);
        if (n == 0 && recording && !edf_is_over(&source->edf)) {
            wait_for_recorder(&clock);
            continue;
        }
        if (n == 0)
            break;
        r = n < 0 ? 0 : append(&clock, stream, samples, n);
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

/*
 * The whole line is to be a sample: as many finite numbers as there are channels, with blanks or a
 * comma between two.
 */
static bool parse_sample(const char *line, size_t length, double *sample, size_t n)
{
    char text[LONGEST_LINE + 1], *at = text, *end;

    memcpy(text, line, length);
    text[length] = '\0';
    for (size_t i = 0; i < n; i++) {
        sample[i] = strtod(at, &end);
        if (end == at || !isfinite(sample[i]))
            return false;
        at = end + strspn(end, " \t\r");
        if (at == end && i + 1 < n && *at != ',')
            return false;
        if (*at == ',' && i + 1 < n)
            at++;
    }
    return at == text + length;
}

static void complain_of_line(int64_t number, const char *line, size_t length, size_t n)
{
    enum { SHOWN = 40 };
    char *text = printable(line, length < SHOWN ? length : SHOWN), wanted[40] = "a number";

    if (n > 1)
        snprintf(wanted, sizeof(wanted), "%zu numbers", n);
    if (text)
        complain("standard input: line %lld: '%s%s' is not %s%s", (long long)number, text,
                 length > SHOWN ? "..." : "", wanted, gaps ? "; such lines are gaps" : "");
    free(text);
}

static void complain_of_length(int64_t number)
{
    complain("standard input: line %lld is longer than %d bytes, so it is not a number%s",
             (long long)number, LONGEST_LINE, gaps ? "; such lines are gaps" : "");
}

/*
 * The sample of the next line. Returns 1, 0: there are no more, -1 after saying what is wrong. With
 * --gaps a line that is none is said once, and counted.
 */
static int next_sample(struct input *input, int64_t number, double *sample, size_t n, int64_t *odd)
{
    const char *line = NULL;
    size_t length = 0;
    int r = next_line(input, LONGEST_LINE, &line, &length);

    if (r == 0 || (r > 0 && parse_sample(line, length, sample, n)))
        return r;
    if (r < 0 && r != -EMSGSIZE) {
        if (!interrupted)
            complain("standard input: %s", strerror(-r));
        return -1;
    }
    if ((*odd)++ == 0)
        r < 0 ? complain_of_length(number) : complain_of_line(number, line, length, n);
    if (!gaps)
        return -1;
    for (size_t i = 0; i < n; i++)
        sample[i] = NAN;
    return r < 0 && skip_line(input) < 0 ? -1 : 1;
}

static int sample_lines(const struct place *place, struct shk_stream *stream,
                        const struct source *source, double *sample, struct clock *clock)
{
    struct input input = {0};
    int64_t odd = 0;
    int status = DONE;

    while (status == DONE && !interrupted && (count == 0 || clock->done < count)) {
        int r = next_sample(&input, clock->done + 1, sample, source->channels, &odd);

        if (r == 0)
            break;
        if (r > 0)
            r = shk_stream_append(stream, sample, 1);
        else
            status = FAILED;
        if (status == DONE && r < 0)
            status = failed(place, r);
        if (status == DONE && clock->done++ == 0)
            clock->start = now();
        report_second(clock);
    }
    if (gaps && odd > 0)
        complain("%lld of them %s: their lines were no samples", (long long)odd,
                 odd == 1 ? "is a gap" : "are gaps");
    close_input(&input);
    return status;
}

static int sample_stdin(const struct place *place, struct shk_stream *stream,
                        const struct source *source, double *sample)
{
    struct clock clock = {.start = now()};
    int status;

    clock.report_time = clock.start;
    status = sample_lines(place, stream, source, sample, &clock);
    report_end(&clock, now());
    return status;
}

/* ---- */

static int check_options(void)
{
    if (random_numbers + synthetic + from_stdin + (recording != NULL) > 1)
        complain("only one of --random, --eeg, --edf and --stdin");
    else if ((label || follow) && !recording)
        complain("--%s is for --edf", label ? "signal" : "follow");
    else if (gaps && !from_stdin)
        complain("--gaps is for --stdin");
    else if (from_stdin && rate)
        complain("--rate is not for --stdin, whose numbers are taken as they come");
    else
        return DONE;
    return USAGE;
}

/* The source comes first: what cannot be played is to leave no segment behind. */
int main(int argc, char **argv)
{
    static struct source source = {.edf = {.fd = -1}};
    struct place place = {0};
    struct shk_stream *stream = NULL;
    double *samples = NULL;
    const char *path = *begin(argc, argv, &program);
    int status = check_options();

    if (status == DONE)
        status = begin_source(&source);
    if (status == DONE)
        samples = calloc(BATCH_MAX * source.channels, sizeof(double));
    if (status == DONE && !samples) {
        complain("%s", strerror(ENOMEM));
        status = FAILED;
    }
    if (status == DONE)
        status = place_enter(&place, path, &name);
    if (status == DONE)
        status = open_stream(&place,
                             &(struct stream_wish){.channels = source.channels,
                                                   .history = history,
                                                   .stamped = stamped,
                                                   .rate = source.rate,
                                                   .is_producer = !keeps_readers},
                             &stream);
    if (status == DONE)
        status = from_stdin ? sample_stdin(&place, stream, &source, samples)
                            : sample(&place, stream, &source, samples);
    free(samples);
    edf_end(&source.edf);
    shk_stream_close(stream);
    return leave(&place, status);
}

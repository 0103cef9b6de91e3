/* The stream: what <shmkit/stream.h> says, sentence by sentence. */
#include "common.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct shk_stream *open_eeg(size_t sample_size, size_t history)
{
    const struct shk_stream_options options = {.sample_size = sample_size, .history = history};
    struct shk_stream *stream;

    assert_code(shk_stream_open(test_segment(), "eeg", SHK_CREATE, &options, &stream), 0);
    return stream;
}

static struct shk_reader *open_reader(struct shk_stream *stream, uint32_t from)
{
    struct shk_reader *reader;

    assert_code(shk_reader_open(stream, from, &reader), 0);
    return reader;
}

/* Append the numbers from first to last, a few at a time. */
static void append_numbers(struct shk_stream *stream, uint64_t first, uint64_t last)
{
    uint64_t some[7];

    while (first <= last) {
        size_t n = 0;
        while (n < 7 && first <= last)
            some[n++] = first++;
        assert_code(shk_stream_append(stream, some, n), 0);
    }
}

/* ---- Opening ---- */

START_TEST(test_stream_is_created_with_its_sizes)
{
    struct shk_stream *stream, *again;

    assert_code(shk_stream_open(test_segment(), "eeg", SHK_CREATE, NULL, &stream), -EINVAL);
    assert_code(shk_stream_open(test_segment(), "eeg", 0, NULL, &stream), -ENOENT);
    stream = open_eeg(24, 0);
    assert_code(shk_stream_sample_size(stream), 24);
    assert_code(shk_stream_history(stream), 4096);
    assert_code(shk_stream_position(stream), 0);
    assert_code(shk_stream_open(test_segment(), "eeg", 0, NULL, &again), 0);
    assert_code(shk_stream_close(again), 0);
    assert_code(shk_stream_open(test_segment(), "eeg", 0,
                                &(struct shk_stream_options){.sample_size = 8}, &again),
                -EPROTOTYPE);
    assert_code(shk_stream_open(test_segment(), "eeg", 0,
                                &(struct shk_stream_options){.history = 8}, &again),
                -EPROTOTYPE);
    assert_code(shk_stream_open(test_segment(), "eeg", SHK_CREATE | SHK_EXCL, NULL, &again),
                -EEXIST);
    assert_code(shk_stream_close(stream), 0);
    assert_code(shk_stream_close(NULL), 0);
}
END_TEST

START_TEST(test_stream_refuses_bad_arguments)
{
    const struct shk_stream_options good = {.sample_size = 8},
                                    bad[] = {{.sample_size = 65537},
                                             {.sample_size = 8, .history = (1u << 30) + 1},
                                             {.sample_size = 8, .reserved = {1}}};
    struct shk_stream *stream = open_eeg(8, 16), *other;
    struct shk_reader *reader = open_reader(stream, SHK_NEXT), *second;
    struct shk_event *event;
    uint64_t number;

    for (const struct bad_name *name = bad_object_names; name->name; name++)
        assert_code(shk_stream_open(test_segment(), name->name, SHK_CREATE, &good, &other),
                    name->code);
    assert_code(shk_event_open(test_segment(), "event", SHK_CREATE, NULL, &event), 0);
    assert_code(shk_stream_open(test_segment(), "event", SHK_CREATE, &good, &other), -EPROTOTYPE);
    assert_code(shk_event_close(event), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_code(shk_stream_open(test_segment(), "new", SHK_CREATE, &bad[i], &other), -EINVAL);
    assert_code(
        shk_stream_open(test_segment(), "new", SHK_CREATE,
                        &(struct shk_stream_options){.sample_size = 65536, .history = 1u << 30},
                        &other),
        -ENOSPC);
    assert_code(shk_stream_open(test_segment(), "new", SHK_CREATE, &good, NULL), -EINVAL);
    assert_code(shk_stream_open(NULL, "new", SHK_CREATE, &good, &other), -EINVAL);
    assert_code(shk_stream_append(NULL, &number, 1), -EINVAL);
    assert_code(shk_stream_append(stream, NULL, 1), -EINVAL);
    assert_code(shk_stream_append(stream, NULL, 0), 0);
    assert_code(shk_stream_position(NULL), -EINVAL);
    assert_code(shk_stream_sample_size(NULL), -EINVAL);
    assert_code(shk_stream_history(NULL), -EINVAL);
    assert_code(shk_reader_open(stream, 2, &second), -EINVAL);
    assert_code(shk_reader_open(NULL, SHK_NEXT, &second), -EINVAL);
    assert_code(shk_reader_open(stream, SHK_NEXT, NULL), -EINVAL);
    assert_code(shk_reader_read(reader, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_reader_read(reader, &number, 0, SHK_NOWAIT), -EINVAL);
    assert_code(shk_reader_read(NULL, &number, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_reader_latest(NULL, &number, 1), -EINVAL);
    assert_code(shk_reader_latest(reader, NULL, 1), -EINVAL);
    assert_code(shk_reader_dropped(NULL), -EINVAL);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_reader_close(NULL), 0);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

START_TEST(test_stream_notes_its_channels_and_rate)
{
    struct shk_stream_options options = {.sample_size = 24, .channels = 3, .rate = 250};
    struct shk_stream *stream = open_eeg(8, 16), *other;
    double rate = -1;

    assert_code(shk_stream_channels(stream), 1);
    assert_code(shk_stream_is_stamped(stream), 0);
    assert_code(shk_stream_rate(stream, &rate), 0);
    ck_assert_double_eq(rate, 0);
    assert_code(shk_stream_open(test_segment(), "three", SHK_CREATE, &options, &other), 0);
    assert_code(shk_stream_channels(other), 3);
    assert_code(shk_stream_rate(other, &rate), 0);
    ck_assert_double_eq(rate, 250);
    assert_code(shk_stream_set_rate(other, 0.5), 0);
    assert_code(shk_stream_rate(other, &rate), 0);
    ck_assert_double_eq(rate, 0.5);
    assert_code(shk_stream_set_rate(other, -1), -EINVAL);
    assert_code(shk_stream_set_rate(other, INFINITY), -EINVAL);
    assert_code(shk_stream_set_rate(other, NAN), -EINVAL);
    assert_code(shk_stream_rate(other, NULL), -EINVAL);
    assert_code(shk_stream_rate(NULL, &rate), -EINVAL);
    assert_code(shk_stream_set_rate(NULL, 1), -EINVAL);
    assert_code(shk_stream_channels(NULL), -EINVAL);
    assert_code(shk_stream_is_stamped(NULL), -EINVAL);
    assert_code(shk_stream_close(other), 0);

    options.rate = 7; /* what is there has its own */
    assert_code(shk_stream_open(test_segment(), "three", SHK_CREATE, &options, &other), 0);
    assert_code(shk_stream_rate(other, &rate), 0);
    ck_assert_double_eq(rate, 0.5);
    assert_code(shk_stream_close(other), 0);
    options.channels = 4;
    assert_code(shk_stream_open(test_segment(), "three", 0, &options, &other), -EPROTOTYPE);
    options = (struct shk_stream_options){.stamped = 1};
    assert_code(shk_stream_open(test_segment(), "three", 0, &options, &other), -EPROTOTYPE);
    options.stamped = 2;
    assert_code(shk_stream_open(test_segment(), "three", 0, &options, &other), -EINVAL);
    options = (struct shk_stream_options){.sample_size = 8, .channels = 3};
    assert_code(shk_stream_open(test_segment(), "new", SHK_CREATE, &options, &other), -EINVAL);
    options = (struct shk_stream_options){.sample_size = 8, .rate = -1};
    assert_code(shk_stream_open(test_segment(), "new", SHK_CREATE, &options, &other), -EINVAL);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

/* ---- Time stamps ---- */

static struct shk_stream *open_stamped(size_t sample_size, size_t history)
{
    const struct shk_stream_options options = {
        .sample_size = sample_size, .history = history, .stamped = 1};
    struct shk_stream *stream;

    assert_code(shk_stream_open(test_segment(), "stamped", SHK_CREATE, &options, &stream), 0);
    assert_code(shk_stream_is_stamped(stream), 1);
    return stream;
}

START_TEST(test_stream_gives_each_sample_the_stamp_that_was_appended_with_it)
{
    static const size_t sizes[] = {1, 8, 12, 24};
    const size_t size = sizes[_i];
    struct shk_stream *stream = open_stamped(size, 64);
    struct shk_reader *reader = open_reader(stream, SHK_OLDEST);
    unsigned char samples[50][24], got[50 * 24];
    int64_t stamps[50], got_stamps[50];
    ssize_t n;

    for (int i = 0; i < 50; i++) {
        memset(samples[0] + (size_t)i * size, i, size);
        stamps[i] = INT64_MAX - i * 7; /* any number will do */
    }
    assert_code(shk_stream_append_stamped(stream, samples, stamps, 50), 0);
    n = shk_reader_latest_stamped(reader, got, got_stamps, 20);
    assert_code(n, 20);
    ck_assert_mem_eq(got_stamps, stamps + 30, 20 * sizeof(*stamps));
    ck_assert_mem_eq(got, samples[0] + 30 * size, 20 * size);
    assert_code(shk_reader_read_stamped(reader, got, got_stamps, 7, SHK_NOWAIT), 7);
    ck_assert_mem_eq(got_stamps, stamps, 7 * sizeof(*stamps));
    assert_code(shk_reader_read(reader, got, 3, SHK_NOWAIT), 3); /* without them, all the same */
    assert_code(shk_reader_read_stamped(reader, got, got_stamps, 50, SHK_NOWAIT), 40);
    ck_assert_mem_eq(got_stamps, stamps + 10, 40 * sizeof(*stamps));
    ck_assert_mem_eq(got, samples[0] + 10 * size, 40 * size);
    for (int i = 0; i < 4; i++) /* the reader is lapped */
        assert_code(shk_stream_append_stamped(stream, samples, stamps, 50), 0);
    n = shk_reader_read_stamped(reader, got, got_stamps, 50, SHK_NOWAIT);
    ck_assert_int_gt(n, 0);
    ck_assert_int_gt(shk_reader_dropped(reader), 0);
    for (ssize_t i = 0; i < n; i++)
        ck_assert_int_eq(got_stamps[i], INT64_MAX - got[(size_t)i * size] * 7);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

START_TEST(test_stream_stamps_samples_with_the_time_of_the_call)
{
    struct shk_stream *stream = open_stamped(8, 64), *plain = open_eeg(8, 16);
    struct shk_reader *reader = open_reader(stream, SHK_OLDEST),
                      *of_plain = open_reader(plain, SHK_OLDEST);
    int64_t before = time_now(), after, stamps[5];
    uint64_t number[5] = {1, 2, 3, 4, 5};

    assert_code(shk_stream_append(stream, number, 2), 0);
    assert_code(shk_stream_append_stamped(stream, number, NULL, 3), 0);
    after = time_now();
    assert_code(shk_reader_read_stamped(reader, number, stamps, 5, SHK_NOWAIT), 5);
    ck_assert_int_ge(stamps[0], before);
    ck_assert_int_eq(stamps[0], stamps[1]);
    ck_assert_int_ge(stamps[2], stamps[1]);
    ck_assert_int_ge(after, stamps[4]);

    assert_code(shk_stream_append_stamped(plain, number, stamps, 1), -EINVAL);
    assert_code(shk_stream_append_stamped(NULL, number, stamps, 1), -EINVAL);
    assert_code(shk_stream_append(plain, number, 1), 0);
    assert_code(shk_reader_read_stamped(of_plain, number, stamps, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_reader_latest_stamped(of_plain, number, stamps, 1), -EINVAL);
    assert_code(shk_reader_read_stamped(reader, number, NULL, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_reader_latest_stamped(reader, number, NULL, 1), -EINVAL);
    assert_code(shk_reader_read_stamped(NULL, number, stamps, 1, SHK_NOWAIT), -EINVAL);
    assert_code(shk_reader_latest_stamped(NULL, number, stamps, 1), -EINVAL);
    assert_code(shk_reader_read(of_plain, number, 1, SHK_NOWAIT), 1);
    assert_code(shk_reader_close(of_plain), 0);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(plain), 0);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

/* ---- Reading ---- */

START_TEST(test_stream_is_read_from_the_oldest_or_the_next)
{
    struct shk_stream *stream = open_eeg(8, 64);
    uint64_t got[100];

    append_numbers(stream, 1, 10);
    struct shk_reader *oldest = open_reader(stream, SHK_OLDEST),
                      *next = open_reader(stream, SHK_NEXT);
    assert_code(shk_reader_read(next, got, 100, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_reader_read(oldest, got, 4, SHK_NOWAIT), 4);
    ck_assert_uint_eq(got[0], 1);
    append_numbers(stream, 11, 12);
    assert_code(shk_stream_position(stream), 12);
    assert_code(shk_reader_read(oldest, got, 100, SHK_FOREVER), 8);
    ck_assert_uint_eq(got[0], 5);
    ck_assert_uint_eq(got[7], 12);
    assert_code(shk_reader_read(next, got, 100, SHK_FOREVER), 2);
    ck_assert_uint_eq(got[0], 11);
    assert_code_after(SHK_MS(150), shk_reader_read(next, got, 100, SHK_MS(150)), -ETIMEDOUT);
    assert_code(shk_reader_dropped(oldest), 0);
    assert_code(shk_reader_close(oldest), 0);
    assert_code(shk_reader_close(next), 0);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

START_TEST(test_stream_tells_a_lapped_reader_what_it_lost)
{
    struct shk_stream *stream = open_eeg(8, 64);
    struct shk_reader *reader = open_reader(stream, SHK_NEXT);
    uint64_t got[2000], next = 1;
    ssize_t n;

    append_numbers(stream, 1, 1000);
    n = shk_reader_read(reader, got, 2000, SHK_NOWAIT);
    ck_assert_int_ge(n, 64); /* the history, at least */
    ck_assert_int_eq(shk_reader_dropped(reader) + n, 1000);
    next += shk_reader_dropped(reader);
    for (ssize_t i = 0; i < n; i++)
        ck_assert_uint_eq(got[i], next++);
    assert_code(shk_reader_close(reader), 0);
    reader = open_reader(stream, SHK_OLDEST);
    assert_code(shk_reader_read(reader, got, 2000, SHK_NOWAIT), 64);
    ck_assert_uint_eq(got[0], 937);
    assert_code(shk_reader_dropped(reader), 0);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

START_TEST(test_stream_shows_the_latest_without_moving_on)
{
    struct shk_stream *stream = open_eeg(8, 64);
    struct shk_reader *reader = open_reader(stream, SHK_OLDEST);
    uint64_t got[100];

    assert_code(shk_reader_latest(reader, got, 100), 0);
    append_numbers(stream, 1, 10);
    assert_code(shk_reader_latest(reader, got, 3), 3);
    ck_assert_uint_eq(got[0], 8);
    ck_assert_uint_eq(got[2], 10);
    assert_code(shk_reader_latest(reader, got, 100), 10);
    append_numbers(stream, 11, 1000);
    assert_code(shk_reader_latest(reader, got, 100), 64);
    ck_assert_uint_eq(got[63], 1000);
    assert_code(shk_reader_dropped(reader), 0);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

START_TEST(test_stream_takes_samples_of_any_size_and_more_than_its_history)
{
    static const size_t sizes[] = {1, 3, 7, 8, 9, 100, 4096};
    const size_t size = sizes[_i];
    struct shk_stream *stream = open_eeg(size, 10);
    struct shk_reader *reader = open_reader(stream, SHK_OLDEST);
    unsigned char *samples = malloc(50 * size), *got = malloc(50 * size);

    for (size_t i = 0; i < 50 * size; i++)
        samples[i] = (unsigned char)(i * 7 + i / size);
    assert_code(shk_stream_append(stream, samples, 50), 0);
    ssize_t n = shk_reader_read(reader, got, 50, SHK_NOWAIT);
    ck_assert_int_ge(n, 10);
    ck_assert_mem_eq(got, samples + (50 - n) * size, n * size);
    free(samples);
    free(got);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

/* ---- Lapped while copying ---- */

/*
 * The reader's buffer lies on two pages of which always one may not be written. A copy of one
 * sample begins on the first and ends on the second, and faults on each; the handler appends more
 * than a ring then, so often as `laps` says, and opens the page that is wanted alone. So each copy
 * is overwritten while it is made, however fast anything is.
 */
static struct {
    struct shk_stream *stream;
    unsigned char *pages, *samples;
    size_t page;
    int laps;
} lapping;

enum { LAP = 20 }; /* samples: more than there are slots for a history of 8 */

static void lap(int signal_number, siginfo_t *info, void *context)
{
    size_t wanted = (unsigned char *)info->si_addr >= lapping.pages + lapping.page;

    (void)signal_number;
    (void)context;
    if (wanted == 1 && lapping.laps > 0) {
        lapping.laps--;
        if (shk_stream_append(lapping.stream, lapping.samples, LAP) < 0)
            _exit(2);
    }
    if (mprotect(lapping.pages + wanted * lapping.page, lapping.page, PROT_READ | PROT_WRITE) !=
            0 ||
        mprotect(lapping.pages + !wanted * lapping.page, lapping.page, PROT_NONE) != 0)
        _exit(3);
}

/* A buffer for one sample. */
static unsigned char *start_lapping(int laps)
{
    struct sigaction action = {.sa_sigaction = lap, .sa_flags = SA_SIGINFO | SA_NODEFER};

    lapping.page = (size_t)sysconf(_SC_PAGESIZE);
    lapping.stream = open_eeg(lapping.page, 8);
    lapping.pages = mmap(NULL, 2 * lapping.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(lapping.pages, MAP_FAILED);
    lapping.laps = laps;
    ck_assert_int_eq(sigaction(SIGSEGV, &action, NULL), 0);
    lapping.samples = calloc(LAP, lapping.page);
    ck_assert_ptr_nonnull(lapping.samples);
    assert_code(shk_stream_append(lapping.stream, lapping.samples, 1), 0);
    return lapping.pages + lapping.page / 2;
}

static void stop_lapping(struct shk_reader *reader)
{
    signal(SIGSEGV, SIG_DFL);
    free(lapping.samples);
    ck_assert_int_eq(munmap(lapping.pages, 2 * lapping.page), 0);
    assert_code(shk_reader_close(reader), 0);
    assert_code(shk_stream_close(lapping.stream), 0);
}

START_TEST(test_stream_timeout_holds_for_a_reader_that_is_lapped_all_the_time)
{
    unsigned char *sample = start_lapping(INT_MAX);
    struct shk_reader *reader = open_reader(lapping.stream, SHK_OLDEST);

    assert_code_after(SHK_MS(150), shk_reader_read(reader, sample, 1, SHK_MS(150)), -ETIMEDOUT);
    assert_code(shk_reader_read(reader, sample, 1, SHK_NOWAIT), -EAGAIN);
    assert_code(shk_reader_latest(reader, sample, 1), 0);
    ck_assert_int_gt(shk_reader_dropped(reader), LAP);
    stop_lapping(reader);
}
END_TEST

START_TEST(test_stream_reader_that_is_lapped_once_does_not_wait)
{
    unsigned char *sample = start_lapping(1);
    struct shk_reader *reader = open_reader(lapping.stream, SHK_OLDEST);

    assert_code(shk_reader_read(reader, sample, 1, SHK_NOWAIT), 1);
    ck_assert_int_gt(shk_reader_dropped(reader), 0);
    lapping.laps = 1;
    assert_code(shk_reader_latest(reader, sample, 1), 1);
    ck_assert_int_eq(lapping.laps, 0);
    stop_lapping(reader);
}
END_TEST

/* ---- Programs ---- */

enum { PENDING = INT_MIN };

struct actor {
    pid_t pid;
    int64_t timeout;
    bool interruptible;
    _Atomic int result;
};

static int read_one(void *argument)
{
    struct actor *actor = argument;
    struct shk_stream *stream;
    uint64_t number;

    assert_code(shk_stream_open(test_segment(), "eeg", 0, NULL, &stream), 0);
    struct shk_reader *reader = open_reader(stream, SHK_NEXT);
    if (actor->interruptible)
        interruptible();
    ssize_t n = shk_reader_read(reader, &number, 1, actor->timeout);
    actor->result = n == 1 ? (int)number : (int)n;
    return 0;
}

static struct actor *start_reader(bool can_be_interrupted)
{
    struct actor *actor = shared_memory(sizeof(*actor));

    *actor = (struct actor){
        .timeout = SHK_FOREVER, .interruptible = can_be_interrupted, .result = PENDING};
    actor->pid = stranger_start(read_one, actor);
    wait_until_waiting(segment_name(NULL), actor->pid, "eeg");
    return actor;
}

static int result_of(struct actor *actor)
{
    child_succeeds(actor->pid);
    return actor->result;
}

START_TEST(test_stream_wakes_every_reader_that_sleeps)
{
    struct shk_stream *stream = open_eeg(8, 16);
    struct actor *readers[4];

    for (int i = 0; i < 4; i++)
        readers[i] = start_reader(false);
    child_stop(readers[0]->pid); /* neither the writer nor the others wait for it */
    append_numbers(stream, 42, 42);
    for (int i = 1; i < 4; i++)
        assert_result(result_of(readers[i]), 42);
    child_continue(readers[0]->pid);
    assert_result(result_of(readers[0]), 42);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

START_TEST(test_stream_reader_is_interrupted)
{
    struct shk_stream *stream = open_eeg(8, 16);
    struct actor *reader = start_reader(true);

    ck_assert_int_eq(kill(reader->pid, SIGINT), 0);
    assert_result(result_of(reader), -EINTR);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

START_TEST(test_stream_that_is_unlinked_releases_its_readers)
{
    struct shk_stream *stream = open_eeg(8, 16);
    struct actor *reader = start_reader(false);

    assert_code(
        _i ? shk_segment_unlink(segment_name(NULL)) : shk_object_unlink(test_segment(), "eeg"), 0);
    assert_result(result_of(reader), -ESTALE);
    append_numbers(stream, 1, 0);
    assert_code(shk_stream_append(stream, "12345678", 1), -ESTALE);
    assert_code(shk_stream_position(stream), -ESTALE);
    assert_code(shk_stream_close(stream), 0);
}
END_TEST

/* ---- Never torn ---- */

struct sample {
    uint64_t number, noise[5], sum;
};

static void make_sample(struct sample *s, uint64_t number)
{
    s->number = s->sum = number;
    for (int i = 0; i < 5; i++) {
        s->noise[i] = (number + (uint64_t)i) * UINT64_C(0x9e3779b97f4a7c15);
        s->sum ^= s->noise[i];
    }
}

static bool is_whole(const struct sample *s)
{
    struct sample again;

    make_sample(&again, s->number);
    return memcmp(&again, s, sizeof(again)) == 0;
}

struct race {
    bool stamped;
    atomic_bool stop;
    _Atomic long read, dropped, torn, back, reading;
};

static struct shk_stream *open_race(const struct race *race)
{
    return race->stamped ? open_stamped(sizeof(struct sample), 100)
                         : open_eeg(sizeof(struct sample), 100);
}

static int write_at_full_speed(void *argument)
{
    struct race *race = argument;
    struct shk_stream *stream = open_race(race);
    struct sample some[30];
    int64_t stamps[30];

    while (!race->stop) {
        int64_t from = shk_stream_position(stream);
        size_t n = 1 + (size_t)(from % 30);
        for (size_t i = 0; i < n; i++) {
            make_sample(&some[i], (uint64_t)from + i);
            stamps[i] = (int64_t)some[i].sum;
        }
        if ((race->stamped ? shk_stream_append_stamped(stream, some, stamps, n)
                           : shk_stream_append(stream, some, n)) < 0)
            return 2;
    }
    return 0;
}

static int read_and_check(void *argument)
{
    struct race *race = argument;
    struct shk_stream *stream = open_race(race);
    struct shk_reader *reader = open_reader(stream, SHK_OLDEST);
    struct sample some[40];
    int64_t stamps[40];
    uint64_t next = 0;
    bool slow = race->reading++ % 2;

    while (!race->stop) {
        size_t most = slow ? 40 : 7;
        ssize_t n = race->stamped ? shk_reader_read_stamped(reader, some, stamps, most, SHK_MS(20))
                                  : shk_reader_read(reader, some, most, SHK_MS(20));
        for (ssize_t i = 0; i < n; i++) {
            if (!is_whole(&some[i]) || (race->stamped && stamps[i] != (int64_t)some[i].sum))
                race->torn++;
            if (some[i].number < next)
                race->back++;
            next = some[i].number + 1;
        }
        if (n > 0)
            race->read += n;
        if (slow)
            pause_briefly();
    }
    race->dropped += shk_reader_dropped(reader);
    return 0;
}

/*
 * With one writer all the time, and with writers that are killed and replaced; without time stamps
 * and with them, which belong to their samples.
 */
START_TEST(test_stream_never_delivers_a_torn_sample)
{
    struct race *race = shared_memory(sizeof(*race));
    pid_t readers[4], writer;

    race->stamped = _i & 2;
    writer = stranger_start(write_at_full_speed, race);
    for (int i = 0; i < 4; i++)
        readers[i] = stranger_start(read_and_check, race);
    for (int i = 0; _i & 1 && i < 200; i++) {
        long before = race->read;
        wait_until(race->read > before, TEST_DEADLINE); /* one writes, and another gets it */
        child_kill(writer);
        writer = stranger_start(write_at_full_speed, race);
    }
    wait_until(race->read > 200000, TEST_DEADLINE);
    race->stop = true;
    child_succeeds(writer);
    for (int i = 0; i < 4; i++)
        child_succeeds(readers[i]);
    printf("%ld samples read, %ld dropped\n", race->read, race->dropped);
    ck_assert_int_eq(race->torn, 0);
    ck_assert_int_eq(race->back, 0);
    ck_assert_int_gt(race->dropped, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream");
    TCase *opening = test_case(suite, "opening");
    TCase *stamps = test_case(suite, "time stamps");
    TCase *reading = test_case(suite, "reading");
    TCase *lapped = test_case(suite, "lapped while copying");
    TCase *programs = test_case(suite, "programs");
    TCase *races = test_case(suite, "races");

    tcase_add_test(opening, test_stream_is_created_with_its_sizes);
    tcase_add_test(opening, test_stream_refuses_bad_arguments);
    tcase_add_test(opening, test_stream_notes_its_channels_and_rate);
    tcase_add_loop_test(stamps, test_stream_gives_each_sample_the_stamp_that_was_appended_with_it,
                        0, 4);
    tcase_add_test(stamps, test_stream_stamps_samples_with_the_time_of_the_call);
    tcase_add_test(reading, test_stream_is_read_from_the_oldest_or_the_next);
    tcase_add_test(reading, test_stream_tells_a_lapped_reader_what_it_lost);
    tcase_add_test(reading, test_stream_shows_the_latest_without_moving_on);
    tcase_add_loop_test(reading, test_stream_takes_samples_of_any_size_and_more_than_its_history, 0,
                        7);
    tcase_add_test(lapped, test_stream_timeout_holds_for_a_reader_that_is_lapped_all_the_time);
    tcase_add_test(lapped, test_stream_reader_that_is_lapped_once_does_not_wait);
    tcase_add_test(programs, test_stream_wakes_every_reader_that_sleeps);
    tcase_add_test(programs, test_stream_reader_is_interrupted);
    tcase_add_loop_test(programs, test_stream_that_is_unlinked_releases_its_readers, 0, 2);
    tcase_add_loop_test(races, test_stream_never_delivers_a_torn_sample, 0, 4);
    return run_tests(suite);
}

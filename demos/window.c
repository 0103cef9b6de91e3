#include "window.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Samples that are fetched in one step. */
enum { FETCH_MAX = 8192 };

int open_feed(struct plot *plot, int f)
{
    struct feed *feed = &plot->feeds[f];
    int r = shk_reader_open(feed->stream, SHK_OLDEST, &feed->reader);

    feed->channels = r < 0 ? r : shk_stream_channels(feed->stream);
    if (feed->channels < 0 || (r = shk_stream_rate(feed->stream, &feed->noted)) < 0)
        return failed(&feed->place, feed->channels < 0 ? feed->channels : r);
    if (shk_stream_sample_size(feed->stream) != feed->channels * (ssize_t)sizeof(double)) {
        complain("%s: a sample has %zd bytes, which is not a double for each of its channels (%d)",
                 feed->place.path, shk_stream_sample_size(feed->stream), feed->channels);
        return FAILED;
    }
    if (feed->channels > MOST_STRIPS - plot->n) {
        complain("%s: it has %d channels; no more than %d can be shown", feed->place.path,
                 feed->channels, MOST_STRIPS);
        return USAGE;
    }
    feed->rate = -1;
    feed->first = plot->n;
    feed->fetched = calloc(FETCH_MAX * (size_t)feed->channels, sizeof(double));
    for (int i = 0; feed->fetched && i < feed->channels; i++) {
        struct trace *trace = &plot->traces[plot->n];

        trace->feed = f;
        trace->samples = malloc(2 * MOST_WINDOW * sizeof(double)); /* taken when it is written to */
        if (!trace->samples)
            break;
        plot->n++;
    }
    if (plot->n == feed->first + feed->channels)
        return DONE;
    complain("%s", strerror(ENOMEM));
    return FAILED;
}

void close_feed(struct plot *plot, int f)
{
    struct feed *feed = &plot->feeds[f];

    shk_reader_close(feed->reader);
    shk_stream_close(feed->stream);
    place_leave(&feed->place);
    free(feed->fetched);
    while (plot->n > 0 && plot->traces[plot->n - 1].feed == f)
        free(plot->traces[--plot->n].samples);
}

const double *window_of(const struct plot *plot, const struct trace *trace, size_t *count)
{
    size_t there = plot->feeds[trace->feed].count;

    *count = there < plot->window ? there : plot->window;
    return trace->samples + there - *count;
}

bool has_seconds(const struct plot *plot, const struct trace *trace)
{
    return plot->feeds[trace->feed].noted > 0;
}

double step_of(const struct plot *plot, const struct trace *trace)
{
    return has_seconds(plot, trace) ? 1 / plot->feeds[trace->feed].noted : 1;
}

bool has_number(const double *samples, size_t count)
{
    size_t i = 0;

    while (i < count && !isfinite(samples[i]))
        i++;
    return i < count;
}

/* Make room for n samples: the newest MOST_WINDOW stay. */
static void make_room(struct plot *plot, struct feed *feed, size_t n)
{
    if (feed->count + n <= 2 * MOST_WINDOW)
        return;
    for (int i = 0; i < feed->channels; i++) {
        double *samples = plot->traces[feed->first + i].samples;

        memmove(samples, samples + feed->count - MOST_WINDOW, MOST_WINDOW * sizeof(double));
    }
    feed->count = MOST_WINDOW;
}

/* What a read has returned tells whether a writer is there. It is told of a death once. */
static void note_end(struct feed *feed, ssize_t n)
{
    if (n > 0 || n == -EAGAIN || n == -ETIMEDOUT)
        feed->ended = 0;
    else if (n == -EOWNERDEAD || (n == -EPIPE && !feed->ended))
        feed->ended = (int)n;
}

ssize_t fetch_feed(struct plot *plot, struct feed *feed, int64_t timeout)
{
    ssize_t n = shk_reader_read(feed->reader, feed->fetched, FETCH_MAX, timeout);

    feed->dropped = shk_reader_dropped(feed->reader);
    note_end(feed, n);
    if (n <= 0)
        return n;
    make_room(plot, feed, n);
    for (int i = 0; i < feed->channels; i++) {
        double *to = plot->traces[feed->first + i].samples + feed->count;
        const double *from = feed->fetched + i;

        for (ssize_t k = 0; k < n; k++, from += feed->channels)
            to[k] = *from;
    }
    feed->count += n;
    return n;
}

/*
 * Over about a second, by what the writer has done: what this reader has lost counts, too. Another
 * writer may have noted another rate.
 */
static void measure_rate(struct feed *feed)
{
    int64_t time = now(), position;

    if (feed->rate_time > 0 && time - feed->rate_time < SHK_SEC(1))
        return;
    position = shk_stream_position(feed->stream);
    shk_stream_rate(feed->stream, &feed->noted);
    feed->rate = -1;
    if (feed->rate_time > 0)
        feed->rate = (position - feed->rate_position) * 1e9 / (time - feed->rate_time);
    feed->rate_position = position;
    feed->rate_time = time;
}

ssize_t fetch(struct plot *plot, struct feed **failing)
{
    ssize_t total = 0;

    for (int i = 0; i < plot->n_feeds; i++) {
        struct feed *feed = &plot->feeds[i];
        ssize_t n, fetched = 0;

        *failing = feed;
        do {
            n = fetch_feed(plot, feed, SHK_NOWAIT);
            if (n < 0 && n != -EAGAIN && !feed->ended)
                return n;
            fetched += n > 0 ? n : 0;
        } while (n == FETCH_MAX && fetched < MOST_WINDOW); /* a writer may be faster than this */
        total += fetched;
        measure_rate(feed);
    }
    return total;
}

#include "window.h"

#include <errno.h>
#include <math.h>
#include <string.h>

const double *window_of(const struct plot *plot, const struct trace *trace, size_t *count)
{
    *count = trace->count < plot->window ? trace->count : plot->window;
    return trace->samples + trace->count - *count;
}

bool has_number(const double *samples, size_t count)
{
    size_t i = 0;

    while (i < count && !isfinite(samples[i]))
        i++;
    return i < count;
}

/* Where the next samples go, and for how many there is room: the newest MOST_WINDOW stay. */
static double *room(struct trace *trace, size_t *size)
{
    enum { ROOM = 2 * MOST_WINDOW, LEAST = MOST_WINDOW / 2 };

    if (ROOM - trace->count < LEAST) {
        memmove(trace->samples, trace->samples + trace->count - MOST_WINDOW,
                MOST_WINDOW * sizeof(double));
        trace->count = MOST_WINDOW;
    }
    *size = ROOM - trace->count;
    return trace->samples + trace->count;
}

ssize_t fetch_trace(struct trace *trace, int64_t timeout)
{
    size_t size;
    double *next = room(trace, &size);
    ssize_t n = shk_reader_read(trace->reader, next, size, timeout);

    if (n > 0)
        trace->count += n;
    trace->dropped = shk_reader_dropped(trace->reader);
    return n;
}

/* Over about a second, by what the writer has done: what this reader has lost counts, too. */
static void measure_rate(struct trace *trace)
{
    int64_t time = now(), position;

    if (trace->rate_time > 0 && time - trace->rate_time < SHK_SEC(1))
        return;
    position = shk_stream_position(trace->stream);
    trace->rate = -1;
    if (trace->rate_time > 0)
        trace->rate = (position - trace->rate_position) * 1e9 / (time - trace->rate_time);
    trace->rate_position = position;
    trace->rate_time = time;
}

ssize_t fetch(struct plot *plot, struct trace **failing)
{
    ssize_t total = 0;

    for (int i = 0; i < plot->n; i++) {
        struct trace *trace = &plot->traces[i];
        ssize_t n = fetch_trace(trace, SHK_NOWAIT);

        *failing = trace;
        if (n < 0 && n != -EAGAIN)
            return n;
        if (n > 0)
            total += n;
        measure_rate(trace);
    }
    return total;
}

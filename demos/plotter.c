/* plotter STREAM...: shows the newest samples of streams, live in the terminal, in a window, or as a picture. */
#include "plot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *name, *output, *unit = "";
static bool window_system;
static int64_t window = 100, timeout = SHK_FOREVER;

static const struct option_row options[] = {
    {"name", "NAME", "who it is, in shmctl ps (进程-PID)", .text = &name},
    {"window", "N", "show the last N samples (100)", .number = &window, .least = 2,
     .most = MOST_WINDOW},
    {"unit", "TEXT", "what is measured, such as µV", .text = &unit},
    {"output", "FILE",
     "make a picture, FILE.png, .svg or .pdf, as soon as there\n"
     "are N samples, and end",
     .text = &output},
    {"timeout", "DURATION",
     "with --output: wait that long at most (for ever), then\n"
     "make a picture of what there is",
     .duration = &timeout},
    {"window-system", NULL, "show it in a window of gnuplot's", .flag = &window_system},
    {0},
};

static const struct program program = {
    .name = "plotter",
    .operand = "SEGMENT/STREAM...",
    .several = true,
    .purpose = "Show the newest samples of streams as they come, live in the terminal.",
    .notes = "Keys: q ends, space freezes, + and - change the window, s saves a picture in the\n"
             "current directory. Whoever comes first makes the stream. Pictures and windows\n"
             "are gnuplot's.\n",
    .options = options,
};

/* ---- fetching ---- */

const double *window_of(const struct plot *plot, const struct trace *trace, size_t *count)
{
    *count = trace->count < plot->window ? trace->count : plot->window;
    return trace->samples + trace->count - *count;
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

/* Returns how many samples have come, at least 1, or the library's error. */
static ssize_t fetch_trace(struct trace *trace, int64_t patience)
{
    size_t size;
    double *next = room(trace, &size);
    ssize_t n = shk_reader_read(trace->reader, next, size, patience);

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

/* ---- a picture ---- */

/* Wait until every window is full, or the time is over. Returns an exit code. */
static int fill_windows(struct plot *plot)
{
    int64_t end = now() + timeout;
    struct trace *failing;
    ssize_t n = 0;

    for (int i = 0; i < plot->n; i++) {
        failing = &plot->traces[i];
        while (failing->count < plot->window && n != -ETIMEDOUT && n != -EAGAIN) {
            int64_t left = end - now();

            n = fetch_trace(failing, timeout == SHK_FOREVER ? SHK_FOREVER : left > 0 ? left : 0);
            if (n < 0 && n != -ETIMEDOUT && n != -EAGAIN)
                return failed(&failing->place, n);
        }
    }
    n = fetch(plot, &failing); /* while one was waited for, the others have gone on */
    return n < 0 ? failed(&failing->place, n) : DONE;
}

static int make_output(struct plot *plot)
{
    char message[400];
    int status = fill_windows(plot);

    for (int i = 0; i < plot->n && status == DONE; i++) {
        if (plot->traces[i].count >= 2)
            continue;
        complain("%s: there are not two samples to make a picture of", plot->traces[i].place.path);
        status = NOT_NOW;
    }
    if (status != DONE)
        return status;
    if (make_picture(plot, output, message, sizeof(message)))
        return DONE;
    if (!interrupted)
        complain("%s: %s", output, message);
    return FAILED;
}

/* ---- */

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);

    return value && *value;
}

static int check_options(void)
{
    if (output && window_system)
        complain("only one of --output and --window-system");
    else if (output && !is_picture(output))
        complain("--output: '%s': a picture is a .png, .svg or .pdf", output);
    else if (!output && !window_system && (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)))
        complain("this is no terminal: --output FILE makes a picture, --window-system shows a "
                 "window");
    else if (window_system && !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY"))
        complain("--window-system: there is none here, neither DISPLAY nor WAYLAND_DISPLAY is "
                 "set: --output FILE makes a picture");
    else
        return DONE;
    return USAGE;
}

static int open_trace(struct trace *trace, const char *path)
{
    int status = place_enter(&trace->place, path, &name), r;

    if (status == DONE)
        status = open_stream(&trace->place, 0, &trace->stream);
    if (status != DONE)
        return status;
    r = shk_reader_open(trace->stream, SHK_OLDEST, &trace->reader);
    if (r < 0)
        return failed(&trace->place, r);
    trace->rate = -1;
    trace->samples = malloc(2 * MOST_WINDOW * sizeof(double)); /* taken when it is written to */
    if (trace->samples)
        return DONE;
    complain("%s", strerror(ENOMEM));
    return FAILED;
}

static void close_trace(struct trace *trace)
{
    shk_reader_close(trace->reader);
    shk_stream_close(trace->stream);
    place_leave(&trace->place);
    free(trace->samples);
}

int main(int argc, char **argv)
{
    static struct plot plot;
    char **paths = begin(argc, argv, &program);
    int status = check_options();

    plot.window = window;
    plot.unit = unit;
    for (; *paths && status == DONE; paths++) {
        if (plot.n < MOST_STREAMS) {
            status = open_trace(&plot.traces[plot.n++], *paths);
        } else {
            complain("no more than %d streams", MOST_STREAMS);
            status = USAGE;
        }
    }
    if (status == DONE)
        status = output          ? make_output(&plot)
                 : window_system ? show_in_window(&plot)
                                 : show_on_screen(&plot);
    while (plot.n > 0)
        close_trace(&plot.traces[--plot.n]);
    return finish(status);
}

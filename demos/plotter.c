/*
 * plotter STREAM...: shows the newest samples of streams, live in the terminal, in a window, or as
 * a picture.
 */
#include "picture.h"
#include "screen.h"
#include "window.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *name, *output, *unit = "";
static bool window_system;
static int64_t window = 100, timeout = -1; /* timeout: negative without the option */

/* Without --timeout: for a stream to appear, and for the next sample of a picture. */
#define LONGEST_WAIT SHK_SEC(10)

static const struct option_row options[] = {
    {"name", "NAME", "its name in shmctl ps (process-PID)", .text = &name},
    {"window", "N", "show the last N samples (100)", .number = &window, .least = 2,
     .most = MOST_WINDOW},
    {"unit", "TEXT", "what is measured, such as µV", .text = &unit},
    {"output", "FILE",
     "make a picture, FILE.png, .svg or .pdf, as soon as there\n"
     "are N samples, and end",
     .text = &output},
    {"timeout", "DURATION",
     "wait that long for a stream that is not there (10s);\n"
     "with --output, then make a picture of what there is\n"
     "(without it: fail when no sample has come for 10s)",
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
             "current directory. It makes no stream: one that is not there is waited for.\n"
             "Pictures and windows are gnuplot's.\n",
    .options = options,
};

/* ---- a picture ---- */

static const char *duration(int64_t nanoseconds)
{
    static char text[40];

    snprintf(text, sizeof(text), "%.4gs", nanoseconds / 1e9);
    return text;
}

/* "none has come for 10s", of a stream with samples "no other has come for 10s". */
static const char *why_no_more(const struct feed *feed)
{
    static char text[80];

    if (feed->ended)
        return feed->ended == -EOWNERDEAD ? "a writer of it has died" : "its last writer has ended";
    snprintf(text, sizeof(text), "%s has come for %s", feed->count == 0 ? "none" : "no other",
             duration(LONGEST_WAIT));
    return text;
}

static void complain_of_missing(const struct plot *plot, const struct feed *feed)
{
    const char *path = feed->place.path, *why = why_no_more(feed);
    long long history = shk_stream_history(feed->stream);

    if (feed->count == 0)
        complain("%s: it has no samples, and %s", path, why);
    else if (history < (long long)plot->window)
        complain("%s: it has %zu of %zu samples, and %s; the stream keeps the last %lld (sampler "
                 "--history)",
                 path, feed->count, plot->window, why, history);
    else
        complain("%s: it has %zu of %zu samples, and %s", path, feed->count, plot->window, why);
    if (feed->count >= 2)
        complain("--window %zu makes a picture of them, --timeout DURATION waits longer",
                 feed->count);
    else if (!feed->ended)
        complain("--timeout DURATION waits longer");
}

/*
 * Wait until every window is full. With --timeout until that time at most, else for as long as
 * samples come: a stream without a writer never fills a window, and behind the last writer by role
 * there is nothing to wait for. Returns an exit code.
 */
static int fill_windows(struct plot *plot, int64_t begun)
{
    struct feed *failing;
    ssize_t n;

    for (int i = 0; i < plot->n_feeds; i++) {
        failing = &plot->feeds[i];
        while (failing->count < plot->window) {
            int64_t left = timeout < 0 ? LONGEST_WAIT : begun + timeout - now();

            n = fetch_feed(plot, failing, left > 0 ? left : SHK_NOWAIT);
            if (n >= 0)
                continue;
            if (n != -ETIMEDOUT && n != -EAGAIN && !failing->ended)
                return failed(&failing->place, n);
            if (timeout >= 0)
                break;
            complain_of_missing(plot, failing);
            return NOT_NOW;
        }
    }
    n = fetch(plot, &failing); /* while one was waited for, the others have gone on */
    return n < 0 ? failed(&failing->place, n) : DONE;
}

static int make_output(struct plot *plot, int64_t begun)
{
    char message[400];
    int status = fill_windows(plot, begun);

    for (int i = 0; i < plot->n_feeds && status == DONE; i++) {
        if (plot->feeds[i].count >= 2)
            continue;
        if (plot->feeds[i].ended)
            complain("%s: %s, and %s; a picture takes two", plot->feeds[i].place.path,
                     plot->feeds[i].count == 0 ? "no sample" : "one sample",
                     why_no_more(&plot->feeds[i]));
        else
            complain("%s: %s after %s; a picture takes two", plot->feeds[i].place.path,
                     plot->feeds[i].count == 0 ? "no sample" : "one sample", duration(timeout));
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

/* "; there are: a, b", the streams of the segment, or what there is not. */
static void name_streams(const char *segment, char *text, size_t size)
{
    const struct shk_object_info *object;
    struct shk_snapshot *snapshot;
    size_t length = 0;

    if (shk_snapshot_open(segment, &snapshot) < 0) {
        snprintf(text, size, ", nor is the segment");
        return;
    }
    *text = '\0';
    for (size_t i = 0; (object = shk_snapshot_object(snapshot, i)) && length < size; i++) {
        if (object->kind == SHK_KIND_STREAM)
            length += snprintf(text + length, size - length, "%s%s",
                               length ? ", " : "; there are: ", object->name);
    }
    if (length == 0)
        snprintf(text, size, "; the segment has no stream");
    shk_snapshot_close(snapshot);
}

/*
 * A reader makes no stream: a name that is mistyped would be an empty one for ever. One that is not
 * there may be about to come, as when a script starts writer and reader at once. Returns an exit
 * code.
 */
static int find_stream(struct feed *feed, const char *path, int64_t begun)
{
    int64_t end = begun + (timeout < 0 ? LONGEST_WAIT : timeout), told = begun + SHK_SEC(1);
    char streams[400];
    int status, r;

    for (;;) {
        status = place_find(&feed->place, path, &name, &r);
        if (status != DONE)
            return status;
        if (r == 0)
            r = shk_stream_open(feed->place.segment, feed->place.object, 0, NULL, &feed->stream);
        if (r != -ENOENT && r != -ESTALE)
            return r == 0 ? DONE : failed(&feed->place, r);
        if (interrupted)
            return FAILED;
        name_streams(feed->place.segment_name, streams, sizeof(streams));
        if (now() >= end)
            break;
        if (now() >= told) {
            complain("%s: waiting for the stream, which is not there%s", path, streams);
            told = INT64_MAX;
        }
        pause_for(SHK_MS(50));
        place_leave(&feed->place);
    }
    complain("%s: the stream is not there%s", path, streams);
    return ABSENT;
}

int main(int argc, char **argv)
{
    static struct plot plot;
    char **paths = begin(argc, argv, &program);
    int status = check_options();
    int64_t begun = now();

    plot.window = window;
    plot.unit = unit;
    for (; *paths && status == DONE; paths++) {
        if (plot.n_feeds < MOST_STREAMS) {
            int i = plot.n_feeds++;

            status = find_stream(&plot.feeds[i], *paths, begun);
            if (status == DONE)
                status = open_feed(&plot, i);
        } else {
            complain("no more than %d streams", MOST_STREAMS);
            status = USAGE;
        }
    }
    if (status == DONE)
        status = output          ? make_output(&plot, begun)
                 : window_system ? show_in_window(&plot)
                                 : show_on_screen(&plot);
    while (plot.n_feeds > 0)
        close_feed(&plot, --plot.n_feeds);
    return finish(status);
}

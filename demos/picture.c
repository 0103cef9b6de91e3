/* Pictures and windows, by gnuplot: it is told what to do on its standard input. */
#include "picture.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In dots; each stream but the first adds EXTRA_HEIGHT, each channel of it but the first less. */
enum { WIDTH = 1000, HEIGHT = 500, EXTRA_HEIGHT = 250, CHANNEL_HEIGHT = 150, DOTS_PER_INCH = 100 };

static int height_of(const struct plot *plot)
{
    return HEIGHT + EXTRA_HEIGHT * (plot->n_feeds - 1) + CHANNEL_HEIGHT * (plot->n - plot->n_feeds);
}

static const struct format {
    const char *ending, *terminal;
    double dots_per_unit;
} formats[] = {
    {".png", "pngcairo size %g,%g noenhanced background '#ffffff' font 'sans,12'", 1},
    {".svg", "svg size %g,%g noenhanced background '#ffffff' font 'sans-serif,14'", 1},
    {".pdf", "pdfcairo size %g,%g noenhanced background '#ffffff' font 'sans,12'", DOTS_PER_INCH},
};

static const struct format *format_of(const char *file)
{
    size_t length = strlen(file);

    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        size_t ending = strlen(formats[i].ending);

        if (length > ending && strcmp(file + length - ending, formats[i].ending) == 0)
            return &formats[i];
    }
    return NULL;
}

bool is_picture(const char *file)
{
    return format_of(file) != NULL;
}

/* ---- what gnuplot is told ---- */

/* A string of gnuplot's, in which nothing has a meaning. */
static void write_string(FILE *script, const char *text)
{
    char *plain = printable(text, strlen(text));

    putc('\'', script);
    for (const char *c = plain; c && *c; c++)
        fputs(*c == '\'' ? "''" : (char[]){*c, '\0'}, script);
    putc('\'', script);
    free(plain);
}

static void write_samples(FILE *script, const struct plot *plot, int i)
{
    const struct trace *trace = &plot->traces[i];
    size_t count;
    const double *samples = window_of(plot, trace, &count);

    fprintf(script, "$samples%d << END\n", i);
    for (size_t k = 0; k < count; k++) {
        fprintf(script, "%.9g ", ((double)k - (double)(count - 1)) * step_of(plot, trace));
        if (isfinite(samples[k]))
            fprintf(script, "%.9g\n", samples[k]);
        else
            fputs("NaN\n", script); /* a gap */
    }
    fputs("END\n", script);
}

/* A stream has its name above its first strip, and its axis below its last one. */
static void write_strip(FILE *script, const struct plot *plot, int i)
{
    static const char *const colours[] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e"};
    const struct trace *trace = &plot->traces[i];
    const struct feed *feed = &plot->feeds[trace->feed];
    int channel = i - feed->first;
    char label[200];
    size_t count;
    const double *samples = window_of(plot, trace, &count);

    fputs("set title ", script);
    write_string(script, channel == 0 ? feed->place.object : "");
    fputs("\nset xlabel ", script);
    write_string(script, channel < feed->channels - 1 ? ""
                         : has_seconds(plot, trace)   ? "seconds"
                                                      : "samples");
    if (feed->channels > 1)
        snprintf(label, sizeof(label), "%d%s%s", channel + 1, *plot->unit ? ": " : "", plot->unit);
    else
        snprintf(label, sizeof(label), "%s", plot->unit);
    fputs("\nset ylabel ", script);
    write_string(script, label);
    fprintf(script,
            "\nplot [%.9g:0] %s $samples%d using 1:2 with lines linewidth 1.5 linecolor rgb '%s'\n",
            -(double)(plot->window - 1) * step_of(plot, trace),
            has_number(samples, count) ? "" : "[-1:1]", i, /* an axis takes a number */
            colours[i % (sizeof(colours) / sizeof(*colours))]);
}

static void write_plot(FILE *script, const struct plot *plot)
{
    for (int i = 0; i < plot->n; i++)
        write_samples(script, plot, i);
    fprintf(script, "set multiplot layout %d,1\n", plot->n);
    for (int i = 0; i < plot->n; i++)
        write_strip(script, plot, i);
    fputs("unset multiplot\n", script);
}

/* The curve is what is to be seen first; the rest is in greys. */
static void write_head(FILE *script)
{
    fputs("set encoding utf8\nunset key\nset lmargin 10\nset rmargin 3\n"
          "set border 3 linecolor rgb '#808080'\nset tics nomirror out\n"
          "set grid linetype 1 linewidth 1 linecolor rgb '#e4e4e4'\n",
          script);
}

/* ---- running it ---- */

/*
 * Start gnuplot with these descriptors. In a group of its own: a Ctrl-C is not for it, and what it
 * starts itself can be ended with it.
 */
static pid_t start_gnuplot(int in, int out, int err)
{
    pid_t child = fork();

    if (child != 0) {
        setpgid(child, child);
        return child;
    }
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execlp("gnuplot", "gnuplot", (char *)NULL);
    dprintf(STDERR_FILENO, errno == ENOENT ? "gnuplot is not there (Debian package: gnuplot-nox)"
                                           : "gnuplot cannot be started");
    _exit(FAILED);
}

/*
 * Returns its exit code, FAILED if it had to be ended: when this program is to end, or, if longest
 * says so, after that time.
 */
static int await_gnuplot(pid_t child, int64_t longest)
{
    int64_t end = longest == SHK_FOREVER ? INT64_MAX : now() + longest;
    const struct timespec recheck = {.tv_nsec = SHK_MS(10)};
    int status;
    pid_t ended;

    if (child < 0)
        return FAILED;
    while ((ended = waitpid(child, &status, WNOHANG)) == 0 && now() < end &&
           (longest != SHK_FOREVER || !interrupted))
        nanosleep(&recheck, NULL);
    kill(-child, SIGTERM); /* what it has started, if that is still there */
    if (ended == 0 && waitpid(child, &status, 0) < 0)
        return FAILED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
}

/*
 * What gnuplot complains of. It prints the line of its script ("gnuplot> plot ..."), a mark below
 * it, then "line 7: reason", which is what a person can do with; other programs that it needs print
 * a line of their own.
 */
static void read_complaint(FILE *complaint, char *message, size_t size)
{
    char line[400];

    snprintf(message, size, "gnuplot has failed");
    rewind(complaint);
    while (fgets(line, sizeof(line), complaint)) {
        char *text = line + strspn(line, " \t"), *end = text + strlen(text), *reason = text;
        bool is_reason = strncmp(text, "line ", 5) == 0 && (reason = strstr(text, ": "));

        while (end > text && strchr(" \t\n^", end[-1]))
            *--end = '\0';
        if (end == text || strncmp(text, "gnuplot>", 8) == 0)
            continue;
        if (strncmp(text, "gnuplot ", 8) == 0) /* our own words, in start_gnuplot() */
            snprintf(message, size, "%s", text);
        else
            snprintf(message, size, "gnuplot has failed: %s", is_reason ? reason + 2 : text);
        if (is_reason)
            return;
    }
}

/*
 * gnuplot fails without a number in a window. A channel of several may have none, as one that is
 * not connected; its strip is empty then. If all channels have none, message says so.
 */
static bool is_drawable(const struct plot *plot, char *message, size_t size)
{
    for (int f = 0; f < plot->n_feeds; f++) {
        const struct feed *feed = &plot->feeds[f];
        bool any = false;
        size_t count = 0;

        for (int i = 0; i < feed->channels; i++) {
            const double *samples = window_of(plot, &plot->traces[feed->first + i], &count);

            any = any || has_number(samples, count);
        }
        if (any)
            continue;
        snprintf(message, size, "%s: none of the last %zu samples is a finite number",
                 feed->place.path, count);
        return false;
    }
    return true;
}

static FILE *scratch_file(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    return fd < 0 ? NULL : fdopen(fd, "w+");
}

/* Have the picture written to out. */
static bool draw(const struct plot *plot, const struct format *format, int out, char *message,
                 size_t size)
{
    FILE *script = scratch_file("script"), *complaint = scratch_file("complaint");
    double height = height_of(plot);
    bool drawn = false;
    struct stat written;

    if (!script || !complaint) {
        snprintf(message, size, "%s", strerror(errno));
        goto done;
    }
    write_head(script);
    fputs("set terminal ", script);
    fprintf(script, format->terminal, WIDTH / format->dots_per_unit,
            height / format->dots_per_unit);
    putc('\n', script);
    write_plot(script, plot);
    if (fflush(script) != 0 || fseek(script, 0, SEEK_SET) != 0) {
        snprintf(message, size, "%s", strerror(errno));
        goto done;
    }
    drawn = await_gnuplot(start_gnuplot(fileno(script), out, fileno(complaint)), SHK_FOREVER) == 0;
    if (!drawn)
        read_complaint(complaint, message, size);
    else if (fstat(out, &written) < 0 || written.st_size == 0 || fsync(out) < 0)
        drawn = snprintf(message, size, "gnuplot has drawn nothing") < 0;
done:
    if (script)
        fclose(script);
    if (complaint)
        fclose(complaint);
    return drawn;
}

bool make_picture(const struct plot *plot, const char *file, char *message, size_t size)
{
    char *scratch;
    mode_t mask = umask(0);
    bool made = false;
    int fd;

    umask(mask);
    if (asprintf(&scratch, "%s.XXXXXX", file) < 0) {
        snprintf(message, size, "%s", strerror(ENOMEM));
        return false;
    }
    fd = mkostemp(scratch, O_CLOEXEC);
    if (fd < 0) {
        snprintf(message, size, "%s", strerror(errno));
        free(scratch);
        return false;
    }
    if (is_drawable(plot, message, size) && draw(plot, format_of(file), fd, message, size)) {
        made = fchmod(fd, 0666 & ~mask) == 0 && rename(scratch, file) == 0;
        if (!made)
            snprintf(message, size, "%s", strerror(errno));
    }
    if (!made)
        unlink(scratch);
    close(fd);
    free(scratch);
    return made;
}

/* ---- a window ---- */

enum { NO_WINDOWS = 9 }; /* what gnuplot exits with, which has no other use for it */

#define TAKES_NOTHING SHK_SEC(5) /* for so long: it hangs */
#define TIME_TO_END   SHK_SEC(5)

/*
 * It is not to come to the front with each frame, and closing it ends gnuplot. Not with gnuplot's
 * x11, which reports a closing with each frame in UTF-8.
 */
static void write_window(FILE *script, const struct plot *plot)
{
    fprintf(script,
            "if (GPVAL_TERM ne 'wxt' && GPVAL_TERM ne 'qt') exit status %d\n"
            "eval \"set terminal \".GPVAL_TERM.\" size %d,%d noenhanced noraise title 'plotter'\"\n"
            "bind 'Close' 'exit gnuplot'\n",
            NO_WINDOWS, WIDTH, height_of(plot));
    write_head(script);
}

static bool is_plottable(const struct plot *plot)
{
    char message[400];

    for (int i = 0; i < plot->n_feeds; i++) {
        if (plot->feeds[i].count < 2)
            return false;
    }
    return is_drawable(plot, message, sizeof(message));
}

/*
 * Returns whether gnuplot has taken everything: not if it has ended, or hangs. An interrupt has to
 * wait: a frame that is cut off would be an error, after which gnuplot's qt leaves its window
 * behind.
 */
static bool feed(int pipe, const char *bytes, size_t size)
{
    int64_t end = now() + TAKES_NOTHING;

    while (size > 0 && now() < end) {
        struct pollfd pollfd = {.fd = pipe, .events = POLLOUT};
        ssize_t n = poll(&pollfd, 1, 100) > 0 ? write(pipe, bytes, size) : 0;

        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n <= 0)
            continue;
        bytes += n;
        size -= n;
        end = now() + TAKES_NOTHING;
    }
    return size == 0;
}

/* Frames, as long as gnuplot takes them. Returns an exit code. */
static int feed_window(struct plot *plot, int pipe)
{
    bool goes_on = true, begun = false;

    while (goes_on && !interrupted) {
        struct feed *failing;
        ssize_t n = fetch(plot, &failing);
        char *bytes;
        size_t size;
        FILE *script;

        if (n < 0)
            return failed(&failing->place, n);
        script = open_memstream(&bytes, &size);
        if (!script) {
            complain("%s", strerror(errno));
            return FAILED;
        }
        if (!begun)
            write_window(script, plot);
        if (n > 0 && is_plottable(plot))
            write_plot(script, plot);
        else
            putc('\n', script); /* is it still there? */
        begun = true;
        fclose(script);
        goes_on = feed(pipe, bytes, size);
        free(bytes);
        pause_for(SHK_SEC(1) / FRAMES_A_SECOND);
    }
    return interrupted ? FAILED : DONE;
}

static void complain_of_window(int ended, FILE *complaint)
{
    char message[400];

    if (ended == NO_WINDOWS) {
        complain("gnuplot has no window system here (Debian package: gnuplot-qt)");
        return;
    }
    read_complaint(complaint, message, sizeof(message));
    complain("no window: %s", message);
}

int show_in_window(struct plot *plot)
{
    FILE *complaint = scratch_file("complaint");
    int ends[2], status, ended;
    pid_t child;

    if (!complaint || pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0) {
        complain("%s", strerror(errno));
        if (complaint)
            fclose(complaint);
        return FAILED;
    }
    fcntl(ends[1], F_SETPIPE_SZ, 1); /* the least there is: old frames are not to queue */
    signal(SIGPIPE, SIG_IGN);
    child = start_gnuplot(ends[0], fileno(complaint), fileno(complaint));
    close(ends[0]);
    status = feed_window(plot, ends[1]);
    close(ends[1]); /* the end of its input ends it */
    ended = await_gnuplot(child, TIME_TO_END);
    if (status == DONE && ended != 0) {
        complain_of_window(ended, complaint);
        status = FAILED;
    }
    fclose(complaint);
    return status;
}

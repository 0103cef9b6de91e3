/*
 * The picture for README: the main rows, shmkit beside its best peers and the limit. gnuplot draws
 * it.
 */
#include "bench.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>

/* One panel for each; what was not measured is left out. */
static const struct panel {
    const char *workload, *row, *title;
    double scale;
    const char *subjects[9];
} panels[] = {
    {"W1",
     "8 B",
     "items of 8 bytes, million a second",
     1e6,
     {"limit ring", "shmkit batches of 32", "shmkit claimed", "shmkit", "ck_ring", "ZeroMQ ipc",
      "Boost message_queue", "pipe"}},
    {"W1",
     "1 KiB",
     "items of 1 KiB, million a second",
     1e6,
     {"limit ring", "shmkit claimed, zero copy", "shmkit zero copy", "shmkit", "ck_ring",
      "ZeroMQ ipc", "Boost message_queue", "pipe"}},
    {"W2",
     "3 to 1, capacity 1",
     "3 producers, 1 place: thousand a second",
     1e3,
     {"shmkit", "POSIX mq", "Boost message_queue", "condition ring", "semaphore ring",
      "Python mp.Queue"}},
    {"W3",
     "awake",
     "round trip in us, less is better",
     1e3,
     {"limit ring", "shmkit claimed", "shmkit", "ck_ring", "POSIX mq", "pipe",
      "Boost message_queue", "ZeroMQ ipc"}},
};
#define PANELS (sizeof(panels) / sizeof(*panels))

/* gnuplot reads an underscore as "lower the next character". */
static void plain_text(FILE *file, const char *text)
{
    for (; *text; text++) {
        if (*text == '_')
            fputs("\\\\", file);
        putc(*text, file);
    }
}

struct extent {
    unsigned bars;
    double least, most;
};

/* A data block: position, value, colour, name, label. */
static struct extent write_bars(FILE *file, const struct panel *panel, size_t number)
{
    struct extent extent = {0, INFINITY, 0};

    fprintf(file, "$bars%zu << END_OF_BARS\n", number);
    for (size_t i = 0; i < sizeof(panel->subjects) / sizeof(*panel->subjects) && panel->subjects[i];
         i++) {
        double value = result_median(panel->workload, panel->row, "pinned", panel->subjects[i], 0) /
                       panel->scale;
        if (isnan(value) || value <= 0)
            continue;
        bool ours = panel->subjects[i][0] == 's' && panel->subjects[i][1] == 'h';
        extent.least = fmin(extent.least, value);
        extent.most = fmax(extent.most, value);
        fprintf(file, "%u %g %s \"", extent.bars++, value,
                ours     ? "0x1f77b4"
                : i == 0 ? "0x999999"
                         : "0xd8b365");
        plain_text(file, panel->subjects[i]);
        fprintf(file, value < 1000 ? "\" \"%.3g\"\n" : "\" \"%.0f\"\n", value);
    }
    fprintf(file, "END_OF_BARS\n");
    return extent;
}

void report_plot(const char *path)
{
    struct extent extent[PANELS];
    unsigned shown = 0;

    /*
     * Without a newline gnuplot cannot be given a file name that breaks out of its quotes; an
     * apostrophe is doubled there.
     */
    FILE *file = popen("gnuplot >/dev/null", "w");
    if (!file) {
        perror("bench: gnuplot");
        return;
    }
    fprintf(file, "set terminal svg size 900,640 font 'sans,13' background 'white'\nset output '");
    for (const char *p = path; *p; p++)
        fprintf(file, *p == '\'' ? "''" : "%c", *p);
    fprintf(file, "'\n");
    for (size_t i = 0; i < PANELS; i++)
        shown += (extent[i] = write_bars(file, &panels[i], i)).bars;
    if (shown) {
        fprintf(file, "set multiplot layout 2,2 title 'the bars are logarithmic'\n"
                      "set style fill solid\nset boxwidth 0.35\nunset key\n"
                      "set border 2\nset logscale x\n"
                      "unset xtics\nset ytics nomirror\nset lmargin 24\nset rmargin 3\n");
        for (size_t i = 0; i < PANELS; i++) {
            if (!extent[i].bars)
                continue;
            double left = extent[i].least / 2;
            fprintf(file,
                    "set title '%s'\nset yrange [%g:-0.6]\nset xrange [%g:%g]\n"
                    "plot $bars%zu using (%g):1:(%g):2:($1 - 0.35):($1 + 0.35):3:ytic(4) "
                    "with boxxyerror lc rgb variable, "
                    "$bars%zu using 2:1:5 with labels left offset 0.5,0\n",
                    panels[i].title, extent[i].bars - 0.4, left, extent[i].most * 3, i, left, left,
                    i);
        }
        fprintf(file, "unset multiplot\n");
    }
    if (pclose(file) != 0)
        fprintf(stderr,
                "bench: no picture: gnuplot has failed, or is not there (package: gnuplot-nox)\n");
    else if (shown)
        fprintf(stderr, "bench: the picture is in %s\n", path);
}

/*
 * recording KEY=VALUE...: writes a recording in EDF or BDF, as it should be or as it should not, to
 * standard output.
 *
 *     format=bdf        samples of 3 bytes; else EDF, of 2
 *     labels=A;B;C      the signals ("EEG Oz;ECG;EEG Pz")
 *     samples=4;2;4     of each in a record; units=, pmin=, pmax=, dmin=, dmax= alike
 *     onsets=0;0.5      a signal 'EDF Annotations' more, which says when each record begins
 *     written=N         records that are there (2)
 *     version=, size=, kind=, records=, duration=, number=, date=    a field as it is to be written
 *     extra=N, cut=N    bytes more at the end, or fewer
 *
 * The last of a list is for all signals behind it. Sample k of signal s, both from 0, is stored as
 * 100 * (s + 1) + k, which is a tenth of that in the units of a usual signal.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char **keys;

static const char *text(const char *key, const char *otherwise)
{
    size_t length = strlen(key);

    for (char **k = keys; *k; k++) {
        if (strncmp(*k, key, length) == 0 && (*k)[length] == '=')
            return *k + length + 1;
    }
    return otherwise;
}

/* The i-th of a list with semicolons, or its last. */
static const char *item(const char *list, int i)
{
    static char buffer[200];

    for (; i > 0 && strchr(list, ';'); i--)
        list = strchr(list, ';') + 1;
    snprintf(buffer, sizeof(buffer), "%.*s", (int)strcspn(list, ";"), list);
    return buffer;
}

static int items(const char *list)
{
    int n = 1;

    for (; strchr(list, ';'); n++)
        list = strchr(list, ';') + 1;
    return n;
}

/* Everything is kept, to be cut in the end. */
static unsigned char *file;
static size_t size;

static void put(const void *bytes, size_t n)
{
    file = realloc(file, size + n);
    if (!file)
        exit(1);
    memcpy(file + size, bytes, n);
    size += n;
}

static void field(int width, const char *value)
{
    char buffer[200];

    snprintf(buffer, sizeof(buffer), "%-*.*s", width, width, value);
    put(buffer, (size_t)width);
}

static void number(int width, long value)
{
    char buffer[30];

    snprintf(buffer, sizeof(buffer), "%ld", value);
    field(width, buffer);
}

/* The same field of each signal; of the annotations `last`. */
static void fields(int width, const char *list, int signals, const char *last)
{
    for (int i = 0; i < signals; i++)
        field(width, item(list, i));
    if (last)
        field(width, last);
}

int main(int argc, char **argv)
{
    enum { ANNOTATIONS = 30 };
    bool bdf;
    const char *labels, *samples, *onsets;
    int signals, all, width;
    long written, cut, extra;

    (void)argc;
    keys = argv + 1;
    bdf = strcmp(text("format", "edf"), "bdf") == 0;
    labels = text("labels", "EEG Oz;ECG;EEG Pz");
    samples = text("samples", "4;2;4");
    onsets = text("onsets", NULL);
    signals = *labels ? items(labels) : 0;
    all = signals + (onsets != NULL);
    width = bdf ? 3 : 2;
    written = atol(text("written", "2"));
    cut = atol(text("cut", "0"));
    extra = atol(text("extra", "0"));

    field(8, text("version", bdf ? "\xff"
                                   "BIOSEMI"
                                 : "0"));
    field(80, "X X X X");
    field(80, "Startdate 22-NOV-2026 X X X");
    field(8, text("date", "22.11.26"));
    field(8, "09.00.00");
    if (text("size", NULL))
        field(8, text("size", NULL));
    else
        number(8, 256 + all * 256);
    field(44, text("kind", onsets ? bdf ? "BDF+D" : "EDF+D" : ""));
    if (text("records", NULL))
        field(8, text("records", NULL));
    else
        number(8, written);
    field(8, text("duration", "0.5"));
    if (text("number", NULL))
        field(4, text("number", NULL));
    else
        number(4, all);
    fields(16, labels, signals, onsets ? bdf ? "BDF Annotations" : "EDF Annotations" : NULL);
    fields(80, "", signals, onsets ? "" : NULL);
    fields(8, text("units", "uV"), signals, onsets ? "" : NULL);
    fields(8, text("pmin", "-100"), signals, onsets ? "-1" : NULL);
    fields(8, text("pmax", "100"), signals, onsets ? "1" : NULL);
    fields(8, text("dmin", "-1000"), signals, onsets ? "-32768" : NULL);
    fields(8, text("dmax", "1000"), signals, onsets ? "32767" : NULL);
    fields(80, "", signals, onsets ? "" : NULL);
    fields(8, samples, signals, onsets ? "30" : NULL);
    fields(32, "", signals, onsets ? "" : NULL);

    for (long r = 0; r < written; r++) {
        for (int s = 0; s < signals; s++) {
            long n = atol(item(samples, s));

            for (long k = 0; k < n; k++) {
                long value = 100 * (s + 1) + r * n + k;

                put((unsigned char[]){(unsigned char)value, (unsigned char)(value >> 8),
                                      (unsigned char)(value >> 16)},
                    (size_t)width);
            }
        }
        if (onsets) {
            char annotation[ANNOTATIONS * 3] = "";

            snprintf(annotation, sizeof(annotation), "+%s\24\24", item(onsets, (int)r));
            put(annotation, (size_t)ANNOTATIONS * (size_t)width);
        }
    }
    for (long i = 0; i < extra; i++)
        put("", 1);
    return fwrite(file, 1, size - (size_t)cut, stdout) == size - (size_t)cut ? 0 : 1;
}

#include "edf.h"
#include "common.h"

#ifdef HAVE_LIBEDF

#include <edflib.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the library's number for an error means to whoever has the file. */
static const char *reason(int error)
{
    switch (error) {
    case EDFLIB_FILE_CONTAINS_FORMAT_ERRORS:
        return "not a recording in EDF, EDF+, BDF or BDF+, or damaged";
    case EDFLIB_NUMBER_OF_SIGNALS_INVALID:
        return "the recording has no signals, or too many";
    case EDFLIB_MALLOC_ERROR:
        return strerror(ENOMEM);
    default:
        return "the recording cannot be read";
    }
}

/* Labels are filled up with blanks. */
static size_t length_of(const char *label)
{
    size_t length = strlen(label);

    while (length > 0 && label[length - 1] == ' ')
        length--;
    return length;
}

static bool is_called(const struct edf_param_struct *signal, const char *label)
{
    size_t length = length_of(label);

    return length_of(signal->label) == length && memcmp(signal->label, label, length) == 0;
}

static double rate_of(const struct edf_hdr_struct *header, int signal)
{
    if (header->datarecord_duration <= 0)
        return 0;
    return (double)header->signalparam[signal].smp_in_datarecord * EDFLIB_TIME_DIMENSION /
           header->datarecord_duration;
}

static void list_signals(const struct edf_hdr_struct *header)
{
    for (int i = 0; i < header->edfsignals; i++) {
        const struct edf_param_struct *signal = &header->signalparam[i];
        char *label = printable(signal->label, length_of(signal->label));
        char *unit = printable(signal->physdimension, length_of(signal->physdimension));

        if (label && unit)
            complain("  '%s'  %g samples a second, %g to %g %s", label, rate_of(header, i),
                     signal->phys_min, signal->phys_max, unit);
        free(label);
        free(unit);
    }
}

static int find_signal(struct edf *edf, const struct edf_hdr_struct *header, const char *label)
{
    for (int i = 0; label && i < header->edfsignals; i++) {
        if (!is_called(&header->signalparam[i], label))
            continue;
        edf->signal = i;
        edf->rate = rate_of(header, i);
        if (edf->rate > 0)
            return DONE;
        complain("%s: the signal '%s' has no rate", edf->path, label);
        return FAILED;
    }
    if (label)
        complain("%s: there is no signal '%s'; there are:", edf->path, label);
    else
        complain("%s: --signal must say which of these:", edf->path);
    list_signals(header);
    return USAGE;
}

/* The library has one number for this and for damage, depending on what else it finds first. */
static bool has_gaps(FILE *file)
{
    enum { KIND = 192, LENGTH = 5 };
    char kind[LENGTH];

    return fseek(file, KIND, SEEK_SET) == 0 && fread(kind, LENGTH, 1, file) == 1 &&
           (memcmp(kind, "EDF+D", LENGTH) == 0 || memcmp(kind, "BDF+D", LENGTH) == 0);
}

int edf_begin(struct edf *edf, const char *path, const char *label)
{
    struct edf_hdr_struct *header = malloc(sizeof(*header));
    FILE *file = fopen(path, "rb");
    int status = FAILED;

    *edf = (struct edf){.handle = -1, .path = path};
    if (!header || !file) /* the library would not say why */
        complain("%s: %s", path, strerror(errno));
    else if (has_gaps(file))
        complain("%s: the recording has gaps (EDF+D or BDF+D), and only those in one piece can be "
                 "played",
                 path);
    else if (edfopen_file_readonly(path, header, EDFLIB_DO_NOT_READ_ANNOTATIONS) < 0)
        complain("%s: %s", path, reason(header->filetype));
    else {
        edf->handle = header->handle;
        status = find_signal(edf, header, label);
    }
    if (file)
        fclose(file);
    free(header);
    return status;
}

ssize_t edf_next(struct edf *edf, double *samples, size_t n)
{
    int read = edfread_physical_samples(edf->handle, edf->signal, n, samples);

    if (read < 0)
        complain("%s: the recording cannot be read to its end", edf->path);
    return read;
}

void edf_end(struct edf *edf)
{
    if (edf->handle >= 0)
        edfclose_file(edf->handle);
}

#else

int edf_begin(struct edf *edf, const char *path, const char *label)
{
    (void)label;
    *edf = (struct edf){.handle = -1};
    complain("%s: built without libedf (Debian package: libedf-dev)", path);
    return FAILED;
}

ssize_t edf_next(struct edf *edf, double *samples, size_t n)
{
    (void)edf, (void)samples, (void)n;
    return 0;
}

void edf_end(struct edf *edf)
{
    (void)edf;
}

#endif

#include "edf.h"
#include "common.h"

#ifdef HAVE_LIBEDF

#include <edflib.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What the library's number for an error means to the owner of the file. */
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

/*
 * EDF+D and BDF+D: records of data that need not follow each other without gaps. The library plays
 * none of them, and has one number for this and for damage. Each record says when it begins, as the
 * first of its annotations: "+12.5\24\24\0". Where each begins when the one before it ends there is
 * no gap, and the same bytes are a recording in one piece once the header says "EDF+C".
 */
struct header {
    double duration; /* of a record, in seconds */
    /* bytes: where records begin, a record, in it the annotations */
    long start, records, record_size, annotations;
};

enum { KIND = 192, KIND_LENGTH = 5, ANNOTATIONS_MAX = 1 << 20 };

static bool is_interrupted_kind(FILE *file)
{
    char kind[KIND_LENGTH];

    return fseek(file, KIND, SEEK_SET) == 0 && fread(kind, KIND_LENGTH, 1, file) == 1 &&
           (memcmp(kind, "EDF+D", KIND_LENGTH) == 0 || memcmp(kind, "BDF+D", KIND_LENGTH) == 0);
}

/* A field of the header as a number; negative: none. */
static double number_at(FILE *file, long at, size_t width)
{
    char text[17] = "", *end;
    double number;

    /* fewer: at the end of the file */
    if (fseek(file, at, SEEK_SET) < 0 || fread(text, 1, width, file) == 0)
        return -1;
    number = strtod(text, &end);
    return end == text ? -1 : number;
}

static bool read_header(FILE *file, struct header *header)
{
    enum { START = 184, RECORDS = 236, DURATION = 244, SIGNALS = 252, LABELS = 256, LABEL = 16 };
    /* bytes of a signal's fields that come before its samples' */
    enum { BEFORE_SAMPLES = 216, WIDTH = 8, SIGNALS_MAX = 4096 };
    long signals = (long)number_at(file, SIGNALS, 4), sample = number_at(file, 0, 1) == 0 ? 2 : 3;

    *header = (struct header){
        .duration = number_at(file, DURATION, WIDTH),
        .start = (long)number_at(file, START, WIDTH),
        .records = (long)number_at(file, RECORDS, WIDTH),
        .annotations = -1,
    };
    if (signals < 1 || signals > SIGNALS_MAX || header->start < LABELS || header->records < 1 ||
        header->duration < 0)
        return false;
    for (long i = 0; i < signals; i++) {
        double samples = number_at(file, LABELS + signals * BEFORE_SAMPLES + i * WIDTH, WIDTH);
        char label[LABEL];

        if (samples < 1 || samples > ANNOTATIONS_MAX ||
            fseek(file, LABELS + i * LABEL, SEEK_SET) < 0 || fread(label, LABEL, 1, file) != 1)
            return false;
        if (header->annotations < 0 && memcmp(label + 1, "DF Annotations", 14) == 0)
            header->annotations = header->record_size;
        header->record_size += (long)samples * sample;
    }
    return header->annotations >= 0;
}

/*
 * Returns DONE if each record begins when the one before it ends; else FAILED, after saying where
 * the first gap is.
 */
static int find_gap(const char *path, FILE *file, const struct header *header)
{
    double begins = 0, next = 0;

    for (long i = 0; i < header->records; i++) {
        begins = number_at(file, header->start + i * header->record_size + header->annotations, 16);
        if (begins < 0) {
            complain("%s: record %ld does not say when it begins", path, i + 1);
            return FAILED;
        }
        if (i > 0 && (begins < next - 1e-4 || begins > next + 1e-4)) {
            complain("%s: the recording has a gap: record %ld ends at %g s, the next one begins at "
                     "%g s; only a recording in one piece can be played",
                     path, i, next, begins);
            return FAILED;
        }
        next = begins + header->duration;
    }
    return DONE;
}

/*
 * A copy in memory whose header says that it is in one piece. Returns its descriptor, or -1 with
 * errno.
 */
static int copy_as_one_piece(FILE *file)
{
    int fd = memfd_create("recording", MFD_CLOEXEC);
    char block[1 << 16];
    ssize_t n = 1;

    if (fd < 0 || fseek(file, 0, SEEK_SET) < 0)
        return -1;
    while (n > 0 && (n = fread(block, 1, sizeof(block), file)) > 0) {
        if (write(fd, block, n) != n)
            n = -1;
    }
    if (n == 0 && !ferror(file) && pwrite(fd, "C", 1, KIND + KIND_LENGTH - 1) == 1)
        return fd;
    close(fd);
    return -1;
}

/* Open what may have gaps and has none. Returns an exit code. */
static int open_interrupted(const char *path, FILE *file, struct edf_hdr_struct *edf)
{
    struct header header;
    char copy[64];
    int fd, status;

    if (!read_header(file, &header)) {
        complain("%s: %s", path, reason(EDFLIB_FILE_CONTAINS_FORMAT_ERRORS));
        return FAILED;
    }
    status = find_gap(path, file, &header);
    if (status != DONE)
        return status;
    fd = copy_as_one_piece(file);
    if (fd < 0) {
        complain("%s: %s", path, strerror(errno));
        return FAILED;
    }
    snprintf(copy, sizeof(copy), "/proc/self/fd/%d", fd);
    if (edfopen_file_readonly(copy, edf, EDFLIB_DO_NOT_READ_ANNOTATIONS) < 0) {
        complain("%s: %s", path, reason(edf->filetype));
        status = FAILED;
    }
    close(fd); /* the library has its own */
    return status;
}

int edf_begin(struct edf *edf, const char *path, const char *label)
{
    struct edf_hdr_struct *header = malloc(sizeof(*header));
    FILE *file = fopen(path, "rb");
    int status = FAILED;

    *edf = (struct edf){.handle = -1, .path = path};
    if (!header || !file) { /* the library would not say why */
        complain("%s: %s", path, strerror(errno));
    } else if (is_interrupted_kind(file)) {
        status = open_interrupted(path, file, header);
    } else if (edfopen_file_readonly(path, header, EDFLIB_DO_NOT_READ_ANNOTATIONS) < 0) {
        complain("%s: %s", path, reason(header->filetype));
    } else {
        status = DONE;
    }
    if (status == DONE) {
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

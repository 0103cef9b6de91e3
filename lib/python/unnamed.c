#include "unnamed.h"

#include "errors.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_OBJECTS 4096
#define KEPT_FROM   100 /* the number of a descriptor, as those that the library keeps */

/*
 * The segments without a name that this process has, each with a descriptor, which is passed on to
 * children. They stay until the process ends, so that the descriptors of its objects do.
 */
struct unnamed {
    struct shk_segment *segment;
    int fd;
    dev_t device;
    ino_t inode;
    struct unnamed *next;
};
static struct unnamed *all; /* the first is the one for new objects; with the GIL */

/* The same with a high number: a program closes low ones, and opens others in their places. */
static int raised(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, KEPT_FROM);

    if (high < 0)
        return fd; /* so many are not allowed */
    close(fd);
    return high;
}

static int keep(struct shk_segment *s, int fd)
{
    struct unnamed *u = calloc(1, sizeof(*u)), **last = &all;
    struct stat st;

    if (u == NULL || fstat(fd, &st) != 0) {
        free(u);
        PyErr_NoMemory();
        return -1;
    }
    *u = (struct unnamed){.segment = s, .fd = fd, .device = st.st_dev, .inode = st.st_ino};
    while (*last)
        last = &(*last)->next;
    *last = u;
    return 0;
}

/* The descriptor of one, if it is still that: a program may have closed it by its number. */
static bool has_descriptor(const struct unnamed *u)
{
    struct stat st;

    if (fstat(u->fd, &st) == 0 && st.st_dev == u->device && st.st_ino == u->inode)
        return true;
    PyErr_SetString(shp_Error, "the descriptor of the segment without a name has been closed");
    return false;
}

/* One open more of a segment that this process has. */
static int open_once_more(const struct unnamed *u, struct shk_segment **out)
{
    int r = has_descriptor(u) ? shk_segment_open_fd(u->fd, 0, out) : -EBADF;

    if (r < 0)
        shp_error(r);
    return r < 0 ? -1 : 0;
}

/* ---- Objects that this process has no more ---- */

struct left {
    struct shk_segment *segment;
    bool pickled;
    char name[SHK_NAME_MAX + 1];
    struct left *next;
};
static struct left *left; /* with the GIL */

/* Remove those that no process has open; those that were pickled only if `all_of_them`. */
static void sweep(bool all_of_them)
{
    struct left **link = &left, *l;

    while ((l = *link)) {
        if ((l->pickled && !all_of_them) ||
            shk_object_unlink_unused(l->segment, l->name) == -EBUSY) {
            link = &l->next;
            continue;
        }
        *link = l->next;
        free(l);
    }
}

/* The segment of an object is `all`'s, which is open as long as the process. */
static struct unnamed *find(const struct shk_segment *s)
{
    struct unnamed *u = all;

    while (u && u->segment != s)
        u = u->next;
    return u;
}

void shp_unnamed_left(struct shk_segment *s, const char *object, bool pickled)
{
    struct left *l;

    if (!pickled && shk_object_unlink_unused(s, object) != -EBUSY)
        return;
    l = find(s) ? calloc(1, sizeof(*l)) : NULL;
    if (l == NULL)
        return; /* it goes with the segment */
    *l = (struct left){.segment = s, .pickled = pickled, .next = left};
    PyOS_snprintf(l->name, sizeof(l->name), "%s", object);
    left = l;
}

bool shp_unnamed_make_room(void)
{
    bool any = left != NULL;

    sweep(true);
    return any;
}

int shp_unnamed_open(const struct shk_segment *beside, struct shk_segment **out)
{
    struct shk_segment_options options = {.max_objects = MAX_OBJECTS};
    static unsigned opened;
    struct shk_segment *s;
    int fd;

    if (all == NULL) {
        fd = shk_segment_create_unnamed(&options, &s);
        if (fd < 0) {
            shp_error(fd);
            return -1;
        }
        fd = raised(fd);
        if (keep(s, fd) < 0) {
            shk_segment_close(s);
            close(fd);
            return -1;
        }
    }
    if (++opened % 16 == 0) /* each costs a call */
        sweep(false);
    return open_once_more(beside && find(beside) ? find(beside) : all, out);
}

void shp_unnamed_name(char *name, size_t size)
{
    static unsigned long count; /* with the GIL */
    struct timespec now;

    /* A child that is forked goes on counting where its parent was, and a pid may come again. */
    clock_gettime(CLOCK_MONOTONIC, &now);
    PyOS_snprintf(name, size, "%d.%lu.%llx", (int)getpid(), ++count,
                  (unsigned long long)now.tv_sec * 1000000000u + (unsigned long long)now.tv_nsec);
}

/* ---- Pickling ---- */

PyObject *shp_unnamed_reduce(struct shk_segment *s, const char *object)
{
    PyObject *descriptors, *descriptor;
    struct unnamed *u = find(s);

    if (u == NULL) {
        PyErr_SetString(shp_Error, "the segment without a name is not that of this process");
        return NULL;
    }
    if (!has_descriptor(u))
        return NULL;
    descriptors = PyImport_ImportModule("shmkit._descriptors");
    if (descriptors == NULL)
        return NULL;
    descriptor = PyObject_CallMethod(descriptors, "give", "i", u->fd);
    Py_DECREF(descriptors);
    return descriptor ? Py_BuildValue("(Ns)", descriptor, object) : NULL;
}

/*
 * The descriptor that came with a place: the caller's; -1 with an exception. It keeps its number,
 * by which the next place of the same child has it, too. Not that of a closed stdin, stdout or
 * stderr: what is written there would go into the segment.
 */
static int take_descriptor(PyObject *place)
{
    PyObject *number = PyObject_CallMethod(PyTuple_GetItem(place, 0), "detach", NULL);
    long fd = number ? PyLong_AsLong(number) : -1;

    Py_XDECREF(number);
    if (fd >= 0)
        fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    if (fd >= 0 && fd <= STDERR_FILENO)
        fd = raised((int)fd);
    return PyErr_Occurred() ? -1 : (int)fd;
}

/* Take over a descriptor: one of a segment that the process has is closed. */
static int open_descriptor(int fd, struct shk_segment **out)
{
    struct unnamed *u = all;
    struct shk_segment *s;
    struct stat st;
    int r;

    if (fstat(fd, &st) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    while (u && (u->device != st.st_dev || u->inode != st.st_ino))
        u = u->next;
    if (u) {
        if (fd != u->fd)
            close(fd);
        return open_once_more(u, out);
    }
    r = shk_segment_open_fd(fd, 0, &s);
    if (r < 0) {
        shp_error(r);
        close(fd);
        return -1;
    }
    if (keep(s, fd) < 0) {
        shk_segment_close(s);
        close(fd);
        return -1;
    }
    r = shk_segment_open_fd(fd, 0, out);
    if (r < 0)
        shp_error(r);
    return r < 0 ? -1 : 0;
}

int shp_unnamed_reopen(PyObject *place, struct shk_segment **out, const char **name)
{
    int fd;

    if (!PyTuple_Check(place) || PyTuple_Size(place) != 2) {
        PyErr_SetString(PyExc_TypeError, "a place is a name, or a descriptor and a name");
        return -1;
    }
    *name = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(place, 1), NULL);
    fd = *name ? take_descriptor(place) : -1;
    return fd < 0 ? -1 : open_descriptor(fd, out);
}

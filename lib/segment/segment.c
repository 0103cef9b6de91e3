#include "segment/segment.h"

#include "base/error.h"
#include "segment/create.h"
#include "segment/fork.h"
#include "segment/member.h"
#include "segment/recover.h"
#include "segment/retire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define ATTEMPTS 1000 /* to open what others create and unlink all the time */

/* In sentences. No segment has that name. */
static const char without_name[] = "(without a name)";

static int say_absent(const char *name)
{
    return shki_fail(-ENOENT, "there is no segment /%s", name);
}

/* Join what is mapped. -EAGAIN: it has been retired, and its name is free now. */
static int join(struct shk_segment *s)
{
    struct shki_member *m = shki_member_find(s);
    bool is_new = m == NULL;
    int r = 0;

    if (shki_segment_is_retired(s))
        r = -ESTALE;
    else if (is_new)
        r = shki_member_join(s, &m);
    if (r == -EUSERS) {
        s->kinds->reap(s);
        r = shki_member_join(s, &m);
    }
    if (r == 0 && shki_segment_is_lost(s)) { /* its name was removed before the join */
        r = -ESTALE;
        if (is_new)
            shki_member_leave(s);
    }
    if (r != -ESTALE || !shki_repair_enabled(SHKI_REPAIR_FINISH_UNLINK))
        return r;
    r = shki_segment_finish_unlink(s); /* of an unlinker that is dead, or late */
    return r == 0 || r == -ENOENT ? -EAGAIN : r;
}

/*
 * The handle for a file, which is mapped if it is not yet. The descriptor stays the caller's. The
 * name is `without_name` for a segment that has none.
 */
static int attach_file(const char *name, int fd, unsigned flags, const struct shki_kinds *kinds,
                       struct shk_segment **out)
{
    struct shk_segment *s;
    struct stat st;
    int r;

    if (fstat(fd, &st) != 0)
        return shki_fail(-errno, "segment /%s: %s", name, strerror(errno));
    *out = shki_registry_open(&st);
    if (*out)
        return 0;
    r = shki_fork_is_handled();
    if (r == 0)
        r = shki_segment_map(name, fd, flags, &s);
    if (r != 0)
        return r;
    shki_recover_enable(s);
    s->kinds = kinds;
    s->unnamed = name == without_name;
    return shki_registry_add(s, &st, out);
}

/*
 * The creator is a member before the segment has a name. Whatever fails, nothing is left, for a
 * file without a name goes with its last mapping. -EAGAIN: another process has created one
 * meanwhile.
 */
static int attach_new(const char *name, unsigned flags, const struct shk_segment_options *options,
                      const struct shki_kinds *kinds, struct shk_segment **out)
{
    char path[SHKI_PATH_MAX], temporary[SHKI_PATH_MAX];
    struct shki_member *m;
    int fd = shki_segment_create(name, options, temporary), r;

    if (fd < 0)
        return fd;
    r = attach_file(name, fd, flags, kinds, out);
    if (r < 0)
        goto done;
    r = shki_member_join(*out, &m);
    if (r < 0)
        goto fail;
    shki_path(path, name);
    r = shki_segment_publish(fd, temporary, path);
    if (r == 0)
        goto done;
    shki_member_leave(*out);
    r = r == -EEXIST ? -EAGAIN
                     : shki_fail(r, "segment /%s cannot be created: %s", name, strerror(-r));
fail:
    shki_registry_drop(*out);
done:
    if (*temporary)
        unlink(temporary);
    close(fd);
    return r;
}

/*
 * With SHK_EXCL anything that has the name is in the way, even if it is no segment or cannot be
 * opened. Other failures are reported as they are.
 */
static int say_present(const char *name, int r)
{
    char path[SHKI_PATH_MAX];
    struct stat st;

    shki_path(path, name);
    if ((r != -EPROTO && r != -EPERM && r != -EACCES && r != -EXDEV) || lstat(path, &st) != 0)
        return r;
    return shki_fail(-EEXIST, "segment /%s exists already", name);
}

/* What cannot be opened is in the way, unless it is to be created and no process uses it. */
static int remove_or_say(const char *name, unsigned flags, int r)
{
    if (r == -EXDEV && flags & SHK_CREATE && shki_segment_remove_deserted(name) == 0)
        return -EAGAIN;
    return flags & SHK_CREATE && flags & SHK_EXCL ? say_present(name, r) : r;
}

/* One attempt. -EAGAIN: something has just changed, try again. */
static int attach(const char *name, unsigned flags, const struct shk_segment_options *options,
                  const struct shki_kinds *kinds, struct shk_segment **out)
{
    bool exclusive = flags & SHK_CREATE && flags & SHK_EXCL;
    int fd = shki_segment_open_file(name, O_RDWR), r;

    if (fd == -ENOENT)
        return flags & SHK_CREATE ? attach_new(name, flags, options, kinds, out) : say_absent(name);
    r = fd < 0 ? fd : attach_file(name, fd, flags, kinds, out);
    if (fd >= 0)
        close(fd);
    if (r < 0)
        return r == -EAGAIN ? r : remove_or_say(name, flags, r);
    if (exclusive && !shki_segment_is_retired(*out))
        r = shki_fail(-EEXIST, "segment /%s exists already", name);
    else
        r = join(*out);
    if (r < 0)
        shki_registry_drop(*out);
    return r;
}

static int check_options(const char *name, const struct shk_segment_options *options)
{
    for (size_t i = 0; options && i < sizeof(options->reserved) / sizeof(options->reserved[0]); i++)
        if (options->reserved[i])
            return shki_fail(-EINVAL, "segment /%s: a reserved option is not zero", name);
    return 0;
}

int shki_segment_open(const char *name, unsigned flags, const struct shk_segment_options *options,
                      const struct shki_kinds *kinds, struct shk_segment **out)
{
    struct shki_saved_error saved;
    int r;

    if (out == NULL)
        return shki_say(-EINVAL, "the pointer to the handle is NULL");
    *out = NULL;
    r = shki_segment_name(name, &name);
    if (r < 0)
        return r;
    if (flags & ~(unsigned)(SHK_CREATE | SHK_EXCL | SHK_ANY_OWNER))
        return shki_fail(-EINVAL, "segment /%s: a flag is unknown", name);
    r = check_options(name, options);
    if (r < 0)
        return r;
    shki_error_save(&saved);
    r = -EAGAIN;
    for (int i = 0; r == -EAGAIN && i < ATTEMPTS; i++)
        r = attach(name, flags, options, kinds, out);
    if (r < 0)
        *out = NULL;
    if (r == -EAGAIN)
        return shki_fail(-EBUSY, "segment /%s is created and unlinked all the time", name);
    return shki_error_settle(r, &saved);
}

/* The caller is the member of what has just been attached. */
static int join_unnamed(struct shk_segment *s)
{
    struct shki_member *m = shki_member_find(s);
    int r = m ? 0 : shki_member_join(s, &m);

    if (r == -EUSERS) {
        s->kinds->reap(s);
        r = shki_member_join(s, &m);
    }
    if (r < 0)
        shki_registry_drop(s);
    return r;
}

int shki_segment_create_unnamed(const struct shk_segment_options *options,
                                const struct shki_kinds *kinds, struct shk_segment **out)
{
    char temporary[SHKI_PATH_MAX];
    struct shki_saved_error saved;
    int fd, r;

    if (out == NULL)
        return shki_say(-EINVAL, "the pointer to the handle is NULL");
    *out = NULL;
    r = check_options(without_name, options);
    if (r < 0)
        return r;
    shki_error_save(&saved);
    fd = shki_segment_create(without_name, options, temporary);
    if (fd < 0)
        return fd;
    if (*temporary)
        unlink(temporary);
    r = attach_file(without_name, fd, 0, kinds, out);
    if (r == 0)
        r = join_unnamed(*out);
    if (r == 0)
        return shki_error_settle(fd, &saved);
    close(fd);
    *out = NULL;
    return r;
}

int shki_segment_open_fd(int fd, unsigned flags, const struct shki_kinds *kinds,
                         struct shk_segment **out)
{
    struct shki_saved_error saved;
    struct stat st;
    int r;

    if (out == NULL)
        return shki_say(-EINVAL, "the pointer to the handle is NULL");
    *out = NULL;
    if (flags & ~(unsigned)SHK_ANY_OWNER)
        return shki_say(-EINVAL, "a segment without a name: a flag is unknown");
    if (fstat(fd, &st) != 0)
        return shki_fail(-errno, "a segment without a name: descriptor %d: %s", fd,
                         strerror(errno));
    if (S_ISREG(st.st_mode) && st.st_nlink > 0)
        return shki_fail(-EINVAL, "descriptor %d: the file has a name, and is opened by that", fd);
    shki_error_save(&saved);
    r = attach_file(without_name, fd, flags, kinds, out);
    if (r == 0 && shki_segment_is_retired(*out)) {
        shki_registry_drop(*out);
        r = shki_fail(-ESTALE, "descriptor %d: the segment has been unlinked", fd);
    }
    if (r == 0)
        r = join_unnamed(*out);
    if (r < 0)
        *out = NULL;
    return shki_error_settle(r, &saved);
}

int shki_segment_close(struct shk_segment *s, void (*wake)(struct shk_segment *))
{
    int r = 0;

    if (s == NULL)
        return 0;
    shki_registry_lock();
    if (shki_segment_is_closed(s))
        r = shki_say_closed(s);
    else if (load_relaxed(&s->openness.opens) == 1)
        r = shki_member_leave(s);
    if (r == 0) {
        if (fetch_sub_relaxed(&s->openness.opens, 1) == 1) {
            fetch_add_relaxed(&s->openness.closes, 1);
            pthread_mutex_lock(&s->local);
            if (s->base)
                wake(s); /* the waits of other threads end */
            pthread_mutex_unlock(&s->local);
        }
        shki_segment_unmap_if_unused(s);
    }
    shki_registry_unlock();
    return r;
}

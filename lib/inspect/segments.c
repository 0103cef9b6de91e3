/* The list of all segments, and what a file is. */
#include "base/error.h"
#include "base/name.h"
#include "inspect/snapshot.h"
#include "object/remote.h"
#include "segment/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

void shki_snapshot_file(struct shk_segment_info *info, const char *name, const struct stat *st)
{
    memset(info, 0, sizeof(*info));
    shki_copy_label(info->name, sizeof(info->name), name, strlen(name));
    info->uid = st->st_uid;
    info->gid = st->st_gid;
    info->mode = st->st_mode & 07777;
    info->size = (uint64_t)st->st_size;
    info->resident = (uint64_t)st->st_blocks * 512;
    info->inode = st->st_ino;
}

static void count_members(const struct shki_image *r, struct shk_segment_info *info)
{
    struct shki_member_shared members[SHKI_IMAGE_BATCH];

    for (uint32_t i = 0, n; (n = shki_image_members(r, i, members)) > 0; i += n)
        for (uint32_t k = 0; k < n; k++) {
            if (load_relaxed(&members[k].id) == 0)
                continue;
            if (shki_robust_is_held(&members[k].life))
                info->members_alive++;
            else
                info->members_dead++;
        }
}

static void count_objects(const struct shki_image *r, struct shk_segment_info *info)
{
    struct shki_entry entries[SHKI_IMAGE_BATCH];

    for (uint32_t i = 0, n; (n = shki_image_entries(r, i, entries)) > 0; i += n)
        for (uint32_t k = 0; k < n; k++)
            info->objects += shki_snapshot_is_live(&entries[k]);
}

void shki_snapshot_header(const struct shki_image *r, struct shk_segment_info *info)
{
    const struct shki_header *h = &r->header;

    info->state = load_relaxed(&h->retired) ? SHK_SEGMENT_RETIRED : SHK_SEGMENT_GOOD;
    if (info->state == SHK_SEGMENT_RETIRED)
        shki_copy_label(info->problem, sizeof(info->problem), "it is being unlinked",
                        sizeof("it is being unlinked"));
    info->layout = h->layout;
    info->id = h->id;
    info->created = h->created;
    info->creator = h->creator;
    info->namespace_ = h->pid_namespace;
    info->max_members = h->max_members;
    info->max_objects = h->max_objects;
}

/* Why a file is not a good segment. */
static void problem_info(const struct shki_image *r, int error, struct shk_segment_info *info)
{
    bool ours = memcmp(r->header.magic, SHKI_MAGIC, sizeof(r->header.magic)) == 0;
    bool same = r->header.layout == SHKI_LAYOUT && r->header.fingerprint == shki_fingerprint();

    info->state = error == -EACCES || error == -EPERM ? SHK_SEGMENT_DENIED
                  : !ours                             ? SHK_SEGMENT_FOREIGN
                  : same                              ? SHK_SEGMENT_CORRUPT
                                                      : SHK_SEGMENT_MISMATCH;
    shki_copy_label(info->problem, sizeof(info->problem), shk_last_error(),
                    strlen(shk_last_error()));
}

/* One file of the directory; false if it is gone. */
static bool segment_info(int directory, const char *name, struct shk_segment_info *info)
{
    struct shki_image r = {0};
    struct stat st;
    int error;

    if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return false;
    shki_snapshot_file(info, name, &st);
    error = shki_image_open(&r, name);
    if (error == -ENOENT)
        return false;
    if (error < 0) {
        problem_info(&r, error, info);
        return true;
    }
    shki_snapshot_header(&r, info);
    count_members(&r, info);
    count_objects(&r, info);
    shki_image_close(&r);
    return true;
}

static int by_segment_name(const void *a, const void *b)
{
    return strcmp(((const struct shk_segment_info *)a)->name,
                  ((const struct shk_segment_info *)b)->name);
}

static ssize_t list_elsewhere(unsigned flags, struct shk_segment_info **list)
{
    const struct shki_remote_library *library;
    int r = shki_remote_load(&library);

    return r < 0 ? r : library->list_segments(flags, list);
}

ssize_t shk_segment_list(unsigned flags, struct shk_segment_info **list)
{
    struct shk_segment_info *infos = NULL, *more;
    size_t n = 0, room = 0;
    struct dirent *e;
    DIR *directory;

    if (list == NULL || flags & ~(SHK_LIST_FOREIGN | SHK_LIST_ETCD))
        return shki_say(-EINVAL, "the pointer to the list is NULL, or a flag is unknown");
    *list = NULL;
    if (flags & SHK_LIST_ETCD)
        return list_elsewhere(flags, list);
    directory = opendir(SHKI_DIRECTORY);
    if (directory == NULL)
        return shki_fail(-errno, SHKI_DIRECTORY " cannot be read: %s", strerror(errno));
    while ((e = readdir(directory))) { /* NOLINT(concurrency-mt-unsafe): its own stream */
        if (n == room) {
            room = room ? 2 * room : 16;
            more = realloc(infos, room * sizeof(*infos));
            if (more == NULL)
                goto fail;
            infos = more;
        }
        if (e->d_name[0] != '.' && segment_info(dirfd(directory), e->d_name, &infos[n]) &&
            (infos[n].state != SHK_SEGMENT_FOREIGN || flags & SHK_LIST_FOREIGN))
            n++;
    }
    closedir(directory);
    if (n)
        qsort(infos, n, sizeof(*infos), by_segment_name);
    *list = infos;
    return (ssize_t)n;
fail:
    closedir(directory);
    free(infos);
    return shki_say(-ENOMEM, "out of memory");
}

ssize_t shk_server_list(struct shk_cluster_info *cluster, struct shk_server_info **list)
{
    const struct shki_remote_library *library;
    int r;

    if (cluster == NULL || list == NULL)
        return shki_say(-EINVAL, "the pointer to the cluster or to the list is NULL");
    *list = NULL;
    *cluster = (struct shk_cluster_info){0};
    r = shki_remote_load(&library);
    return r < 0 ? r : library->list_servers(cluster, list);
}

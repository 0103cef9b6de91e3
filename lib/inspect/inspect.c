#include <shmkit/inspect.h>

#include "base/error.h"
#include "base/name.h"
#include "kinds.h"
#include "segment/pool.h"
#include "segment/image.h"
#include "segment/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define NAME_TRIES 3

struct shk_snapshot {
    struct shk_segment_info segment;
    struct shk_object_info *objects;
    struct shk_member_info *members;
    size_t n_objects, n_members;
};

static void file_info(struct shk_segment_info *info, const char *name, const struct stat *st)
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

/* A member as it is now; false if the record is free. */
static bool member_info(const struct shki_image *r, uint32_t index, struct shki_member_shared *m,
                        struct shk_member_info *info)
{
    struct shki_member_shared again;

    for (int i = 0; i < NAME_TRIES; i++) {
        if (!shki_image_member(r, index, m) || load_relaxed(&m->id) == 0)
            return false;
        /*
         * NM1: the name is whole if there was no other meanwhile, for the next but one is written
         * over it; after a few tries, whatever is there
         */
        if (shki_image_member(r, index, &again) &&
            load_relaxed(&again.renames) == load_relaxed(&m->renames))
            break;
    }
    memset(info, 0, sizeof(*info));
    info->id = load_relaxed(&m->id);
    info->pid = m->pid;
    info->tid = m->tid;
    info->alive = shki_robust_is_held(&m->life);
    info->joined = m->joined;
    info->death_noticed = info->alive ? 0 : load_relaxed(&m->death_noticed);
    shki_copy_label(info->command, sizeof(info->command), m->command, sizeof(m->command));
    shki_copy_label(info->name, sizeof(info->name), m->names[load_relaxed(&m->renames) % 2],
                    sizeof(m->names[0]));
    return true;
}

/* Is the member's own segment where it sleeps? (A thread says it in all its records.) */
static bool sleeps_here(const struct shki_image *r, const struct shki_member_shared *m)
{
    return (load_relaxed(&m->waits_sequence) & 1) &&
           load_relaxed(&m->waits_segment) == r->header.id &&
           load_relaxed(&m->waits_for) <= SHK_WAITS_FOR_ANY;
}

/*
 * All members, alive and dead; returns how many. `records` and `infos` have room for members_ready.
 */
static size_t read_members(const struct shki_image *r, struct shki_member_shared *records,
                           struct shk_member_info *infos)
{
    size_t n = 0;

    for (uint32_t i = 0; i < r->members_ready; i++)
        if (member_info(r, i, &records[n], &infos[n]))
            n++;
    return n;
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

/* No living object has the serial 0. */
static bool is_live(const struct shki_entry *e)
{
    return load_relaxed(&e->state) == SHKI_ENTRY_LIVE && e->serial != 0;
}

static void count_objects(const struct shki_image *r, struct shk_segment_info *info)
{
    struct shki_entry entries[SHKI_IMAGE_BATCH];

    for (uint32_t i = 0, n; (n = shki_image_entries(r, i, entries)) > 0; i += n)
        for (uint32_t k = 0; k < n; k++)
            info->objects += is_live(&entries[k]);
}

static void header_info(const struct shki_image *r, struct shk_segment_info *info)
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
    file_info(info, name, &st);
    error = shki_image_open(&r, name);
    if (error == -ENOENT)
        return false;
    if (error < 0) {
        problem_info(&r, error, info);
        return true;
    }
    header_info(&r, info);
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

ssize_t shk_segment_list(unsigned flags, struct shk_segment_info **list)
{
    struct shk_segment_info *infos = NULL, *more;
    size_t n = 0, room = 0;
    struct dirent *e;
    DIR *directory;

    if (list == NULL || flags & ~SHK_LIST_FOREIGN)
        return shki_say(-EINVAL, "the pointer to the list is NULL, or a flag is unknown");
    *list = NULL;
    directory = opendir(SHKI_DIRECTORY);
    if (directory == NULL)
        return shki_fail(-errno, SHKI_DIRECTORY " cannot be read: %s", strerror(errno));
    while ((e = readdir(directory))) {
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

/* What is in the extent; what cannot be read stays zero. `shared` has room for that of any kind. */
static void contents_info(const struct shki_image *r, const struct shki_entry *e, void *shared,
                          struct shk_object_info *info)
{
    const struct shki_kind *kind = shki_kind(e->kind);
    const struct shki_repairs *repairs = shared;

    if (!shki_image_has(r, e, shki_kind_size(kind)) ||
        !shki_image_read(r, e->offset, shared, shki_kind_size(kind)))
        return;
    info->holders_lost = load_relaxed(&repairs->holders_lost);
    info->waiters_buried = load_relaxed(&repairs->waiters_buried);
    info->wakeups_passed_on = load_relaxed(&repairs->wakeups_passed_on);
    info->rebuilds = load_relaxed(&repairs->rebuilds);
    if (kind && kind->describe)
        kind->describe(r, e, shared, info);
}

static void object_info(const struct shki_image *r, const struct shki_entry *e, void *shared,
                        struct shk_object_info *info)
{
    shki_copy_label(info->name, sizeof(info->name), e->name, sizeof(e->name));
    info->kind = e->kind;
    info->serial = e->serial;
    info->size = e->size;
    info->creator = e->creator;
    info->created = e->created;
    contents_info(r, e, shared, info);
}

static bool uses_pool(uint32_t kind)
{
    const struct shki_kind *k = shki_kind(kind);

    return k && k->uses_pool;
}

/* The blocks of the pool that objects have. What cannot be read does not count. */
static void count_blocks(const struct shki_image *r, struct shk_object_info *objects)
{
    uint64_t words[512], limit = r->header.size / SHKI_BLOCK, n;

    for (uint64_t b = load_relaxed(&r->header.pool_floor); b < limit; b += n) {
        n = limit - b < 512 ? limit - b : 512;
        if (!shki_image_read(r, r->geometry.blocks_offset + b * sizeof(*words), words,
                             n * sizeof(*words)))
            return;
        for (uint64_t i = 0; i < n; i++) {
            uint64_t entry = shki_block_entry(words[i]);

            if (entry < r->header.max_objects && objects[entry].serial != 0 &&
                uses_pool(objects[entry].kind))
                objects[entry].size += SHKI_BLOCK;
        }
    }
}

/* All objects; objects[i] belongs to entry i, which is none if its serial is 0. */
static size_t read_objects(const struct shki_image *r, void *shared,
                           struct shk_object_info *objects)
{
    struct shki_entry entries[SHKI_IMAGE_BATCH];
    size_t found = 0;

    for (uint32_t i = 0, n; (n = shki_image_entries(r, i, entries)) > 0; i += n)
        for (uint32_t k = 0; k < n; k++)
            if (is_live(&entries[k])) {
                object_info(r, &entries[k], shared, &objects[i + k]);
                found++;
            }
    count_blocks(r, objects);
    return found;
}

/* Count it among the waiters of what it sleeps on, which it is told the name of. */
static void count_wait(const struct shki_image *r, const struct shki_member_shared *record,
                       struct shk_member_info *m, struct shk_object_info *objects)
{
    uint32_t entry = load_relaxed(&record->waits_entry);

    if (!m->alive || !sleeps_here(r, record) || entry >= r->header.max_objects ||
        objects[entry].serial == 0 || objects[entry].serial != load_relaxed(&record->waits_serial))
        return;
    objects[entry].waiters++;
    memcpy(m->waits_on, objects[entry].name, sizeof(m->waits_on));
}

static bool is_dead(const struct shk_snapshot *s, uint64_t id)
{
    const struct shk_member_info *m = shk_snapshot_find_member(s, id);

    return m && !m->alive;
}

static bool waiter_may_keep(uint32_t kind)
{
    const struct shki_kind *k = shki_kind(kind);

    return k && k->waiter_may_keep;
}

/*
 * What a dead member had open and did not last wait for, it may have been there to give. Where the
 * sides of a queue say which member came last, that is known instead. A member that came last and
 * left in order, or lives, is none.
 */
static void note_dead(const struct shki_image *r, const struct shki_member_shared *record,
                      const struct shk_member_info *m, const struct shki_process *row,
                      struct shk_object_info *objects)
{
    for (uint32_t i = 0; i < r->geometry.uses_words; i++)
        for (uint64_t bits = row->uses[i]; bits; bits &= bits - 1) {
            uint32_t entry = i * 64 + (uint32_t)__builtin_ctzll(bits);
            struct shk_object_info *o = entry < r->header.max_objects ? &objects[entry] : NULL;
            bool waited = o && load_relaxed(&record->waits_serial) == o->serial &&
                          load_relaxed(&record->waits_segment) == r->header.id;

            if (o && waiter_may_keep(o->kind))
                waited = waited && load_relaxed(&record->waits_sequence) & 1;

            if (!o || o->serial == 0 || waited || o->dead_giver)
                continue;
            o->dead_giver = m->id;
            o->dead_taker = o->dead_taker ? o->dead_taker : m->id;
        }
}

/* A member, as one of its process. */
struct user {
    int32_t pid;
    uint32_t member;
    bool counted;
};

static int by_pid(const void *a, const void *b)
{
    const struct user *x = a, *y = b;

    return (x->pid > y->pid) - (x->pid < y->pid);
}

/* The first of the members of a process, or NULL. */
static struct user *find_user(struct user *users, size_t n, int32_t pid)
{
    size_t low = 0, high = n, middle;

    while (low < high) {
        middle = low + (high - low) / 2;
        if (users[middle].pid < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && users[low].pid == pid ? &users[low] : NULL;
}

static void count_uses(const struct shki_image *r, const struct shki_process *row, uint64_t members,
                       struct shk_object_info *objects)
{
    for (uint32_t w = 0; w < r->geometry.uses_words; w++)
        for (uint64_t bits = row->uses[w]; bits; bits &= bits - 1) {
            uint32_t entry = w * 64 + (uint32_t)__builtin_ctzll(bits);

            if (entry < r->header.max_objects)
                objects[entry].users += members;
        }
}

/* Count the living members among the users of what their processes have open, and note the dead. */
static void look_at_uses(const struct shki_image *r, struct user *users, size_t n,
                         struct shki_process *row, const struct shki_member_shared *records,
                         const struct shk_snapshot *s)
{
    /*
     * From the last on: before an exec a process had another row, and takes the one after it while
     * that is there.
     */
    for (uint32_t i = r->processes_ready; i-- > 0;) {
        struct user *u;
        uint64_t living = 0;
        int32_t pid;

        if (!shki_image_read(r, r->geometry.processes_offset + i * r->geometry.process_size, row,
                             r->geometry.process_size) ||
            (row->word & SHKI_PROCESS_CLEARING) != SHKI_PROCESS_LIVE)
            continue;
        pid = (int32_t)(row->word >> 32);
        u = find_user(users, n, pid);
        if (u == NULL || u->counted)
            continue;
        u->counted = true;
        for (; u < users + n && u->pid == pid; u++) {
            living += s->members[u->member].alive;
            if (!s->members[u->member].alive)
                note_dead(r, &records[u->member], &s->members[u->member], row, s->objects);
        }
        count_uses(r, row, living, s->objects);
    }
}

/* After all members have been noted and sorted. */
static void settle_dead(const struct shk_snapshot *s, struct shk_object_info *o)
{
    if (!is_dead(s, o->dead_giver))
        o->dead_giver = 0;
    if (!is_dead(s, o->dead_taker))
        o->dead_taker = 0;
}

/* Put the objects that there are in front. */
static void close_gaps(struct shk_object_info *objects, uint32_t max)
{
    size_t n = 0;

    for (uint32_t i = 0; i < max; i++)
        if (objects[i].serial != 0 && n++ != i)
            objects[n - 1] = objects[i];
}

/* Locks, events and queues have no line of waiters. */
static bool stands_in_line(uint32_t waits_for)
{
    return waits_for == SHK_WAITS_FOR_NOTIFY || waits_for == SHK_WAITS_FOR_PERMIT ||
           waits_for == SHK_WAITS_FOR_PARTIES;
}

/* What each living member sleeps on; its ticket, if it stands in a line. */
static void waits_info(const struct shki_image *r, const struct shki_member_shared *records,
                       struct shk_snapshot *s)
{
    int64_t now = shki_now(), since;
    struct shki_node node;

    for (size_t i = 0; i < s->n_members; i++) {
        struct shk_member_info *m = &s->members[i];
        uint64_t node_at =
            r->geometry.nodes_offset + (uint64_t)shki_member_index(m->id) * sizeof(node);

        if (!m->alive || !sleeps_here(r, &records[i]))
            continue;
        m->waits_for = load_relaxed(&records[i].waits_for);
        m->has_deadline = load_relaxed(&records[i].waits_how) == SHKI_WAITS_TIMED;
        since = load_relaxed(&records[i].waits_since);
        /* no clock says less than 0 but damage does */
        m->waiting = since >= 0 && now > since ? now - since : 0;
        if (stands_in_line(m->waits_for) && shki_image_read(r, node_at, &node, sizeof(node)) &&
            load_relaxed(&node.list) != 0)
            m->ticket = load_relaxed(&node.ticket);
    }
}

static int by_object_name(const void *a, const void *b)
{
    return strcmp(((const struct shk_object_info *)a)->name,
                  ((const struct shk_object_info *)b)->name);
}

/* Join numbers are the upper bits of the ids. */
static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct shk_member_info *)a)->id,
             y = ((const struct shk_member_info *)b)->id;

    return (x > y) - (x < y);
}

/*
 * Each table is gone through once, whatever is in it: damage must not cost members times objects.
 */
static int look(const struct shki_image *r, const char *name, struct shk_snapshot *s)
{
    struct shki_member_shared *records = calloc(r->members_ready + 1, sizeof(*records));
    struct user *users = calloc(r->members_ready + 1, sizeof(*users));
    struct shki_process *row = calloc(1, r->geometry.process_size);
    void *shared = aligned_alloc(64, shki_round_up(shki_kinds_size(), 64));
    int error = 0;

    s->members = calloc(r->members_ready + 1, sizeof(*s->members));
    s->objects = calloc(r->header.max_objects, sizeof(*s->objects));
    if (records == NULL || users == NULL || row == NULL || shared == NULL || s->members == NULL ||
        s->objects == NULL) {
        error = shki_say(-ENOMEM, "out of memory");
        goto done;
    }
    file_info(&s->segment, name, &r->stat);
    header_info(r, &s->segment);
    s->n_members = read_members(r, records, s->members);
    waits_info(r, records, s);
    s->n_objects = read_objects(r, shared, s->objects);
    for (size_t i = 0; i < s->n_members; i++) {
        users[i] = (struct user){.pid = s->members[i].pid, .member = (uint32_t)i};
        count_wait(r, &records[i], &s->members[i], s->objects);
        s->segment.members_alive += s->members[i].alive;
        s->segment.members_dead += !s->members[i].alive;
    }
    qsort(users, s->n_members, sizeof(*users), by_pid);
    look_at_uses(r, users, s->n_members, row, records, s);
    close_gaps(s->objects, r->header.max_objects);
    s->segment.objects = (uint32_t)s->n_objects;
    qsort(s->objects, s->n_objects, sizeof(*s->objects), by_object_name);
    qsort(s->members, s->n_members, sizeof(*s->members), by_id);
    for (size_t i = 0; i < s->n_objects; i++)
        settle_dead(s, &s->objects[i]);
done:
    free(records);
    free(users);
    free(row);
    free(shared);
    return error;
}

int shk_snapshot_open(const char *segment, struct shk_snapshot **out)
{
    struct shki_image r;
    struct shk_snapshot *s;
    int error;

    if (out == NULL)
        return shki_say(-EINVAL, "the pointer to the snapshot is NULL");
    *out = NULL;
    error = shki_segment_name(segment, &segment);
    if (error == 0)
        error = shki_image_open(&r, segment);
    if (error < 0)
        return error;
    s = calloc(1, sizeof(*s));
    error = s ? look(&r, segment, s) : shki_say(-ENOMEM, "out of memory");
    shki_image_close(&r);
    if (error < 0)
        shk_snapshot_close(s);
    else
        *out = s;
    return error;
}

void shk_snapshot_close(struct shk_snapshot *s)
{
    if (s == NULL)
        return;
    free(s->objects);
    free(s->members);
    free(s);
}

const struct shk_segment_info *shk_snapshot_segment(const struct shk_snapshot *s)
{
    return s ? &s->segment : NULL;
}

const struct shk_object_info *shk_snapshot_object(const struct shk_snapshot *s, size_t i)
{
    return s && i < s->n_objects ? &s->objects[i] : NULL;
}

const struct shk_member_info *shk_snapshot_member(const struct shk_snapshot *s, size_t i)
{
    return s && i < s->n_members ? &s->members[i] : NULL;
}

/* Both lists are in order. Of several of one name, which only damage makes, it is any. */
const struct shk_object_info *shk_snapshot_find_object(const struct shk_snapshot *s,
                                                       const char *name)
{
    struct shk_object_info wanted;

    if (s == NULL || name == NULL || strlen(name) >= sizeof(wanted.name))
        return NULL;
    strcpy(wanted.name, name);
    return bsearch(&wanted, s->objects, s->n_objects, sizeof(*s->objects), by_object_name);
}

const struct shk_member_info *shk_snapshot_find_member(const struct shk_snapshot *s, uint64_t id)
{
    const struct shk_member_info wanted = {.id = id};

    return s ? bsearch(&wanted, s->members, s->n_members, sizeof(*s->members), by_id) : NULL;
}

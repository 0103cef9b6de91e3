/* Which members have which objects open, sleep on them, or died with them. */
#include "base/error.h"
#include "inspect/snapshot.h"
#include "kinds.h"
#include "segment/presence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Count a member among the waiters of the object that it sleeps on, and note the name of that. */
static void count_wait(const struct shki_image *r, const struct shki_member_shared *record,
                       struct shk_member_info *m, struct shk_object_info *objects)
{
    uint32_t entry = load_relaxed(&record->waits_entry);

    if (!m->alive || !shki_snapshot_sleeps(r, record) || entry >= r->header.max_objects ||
        objects[entry].serial == 0 || objects[entry].serial != load_relaxed(&record->waits_serial))
        return;
    objects[entry].waiters++;
    memcpy(m->waits_on, objects[entry].name, sizeof(m->waits_on));
}

static bool waiter_may_keep(uint32_t kind)
{
    const struct shki_kind *k = shki_kind(kind);

    return k && k->waiter_may_keep;
}

/*
 * A dead member that had an object open, and did not last wait for it, may have been the one to
 * give what others wait for there. A queue notes which member came last to each side: that is
 * known then, and not replaced.
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

/* A member, to be sorted by process. */
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

/* A process is a producer, or a consumer, of the object of an entry. */
static bool add_role(struct shk_snapshot *s, int32_t pid, struct shk_object_info *o, unsigned role)
{
    struct shki_snapshot_role *more = s->roles;

    if ((s->n_roles & (s->n_roles - 1)) == 0) /* as many as a power of two: room for twice that */
        more = realloc(s->roles, (2 * s->n_roles + 1) * sizeof(*s->roles));
    if (more == NULL)
        return false;
    s->roles = more;
    s->roles[s->n_roles++] =
        (struct shki_snapshot_role){.pid = pid, .role = role, .serial = o->serial};
    if (role == SHK_PRODUCER)
        o->producers++;
    else
        o->consumers++;
    return true;
}

static bool read_roles(const struct shki_image *r, const struct shki_process *row, int32_t pid,
                       struct shk_snapshot *s)
{
    for (unsigned side = 0; side < SHKI_SIDES; side++)
        for (uint32_t w = 0; w < r->geometry.uses_words; w++)
            for (uint64_t bits = row->uses[(1 + side) * r->geometry.uses_words + w]; bits;
                 bits &= bits - 1) {
                uint32_t entry = w * 64 + (uint32_t)__builtin_ctzll(bits);

                if (entry < r->header.max_objects && s->objects[entry].serial != 0 &&
                    !add_role(s, pid, &s->objects[entry], 1u << side))
                    return false;
            }
    return true;
}

/*
 * Of each process that has a row: count its living members among the users of what it has open, and
 * note its dead ones.
 */
static bool read_uses(const struct shki_image *r, struct user *users, size_t n,
                      struct shki_process *row, const struct shki_member_shared *records,
                      struct shk_snapshot *s)
{
    /*
     * From the last row to the first, since a process may have two rows: after an exec it takes
     * another, behind the one that it had before. The later row counts.
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
        if (living > 0 && !read_roles(r, row, pid, s))
            return false;
    }
    return true;
}

int shki_snapshot_uses(const struct shki_image *r, const struct shki_member_shared *records,
                       struct shk_snapshot *s)
{
    struct user *users = calloc(s->n_members + 1, sizeof(*users));
    struct shki_process *row = calloc(1, r->geometry.process_size);
    int error = users && row ? 0 : shki_say(-ENOMEM, "out of memory");

    for (size_t i = 0; error == 0 && i < s->n_members; i++) {
        users[i] = (struct user){.pid = s->members[i].pid, .member = (uint32_t)i};
        count_wait(r, &records[i], &s->members[i], s->objects);
    }
    if (error == 0) {
        qsort(users, s->n_members, sizeof(*users), by_pid);
        if (!read_uses(r, users, s->n_members, row, records, s))
            error = shki_say(-ENOMEM, "out of memory");
    }
    free(users);
    free(row);
    return error;
}

/* Processes of two machines may have one pid. */
static bool is_of_process(const struct shki_snapshot_role *r, const struct shk_object_info *o,
                          const struct shk_member_info *m)
{
    return r->serial == o->serial &&
           (r->process ? r->process == SHKI_MEMBER_PROCESS(m->id) : r->pid == m->pid);
}

unsigned shk_snapshot_roles(const struct shk_snapshot *s, const struct shk_object_info *o,
                            const struct shk_member_info *m)
{
    unsigned roles = 0;

    for (size_t i = 0; s && o && m && i < s->n_roles; i++)
        if (is_of_process(&s->roles[i], o, m))
            roles |= s->roles[i].role;
    return m && m->alive ? roles : 0;
}

uint32_t shk_snapshot_permits(const struct shk_snapshot *s, const struct shk_object_info *o,
                              const struct shk_member_info *m)
{
    const size_t most = sizeof(o->as.semaphore.holders) / sizeof(o->as.semaphore.holders[0]);
    uint32_t permits = 0;

    if (s == NULL || o == NULL || m == NULL || !m->alive || o->kind != SHK_KIND_SEMAPHORE)
        return 0;
    for (size_t i = 0; i < s->n_roles; i++)
        if (is_of_process(&s->roles[i], o, m))
            permits += s->roles[i].permits;
    for (size_t i = 0; !s->machines && i < o->as.semaphore.n_holders && i < most; i++)
        if (o->as.semaphore.holders[i].pid == m->pid)
            permits += o->as.semaphore.holders[i].permits;
    return permits;
}

/* The members of a segment, and what they wait for. */
#include "base/deadline.h"
#include "base/name.h"
#include "inspect/snapshot.h"
#include "segment/segment.h"

#include <string.h>

#define NAME_TRIES 3 /* until a name is taken as it is */

/* A member as it is now; false if the record is free. */
static bool member_info(const struct shki_image *r, uint32_t index, struct shki_member_shared *m,
                        struct shk_member_info *info)
{
    struct shki_member_shared again;

    for (int i = 0; i < NAME_TRIES; i++) {
        if (!shki_image_member(r, index, m) || load_relaxed(&m->id) == 0)
            return false;
        /*
         * NM1: a rename writes the other one of two names. So this name is whole if there has been
         * no rename meanwhile. After a few tries the name is taken as it is.
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
    info->namespace_ = r->header.pid_namespace;
    info->death_noticed = info->alive ? 0 : load_relaxed(&m->death_noticed);
    shki_copy_label(info->command, sizeof(info->command), m->command, sizeof(m->command));
    shki_copy_label(info->name, sizeof(info->name), m->names[load_relaxed(&m->renames) % 2],
                    sizeof(m->names[0]));
    return true;
}

bool shki_snapshot_sleeps(const struct shki_image *r, const struct shki_member_shared *m)
{
    return (load_relaxed(&m->waits_sequence) & 1) &&
           load_relaxed(&m->waits_segment) == r->header.id &&
           load_relaxed(&m->waits_for) <= SHK_WAITS_FOR_VERSION;
}

/* All members, alive and dead: how many. */
static size_t read_members(const struct shki_image *r, struct shki_member_shared *records,
                           struct shk_member_info *infos)
{
    size_t n = 0;

    for (uint32_t i = 0; i < r->members_ready; i++)
        if (member_info(r, i, &records[n], &infos[n]))
            n++;
    return n;
}

/* Whether the waiters wait in a waitlist, first come first served. */
static bool has_ticket(uint32_t waits_for)
{
    return waits_for == SHK_WAITS_FOR_NOTIFY || waits_for == SHK_WAITS_FOR_PERMIT ||
           waits_for == SHK_WAITS_FOR_PARTIES;
}

/* What each living member sleeps on, and its ticket. */
static void waits_info(const struct shki_image *r, const struct shki_member_shared *records,
                       struct shk_snapshot *s)
{
    int64_t now = shki_now(), since;
    struct shki_node node;

    for (size_t i = 0; i < s->n_members; i++) {
        struct shk_member_info *m = &s->members[i];
        uint64_t node_offset =
            r->geometry.nodes_offset + (uint64_t)shki_member_index(m->id) * sizeof(node);

        if (!m->alive || !shki_snapshot_sleeps(r, &records[i]))
            continue;
        m->waits_for = load_relaxed(&records[i].waits_for);
        m->has_deadline = load_relaxed(&records[i].waits_how) == SHKI_WAITS_TIMED;
        since = load_relaxed(&records[i].waits_since);
        /* below 0 only where it is damaged */
        m->waiting = since >= 0 && now > since ? now - since : 0;
        if (has_ticket(m->waits_for) && shki_image_read(r, node_offset, &node, sizeof(node)) &&
            load_relaxed(&node.list) != 0)
            m->ticket = load_relaxed(&node.ticket);
    }
}

void shki_snapshot_members(const struct shki_image *r, struct shki_member_shared *records,
                           struct shk_snapshot *s)
{
    s->n_members = read_members(r, records, s->members);
    waits_info(r, records, s);
    for (size_t i = 0; i < s->n_members; i++) {
        s->segment.members_alive += s->members[i].alive;
        s->segment.members_dead += !s->members[i].alive;
    }
}

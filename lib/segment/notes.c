#include "segment/member.h"

#include "base/error.h"
#include "base/name.h"
#include "base/probe.h"

#include <errno.h>

void shki_member_sleeps(const struct shki_member *where, uint32_t waits_for, uint32_t entry,
                        uint64_t serial, enum shki_waits_how how)
{
    int64_t now = shki_now();

    SHKI_PROBE4(sleep, where->segment->name, entry, serial, waits_for);
    for (struct shki_member *m = shki_members_of_thread; m; m = m->next_of_thread) {
        struct shki_member_shared *r = m->record;

        /*
         * Relaxed: only this thread writes them, and WT1 publishes them. Killed anywhere: the
         * record is a dead member's.
         */
        store_relaxed(&r->waits_segment, where->segment->id);
        store_relaxed(&r->waits_inode, where->segment->inode);
        store_relaxed(&r->waits_entry, entry);
        store_relaxed(&r->waits_serial, serial);
        store_relaxed(&r->waits_since, now);
        store_relaxed(&r->waits_how, how);
        store_relaxed(&r->waits_for, waits_for);
        /* WT1: odd, after the notes; pairs with the two copies in deadlock.c. */
        store_release(&r->waits_sequence, load_relaxed(&r->waits_sequence) | 1);
    }
}

void shki_member_is_awake(void)
{
    if (shki_members_of_thread)
        SHKI_PROBE1(wake, load_relaxed(&shki_members_of_thread->record->waits_for));
    for (struct shki_member *m = shki_members_of_thread; m; m = m->next_of_thread) {
        struct shki_member_shared *r = m->record;
        uint32_t n = load_relaxed(&r->waits_sequence);

        /* WT1: even, and the fence puts that before the next change of the notes. */
        store_relaxed(&r->waits_sequence, (n | 1) + 1);
        atomic_thread_fence(memory_order_release);
        store_relaxed(&r->waits_for, 0);
    }
}

void shki_member_holds(const struct shki_member *m, uint64_t serial, uint32_t releases)
{
    struct shki_member_shared *r = m->record;

    /*
     * Relaxed: only this thread writes them, and WT2 publishes them. Killed anywhere: there is no
     * note, and the lock's holder is dead.
     */
    store_relaxed(&r->held_since, 0);
    atomic_thread_fence(memory_order_release);
    store_relaxed(&r->held_serial, serial);
    store_relaxed(&r->held_releases, releases);
    store_release(&r->held_since, shki_now()); /* WT2: commits */
}

const char *shki_member_name(const struct shki_member *m)
{
    return m->record->names[load_relaxed(&m->record->renames) % 2];
}

int shk_set_member_name(struct shk_segment *s, const char *utf8)
{
    struct shki_member *m;
    int r;

    if (s == NULL)
        return shki_say(-EINVAL, "the segment is NULL");
    r = shki_check_label("the member's name", utf8, SHK_NAME_MAX);
    if (r < 0)
        return r;
    if (s->kinds && s->kinds->rename)
        return s->kinds->rename(s, utf8);
    m = shki_member_find(s);
    if (m == NULL) {
        r = shki_member_join(s, &m);
        if (r < 0)
            return r;
    }
    if (shki_segment_is_retired(s))
        return shki_fail(-ESTALE, "segment /%s has been unlinked", s->name);
    shki_record_rename(m->record, utf8);
    return 0;
}

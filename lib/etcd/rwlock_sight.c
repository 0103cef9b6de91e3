/* A rwlock on etcd as it is seen from outside: what writes, what reads, what was left half done. */
#include "etcd/rwlock.h"
#include "etcd/sight.h"

void shke_rwlock_sight_look(struct shke_txn *t, const char *prefix)
{
    char key[SHKE_KEY_MAX];

    shke_then_get(t, shke_part(key, prefix, "writer"));
    shke_then_get(t, shke_part(key, prefix, "writing"));
    shke_then_get_all(t, shke_part(key, prefix, "reader/"));
}

int shke_rwlock_sight_tell(struct shke_sight *s, struct shk_object_info *info)
{
    const size_t most = sizeof(info->as.rwlock.reader) / sizeof(info->as.rwlock.reader[0]);
    struct shke_kv writer, writing = {0}, reader;
    int r = shke_sight_kv(s, 0, 0, &writer);

    if (r == 0)
        r = shke_sight_kv(s, 1, 0, &writing);
    info->holder = shke_sight_member(s, &writer);
    info->as.rwlock.writing = info->holder != 0;
    info->as.rwlock.orphaned = writing.create != writer.create && writing.create != 0;
    info->as.rwlock.no_deadlock_check = 1;
    shke_kv_free(&writer);
    shke_kv_free(&writing);
    for (size_t i = 0; r == 0 && i < shke_sight_n(s, 2); i++) {
        r = shke_sight_kv(s, 2, i, &reader);
        if (i < most)
            info->as.rwlock.reader[i] = shke_sight_member(s, &reader);
        info->as.rwlock.readers++;
        shke_kv_free(&reader);
    }
    return r;
}

/* A wait for members that come and go: of a set with one watch. */
#include "poll/member_watch.h"
#include "poll/poll.h"

#include "object/remote.h"

int shk_member_watch_read(struct shk_member_watch *w, struct shk_member_event *event,
                          int64_t timeout)
{
    /* what the watch does not want is no event of it */
    const struct shk_ready wanted = {SHK_KIND_MEMBER, SHK_JOINED | SHK_LEFT | SHK_DIED, w};
    struct shki_object *object = (struct shki_object *)w; /* its first member */
    struct shki_deadline deadline;
    struct shki_member *m;
    struct shki_set set;
    uint32_t what;
    int r = w ? shki_enter(object, &m) : SHKI_NO_HANDLE;

    if (r < 0 && r != SHKI_REMOTE) /* one that lies elsewhere is entered by the set */
        return r;
    if (event == NULL)
        return shki_say(-EINVAL, "the event is NULL");
    if ((what = shki_member_watch_take(w, event)) != 0)
        return (int)what;
    r = shki_set_open(&set, &wanted, 1, &m);
    if (r < 0)
        return r;
    deadline = shki_object_deadline(object, timeout, "no member has come or gone");
    while ((r = shki_set_wait(&set, m, &deadline)) == 0)
        if ((what = shki_member_watch_take(w, event)) != 0) /* else another thread has taken it */
            return (int)what;
    return r;
}

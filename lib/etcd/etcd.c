/* The one symbol of this library, see object/remote.h. */
#include "etcd/inspect.h"

static int close_segment(struct shk_segment *segment)
{
    return shke_segment_close(segment, shke_objects_leave);
}

static const struct shki_remote calls = {.close = close_segment,
                                         .unlink_object = shke_object_unlink,
                                         .watch = shke_ready_watch,
                                         .ref = shke_ready_ref,
                                         .wait = shke_ready_wait,
                                         .member = &shke_member_calls,
                                         .lock = &shke_lock_calls,
                                         .event = &shke_event_calls,
                                         .queue = &shke_queue_calls,
                                         .semaphore = &shke_semaphore_calls,
                                         .rwlock = &shke_rwlock_calls,
                                         .barrier = &shke_barrier_calls,
                                         .cond = &shke_cond_calls,
                                         .stream = &shke_stream_calls};

static int open_segment(const char *name, unsigned flags, const struct shk_segment_options *options,
                        struct shk_segment **out)
{
    return shke_segment_open(name, flags, options, &calls, out);
}

__attribute__((visibility("default"))) shki_remote_entry_call shki_remote_entry;

const struct shki_remote_library *shki_remote_entry(const struct shki_remote_host *host)
{
    static const struct shki_remote_library library = {.interface = SHKI_REMOTE_INTERFACE,
                                                       .open = open_segment,
                                                       .unlink = shke_segment_unlink,
                                                       .list_segments = shke_segment_list,
                                                       .read_snapshot = shke_snapshot_read,
                                                       .list_items = shke_item_list,
                                                       .list_servers = shke_server_list};

    shke_host = host;
    return &library;
}

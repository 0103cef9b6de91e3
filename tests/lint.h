/*
 * What an analyser cannot know, which reads one file at a time: tests/lint.sh includes it before
 * each file of the library, and says by LINT_IN_... which file that is.
 *
 * A function that notes a sentence returns the code that it was given, or a code of its own, which
 * is negative. So what is set only where there is no error is set behind it. A call that has
 * entered an object has a member.
 */
#include "object/object.h"
#include "object/remote.h"
#include "queue/handle.h"
#include "segment/registry.h"

static inline int lint_error(int r)
{
    if (r >= 0)
        __builtin_unreachable();
    return r;
}

static inline int lint_enter(int r, struct shki_member *const *m)
{
    if (r == 0 && *m == NULL)
        __builtin_unreachable();
    return r;
}

#define shki_enter(o, m) lint_enter((shki_enter)((o), (m)), (m))

#ifndef LINT_IN_lib_base_error
#define shki_fail(...)      lint_error((shki_fail)(__VA_ARGS__))
#define shki_say_unmet(...) lint_error((shki_say_unmet)(__VA_ARGS__))
#endif
#ifndef LINT_IN_lib_object_object
#define shki_object_say(...) lint_error((shki_object_say)(__VA_ARGS__))
#endif
#ifndef LINT_IN_lib_object_remote
#define shki_remote_lacks(...) lint_error((shki_remote_lacks)(__VA_ARGS__))
#endif
#ifndef LINT_IN_lib_queue_handle
#define shki_damaged_item(...)  lint_error((shki_damaged_item)(__VA_ARGS__))
#define shki_damaged_place(...) lint_error((shki_damaged_place)(__VA_ARGS__))
#define shki_too_many(...)      lint_error((shki_too_many)(__VA_ARGS__))
#endif
#ifndef LINT_IN_lib_segment_registry
#define shki_say_closed(...) lint_error((shki_say_closed)(__VA_ARGS__))
#endif

#ifdef LINT_ETCD
#include "etcd/object.h"
#undef shke_fail
#define shke_fail(...) lint_error(shke_host->fail(__VA_ARGS__))
#ifndef LINT_IN_lib_etcd_object
#define shke_stale(...) lint_error((shke_stale)(__VA_ARGS__))
#endif
#endif

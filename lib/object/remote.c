#include "object/remote.h"

#include "base/name.h"
#include "base/utf8.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* A program that is linked without ld.so has neither, and needs not be told so by its linker. */
#pragma weak dlopen
#pragma weak dlsym
#pragma weak dlerror
#pragma weak dladdr

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static const struct shki_remote_library *library; /* once it is there, it stays */

bool shki_remote_is_name(const char *name)
{
    return name && strncmp(name, SHKI_REMOTE_SCHEME, strlen(SHKI_REMOTE_SCHEME)) == 0;
}

/* It lies beside this library, or where ld.so searches. */
static void *open_library(void)
{
    char path[4096];
    const char *slash;
    void *handle = NULL;
    Dl_info self;

    if (dladdr && dladdr(&library, &self) && self.dli_fname) {
        slash = strrchr(self.dli_fname, '/');
        if (slash &&
            (size_t)(slash - self.dli_fname) < sizeof(path) - sizeof(SHKI_REMOTE_LIBRARY)) {
            snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - self.dli_fname), self.dli_fname,
                     SHKI_REMOTE_LIBRARY);
            handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        }
    }
    return handle ? handle : dlopen(SHKI_REMOTE_LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

static int load(void)
{
    static const struct shki_remote_host host = {.fail = shki_fail,
                                                 .object_say = shki_object_say,
                                                 .note_holder = shki_note_holder,
                                                 .error_save = shki_error_save,
                                                 .error_settle = shki_error_settle,
                                                 .check_name = shki_check_name,
                                                 .check_label = shki_check_label,
                                                 .deadline = shki_object_deadline,
                                                 .deadline_check = shki_deadline_check,
                                                 .deadline_has_passed = shki_deadline_has_passed,
                                                 .last_error = shk_last_error,
                                                 .deadline_slept = shki_deadline_slept,
                                                 .copy_label = shki_copy_label};
    const struct shki_remote_library *found;
    shki_remote_entry_call *entry;
    void *handle;

    if (dlopen == NULL || dlsym == NULL || dlerror == NULL)
        return shki_say(-ENOTSUP,
                        "segments on etcd need dlopen(3), which this program is linked without: "
                        "link it dynamically, and if its glibc is older than 2.34, with -ldl");
    handle = open_library();
    if (handle == NULL)
        return shki_fail(-ENOTSUP, "segments on etcd need libshmkit-etcd: %s", dlerror());
    *(void **)(&entry) = dlsym(handle, SHKI_REMOTE_ENTRY); /* as dlsym(3) has it */
    found = entry ? entry(&host) : NULL;
    if (found == NULL || found->interface != SHKI_REMOTE_INTERFACE)
        return shki_say(-ENOTSUP, "libshmkit-etcd is of another version than libshmkit");
    library = found;
    return 0;
}

int shki_remote_load(const struct shki_remote_library **out)
{
    int r = 0;

    pthread_mutex_lock(&loading);
    if (library == NULL)
        r = load();
    *out = library;
    pthread_mutex_unlock(&loading);
    return r;
}

int shki_remote_lacks(const struct shk_segment *s, const char *name, const char *what)
{
    return shki_fail(-ENOTSUP, "%s/%s: %s does not work on etcd", s->name, name, what);
}

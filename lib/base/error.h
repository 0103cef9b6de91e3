/* The sentence of shk_last_error(), one per thread. */
#ifndef SHKI_ERROR_H
#define SHKI_ERROR_H

#include <shmkit/common.h>

/* Note the sentence, return the code: `return shki_fail(-EINVAL, "%s is …", name);` */
int shki_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/* The same with a string literal, for paths that a program may take a million times a second. */
void shki_note(const char *sentence);
static inline int shki_say(int code, const char *sentence)
{
    shki_note(sentence);
    return code;
}

/*
 * The end of a wait whose condition was not met: "demo/jobs: timed out after 2 s; the queue is
 * empty". A program that polls takes this path a million times a second. So only the parts are
 * noted, and shk_last_error() makes the sentence of them.
 */
struct shki_unmet {
    /* copied; object NULL: the sentence is about the segment; both NULL: about neither */
    const char *segment, *object;
    const char *state; /* a literal: the state that is not what the call waited for; or NULL */
    /* of the call that timed out, in nanoseconds; 0: it was not to wait */
    int64_t timeout;
};
int shki_say_unmet(int code, const struct shki_unmet *);

/*
 * Complete the sentence that shki_say_unmet() has just noted: "demo/L: the lock is held by
 * backup.sh (4711)". The name is copied, at most 64 bytes of it, as it stands in shared memory.
 */
void shki_note_holder(const char *name, int32_t pid);

/*
 * For a caller that tries something that may fail, and continues. A call that succeeds leaves the
 * thread's last sentence as it was: settle() restores it if r is no failure. It returns r.
 */
#define SHKI_SENTENCE_MAX 512
struct shki_saved_error {
    const char *last;
    char text[SHKI_SENTENCE_MAX];
};
void shki_error_save(struct shki_saved_error *);
int shki_error_settle(int r, const struct shki_saved_error *);

#endif

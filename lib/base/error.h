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
 * For who tries something that may fail, and goes on: a call that succeeds after all leaves the thread's last sentence as it was. settle() brings it
 * back if r is no failure, and returns r.
 */
#define SHKI_SENTENCE_MAX 512
struct shki_saved_error {
    const char *last;
    char text[SHKI_SENTENCE_MAX];
};
void shki_error_save(struct shki_saved_error *);
int shki_error_settle(int r, const struct shki_saved_error *);

#endif

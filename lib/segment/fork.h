/*
 * fork(2): the child gets the mappings and the handles, but none of its threads is a member of
 * anything.
 */
#ifndef SHKI_FORK_H
#define SHKI_FORK_H

/* 0, or -errno with a sentence: the handlers could not be registered, so nothing may be mapped. */
int shki_fork_is_handled(void);

/*
 * Set by a higher layer, with the registry's lock: what it has to do in a forked child. Called
 * there when everything below is in order again.
 */
extern void (*shki_in_forked_child)(void);

#endif

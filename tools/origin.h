/* On behalf of which script this shmctl runs: its name as a member, for ps, why and show. */
#ifndef SHMCTL_ORIGIN_H
#define SHMCTL_ORIGIN_H

#include <shmkit.h>
#include <stdbool.h>

/* From --name, before the verb. A name that is no good is a usage error. */
void set_member_name(const char *name);

/*
 * Name this process in the segment that it has opened: as --name says, else after the script that
 * started it. A script is what an interpreter such as bash or python3 was given to run; a program
 * that only starts another, such as timeout or xargs, is skipped.
 */
void name_member(struct shk_segment *);

/* Whether --name was given. */
bool has_chosen_name(void);

/* The process of that script or program; 0: not known. */
pid_t script_process(void);

#endif

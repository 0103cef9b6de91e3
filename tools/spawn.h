/* A command that is run while something is held. */
#ifndef SHMCTL_SPAWN_H
#define SHMCTL_SPAWN_H

/*
 * Run it to its end, whatever signals come meanwhile: they are the command's. Returns its exit status as a shell would
 * give it: 128 and the signal's number if it was killed, 127 if it was not found.
 */
int run_command(char **command);

#endif

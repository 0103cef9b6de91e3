/* What systemd-logind does to shared memory. */
#ifndef SHMCTL_LOGIND_H
#define SHMCTL_LOGIND_H

#include <stdbool.h>

/*
 * Whether it runs here and removes a regular user's segments with the user's last session:
 * RemoveIPC in logind.conf(5).
 */
bool logind_removes_ipc(void);

#endif

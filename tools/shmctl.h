/* The verbs. A new one is a file that defines its command, a line here, and a line in shmctl.c. */
#ifndef SHMCTL_H
#define SHMCTL_H

#include "command.h"

extern const struct command cmd_bridge;
extern const struct command cmd_clean;
extern const struct command cmd_create;
extern const struct command cmd_demo;
extern const struct command cmd_barrier;
extern const struct command cmd_doctor;
extern const struct command cmd_event;
extern const struct command cmd_semaphore;
extern const struct command cmd_get;
extern const struct command cmd_hz;
extern const struct command cmd_join;
extern const struct command cmd_lock;
extern const struct command cmd_ls;
extern const struct command cmd_metrics;
extern const struct command cmd_move;
extern const struct command cmd_notify;
extern const struct command cmd_peek;
extern const struct command cmd_once;
extern const struct command cmd_ps;
extern const struct command cmd_purge;
extern const struct command cmd_reopen;
extern const struct command cmd_put;
extern const struct command cmd_region;
extern const struct command cmd_rm;
extern const struct command cmd_show;
extern const struct command cmd_shutdown;
extern const struct command cmd_stream;
extern const struct command cmd_value;
extern const struct command cmd_wait;
extern const struct command cmd_watch;
extern const struct command cmd_why;
extern const struct command cmd_work;

#endif

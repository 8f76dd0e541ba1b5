/*
 * What children say: MSG_READY and heartbeats. The master believes what it
 * can check and counts the rest.
 */
#ifndef CHIMP_SUPERVISOR_HEARTBEAT_H
#define CHIMP_SUPERVISOR_HEARTBEAT_H

#include <event2/event.h>

/* The callback of a slot's socket; `arg` is the slot. */
void heartbeat_on_readable(evutil_socket_t fd, short what, void *arg);

#endif

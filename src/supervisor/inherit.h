/*
 * The sockets that systemd hands over at the start (socket activation,
 * sd_listen_fds(3), without libsystemd). systemd keeps them while chimpd is
 * restarted, so that connections wait instead of being refused.
 */
#ifndef CHIMP_SUPERVISOR_INHERIT_H
#define CHIMP_SUPERVISOR_INHERIT_H

#include "supervisor/listen.h"

struct inherit {
	int count;
	int fds[LISTEN_MAX]; /* of http: stream sockets that listen */
};

/*
 * Read LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES and take them out of the
 * environment. To be called before anything else is opened, and before the
 * first fork: the descriptors get FD_CLOEXEC here. One that is no listening
 * stream socket, or has a name that chimpd does not know, is closed with a
 * warning.
 */
void inherit_take(struct inherit *in);

/* True for "http" and for what our socket units are called by default:
 * "chimpd.socket", "chimpd@NAME.socket". Pure. */
bool inherit_is_http(const char *name);

#endif

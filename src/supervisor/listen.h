/*
 * The listening sockets: opened as root where ports need it, and kept in the
 * master while http children come and go, so that no connection that waits to
 * be accepted is lost with a child.
 *
 * A reload changes the set in two steps. listen_change opens what is new and
 * marks what is no longer wanted; when the new children serve, listen_commit
 * closes that, and if they do not, listen_revert goes back. A socket whose
 * address stays is the same descriptor all along, with its queue.
 */
#ifndef CHIMP_SUPERVISOR_LISTEN_H
#define CHIMP_SUPERVISOR_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/base/address.h"

struct conf_strings;
struct err;

struct listener {
	int fd;         /* not blocking */
	char name[160]; /* "127.0.0.1:3000", "unix:/run/x.sock" */
	bool inherited; /* systemd's: always wanted, never removed */
	bool serving;   /* part of the set before a change */
	bool wanted;    /* part of it after the change */
	/* Its text in http.listen before and after the change; one text may
	 * stand for several sockets. Of no meaning if inherited. */
	struct address address;
	struct address next;
	struct sockaddr_storage bound;
	socklen_t bound_bytes;
	struct stat made; /* of a Unix socket's file, when we made it */
};

enum { LISTEN_MAX = 64 };

struct listeners {
	int count;
	struct listener items[LISTEN_MAX];
};

/*
 * Add a socket that systemd made; takes *fd. It stays to the end, is never
 * removed from the file system, and addresses that it serves are not opened
 * again. To be called before the first listen_change.
 */
int listen_inherit(struct listeners *l, int *fd, struct err *err);

/*
 * Let the set become `addresses` (and what is inherited). On an error nothing
 * has changed. A change before that was not committed is reverted first. The
 * first opening is a change of the empty set. A name is looked up only while
 * no socket of its text is open.
 */
int listen_change(
    struct listeners *l, const struct conf_strings *addresses, struct err *err);

/* Close what is not wanted any more, and remove such Unix sockets. */
void listen_commit(struct listeners *l);

/* Close what is new, and want again what was. */
void listen_revert(struct listeners *l);

/* The descriptors that are wanted, for a new http child; returns how many. */
int listen_fds(const struct listeners *l, int fds[LISTEN_MAX]);

/* In the same order: which of them speak TLS. An inherited one does so if the
 * address that it serves has the option. */
void listen_tls(const struct listeners *l, bool tls[LISTEN_MAX]);

/* "a, b" of the wanted ones, cut where buf ends. */
void listen_names(const struct listeners *l, char *buf, size_t size);

/* Close all and remove the Unix sockets that are ours. */
void listen_close(struct listeners *l);

/* In a forked child: close only. Those that are wanted stay open for a child
 * that serves them. */
void listen_forget(struct listeners *l, bool keep_wanted);

#endif

/*
 * The listening sockets. See listen.h; bind.c opens one.
 */
#include "supervisor/listen.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/conf/conf.h"
#include "supervisor/bind.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char *
listen_unix_path(const struct listener *item)
{
	const struct sockaddr_un *sun = (const void *)&item->bound;

	return sun->sun_family == AF_UNIX ? sun->sun_path : "";
}

/* The name with the port that was given: ":0" asks for any. */
static void
listen_name(struct listener *item)
{
	const char *path = listen_unix_path(item);
	char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";

	if (item->bound.ss_family == AF_UNIX) {
		/* systemd's may be in the abstract namespace. */
		snprintf(item->name, sizeof(item->name), "unix:%s%s",
		    *path ? "" : "@", *path ? path : path + 1);
		return;
	}
	getnameinfo((const struct sockaddr *)&item->bound, item->bound_bytes,
	    host, sizeof(host), port, sizeof(port),
	    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(item->name, sizeof(item->name),
	    item->bound.ss_family == AF_INET6 ? "[%.100s]:%.10s"
					      : "%.100s:%.10s",
	    host, port);
}

/* Takes *fd, also on an error. NULL when the set is full. */
static struct listener *
listen_add(struct listeners *l, int *fd, struct err *err)
{
	struct listener *item = &l->items[l->count];

	if (l->count == LISTEN_MAX) {
		fd_close(fd);
		err_set(err, "more than %d listening sockets", LISTEN_MAX);
		return NULL;
	}
	memset(item, 0, sizeof(*item));
	item->bound_bytes = sizeof(item->bound);
	getsockname(*fd, (struct sockaddr *)&item->bound, &item->bound_bytes);
	listen_name(item);
	item->fd = *fd;
	item->wanted = true;
	*fd = -1;
	l->count++;
	return item;
}

int
listen_inherit(struct listeners *l, int *fd, struct err *err)
{
	struct listener *item = listen_add(l, fd, err);

	if (item == NULL)
		return -1;
	item->inherited = item->serving = true;
	return 0;
}

/* The file may be another's by now: somebody removed ours by hand and
 * started a second chimpd. */
static void
listen_remove_file(const struct listener *item)
{
	const char *path = listen_unix_path(item);
	struct stat st;

	if (!item->inherited && path[0] != '\0' && lstat(path, &st) == 0 &&
	    st.st_dev == item->made.st_dev && st.st_ino == item->made.st_ino)
		unlink(path);
}

/* Close those outside the set, and close the gaps. */
static void
listen_sweep(struct listeners *l)
{
	int kept = 0;

	for (int i = 0; i < l->count; i++) {
		struct listener *item = &l->items[i];

		assert(item->wanted == item->serving);
		if (!item->wanted) {
			listen_remove_file(item);
			fd_close(&item->fd);
		} else {
			if (kept != i)
				l->items[kept] = *item;
			kept++;
		}
	}
	l->count = kept;
}

/* --------------------------------------------------------------- changing */

/* It stays, or is new, as one of `address`. */
static int
listen_want(
    struct listener *item, const struct address *address, struct err *err)
{
	if (item->inherited)
		item->next.tls = address->tls;
	/* Inherited, or two texts mean one socket: the first has it. */
	if (item->wanted)
		return 0;
	item->wanted = true;
	item->next = *address;
	if (listen_unix_path(item)[0] == '\0' || !item->serving ||
	    address_same_rights(address, &item->address))
		return 0;
	return bind_unix_rights(address, &item->made, err);
}

/* How many sockets of the same text are open; -1 with an error. */
static int
listen_keep(struct listeners *l, const struct address *address, struct err *err)
{
	int kept = 0;

	for (int i = 0; i < l->count; i++) {
		struct listener *item = &l->items[i];

		if (!item->serving || item->inherited ||
		    !address_same_place(&item->address, address))
			continue;
		if (listen_want(item, address, err) != 0)
			return -1;
		kept++;
	}
	return kept;
}

static in_port_t
listen_port(const void *sa)
{
	const struct sockaddr_in *in = sa;
	const struct sockaddr_in6 *in6 = sa;

	if (in->sin_family == AF_INET)
		return in->sin_port;
	return in->sin_family == AF_INET6 ? in6->sin6_port : 0;
}

/* True where everything that goes to `sa` comes in at `item`. */
static bool
listen_covers(
    const struct listener *item, const struct sockaddr *sa, socklen_t bytes)
{
	const struct sockaddr_in *in = (const void *)&item->bound;
	const struct sockaddr_in6 *in6 = (const void *)&item->bound;
	int v6_only = 1;
	socklen_t size = sizeof(v6_only);

	if (item->bound_bytes == bytes && memcmp(&item->bound, sa, bytes) == 0)
		return true;
	/* systemd binds "3000" to [::] for both families. Nothing else could
	 * be bound beside it. */
	if (!item->inherited || listen_port(&item->bound) != listen_port(sa))
		return false;
	if (in->sin_family == AF_INET)
		return sa->sa_family == AF_INET &&
		       in->sin_addr.s_addr == htonl(INADDR_ANY);
	if (in->sin_family != AF_INET6 ||
	    !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
		return false;
	getsockopt(item->fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, &size);
	return sa->sa_family == AF_INET6 || !v6_only;
}

static struct listener *
listen_find(struct listeners *l, const struct sockaddr *sa, socklen_t bytes)
{
	for (int i = 0; i < l->count; i++)
		if (listen_covers(&l->items[i], sa, bytes))
			return &l->items[i];
	return NULL;
}

/* 0; -1 with an error; 1 with an error, where the machine lacks the address
 * family: without IPv6 localhost still resolves to ::1. */
static int
listen_tcp_one(struct listeners *l, const struct addrinfo *ai,
    const struct address *address, const char *text, struct err *err)
{
	struct listener *item = listen_find(l, ai->ai_addr, ai->ai_addrlen);
	int fd, rc;

	if (item != NULL)
		return listen_want(item, address, err);
	fd = bind_tcp(ai);
	if (fd < 0) {
		rc = errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL ? 1 : -1;
		bind_refused(text, err);
		return rc;
	}
	item = listen_add(l, &fd, err);
	if (item != NULL)
		item->next = *address;
	return item != NULL ? 0 : -1;
}

static int
listen_tcp(struct listeners *l, const struct address *address, const char *text,
    struct err *err)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
	    .ai_socktype = SOCK_STREAM};
	struct addrinfo *all, *ai;
	int opened = 0, rc;

	rc = getaddrinfo(address->host[0] ? address->host : NULL, address->port,
	    &hints, &all);
	if (rc != 0)
		return err_set(err, "cannot listen on %s: %s", text,
		    rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	for (ai = all; ai != NULL && rc >= 0; ai = ai->ai_next) {
		rc = listen_tcp_one(l, ai, address, text, err);
		opened += rc == 0;
	}
	freeaddrinfo(all);
	return rc >= 0 && opened > 0 ? 0 : -1;
}

static int
listen_unix(struct listeners *l, const struct address *address, struct err *err)
{
	struct listener *item;
	struct stat made;
	int fd;

	for (int i = 0; i < l->count; i++)
		if (l->items[i].inherited &&
		    strcmp(listen_unix_path(&l->items[i]),
			address->unix_path) == 0)
			return listen_want(&l->items[i], address, err);
	fd = bind_unix(address, &made, err);
	if (fd < 0)
		return -1;
	item = listen_add(l, &fd, err);
	if (item == NULL) {
		unlink(address->unix_path);
		return -1;
	}
	item->next = *address;
	item->made = made;
	return 0;
}

static int
listen_change_one(struct listeners *l, const char *text, struct err *err)
{
	struct address address;
	int kept;

	if (address_parse(text, &address, err) != 0)
		return err_prefix(err, "cannot listen on");
	kept = listen_keep(l, &address, err);
	if (kept != 0)
		return kept > 0 ? 0 : -1;
	if (address.unix_path[0] != '\0')
		return listen_unix(l, &address, err);
	return listen_tcp(l, &address, text, err);
}

int
listen_change(
    struct listeners *l, const struct conf_strings *addresses, struct err *err)
{
	int rc = 0;

	listen_revert(l);
	for (int i = 0; i < l->count; i++) {
		l->items[i].wanted = l->items[i].inherited;
		l->items[i].next.tls = false;
	}
	for (int i = 0; i < addresses->count && rc == 0; i++)
		rc = listen_change_one(l, addresses->items[i], err);
	if (rc != 0)
		listen_revert(l);
	return rc;
}

void
listen_commit(struct listeners *l)
{
	for (int i = 0; i < l->count; i++) {
		l->items[i].serving = l->items[i].wanted;
		l->items[i].address = l->items[i].next;
	}
	listen_sweep(l);
}

/* What a change did to a socket that stays. */
static void
listen_restore(struct listener *item)
{
	struct err err;

	if (item->serving && item->wanted && !item->inherited &&
	    !address_same_rights(&item->address, &item->next) &&
	    bind_unix_rights(&item->address, &item->made, &err) != 0)
		log_err(LOG_LEVEL_WARN, &err);
	item->wanted = item->serving;
	item->next = item->address;
}

void
listen_revert(struct listeners *l)
{
	for (int i = 0; i < l->count; i++)
		listen_restore(&l->items[i]);
	listen_sweep(l);
}

/* ------------------------------------------------------------------ using */

int
listen_fds(const struct listeners *l, int fds[LISTEN_MAX])
{
	int n = 0;

	for (int i = 0; i < l->count; i++)
		if (l->items[i].wanted)
			fds[n++] = l->items[i].fd;
	return n;
}

void
listen_tls(const struct listeners *l, bool tls[LISTEN_MAX])
{
	int n = 0;

	for (int i = 0; i < l->count; i++)
		if (l->items[i].wanted)
			tls[n++] = l->items[i].next.tls;
}

void
listen_names(const struct listeners *l, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (int i = 0; i < l->count && used < size; i++)
		if (l->items[i].wanted)
			used += (size_t)snprintf(buf + used, size - used,
			    "%s%s", used > 0 ? ", " : "", l->items[i].name);
}

void
listen_close(struct listeners *l)
{
	for (int i = 0; i < l->count; i++)
		listen_remove_file(&l->items[i]);
	listen_forget(l, false);
}

void
listen_forget(struct listeners *l, bool keep_wanted)
{
	for (int i = 0; i < l->count; i++)
		if (!keep_wanted || !l->items[i].wanted)
			fd_close(&l->items[i].fd);
	if (!keep_wanted)
		l->count = 0;
}

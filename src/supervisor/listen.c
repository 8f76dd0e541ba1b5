/*
 * The listening sockets. See listen.h.
 */
#include "supervisor/listen.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/conf/conf.h"
#include "supervisor/address.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel cuts it at net.core.somaxconn. */
#define LISTEN_BACKLOG 4096

static int
listen_add(struct listeners *l, int *fd, const char *unix_path,
    const char *name, struct err *err)
{
	struct listener *item;

	if (l->count == LISTEN_MAX)
		return err_set(
		    err, "more than %d listening sockets", LISTEN_MAX);
	item = &l->items[l->count];
	snprintf(item->name, sizeof(item->name), "%s", name);
	snprintf(item->unix_path, sizeof(item->unix_path), "%s", unix_path);
	l->fds[l->count++] = *fd;
	*fd = -1;
	return 0;
}

static int
listen_refused(const char *name, struct err *err)
{
	int error = errno;

	err_set(err, "cannot listen on %s: %s", name, strerror(error));
	switch (error) {
	case EADDRINUSE:
		return err_hint(err, "another process has it (ss -ltnp, ss "
				     "-lxp show which); stop that one, or "
				     "change http.listen");
	case EACCES:
		return err_hint(err,
		    "ports below 1024 need root or CAP_NET_BIND_SERVICE, a "
		    "Unix socket a folder that this user may write");
	case EADDRNOTAVAIL:
		return err_hint(err, "this machine does not have that "
				     "address");
	case ENOENT:
		return err_hint(err, "make the folder first; chimpd does not");
	case EEXIST:
		return err_hint(err, "there is a file of that name that is "
				     "not a socket; remove it, or change "
				     "http.listen");
	default:
		return -1;
	}
}

/* The name with the port that was given: ":0" asks for any. */
static void
listen_tcp_name(int fd, char *buf, size_t size)
{
	struct sockaddr_storage ss = {0};
	socklen_t length = sizeof(ss);
	char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";

	if (getsockname(fd, (struct sockaddr *)&ss, &length) == 0)
		getnameinfo((struct sockaddr *)&ss, length, host, sizeof(host),
		    port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV);
	if (ss.ss_family == AF_INET6)
		snprintf(buf, size, "[%.100s]:%.10s", host, port);
	else
		snprintf(buf, size, "%.100s:%.10s", host, port);
}

/* 0, or -1 with errno. */
static int
listen_tcp_bind(int fd, const struct addrinfo *ai)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
		return -1;
	/* [::]:80 must not take 0.0.0.0:80 away from another listener. */
	if (ai->ai_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
		return -1;
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0)
		return -1;
	return listen(fd, LISTEN_BACKLOG);
}

/* 0; -1 with an error; 1 with an error, where the machine lacks the address
 * family: without IPv6 localhost still resolves to ::1. */
static int
listen_tcp_one(struct listeners *l, const struct addrinfo *ai, const char *text,
    struct err *err)
{
	int rc = -1;
	char name[160];
	int fd = socket(ai->ai_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);

	if (fd < 0 || listen_tcp_bind(fd, ai) != 0) {
		if (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)
			rc = 1;
		listen_refused(text, err);
	} else {
		listen_tcp_name(fd, name, sizeof(name));
		rc = listen_add(l, &fd, "", name, err);
	}
	fd_close(&fd);
	return rc;
}

static int
listen_tcp(struct listeners *l, const char *text, const struct address *address,
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
		rc = listen_tcp_one(l, ai, text, err);
		opened += rc == 0;
	}
	freeaddrinfo(all);
	return rc >= 0 && opened > 0 ? 0 : -1;
}

/* What a chimpd that was killed left behind; a living one's is kept. */
static int
listen_unix_remove_stale(const struct sockaddr_un *sun)
{
	struct stat st;
	int fd, rc;

	if (lstat(sun->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = connect(fd, (const struct sockaddr *)sun, sizeof(*sun));
	if (rc == 0 || errno != ECONNREFUSED) {
		fd_close(&fd);
		errno = EADDRINUSE;
		return -1;
	}
	fd_close(&fd);
	log_info("removing %s, which nobody listens on", sun->sun_path);
	return unlink(sun->sun_path);
}

static int
listen_unix_bind(int fd, const struct sockaddr_un *sun)
{
	if (listen_unix_remove_stale(sun) != 0)
		return -1;
	if (bind(fd, (const struct sockaddr *)sun, sizeof(*sun)) != 0)
		return -1;
	/* As with nginx, the folder says who may come in, and not the umask
	 * of whoever started us. */
	if (chmod(sun->sun_path, 0666) != 0)
		return -1;
	return listen(fd, LISTEN_BACKLOG);
}

static int
listen_unix(struct listeners *l, const char *text,
    const struct address *address, struct err *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int rc = -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(sun.sun_path, address->unix_path, sizeof(sun.sun_path));
	if (fd < 0 || listen_unix_bind(fd, &sun) != 0)
		listen_refused(text, err);
	else
		rc = listen_add(l, &fd, address->unix_path, text, err);
	fd_close(&fd);
	return rc;
}

int
listen_open(
    struct listeners *l, const struct conf_strings *addresses, struct err *err)
{
	struct address address;
	int rc = 0;

	l->count = 0;
	for (int i = 0; i < addresses->count && rc == 0; i++) {
		const char *text = addresses->items[i];

		rc = address_parse(text, &address, err);
		if (rc == 0 && address.unix_path[0] != '\0')
			rc = listen_unix(l, text, &address, err);
		else if (rc == 0)
			rc = listen_tcp(l, text, &address, err);
	}
	if (rc != 0)
		listen_close(l);
	return rc;
}

void
listen_names(const struct listeners *l, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = '\0';
	for (int i = 0; i < l->count && used < size; i++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s",
		    i > 0 ? ", " : "", l->items[i].name);
}

void
listen_close(struct listeners *l)
{
	for (int i = 0; i < l->count; i++)
		if (l->items[i].unix_path[0] != '\0')
			unlink(l->items[i].unix_path);
	listen_forget(l);
}

void
listen_forget(struct listeners *l)
{
	for (int i = 0; i < l->count; i++)
		fd_close(&l->fds[i]);
	l->count = 0;
}

/*
 * Opening one listening socket. See bind.h.
 */
#include "supervisor/bind.h"
#include "common/base/address.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The kernel cuts it at net.core.somaxconn. */
#define BIND_BACKLOG 4096

int
bind_refused(const char *name, struct err *err)
{
	int error = errno;

	err_set(err, "cannot listen on %s: %s", name, strerror(error));
	switch (error) {
	case EADDRINUSE:
		return err_hint(err, "another process has it (ss -ltnp, ss "
				     "-lxp show which); stop that one, or "
				     "change http.listen; if it is chimpd "
				     "with an address that overlaps this "
				     "one, restart it");
	case EACCES:
		return err_hint(err,
		    "ports below 1024 need root, which is gone after the "
		    "start, or CAP_NET_BIND_SERVICE; a Unix socket needs a "
		    "folder that this user may write");
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

/* ------------------------------------------------------------------- TCP */

/* 0, or -1 with errno. */
static int
bind_tcp_listen(int fd, const struct addrinfo *ai)
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
	return listen(fd, BIND_BACKLOG);
}

int
bind_tcp(const struct addrinfo *ai)
{
	int error;
	int fd = socket(ai->ai_family,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);

	if (fd >= 0 && bind_tcp_listen(fd, ai) != 0) {
		error = errno;
		fd_close(&fd);
		errno = error;
	}
	return fd;
}

/* ----------------------------------------------------------------- rights */

/* A name or a number to a uid, which "" leaves. */
static int
bind_find_owner(const char *name, uid_t *uid)
{
	const struct passwd *pw;

	if (name[strspn(name, "0123456789")] == '\0') {
		if (name[0] != '\0')
			*uid = (uid_t)strtoul(name, NULL, 10);
		return 0;
	}
	pw = getpwnam(name);
	if (pw != NULL)
		*uid = pw->pw_uid;
	return pw != NULL ? 0 : -1;
}

static int
bind_find_group(const char *name, gid_t *gid)
{
	const struct group *gr;

	if (name[strspn(name, "0123456789")] == '\0') {
		if (name[0] != '\0')
			*gid = (gid_t)strtoul(name, NULL, 10);
		return 0;
	}
	gr = getgrnam(name);
	if (gr != NULL)
		*gid = gr->gr_gid;
	return gr != NULL ? 0 : -1;
}

int
bind_unix_rights(
    const struct address *address, const struct stat *made, struct err *err)
{
	const char *path = address->unix_path;
	uid_t uid = made->st_uid;
	gid_t gid = made->st_gid;

	if (bind_find_owner(address->owner, &uid) != 0)
		return err_set(err,
		    "cannot listen on unix:%s: there is no user \"%s\"", path,
		    address->owner);
	if (bind_find_group(address->group, &gid) != 0)
		return err_set(err,
		    "cannot listen on unix:%s: there is no group \"%s\"", path,
		    address->group);
	if (lchown(path, uid, gid) != 0) {
		err_set(err, "cannot give unix:%s owner and group: %s", path,
		    strerror(errno));
		return err_hint(err, "only root may change the owner, and the "
				     "owner the group to one of its own; "
				     "start chimpd as root, or leave it out");
	}
	/* Last: the new mode is not for the old group. What somebody who may
	 * write to the folder has put there instead is not touched. */
	if (fchmodat(AT_FDCWD, path, (mode_t)address->mode,
		AT_SYMLINK_NOFOLLOW) != 0)
		return err_set(err, "cannot give unix:%s mode 0%03o: %s", path,
		    address->mode, strerror(errno));
	return 0;
}

/* ------------------------------------------------------------ Unix sockets */

/* What a chimpd that was killed left behind; a living one's is kept. */
static int
bind_unix_remove_stale(const struct sockaddr_un *sun)
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

/* Closed to everybody until the rights are set. */
static int
bind_unix_file(int fd, const struct sockaddr_un *sun, struct stat *made)
{
	mode_t before;
	int rc;

	if (fd < 0 || bind_unix_remove_stale(sun) != 0)
		return -1;
	before = umask(0777);
	rc = bind(fd, (const struct sockaddr *)sun, sizeof(*sun));
	umask(before);
	return rc == 0 ? lstat(sun->sun_path, made) : -1;
}

int
bind_unix(const struct address *address, struct stat *made, struct err *err)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char name[sizeof(sun.sun_path) + 8];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	memcpy(sun.sun_path, address->unix_path, sizeof(sun.sun_path));
	snprintf(name, sizeof(name), "unix:%s", address->unix_path);
	if (bind_unix_file(fd, &sun, made) != 0) {
		bind_refused(name, err);
		fd_close(&fd);
		return -1;
	}
	rc = bind_unix_rights(address, made, err);
	if (rc == 0 && listen(fd, BIND_BACKLOG) != 0)
		rc = bind_refused(name, err);
	if (rc != 0) {
		unlink(sun.sun_path);
		fd_close(&fd);
	}
	return fd;
}

/*
 * Sockets from systemd. See inherit.h.
 */
#include "supervisor/inherit.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SD_LISTEN_FDS_START: the first descriptor. */
#define INHERIT_FIRST_FD 3

static const char *const inherit_variables[] = {
    "LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES"};

static bool
inherit_number(const char *text, int *number)
{
	char *end;
	long n;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || n > INT_MAX - INHERIT_FIRST_FD)
		return false;
	*number = (int)n;
	return true;
}

bool
inherit_is_http(const char *name)
{
	static const char unit[] = "chimpd", suffix[] = ".socket";
	size_t length = strlen(name);
	const char *instance = name + sizeof(unit) - 1;

	if (strcmp(name, "http") == 0)
		return true;
	if (strncmp(name, unit, sizeof(unit) - 1) != 0 ||
	    (*instance != '@' && *instance != '.'))
		return false;
	return strcmp(name + length - (sizeof(suffix) - 1), suffix) == 0;
}

static bool
inherit_option_is(int fd, int option, int wanted)
{
	int value = 0;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 &&
	       value == wanted;
}

static bool
inherit_family_is_known(int fd)
{
	return inherit_option_is(fd, SO_DOMAIN, AF_INET) ||
	       inherit_option_is(fd, SO_DOMAIN, AF_INET6) ||
	       inherit_option_is(fd, SO_DOMAIN, AF_UNIX);
}

/* Why not; NULL if it is one for us. */
static const char *
inherit_fault(int fd, const char *name)
{
	if (!inherit_is_http(name))
		return "chimpd knows the names http, chimpd.socket and "
		       "chimpd@INSTANCE.socket; set FileDescriptorName=http";
	if (!inherit_option_is(fd, SO_TYPE, SOCK_STREAM) ||
	    !inherit_family_is_known(fd))
		return "it is no stream socket of TCP or Unix; use "
		       "ListenStream=";
	if (!inherit_option_is(fd, SO_ACCEPTCONN, 1))
		return "it does not listen; set Accept=no";
	return NULL;
}

/* False if there is no such descriptor. */
static bool
inherit_one(struct inherit *in, int fd, const char *name)
{
	int flags = fcntl(fd, F_GETFL);
	const char *fault = inherit_fault(fd, name);

	if (flags < 0)
		return false;
	if (fault == NULL && in->count == LISTEN_MAX)
		fault = "there are too many";
	if (fault != NULL) {
		log_warn("closing descriptor %d \"%s\" from systemd: %s", fd,
		    name, fault);
		close(fd);
		return true;
	}
	fd_set_cloexec(fd, true);
	/* Several processes accept: one of them wins, none must wait. */
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	in->fds[in->count++] = fd;
	return true;
}

/* The next of "a:b:c" into buf; past the end "". */
static const char *
inherit_next_name(const char *names, char *buf, size_t size)
{
	size_t length = strcspn(names, ":");
	size_t copied = length < size ? length : size - 1;

	memcpy(buf, names, copied);
	buf[copied] = '\0';
	return names + length + (names[length] == ':');
}

static void
inherit_all(struct inherit *in, int n)
{
	const char *names = getenv("LISTEN_FDNAMES");
	char name[256] = "http"; /* without names they can mean only http */

	for (int i = 0; i < n; i++) {
		if (names != NULL)
			names = inherit_next_name(names, name, sizeof(name));
		if (inherit_one(in, INHERIT_FIRST_FD + i, name))
			continue;
		log_warn("LISTEN_FDS=%d, but descriptor %d is not open", n,
		    INHERIT_FIRST_FD + i);
		break;
	}
}

void
inherit_take(struct inherit *in)
{
	const char *fds = getenv("LISTEN_FDS");
	int n = 0, pid = 0;

	in->count = 0;
	/* Variables for another process were inherited by mistake. */
	if (inherit_number(getenv("LISTEN_PID"), &pid) && pid == getpid()) {
		if (inherit_number(fds, &n))
			inherit_all(in, n);
		else
			log_warn("LISTEN_FDS=%s is not a number of "
				 "descriptors",
			    fds != NULL ? fds : "");
	}
	for (size_t i = 0;
	     i < sizeof(inherit_variables) / sizeof(*inherit_variables); i++)
		unsetenv(inherit_variables[i]);
}

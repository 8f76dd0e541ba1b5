/*
 * The embedded PostgreSQL's data folder. See pgdata.h.
 */
#include "supervisor/pgdata.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Lines of postmaster.pid, from PostgreSQL's src/include/utils/pidfile.h. */
enum { PGDATA_LINE_PID = 1, PGDATA_LINE_STATUS = 8 };

/* What PostgreSQL puts behind the folder's name, and the terminator. */
#define PGDATA_SOCKET_NAME "/.s.PGSQL.5432"

/* The first bytes of DIR/NAME, "" if it cannot be read. */
static void
pgdata_read(const char *dir, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX];
	ssize_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = read(fd, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
	fd_close(&fd);
}

/* The start of line `number`, counted from 1; NULL if there are fewer. */
static const char *
pgdata_line(const char *text, int number)
{
	while (--number > 0) {
		text = strchr(text, '\n');
		if (text == NULL)
			return NULL;
		text++;
	}
	return text;
}

void
pgdata_parse_postmaster(const char *text, struct pgdata_postmaster *postmaster)
{
	const char *status = pgdata_line(text, PGDATA_LINE_STATUS);
	/* Negative: a single-user backend, which holds the folder too. */
	long pid = labs(strtol(text, NULL, 10));
	size_t length;

	memset(postmaster, 0, sizeof(*postmaster));
	if (pid > INT_MAX)
		return;
	postmaster->pid = (pid_t)pid;
	if (status == NULL)
		return;
	length = strcspn(status, " \n");
	if (length < sizeof(postmaster->status))
		memcpy(postmaster->status, status, length);
}

void
pgdata_read_postmaster(const char *dir, struct pgdata_postmaster *postmaster)
{
	char text[2048];

	pgdata_read(dir, "postmaster.pid", text, sizeof(text));
	pgdata_parse_postmaster(text, postmaster);
}

/* A postmaster works in its data folder, and so does a single backend. */
static bool
pgdata_works_in(pid_t pid, const char *dir)
{
	char link[64];
	struct stat theirs, ours;

	snprintf(link, sizeof(link), "/proc/%d/cwd", (int)pid);
	if (stat(link, &theirs) != 0 || stat(dir, &ours) != 0)
		return errno != ENOENT; /* cannot tell: believe the file */
	return theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
}

void
pgdata_find_postmaster(const char *dir, struct pgdata_postmaster *postmaster)
{
	char path[PATH_MAX];

	pgdata_read_postmaster(dir, postmaster);
	if (postmaster->pid == 0)
		return;
	/* A dead one's file PostgreSQL itself replaces, after checks of its
	 * own. Another user's process cannot be a postmaster on our files. */
	if (kill(postmaster->pid, 0) != 0) {
		postmaster->pid = 0;
		return;
	}
	if (pgdata_works_in(postmaster->pid, dir))
		return;
	/*
	 * After a restart of the machine or container the number belongs to
	 * some other program of the same user. Backends that may be left are
	 * found by PostgreSQL through the shared memory, whose key goes by the
	 * data folder and not by this file.
	 */
	log_warn("removing %s/postmaster.pid: pid %d is not a PostgreSQL in "
		 "that folder",
	    dir, (int)postmaster->pid);
	snprintf(path, sizeof(path), "%s/postmaster.pid", dir);
	if (unlink(path) != 0)
		log_warn("cannot remove %s: %s", path, strerror(errno));
	postmaster->pid = 0;
}

/* 1 = nothing in it, 0 = something, -1 = cannot be read. */
static int
pgdata_is_empty(const char *dir)
{
	struct dirent *entry;
	DIR *d = opendir(dir);
	int found = 0;

	if (d == NULL)
		return -1;
	while ((entry = readdir(d)) != NULL && !found)
		found = strcmp(entry->d_name, ".") != 0 &&
			strcmp(entry->d_name, "..") != 0;
	closedir(d);
	return !found;
}

static const char *
pgdata_my_name(void)
{
	const struct passwd *pw = getpwuid(geteuid());

	return pw != NULL ? pw->pw_name : "this user";
}

/* The folder that holds `dir`: make it if only it is missing. */
static int
pgdata_check_parent(const char *dir, struct err *err)
{
	char *parent = mem_strdup(dir);
	char *slash = strrchr(parent, '/');
	int rc = 0;

	if (slash == NULL || slash == parent)
		rc = err_set(err,
		    "database.data_dir = \"%s\" is not the "
		    "absolute path of a folder in a folder",
		    dir);
	else
		*slash = '\0';
	if (rc == 0 && access(parent, F_OK) != 0)
		mkdir(parent, 0755);
	if (rc == 0 && access(parent, W_OK | X_OK) != 0) {
		err_set(err,
		    "cannot make the database's folder \"%s\": "
		    "\"%s\": %s",
		    dir, parent, strerror(errno));
		rc = err_hint(err,
		    "install -d -o %s \"%s\", or change database.data_dir",
		    pgdata_my_name(), parent);
	}
	free(parent);
	return rc;
}

static int
pgdata_check_version(
    const char *dir, const char *text, int major, struct err *err)
{
	if (atoi(text) == major)
		return 0;
	err_set(err,
	    "\"%s\" holds a cluster of PostgreSQL %.*s, but chimpd "
	    "was built with PostgreSQL %d",
	    dir, (int)strcspn(text, "\n"), text, major);
	return err_hint(err, "upgrade it with pg_upgrade, or name another "
			     "database.data_dir");
}

int
pgdata_check(const char *dir, int major, bool *exists, struct err *err)
{
	char version[16];
	struct stat st;

	*exists = false;
	if (pgdata_check_parent(dir, err) != 0)
		return -1;
	if (stat(dir, &st) != 0) {
		if (errno == ENOENT)
			return 0;
		return err_set(err, "cannot use database.data_dir \"%s\": %s",
		    dir, strerror(errno));
	}
	if (st.st_uid != geteuid()) {
		err_set(err,
		    "database.data_dir \"%s\" does not belong to "
		    "user %s, as PostgreSQL demands",
		    dir, pgdata_my_name());
		return err_hint(
		    err, "chown -R %s \"%s\"", pgdata_my_name(), dir);
	}
	if (access(dir, R_OK | W_OK | X_OK) != 0)
		return err_set(err,
		    "cannot use database.data_dir \"%s\" as "
		    "user %s: %s",
		    dir, pgdata_my_name(), strerror(errno));
	pgdata_read(dir, "PG_VERSION", version, sizeof(version));
	*exists = version[0] != '\0';
	if (*exists && (st.st_mode & (S_IWGRP | S_IRWXO)) != 0) {
		err_set(err,
		    "database.data_dir \"%s\" is open to other users, which "
		    "PostgreSQL does not allow",
		    dir);
		return err_hint(err, "chmod 0700 \"%s\"", dir);
	}
	if (*exists)
		return pgdata_check_version(dir, version, major, err);
	if (pgdata_is_empty(dir) == 1)
		return 0;
	err_set(err,
	    "database.data_dir \"%s\" is not empty, but holds no "
	    "cluster of PostgreSQL",
	    dir);
	return err_hint(err, "name another folder; chimpd makes it");
}

int
pgdata_make_socket_dir(const char *dir, struct err *err)
{
	const struct sockaddr_un *sun = NULL;
	struct stat st;

	if (strlen(dir) + sizeof(PGDATA_SOCKET_NAME) > sizeof(sun->sun_path)) {
		err_set(err,
		    "the path of the database's socket, \"%s%s\", is "
		    "longer than %zu bytes",
		    dir, PGDATA_SOCKET_NAME, sizeof(sun->sun_path) - 1);
		return err_hint(err, "choose a shorter database.data_dir");
	}
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_set(err, "cannot make the folder \"%s\": %s", dir,
		    strerror(errno));
	/* Whoever may put a socket there can pose as the database. */
	if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
	    st.st_uid != geteuid() || chmod(dir, 0700) != 0) {
		err_set(err, "\"%s\" is not a folder of user %s", dir,
		    pgdata_my_name());
		return err_hint(err, "remove it, or choose another "
				     "database.data_dir");
	}
	return 0;
}

int
pgdata_rename(const char *from, const char *to, struct err *err)
{
	char *parent = mem_strdup(to);
	char *slash = strrchr(parent, '/');
	int rc = 0, fd = -1;

	if (slash != NULL)
		*slash = '\0';
	if (rename(from, to) != 0)
		rc = err_set(err, "cannot rename \"%s\" to \"%s\": %s", from,
		    to, strerror(errno));
	else
		fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Else a power cut could take the name back, and with it all data. */
	if (rc == 0 && (fd < 0 || fsync(fd) != 0))
		rc = err_set(
		    err, "cannot sync \"%s\": %s", parent, strerror(errno));
	fd_close(&fd);
	free(parent);
	return rc;
}

/*
 * Lock files. See lockfile.h.
 *
 * Locks of fcntl(2) belong to one process: children do not inherit them, so a
 * child that outlives its master by a moment cannot keep the next master out.
 */
#include "supervisor/lockfile.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Lock fd, and make sure that `path` still names it: the last holder removes
 * the file at its end, maybe between our open and our lock. 0 = held, 1 = the
 * file was replaced, -1 = somebody holds it.
 */
static int
lockfile_lock(int fd, const char *path)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat ours, named;

	if (fcntl(fd, F_SETLK, &fl) != 0)
		return -1;
	if (fstat(fd, &ours) != 0 || stat(path, &named) != 0)
		return 1;
	return ours.st_dev == named.st_dev && ours.st_ino == named.st_ino ? 0
									  : 1;
}

/* Why it could not be locked; as lockfile_take. */
static int
lockfile_refuse(int fd, const char *path, struct err *err)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int error = errno;

	if ((error != EAGAIN && error != EACCES) ||
	    fcntl(fd, F_GETLK, &fl) != 0)
		return err_set(
		    err, "cannot lock \"%s\": %s", path, strerror(error));
	err_set(err, "\"%s\" is held by another process, pid %d", path,
	    (int)fl.l_pid);
	return 1;
}

static int
lockfile_write_pid(int fd, const char *path, struct err *err)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	if (ftruncate(fd, 0) != 0 || fd_write_all(fd, text, (size_t)n) != 0)
		return err_set(
		    err, "cannot write \"%s\": %s", path, strerror(errno));
	return 0;
}

int
lockfile_take(struct lockfile *lock, const char *path, struct err *err)
{
	int fd, rc;

	assert(lock->fd < 0);
	for (;;) {
		fd =
		    open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return err_set(err, "cannot create \"%s\": %s", path,
			    strerror(errno));
		rc = lockfile_lock(fd, path);
		if (rc <= 0)
			break;
		fd_close(&fd);
	}
	if (rc < 0)
		rc = lockfile_refuse(fd, path, err);
	else
		rc = lockfile_write_pid(fd, path, err);
	if (rc != 0) {
		fd_close(&fd);
		return rc;
	}
	lock->fd = fd;
	lock->path = mem_strdup(path);
	return 0;
}

void
lockfile_release(struct lockfile *lock)
{
	if (lock->fd < 0)
		return;
	/*
	 * After a change of user the folder may be closed to us: an empty file
	 * stays, which names no process.
	 */
	if (unlink(lock->path) != 0 && ftruncate(lock->fd, 0) != 0)
		assert(errno != EBADF);
	lockfile_forget(lock);
}

void
lockfile_forget(struct lockfile *lock)
{
	fd_close(&lock->fd);
	mem_free(&lock->path);
}

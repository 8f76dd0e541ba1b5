/*
 * File descriptors. See fd.h.
 */
#include "common/base/fd.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void
fd_close(int *fd)
{
	int saved = errno;

	if (*fd < 0)
		return;
	/* On Linux the descriptor is gone even after EINTR or EIO. */
	if (close(*fd) != 0)
		assert(errno != EBADF);
	*fd = -1;
	errno = saved;
}

void
fd_set_cloexec(int fd, bool on)
{
	int rc = fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);

	assert(rc == 0);
}

void
fd_close_others(int keep)
{
	assert(keep > STDERR_FILENO);
	if (keep > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, (unsigned)keep - 1, 0);
	close_range((unsigned)keep + 1, UINT_MAX, 0);
}

int
fd_write_all(int fd, const void *data, size_t size_bytes)
{
	const char *p = data;

	while (size_bytes > 0) {
		ssize_t n = write(fd, p, size_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		size_bytes -= (size_t)n;
	}
	return 0;
}

char *
fd_read_all(int fd, size_t max_bytes, size_t *size_bytes)
{
	size_t room = 4096, used = 0;
	char *buf = mem_alloc(room + 1);

	for (;;) {
		ssize_t n = read(fd, buf + used, room - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		if (n == 0) {
			buf[used] = '\0';
			*size_bytes = used;
			return buf;
		}
		used += (size_t)n;
		if (used > max_bytes) {
			errno = EFBIG;
			break;
		}
		if (used == room)
			buf = mem_realloc(buf, (room *= 2) + 1);
	}
	free(buf);
	return NULL;
}

char *
fd_read_file(
    const char *path, size_t max_bytes, size_t *size_bytes, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;

	if (fd >= 0)
		text = fd_read_all(fd, max_bytes, size_bytes);
	if (text == NULL)
		err_set(err, "cannot read \"%s\": %s", path, strerror(errno));
	fd_close(&fd);
	return text;
}

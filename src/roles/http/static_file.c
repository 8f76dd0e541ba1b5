/*
 * A file of a folder. See static_file.h.
 *
 * Reads block: a file that is not in the page cache holds up the loop for as
 * long as the disk takes.
 */
#include "roles/http/static_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"

enum { STATIC_CHUNK_BYTES = 64 << 10 };

/* --- opening --- */

static enum static_open
static_why(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case ENXIO: /* a socket */
		return STATIC_NONE;
	case EACCES:
	case EPERM:
		return STATIC_DENIED;
	default:
		return STATIC_TROUBLE;
	}
}

/* Where a descriptor's file really is. */
static bool
static_place(int fd, char place[PATH_MAX])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, place, PATH_MAX - 1);
	if (n <= 0)
		return false;
	place[n] = '\0';
	return n < PATH_MAX - 1;
}

/* Asked of what is open already: nobody can exchange it in between. */
static bool
static_is_inside(int dir, int fd)
{
	char outer[PATH_MAX], inner[PATH_MAX];
	size_t n;

	if (!static_place(dir, outer) || !static_place(fd, inner))
		return false;
	n = strlen(outer);
	if (n == 1)
		return true; /* "/" */
	return strncmp(outer, inner, n) == 0 &&
	       (inner[n] == '/' || inner[n] == '\0');
}

static enum static_open
static_look(int dir, struct static_file *file)
{
	struct stat st;

	if (!static_is_inside(dir, file->fd))
		return STATIC_NONE;
	if (fstat(file->fd, &st) != 0)
		return STATIC_TROUBLE;
	if (S_ISDIR(st.st_mode))
		return STATIC_FOLDER;
	if (!S_ISREG(st.st_mode))
		return STATIC_NONE;
	file->size = (uint64_t)st.st_size;
	file->modified = st.st_mtim;
	return STATIC_OPEN;
}

enum static_open
static_file_open(const char *dir, const char *name, struct static_file *file)
{
	enum static_open result;
	int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	file->fd = -1;
	if (root < 0)
		return static_why(errno);
	/* O_NONBLOCK: nobody may have the other end of a pipe. */
	file->fd = openat(root, name[0] != '\0' ? name : ".",
	    O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	result = file->fd < 0 ? static_why(errno) : static_look(root, file);
	fd_close(&root);
	if (result != STATIC_OPEN)
		fd_close(&file->fd);
	return result;
}

void
static_file_close(struct static_file *file)
{
	fd_close(&file->fd);
}

/* --- sending --- */

/* Lies in the request's pool. */
struct static_sender {
	h2o_generator_t super;
	int fd;
	uint64_t at;
	uint64_t left;
	char *buf;
};

static void
static_on_stop(h2o_generator_t *generator, h2o_req_t *req)
{
	(void)req;
	fd_close(&((struct static_sender *)generator)->fd);
}

static size_t
static_chunk(const struct static_sender *sender)
{
	return sender->left < STATIC_CHUNK_BYTES ? (size_t)sender->left
						 : STATIC_CHUNK_BYTES;
}

static void
static_on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
	struct static_sender *sender = (struct static_sender *)generator;
	h2o_iovec_t buf = {.base = sender->buf};
	ssize_t n;

	do
		n = pread(sender->fd, sender->buf, static_chunk(sender),
		    (off_t)sender->at);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		/* Shorter than it was: the client must notice. */
		fd_close(&sender->fd);
		h2o_send(req, NULL, 0, H2O_SEND_STATE_ERROR);
		return;
	}
	buf.len = (size_t)n;
	sender->at += buf.len;
	sender->left -= buf.len;
	if (sender->left == 0)
		fd_close(&sender->fd);
	h2o_send(req, &buf, 1,
	    sender->left == 0 ? H2O_SEND_STATE_FINAL
			      : H2O_SEND_STATE_IN_PROGRESS);
}

void
static_file_send(
    h2o_req_t *req, struct static_file *file, uint64_t first, uint64_t count)
{
	struct static_sender *sender =
	    h2o_mem_alloc_pool(&req->pool, sizeof(*sender));

	memset(sender, 0, sizeof(*sender));
	sender->super.proceed = static_on_proceed;
	sender->super.stop = static_on_stop;
	sender->fd = file->fd;
	file->fd = -1;
	sender->at = first;
	sender->left = count;
	sender->buf = h2o_mem_alloc_pool(&req->pool, static_chunk(sender));
	h2o_start_response(req, &sender->super);
	static_on_proceed(&sender->super, req);
}

/*
 * Where the lines of the access log go. See access_out.h.
 */
#include "roles/http/access_out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"

enum {
	ACCESS_MODE = 0640,
	ACCESS_KEPT_MAX = 1 << 20, /* bytes, while nobody takes them */
	ACCESS_RETRY_MS = 20
};

static int
access_out_fd(const char *path, struct err *err)
{
	int fd;

	if (path[0] == '\0')
		return STDERR_FILENO;
	/* NONBLOCK: a named pipe that nobody reads is an error at once. */
	fd = open(path,
	    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
	    ACCESS_MODE);
	if (fd < 0)
		err_set(err, "http.access_log_file: cannot open \"%s\": %s",
		    path, strerror(errno));
	return fd;
}

/* --- writing --- */

/* How much of it goes at once: whole lines, as many as a pipe takes as one. */
static size_t
access_out_piece(const char *lines, size_t length)
{
	const char *end;

	if (length <= PIPE_BUF)
		return length;
	end = memrchr(lines, '\n', PIPE_BUF);
	if (end == NULL)
		end = memchr(lines, '\n', length);
	return (size_t)(end - lines) + 1;
}

/* A pipe that is writable takes PIPE_BUF bytes without waiting. */
static bool
access_out_is_writable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) == 1;
}

static void
access_out_lose(struct access_out *out, const char *lines, size_t length)
{
	for (size_t i = 0; i < length; i++)
		out->dropped += lines[i] == '\n';
	/* Where stderr is what is broken, nobody is left to tell. */
	if (!out->said_trouble)
		log_warn("cannot write the access log: %s; lines are lost, "
			 "chimpd_http_access_log_dropped_total counts them",
		    strerror(errno));
	out->said_trouble = true;
}

/* A disk may take a part of it: the rest of that line follows. */
static size_t
access_out_write(struct access_out *out, const char *lines, size_t length)
{
	ssize_t n = write(out->fd, lines, length);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		access_out_lose(out, lines, length);
		return length;
	}
	out->said_trouble = false;
	return (size_t)n;
}

static void
access_out_flush(struct access_out *out)
{
	struct strbuf *b = &out->lines;
	size_t done = 0;

	while (done < b->length && access_out_is_writable(out->fd)) {
		size_t piece =
		    access_out_piece(b->data + done, b->length - done);
		size_t n = access_out_write(out, b->data + done, piece);

		done += n;
		if (n == 0)
			break;
	}
	if (done == 0)
		return;
	memmove(b->data, b->data + done, b->length - done);
	b->length -= done;
}

static void
access_out_on_timer(struct loop_timer *timer, void *arg)
{
	struct access_out *out = arg;

	access_out_flush(out);
	if (out->lines.length > 0)
		loop_timer_start(timer, ACCESS_RETRY_MS);
}

struct strbuf *
access_out_line(struct access_out *out)
{
	if (out->lines.length >= ACCESS_KEPT_MAX) {
		out->dropped++;
		return NULL;
	}
	if (!out->timer.armed)
		loop_timer_start(&out->timer, 0);
	return &out->lines;
}

/* --- life --- */

int
access_out_open(struct access_out *out, const char *path, struct loop *loop,
    struct err *err)
{
	out->path = path;
	out->fd = access_out_fd(path, err);
	if (out->fd < 0)
		return -1;
	loop_timer_init(&out->timer, loop, access_out_on_timer, out);
	return 0;
}

void
access_out_reopen(struct access_out *out)
{
	struct err err = {"", ""};
	int fd;

	if (out->path[0] == '\0')
		return; /* stderr, which the master owns */
	access_out_flush(out);
	fd = access_out_fd(out->path, &err);
	if (fd < 0) {
		log_error(
		    "%s; still writing to the one from before", err.message);
		return;
	}
	close(out->fd);
	out->fd = fd;
}

void
access_out_close(struct access_out *out)
{
	loop_timer_done(&out->timer);
	access_out_flush(out);
	if (out->path[0] != '\0')
		fd_close(&out->fd);
	strbuf_done(&out->lines);
}

/*
 * conf_parse in a child, so that libConfuse's scanner never runs in the
 * master: it may call exit, and it leaks on errors. See conf.h.
 *
 * The child answers on a pipe: "J" and the configuration as JSON, or "E", the
 * message, a zero byte, and the hint.
 */
#include "common/conf/conf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER_BYTES_MAX = 256 << 20 };

static void __attribute__((noreturn)) child(const char *path, int fd)
{
	struct err err;
	struct conf *conf;
	int rc;

	/* A file may be a pipe that nobody writes to: whatever the master has
	 * open must not stay open for that long. */
	fd_close_others(fd);
	conf = conf_parse(path, &err);
	if (conf != NULL) {
		char *json = conf_to_json(conf);

		rc = fd_write_all(fd, "J", 1);
		if (rc == 0)
			rc = fd_write_all(fd, json, strlen(json));
	} else {
		rc = fd_write_all(fd, "E", 1);
		if (rc == 0)
			rc = fd_write_all(
			    fd, err.message, strlen(err.message) + 1);
		if (rc == 0)
			rc = fd_write_all(fd, err.hint, strlen(err.hint));
	}
	/* Not exit(): the master's atexit handlers and stdio buffers are no
	 * business of this process. */
	_exit(rc == 0 ? 0 : 1);
}

static struct conf *
take_answer(const char *answer, size_t length, struct err *err)
{
	const char *hint;

	if (length > 0 && answer[0] == 'J')
		return conf_from_json(answer + 1, err);
	if (length > 1 && answer[0] == 'E') {
		err_set(err, "%s", answer + 1);
		hint = answer + 1 + strlen(answer + 1);
		if (hint < answer + length)
			err_hint(err, "%s", hint + 1);
		return NULL;
	}
	err_set(err, "the process that reads the configuration ended without "
		     "an answer");
	return NULL;
}

static void
reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* The child runs with every signal blocked: the master's handlers, which it
 * inherits, would write to the master's own event loop. */
static pid_t
fork_blocked(void)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	fflush(NULL);
	pid = fork();
	if (pid != 0)
		sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

struct conf *
conf_load(const char *path, struct err *err)
{
	struct conf *conf = NULL;
	size_t length;
	char *answer;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) != 0) {
		err_set(err, "%s: pipe: %s", path, strerror(errno));
		return NULL;
	}
	pid = fork_blocked();
	if (pid == 0) {
		fd_close(&fds[0]);
		child(path, fds[1]);
	}
	fd_close(&fds[1]);
	if (pid < 0) {
		err_set(err, "%s: fork: %s", path, strerror(errno));
		fd_close(&fds[0]);
		return NULL;
	}
	answer = fd_read_all(fds[0], ANSWER_BYTES_MAX, &length);
	fd_close(&fds[0]);
	if (answer != NULL)
		conf = take_answer(answer, length, err);
	else
		err_set(err, "%s: reading it: %s", path, strerror(errno));
	mem_free(&answer);
	reap(pid);
	return conf;
}

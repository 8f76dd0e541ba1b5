/*
 * What a fake process takes and leaves behind: memory and processes. See
 * fake.h.
 */
#include "tests/fake/fake.h"
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

/* Reachable for ever, so that the sanitizer counts it as no leak of ours. */
static struct hoard {
	struct hoard *next;
} * hoard;

int
fake_leak(struct fake *fake, const char *args)
{
	size_t mib = (size_t)atoi(args), size = mib << 20;
	struct hoard *more;

	(void)fake;
	if (mib == 0)
		return -1;
	more = mem_alloc(size);
	/* Pages count when they are written. */
	memset(more, 1, size);
	more->next = hoard;
	hoard = more;
	return 0;
}

/* One line "KIND PID" per grandchild in the folder's file. */
static void
note_grandchild(const struct fake *fake, const char *kind)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/grandchildren",
	    fake->child->birth->conf->fake.control);
	file = fopen(path, "ae");
	if (file == NULL)
		abort();
	fprintf(file, "%s %d\n", kind, (int)getpid());
	fclose(file);
}

static void __attribute__((noreturn))
live_as_grandchild(const struct fake *fake, const char *kind, bool deaf)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
	sigset_t none;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		signal(numbers[i], deaf ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	note_grandchild(fake, kind);
	/*
	 * As a program would: the pipe and the database are not inherited.
	 * Whoever waits for the end of the file knows that it is noted.
	 */
	close_range(3, ~0U, 0);
	for (;;)
		pause();
}

/*
 * Until every grandchild has noted itself, so that one that is killed at once
 * is known, too: nobody else holds the other end of the pipe.
 */
static void
await_note(int pipe_fds[2])
{
	char none;

	fd_close(&pipe_fds[1]);
	while (read(pipe_fds[0], &none, 1) < 0 && errno == EINTR)
		continue;
	fd_close(&pipe_fds[0]);
}

int
fake_fork(struct fake *fake, const char *args)
{
	char kind[32], how[32] = "";
	int noted[2];
	bool doubly, deaf;
	pid_t pid;

	if (sscanf(args, "%31s %31s", kind, how) < 1)
		return -1;
	doubly = strcmp(kind, "double") == 0;
	deaf = strcmp(how, "deaf") == 0;
	if (!doubly && strcmp(kind, "setsid") != 0 &&
	    strcmp(kind, "plain") != 0)
		return -1;
	if (pipe2(noted, O_CLOEXEC) != 0)
		return -1;
	pid = fork();
	if (pid < 0)
		return -1;
	if (pid > 0) {
		await_note(noted);
		if (doubly)
			waitpid(pid, NULL, 0);
		return 0;
	}
	if (strcmp(kind, "plain") != 0)
		setsid();
	if (doubly && fork() > 0)
		_exit(0);
	live_as_grandchild(fake, kind, deaf);
}

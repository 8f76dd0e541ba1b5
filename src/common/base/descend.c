/*
 * The end of all that a process has started. See descend.h.
 *
 * Only direct children are killed. Their numbers cannot name a stranger, since
 * they stay taken until we wait for them; any other number that /proc shows
 * could. A process with a pending KILL forks no more (copy_process() in the
 * kernel looks for it), and its children are ours before it can be waited for:
 * so nothing slips through between looking and killing.
 */
#include "common/base/descend.h"
#include "common/base/clock.h"
#include "common/base/fd.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A test gives another name, to see the search without it. */
#ifndef DESCEND_LIST
#define DESCEND_LIST "children"
#endif

/* Should a SIGCHLD be missed, look again after so long. */
#define DESCEND_LOOK_NS 5000000L

struct descend {
	descend_spare *spare;
	void *arg;
	int killed;
};

void
descend_adopt(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static void
descend_one(struct descend *d, pid_t child)
{
	if (d->spare != NULL && d->spare(child, d->arg))
		return;
	kill(child, SIGKILL);
	d->killed++;
}

/* "12 345 6789 ", which may be cut anywhere by the end of the buffer. */
static void
descend_parse(struct descend *d, int fd)
{
	char buf[1024];
	pid_t pid = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++) {
			if (isdigit((unsigned char)buf[i])) {
				pid = pid * 10 + (buf[i] - '0');
				continue;
			}
			if (pid > 0)
				descend_one(d, pid);
			pid = 0;
		}
	if (pid > 0)
		descend_one(d, pid);
}

/* 0 for a process that is gone. */
static pid_t
descend_parent(const char *pid)
{
	char path[64], text[512];
	const char *name_end;
	int fd, parent = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	fd_close(&fd);
	text[n > 0 ? n : 0] = '\0';
	/* "PID (NAME) STATE PARENT": the name may hold anything. */
	name_end = strrchr(text, ')');
	if (name_end == NULL || sscanf(name_end, ") %*c %d", &parent) != 1)
		return 0;
	return parent;
}

/* Where the kernel has no list of children (CONFIG_PROC_CHILDREN). */
static void
descend_search(struct descend *d)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;

	if (proc == NULL)
		return;
	while ((entry = readdir(proc)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    descend_parent(entry->d_name) == getpid())
			descend_one(d, atoi(entry->d_name));
	closedir(proc);
}

int
descend_kill(descend_spare *spare, void *arg)
{
	struct descend d = {spare, arg, 0};
	char path[64];
	int fd;

	/* The main thread's: it adopts the orphans, and nothing of chimpd
	 * forks in another one. */
	snprintf(
	    path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		descend_parse(&d, fd);
	else
		descend_search(&d);
	fd_close(&fd);
	return d.killed;
}

/* False if there is no child at all. */
static bool
descend_reap(void)
{
	pid_t pid;

	do
		pid = waitpid(-1, NULL, WNOHANG);
	while (pid > 0 || (pid < 0 && errno == EINTR));
	return pid == 0;
}

bool
descend_end(descend_spare *spare, void *arg, int64_t limit_ms)
{
	static const struct timespec pause = {0, DESCEND_LOOK_NS};
	int64_t until_ms = clock_mono_ms() + limit_ms;
	sigset_t child, before;
	bool gone;

	/* Blocked, so that one that comes before we wait for it is kept. */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	for (;;) {
		gone = descend_kill(spare, arg) == 0 && spare != NULL;
		gone = !descend_reap() || gone;
		if (gone || clock_mono_ms() >= until_ms)
			break;
		sigtimedwait(&child, NULL, &pause);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return gone;
}

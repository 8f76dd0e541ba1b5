/*
 * Strays. See stray.h.
 *
 * The kernel gives orphans to the nearest ancestor that has asked for them: to
 * a role process while it lives (it kills them before it ends), then to the
 * master. A child of the master that is none of its own processes is a stray.
 *
 * Unless it is a stranger. As PID 1 of a container the master inherits what
 * others have started (docker exec), and `foo & exec chimpd` in a script gives
 * it a child at birth. Then only a child that shows this node's mark is killed:
 * the variable STRAY_MARK, which every program inherits, or a title of chimpd's
 * own, which a process has that was forked and never ran a program (its room
 * for the environment is where the title stands).
 *
 * A postmaster that was killed leaves its backends behind. To kill them is
 * what PostgreSQL itself does when one of its processes has crashed, and loses
 * nothing that was committed: the next start recovers from the log in any case,
 * and begins sooner, as it waits until none of them holds the shared memory.
 */
#include "supervisor/stray.h"
#include "common/base/descend.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "supervisor/master_state.h"
#include "supervisor/slot_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	STRAY_END_MS = 100,          /* of the second that G33 leaves */
	STRAY_ENVIRON_MAX = 4 << 20, /* the kernel's limit is 6 MiB of which
				      * arguments have a part */
	STRAY_PATH_BYTES = 64
};

static bool
stray_has_children(void)
{
	siginfo_t info;

	/* Fails if there is none. */
	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void
stray_init(struct master *m)
{
	m->stray.marked_only = getpid() == 1 || stray_has_children();
	setenv(STRAY_MARK, m->node_id, 1);
	descend_adopt();
}

/* A file of /proc/PID; NULL if the process is gone or another user's. */
static char *
stray_read(pid_t pid, const char *file, size_t *length)
{
	char path[STRAY_PATH_BYTES];
	struct err err;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	return fd_read_file(path, STRAY_ENVIRON_MAX, length, &err);
}

static bool
stray_has_mark(const struct master *m, pid_t pid)
{
	char mark[sizeof(STRAY_MARK) + UUID_TEXT_BYTES + 1];
	size_t length = 0;
	char *text = stray_read(pid, "environ", &length);
	bool found;

	/* With the zero byte that ends it. */
	snprintf(mark, sizeof(mark), "%s=%s", STRAY_MARK, m->node_id);
	found = text != NULL &&
		memmem(text, length, mark, strlen(mark) + 1) != NULL;
	mem_free(&text);
	return found;
}

static bool
stray_has_title(pid_t pid)
{
	static const char any[] = "chimpd: ", master[] = "chimpd: master";
	size_t length = 0;
	char *text = stray_read(pid, "cmdline", &length);
	bool found;

	found = text != NULL && strncmp(text, any, strlen(any)) == 0 &&
		strncmp(text, master, strlen(master)) != 0;
	mem_free(&text);
	return found;
}

static bool
stray_spare(pid_t pid, void *arg)
{
	struct master *m = arg;

	if (slot_by_pid(m, pid) != NULL || pid == m->prepare.pid ||
	    pid == m->reload.pid || pid == m->embedded.pid)
		return true;
	if (m->stray.marked_only && !stray_has_mark(m, pid) &&
	    !stray_has_title(pid))
		return true;
	log_debug("killing pid %d, which a process that has ended left behind",
	    (int)pid);
	return false;
}

void
stray_kill(struct master *m)
{
	descend_kill(stray_spare, m);
}

void
stray_end(struct master *m)
{
	if (!descend_end(stray_spare, m, STRAY_END_MS))
		log_error("something that was started here has not died of "
			  "KILL; leaving it to the kernel");
}

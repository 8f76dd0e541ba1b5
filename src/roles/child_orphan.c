/*
 * The last resort of a process whose master has died (G36): where it hangs, it
 * can see no end of file, and nobody is left who would abort it. The kernel
 * sends a signal at the master's death; the time for a good end begins, and
 * when it is over a second one ends the process and all that it has started.
 *
 * The first one is SIGCONT, which wakes a process that was stopped. (The kernel
 * would send it to a group of the master's session that is left alone, but the
 * process is a session of its own.)
 *
 * Called by role.c at birth. In the usual case child_master.c has seen the end
 * of the pipe, the process has drained, and the second signal finds nobody.
 */
#include "roles/child.h"
#include "common/base/descend.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

enum {
	/* Less than the 2 s after which nothing may be left; a good end
	 * takes 1.84 s at most (child_master.c, role.c). */
	ORPHAN_END_MS = 1900,
	ORPHAN_DESCEND_MS = 40
};

static pid_t orphan_master;

/*
 * The process may have been interrupted anywhere, inside malloc too: what is
 * called here takes no lock, but for the search where the kernel has no list
 * of children. Should that hang, the third signal ends it.
 */
static void
orphan_on_end(int number)
{
	(void)number;
	signal(SIGALRM, SIG_DFL);
	alarm(1);
	descend_end(NULL, NULL, ORPHAN_DESCEND_MS);
	kill(-getpid(), SIGKILL);
}

static void
orphan_on_death(int number)
{
	const struct itimerval end = {
	    .it_value = {.tv_sec = ORPHAN_END_MS / 1000,
		.tv_usec = ORPHAN_END_MS % 1000 * 1000}};

	/* The third one must get through to the second's handler. */
	const struct sigaction last = {
	    .sa_handler = orphan_on_end, .sa_flags = SA_NODEFER};

	(void)number;
	/* Somebody else's signal. */
	if (getppid() == orphan_master)
		return;
	sigaction(SIGALRM, &last, NULL);
	setitimer(ITIMER_REAL, &end, NULL);
}

void
child_orphan_start(const struct child *child)
{
	const struct sigaction death = {
	    .sa_handler = orphan_on_death, .sa_flags = SA_RESTART};

	orphan_master = (pid_t)child->birth->master_pid;
	sigaction(SIGCONT, &death, NULL);
	prctl(PR_SET_PDEATHSIG, SIGCONT);
	/* It may have died before. */
	orphan_on_death(SIGCONT);
}

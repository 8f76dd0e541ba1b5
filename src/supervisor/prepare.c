/*
 * The child that runs SQL before the roles start. See prepare.h.
 */
#include "supervisor/prepare.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "roles/role.h"
#include "supervisor/master_state.h"
#include "supervisor/spawn.h"
#include "supervisor/words.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* At the start that is the end. Later it was to register the old apps again,
 * after a reload that failed. */
static void
prepare_failed(struct master *m)
{
	if (master_is_booting(m))
		master_fail(m);
	else if (!master_is_stopping(m))
		log_error("the database may still have the apps of the new "
			  "configuration registered; reload to mend that");
}

void
prepare_start(struct master *m)
{
	static const struct spawn_opts opts = {
	    .name = "prepare", .death_signal = SIGKILL};
	pid_t pid = spawn_fork(m, &opts);

	if (pid == 0)
		exit(role_prepare(m->conf, NULL, 0, m->node_id));
	if (pid > 0) {
		m->prepare.pid = pid;
		m->prepare.since_ms = clock_mono_ms();
		patience_begin(m);
		return;
	}
	log_error("cannot start the process that prepares the database: %s",
	    strerror(errno));
	prepare_failed(m);
}

void
prepare_ended(struct master *m, int status)
{
	char end[WORDS_BYTES];

	m->prepare.pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		m->prepare.done = true;
		return;
	}
	if (master_is_stopping(m))
		return;
	/* With an exit status of its own it has logged the reason. */
	if (!WIFEXITED(status))
		log_error("the process that prepares the database was %s",
		    words_exit(status, end));
	prepare_failed(m);
}

void
prepare_kill(struct master *m, int sig)
{
	if (m->prepare.pid > 0)
		spawn_kill(m->prepare.pid, sig);
}

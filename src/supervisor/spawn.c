/*
 * Forking. See spawn.h.
 */
#include "supervisor/spawn.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf_classes.h"
#include "roles/role.h"
#include "supervisor/master_state.h"
#include "supervisor/privs.h"
#include "supervisor/signals.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"
#include "supervisor/title.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* In the child, with all signals blocked. */
static void
spawn_child_begin(struct master *m, const struct spawn_opts *opts)
{
	/* The name first: opts may point into what is closed below. */
	title_set(opts->name);
	log_set_process(opts->name);
	/*
	 * Without event_reinit the child would share the master's epoll
	 * instance, and freeing the base would take the master's own
	 * descriptors out of it.
	 */
	if (event_reinit(m->base) != 0)
		_exit(1);
	event_base_free(m->base);
	m->base = NULL;
	signals_reset();
	if (opts->session)
		setsid();
	else
		setpgid(0, 0);
	if (!opts->keep_caps)
		privs_child();
	/*
	 * After the last change of user, which would clear it. A master that
	 * died before this line is noticed by the next one.
	 */
	if (opts->death_signal != 0)
		prctl(PR_SET_PDEATHSIG, opts->death_signal);
	if (getppid() != m->pid)
		_exit(1);
	master_forget(m, opts->keep_listeners);
}

pid_t
spawn_fork(struct master *m, const struct spawn_opts *opts)
{
	sigset_t all, before;
	pid_t pid;

	/*
	 * Until the child has left the master's loop, a signal to it would
	 * wake the master through the inherited descriptors.
	 */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		spawn_child_begin(m, opts);
	else if (pid > 0 && !opts->session)
		setpgid(pid, pid); /* whoever of the two is first */
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

void
spawn_kill(pid_t pid, int sig)
{
	/* No such group: it was forked just now and has not come so far, nor
	 * started anything. */
	if (kill(-pid, sig) != 0 && errno == ESRCH)
		kill(pid, sig);
}

static void __attribute__((noreturn))
spawn_role(const struct slot *slot, int fd)
{
	/* They live as long as the process. */
	static int fds[LISTEN_MAX];
	static bool tls[LISTEN_MAX];
	const struct master *m = slot->master;
	struct birth *birth = mem_zalloc(sizeof(*birth));
	struct conf_class class = {.worker = NULL};

	slot_wanted(slot, &class);

	birth->conf = m->conf;
	birth->role = slot->role;
	birth->worker = class.worker;
	birth->index = slot->index;
	birth->slot = slot->number;
	birth->generation = slot->generation;
	birth->restarts = slot->restarts;
	snprintf(birth->id, sizeof(birth->id), "%s", slot->id);
	snprintf(birth->node_id, sizeof(birth->node_id), "%s", m->node_id);
	birth->master_fd = fd;
	birth->listen_fds = fds;
	birth->n_listen = listen_fds(&m->listeners, fds);
	listen_tls(&m->listeners, tls);
	birth->listen_tls = tls;
	birth->master_pid = m->pid;
	birth->started = slot->page.tokens;
	birth->n_started = (int)slot->page.count;
	memcpy(birth->crashed, slot->crash.id, sizeof(birth->crashed));
	birth->crash = slot->crash.what;
	role_main(birth);
}

int
spawn_slot(struct slot *slot)
{
	/*
	 * No death signal: a role sees the end of the socketpair, and drains.
	 * A TERM on top would count as the second one, which is told to stop
	 * at once. For a role that hangs there is roles/child_orphan.c.
	 *
	 * A session, because Linux shares processors out between sessions
	 * first (sched_autogroup_enabled, sched(7)), and each PostgreSQL
	 * backend is one: all processes of a node would get together what one
	 * backend gets.
	 */
	struct spawn_opts opts = {.name = slot->name,
	    .keep_listeners = slot->role == &role_http,
	    .session = true};
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, pair) != 0)
		return -1;
	if (crash_page_open(slot) != 0) {
		fd_close(&pair[0]);
		fd_close(&pair[1]);
		return -1;
	}
	pid = spawn_fork(slot->master, &opts);
	if (pid == 0) {
		fd_close(&pair[0]);
		spawn_role(slot, pair[1]);
	}
	fd_close(&pair[1]);
	if (pid < 0) {
		crash_page_close(slot);
		fd_close(&pair[0]);
		return -1;
	}
	crash_page_hide(slot);
	slot->crash.id[0] = '\0';
	slot->pid = pid;
	slot->fd = pair[0];
	return 0;
}

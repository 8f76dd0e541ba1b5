/*
 * Reading and checking a new configuration. See reload.h.
 *
 * The child does both, so that the master neither runs libConfuse nor SQL. It
 * logs what it finds wrong itself; its answer is a configuration or nothing.
 */
#include "supervisor/reload.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf.h"
#include "roles/role.h"
#include "supervisor/master_state.h"
#include "supervisor/privs.h"
#include "supervisor/rolling.h"
#include "supervisor/slot_table.h"
#include "supervisor/spawn.h"
#include "supervisor/words.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	RELOAD_READ_BYTES = 65536, /* the room of a pipe */
	RELOAD_ANSWER_MAX_BYTES = 256 << 20
};

/* Through the pipe to the master. */
static int
reload_hand_over(const struct conf *next, int fd)
{
	char *json = conf_to_json(next);
	int rc = fd_write_all(fd, json, strlen(json));

	if (rc != 0)
		log_error(
		    "cannot hand the configuration over: %s", strerror(errno));
	free(json);
	return rc != 0;
}

/*
 * Open what is new, as the master will, and close it again: before the database
 * has the new registrations, and here a resolver may take its time.
 */
static int
reload_try(struct master *m, const struct conf *next)
{
	struct err err;

	/* An empty file, for one: somebody is just writing it. */
	if (slot_table_check(next, &err) != 0 ||
	    listen_change(&m->listeners, conf_listen(next), &err) != 0) {
		log_err(LOG_LEVEL_ERROR, &err);
		return -1;
	}
	listen_revert(&m->listeners);
	/* A low port was tried with the master's rights; SQL needs none. */
	privs_child();
	return 0;
}

/* In the child: 0 when the configuration is good and handed over. */
static int
reload_child(struct master *m, int fd)
{
	struct err err;
	struct conf *next = conf_parse(m->opts->conf_path, &err);
	int status = 1;

	if (next == NULL) {
		log_err(LOG_LEVEL_ERROR, &err);
		return status;
	}
	conf_warn(next);
	conf_keep_fixed(next, m->conf);
	if (reload_try(m, next) == 0 &&
	    role_prepare(
		next, m->conf, slot_connections_leaving(m), m->node_id) == 0)
		status = reload_hand_over(next, fd);
	/* It would go with the process, but not for a leak check. */
	conf_free(&next);
	return status;
}

static void
reload_close(struct reload *r)
{
	if (r->fd >= 0)
		event_del(&r->io);
	fd_close(&r->fd);
}

static void
reload_on_readable(evutil_socket_t fd, short what, void *arg)
{
	static char data[RELOAD_READ_BYTES];
	struct reload *r = arg;
	ssize_t n = read(fd, data, sizeof(data));

	(void)what;
	if (n > 0 && r->answer.length < RELOAD_ANSWER_MAX_BYTES)
		strbuf_append(&r->answer, data, (size_t)n);
	else if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		reload_close(r); /* its exit status says whether it is whole */
}

static void
reload_fork(struct master *m)
{
	static const struct spawn_opts opts = {.name = "reload",
	    .death_signal = SIGKILL,
	    .keep_listeners = true,
	    .keep_caps = true};
	struct reload *r = &m->reload;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		return;
	r->pid = spawn_fork(m, &opts);
	if (r->pid == 0)
		exit(reload_child(m, fds[1]));
	fd_close(&fds[1]);
	r->fd = fds[0];
	evutil_make_socket_nonblocking(r->fd);
	event_assign(&r->io, m->base, r->fd, EV_READ | EV_PERSIST,
	    reload_on_readable, r);
	event_add(&r->io, NULL);
}

static void
reload_start(struct master *m)
{
	log_info("reloading %s", m->opts->conf_path);
	m->reload.again = false;
	m->reload.since_ms = clock_mono_ms();
	master_set_state(m, MASTER_CHECKING);
	notify_reloading(&m->notify);
	reload_fork(m);
	patience_begin(m);
	if (m->reload.pid > 0)
		return;
	log_error("cannot start the process that checks the configuration: %s",
	    strerror(errno));
	m->reload.pid = 0;
	reload_close(&m->reload);
	reload_refused(m);
}

void
reload_request(struct master *m)
{
	if (master_is_stopping(m)) {
		log_info("HUP: stopping already, nothing is reloaded");
		return;
	}
	if (m->state != MASTER_RUNNING && !m->reload.again)
		log_info("HUP: %s; a reload follows when that is done",
		    master_state_name(m->state));
	m->reload.again = true;
}

void
reload_step(struct master *m)
{
	assert(m->state == MASTER_RUNNING);
	/* Registering the old apps again must not come after the new ones. */
	if (m->reload.again && m->prepare.pid == 0)
		reload_start(m);
}

void
reload_refused(struct master *m)
{
	log_error("the reload is refused: nothing has changed, the old "
		  "configuration stays in effect");
	master_set_state(m, MASTER_RUNNING);
	notify_ready(&m->notify);
}

/* What the loop has not read yet. */
static void
reload_read_rest(struct reload *r)
{
	while (r->fd >= 0) {
		size_t before = r->answer.length;

		reload_on_readable(r->fd, EV_READ, r);
		if (r->answer.length == before)
			break;
	}
	reload_close(r);
}

void
reload_ended(struct master *m, int status)
{
	struct reload *r = &m->reload;
	struct conf *conf = NULL;
	struct err err;
	char end[WORDS_BYTES];

	r->pid = 0;
	reload_read_rest(r);
	if (m->state != MASTER_CHECKING) {
		strbuf_done(&r->answer);
		return;
	}
	if (!WIFEXITED(status))
		log_error("the process that checks the configuration was %s",
		    words_exit(status, end));
	else if (WEXITSTATUS(status) == 0) {
		conf = conf_from_json(strbuf_str(&r->answer), &err);
		if (conf == NULL)
			log_err(LOG_LEVEL_ERROR, &err);
	}
	strbuf_done(&r->answer);
	if (conf != NULL)
		rolling_start(m, conf);
	else
		reload_refused(m);
}

void
reload_kill(struct master *m)
{
	if (m->reload.pid > 0)
		spawn_kill(m->reload.pid, SIGKILL);
}

void
reload_done(struct master *m)
{
	reload_close(&m->reload);
	strbuf_done(&m->reload.answer);
}

void
reload_forget(struct reload *r)
{
	fd_close(&r->fd);
}

/*
 * The embedded PostgreSQL. See embedded.h.
 */
#include "supervisor/embedded.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "supervisor/master_state.h"
#include "supervisor/pgdata.h"
#include "supervisor/pgexec.h"
#include "supervisor/spawn.h"
#include "supervisor/words.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EMBEDDED_POLL_MS = 25,      /* between looks at postmaster.pid */
	EMBEDDED_TELL_MS = 10000,   /* between log lines of a long wait */
	EMBEDDED_EXTEND_MS = 30000, /* what systemd is then asked for */
	EMBEDDED_FOREIGN_MS = 4000, /* for a postmaster that is not stopping */
	/* Deaths before the first readiness. The delays between them add up
	 * to 1.5 s: long enough for orphans of a killed postmaster to leave
	 * the shared memory, short enough for a bad setting to be an error. */
	EMBEDDED_TRIES = 6
};

/* How a postmaster is asked to go, and how long each gets. */
static const struct {
	int signal;
	int64_t patience_ms;
	const char *words;
} embedded_stops[] = {
    {SIGINT, 10000, "a fast shutdown"},
    {SIGQUIT, 5000, "an immediate shutdown"},
    {SIGKILL, 1000, "KILL"},
};
enum { EMBEDDED_STOPS = sizeof(embedded_stops) / sizeof(embedded_stops[0]) };

/* How long it may stay in a state before embedded_on_timer; -1 = for ever. */
static int64_t
embedded_patience_ms(const struct embedded *e)
{
	switch (e->state) {
	case EMBEDDED_OFF:
	case EMBEDDED_INITDB:
	case EMBEDDED_READY:
	case EMBEDDED_ENDED:
		return -1;
	case EMBEDDED_BLOCKED:
	case EMBEDDED_STARTING:
		return EMBEDDED_POLL_MS;
	case EMBEDDED_WAITING:
		return e->restart_delay_ms;
	case EMBEDDED_STOPPING:
		return embedded_stops[e->stop_step].patience_ms;
	}
	abort();
}

static void
embedded_arm_timer(struct embedded *e)
{
	int64_t ms = embedded_patience_ms(e);
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	event_del(&e->timer);
	if (ms >= 0)
		event_add(&e->timer, &tv);
}

/* The one function that changes the state. */
static void
embedded_set_state(struct embedded *e, enum embedded_state state)
{
	if (e->state != state)
		e->since_ms = e->told_ms = clock_mono_ms();
	e->state = state;
	embedded_arm_timer(e);
}

bool
embedded_ready(const struct embedded *e)
{
	return !e->configured || e->state == EMBEDDED_READY;
}

bool
embedded_gone(const struct embedded *e)
{
	return e->state == EMBEDDED_OFF || e->state == EMBEDDED_ENDED;
}

static void
embedded_give_up(struct master *m)
{
	embedded_set_state(&m->embedded, EMBEDDED_ENDED);
	master_fail(m);
}

static void
embedded_start_initdb(struct master *m)
{
	/* KILL: at TERM it would clean up, maybe under the next initdb. */
	static const struct spawn_opts opts = {
	    .name = "initdb", .death_signal = SIGKILL};
	struct embedded *e = &m->embedded;

	log_info(
	    "making a new database cluster in %s", m->conf->database.data_dir);
	e->output_fd = memfd_create("initdb", MFD_CLOEXEC);
	if (e->output_fd >= 0)
		e->pid = spawn_fork(m, &opts);
	if (e->output_fd >= 0 && e->pid == 0)
		pgexec_initdb(e->new_dir, e->output_fd);
	if (e->output_fd >= 0 && e->pid > 0) {
		embedded_set_state(e, EMBEDDED_INITDB);
		return;
	}
	log_error("cannot start initdb: %s", strerror(errno));
	e->pid = 0;
	embedded_give_up(m);
}

/* It died, or could not be started, `why` says how: once more after a while,
 * unless it never was ready and has had its tries. */
static void
embedded_retry(struct master *m, int64_t healthy_ms, const char *why)
{
	struct embedded *e = &m->embedded;
	char delay[WORDS_BYTES];

	e->restart_delay_ms = backoff_next_ms(
	    &e->backoff, healthy_ms, m->conf->restart_delay_max_ms);
	if (!e->was_ready && e->backoff.deaths >= EMBEDDED_TRIES) {
		log_error("PostgreSQL %s; it did not start in %d tries, its "
			  "own lines above say why",
		    why, EMBEDDED_TRIES);
		embedded_give_up(m);
		return;
	}
	words_duration(e->restart_delay_ms, delay);
	log_error("PostgreSQL %s; starting it again %s%s", why,
	    e->restart_delay_ms > 0 ? "in " : "at once",
	    e->restart_delay_ms > 0 ? delay : "");
	embedded_set_state(e, EMBEDDED_WAITING);
}

static void
embedded_start_postgres(struct master *m)
{
	/* INT is a fast shutdown: a postmaster must not outlive us. */
	static const struct spawn_opts opts = {
	    .name = "postgres", .death_signal = SIGINT};
	struct embedded *e = &m->embedded;
	pid_t pid = spawn_fork(m, &opts);

	if (pid == 0)
		pgexec_postgres(m->conf, e->socket_dir);
	if (pid < 0) {
		embedded_retry(m, 0, strerror(errno));
		return;
	}
	e->pid = pid;
	embedded_set_state(e, EMBEDDED_STARTING);
}

/*
 * A postmaster of a chimpd that was killed is on its way out, and gets the
 * time it needs. One that does not stop was started by somebody else.
 */
static void
embedded_blocked(struct master *m, const struct pgdata_postmaster *other)
{
	struct embedded *e = &m->embedded;
	const char *dir = m->conf->database.data_dir;
	int64_t limit_ms = strcmp(other->status, "stopping") == 0
			       ? m->conf->database.start_timeout_ms
			       : EMBEDDED_FOREIGN_MS;

	if (e->state != EMBEDDED_BLOCKED)
		log_warn("an earlier PostgreSQL, pid %d, still runs in %s; "
			 "waiting for its end",
		    (int)other->pid, dir);
	embedded_set_state(e, EMBEDDED_BLOCKED);
	if (e->was_ready || clock_mono_ms() - e->since_ms < limit_ms)
		return;
	log_error("PostgreSQL pid %d runs in %s and is not chimpd's; stop it, "
		  "or name another database.data_dir",
	    (int)other->pid, dir);
	embedded_give_up(m);
}

static void
embedded_try(struct master *m)
{
	struct pgdata_postmaster other;

	pgdata_find_postmaster(m->conf->database.data_dir, &other);
	if (other.pid != 0)
		embedded_blocked(m, &other);
	else
		embedded_start_postgres(m);
}

void
embedded_start(struct master *m)
{
	if (!m->embedded.configured)
		return;
	if (m->embedded.cluster_exists)
		embedded_try(m);
	else
		embedded_start_initdb(m);
}

/*
 * Recovery after a crash takes as long as it takes: cut short, it would begin
 * from the start again, for ever.
 */
static void
embedded_still_starting(struct master *m)
{
	struct embedded *e = &m->embedded;
	int64_t now_ms = clock_mono_ms();
	char since[WORDS_BYTES];

	embedded_set_state(e, EMBEDDED_STARTING);
	if (now_ms - e->told_ms < EMBEDDED_TELL_MS)
		return;
	e->told_ms = now_ms;
	log_info("PostgreSQL pid %d has been starting for %s; it may be "
		 "recovering",
	    (int)e->pid, words_duration(now_ms - e->since_ms, since));
	notify_extend(&m->notify, EMBEDDED_EXTEND_MS);
}

static void
embedded_poll(struct master *m)
{
	struct embedded *e = &m->embedded;
	struct pgdata_postmaster now;
	char took[WORDS_BYTES];

	pgdata_read_postmaster(m->conf->database.data_dir, &now);
	if (now.pid != e->pid || strcmp(now.status, "ready") != 0) {
		embedded_still_starting(m);
		return;
	}
	log_info("PostgreSQL pid %d is ready after %s (data in %s)",
	    (int)e->pid, words_duration(clock_mono_ms() - e->since_ms, took),
	    m->conf->database.data_dir);
	e->was_ready = true;
	embedded_set_state(e, EMBEDDED_READY);
}

static void
embedded_signal(struct embedded *e)
{
	spawn_kill(e->pid, embedded_stops[e->stop_step].signal);
	embedded_set_state(e, EMBEDDED_STOPPING);
}

static void
embedded_stop_harder(struct embedded *e)
{
	log_warn("PostgreSQL pid %d has not ended after %s", (int)e->pid,
	    embedded_stops[e->stop_step].words);
	if (++e->stop_step < EMBEDDED_STOPS) {
		embedded_signal(e);
		return;
	}
	e->stop_step = EMBEDDED_STOPS - 1;
	e->pid = 0;
	embedded_set_state(e, EMBEDDED_ENDED);
}

static void
embedded_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;
	struct embedded *e = &m->embedded;

	(void)fd;
	(void)what;
	switch (e->state) {
	case EMBEDDED_OFF:
	case EMBEDDED_INITDB:
	case EMBEDDED_READY:
	case EMBEDDED_ENDED:
		abort(); /* their timer is never armed */
	case EMBEDDED_BLOCKED:
	case EMBEDDED_WAITING:
		embedded_try(m);
		break;
	case EMBEDDED_STARTING:
		embedded_poll(m);
		break;
	case EMBEDDED_STOPPING:
		embedded_stop_harder(e);
		break;
	}
	master_advance(m);
}

/* What initdb said, a log line per line. */
static void
embedded_log_output(struct embedded *e)
{
	char text[4096];
	char *rest = text, *line;
	ssize_t n = pread(e->output_fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	while ((line = strsep(&rest, "\n")) != NULL)
		if (line[0] != '\0')
			log_error("initdb: %s", line);
}

static void
embedded_initdb_ended(struct master *m, int status)
{
	struct embedded *e = &m->embedded;
	char end[WORDS_BYTES];
	struct err err;

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		embedded_log_output(e);
		log_error("cannot make a database cluster in %s: initdb %s",
		    e->new_dir, words_exit(status, end));
		embedded_give_up(m);
	} else if (pgdata_rename(
		       e->new_dir, m->conf->database.data_dir, &err) != 0) {
		log_err(LOG_LEVEL_ERROR, &err);
		embedded_give_up(m);
	} else {
		e->cluster_exists = true;
		embedded_try(m);
	}
	fd_close(&e->output_fd);
}

static void
embedded_postgres_ended(struct master *m, pid_t pid, int status)
{
	struct embedded *e = &m->embedded;
	bool ready = e->state == EMBEDDED_READY;
	int64_t lived_ms = clock_mono_ms() - e->since_ms;
	char end[WORDS_BYTES], lived[WORDS_BYTES], why[3 * WORDS_BYTES];

	snprintf(why, sizeof(why), "pid %d %s after %s%s", (int)pid,
	    words_exit(status, end), words_duration(lived_ms, lived),
	    ready ? "" : ", not ready");
	embedded_retry(m, ready ? lived_ms : 0, why);
}

void
embedded_ended(struct master *m, int status)
{
	struct embedded *e = &m->embedded;
	pid_t pid = e->pid;

	e->pid = 0;
	switch (e->state) {
	case EMBEDDED_INITDB:
		embedded_initdb_ended(m, status);
		break;
	case EMBEDDED_STARTING:
	case EMBEDDED_READY:
		embedded_postgres_ended(m, pid, status);
		break;
	case EMBEDDED_STOPPING:
		log_info("%s has stopped",
		    e->cluster_exists ? "PostgreSQL" : "initdb");
		embedded_set_state(e, EMBEDDED_ENDED);
		break;
	case EMBEDDED_OFF:
	case EMBEDDED_BLOCKED:
	case EMBEDDED_WAITING:
	case EMBEDDED_ENDED:
		abort(); /* they have no process */
	}
}

void
embedded_stop(struct master *m)
{
	struct embedded *e = &m->embedded;

	if (e->state == EMBEDDED_STOPPING || embedded_gone(e))
		return;
	e->stop_step = 0;
	if (e->pid == 0)
		embedded_set_state(e, EMBEDDED_ENDED);
	else
		embedded_signal(e);
}

void
embedded_stop_now(struct master *m)
{
	struct embedded *e = &m->embedded;

	if (e->state != EMBEDDED_STOPPING || e->stop_step > 0)
		return;
	e->stop_step = 1;
	embedded_signal(e);
}

static int
embedded_take_lock(struct embedded *e, const char *dir, struct err *err)
{
	char *path = mem_printf("%s.lock", dir);
	int rc = lockfile_take(&e->lock, path, err);

	if (rc > 0) {
		err_prefix(err, "database.data_dir \"%s\" is in use", dir);
		err_hint(err, "another chimpd runs on it: stop that one, or "
			      "give this one a data_dir of its own");
	}
	free(path);
	return rc;
}

int
embedded_init(struct master *m, struct err *err)
{
	struct embedded *e = &m->embedded;
	const char *dir = m->conf->database.data_dir;
	int major;

	e->configured = strcmp(m->conf->database.mode, "embedded") == 0;
	evtimer_assign(&e->timer, m->base, embedded_on_timer, m);
	if (!e->configured)
		return 0;
	e->socket_dir = conf_embedded_socket_dir(m->conf);
	e->new_dir = mem_printf("%s.new", dir);
	major = pgexec_major(err);
	if (major < 0)
		return -1;
	if (pgdata_check(dir, major, &e->cluster_exists, err) != 0 ||
	    embedded_take_lock(e, dir, err) != 0 ||
	    pgdata_make_socket_dir(e->socket_dir, err) != 0)
		return -1;
	/* Again, now that nobody else can be making it. */
	return pgdata_check(dir, major, &e->cluster_exists, err);
}

void
embedded_done(struct master *m)
{
	struct embedded *e = &m->embedded;

	if (event_initialized(&e->timer))
		event_del(&e->timer);
	fd_close(&e->output_fd);
	lockfile_release(&e->lock);
	mem_free(&e->socket_dir);
	mem_free(&e->new_dir);
}

void
embedded_forget(struct embedded *e)
{
	/* Not output_fd: it is open only while initdb runs, whose it is. */
	lockfile_forget(&e->lock);
}

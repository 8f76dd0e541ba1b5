/*
 * The master: its states, and what leads from one to the next. See master.h.
 * The work itself is in the other files of this folder.
 */
#include "supervisor/master.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf_classes.h"
#include "supervisor/inherit.h"
#include "supervisor/limits.h"
#include "supervisor/master_state.h"
#include "supervisor/privs.h"
#include "supervisor/replace.h"
#include "supervisor/report.h"
#include "supervisor/rolling.h"
#include "supervisor/slot.h"
#include "supervisor/slot_table.h"

#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

void
master_set_state(struct master *m, enum master_state state)
{
	assert(master_state_allowed(m->state, state));
	log_debug("%s, was %s", master_state_name(state),
	    master_state_name(m->state));
	m->state = state;
}

bool
master_is_booting(const struct master *m)
{
	return m->state < MASTER_RUNNING;
}

bool
master_is_rolling(const struct master *m)
{
	return m->state == MASTER_ROLLING || m->state == MASTER_REVERTING;
}

bool
master_is_stopping(const struct master *m)
{
	return m->state >= MASTER_STOPPING;
}

void
master_fail(struct master *m)
{
	if (master_is_stopping(m))
		return;
	m->exit_status = 1;
	stop_begin(m, STOP_FAST);
}

void
master_forget(struct master *m, bool keep_listeners)
{
	struct list *n;

	LIST_FOREACH (n, &m->slots)
		fd_close(&LIST_ENTRY(n, struct slot, table)->fd);
	listen_forget(&m->listeners, keep_listeners);
	lockfile_forget(&m->pid_file);
	notify_forget(&m->notify);
	reload_forget(&m->reload);
	embedded_forget(&m->embedded);
}

/* True if every class has a process that serves. */
static bool
master_classes_serve(struct master *m)
{
	struct conf_class class;

	for (size_t i = 0; conf_class_at(m->conf, i, &class); i++) {
		bool serves = class.processes == 0;

		for (int n = 0; n < class.processes && !serves; n++)
			serves = slot_find(m, &class, n)->state == SLOT_SERVING;
		if (!serves)
			return false;
	}
	return true;
}

/* MASTER_RUNNING begins. */
static void
master_run_all(struct master *m)
{
	master_set_state(m, MASTER_RUNNING);
	event_del(&m->boot_timer);
	report_ready(m);
	notify_ready(&m->notify);
}

/* Some are not ready yet. Where another one of the class is, that one does the
 * work, and the restart policy goes on trying. */
static void
master_on_boot_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct master *m = arg;

	(void)fd;
	(void)what;
	report_not_ready(m);
	if (master_classes_serve(m))
		master_run_all(m);
	else
		master_fail(m);
	master_advance(m);
}

/* MASTER_BOOTING begins: a process into every slot. */
static void
master_boot(struct master *m)
{
	int64_t ms = m->conf->start_timeout_ms;
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};
	struct list *n;

	master_set_state(m, MASTER_BOOTING);
	event_add(&m->boot_timer, &tv);
	LIST_FOREACH (n, &m->slots)
		slot_start(LIST_ENTRY(n, struct slot, table));
}

static void
master_stop_database(struct master *m)
{
	master_set_state(m, MASTER_STOPPING_DATABASE);
	event_del(&m->boot_timer);
	stop_disarm(m);
	embedded_stop(m);
	if (m->stop.mode == STOP_NOW)
		embedded_stop_now(m);
}

/* One step, if the present state is over. */
static void
master_step(struct master *m)
{
	switch (m->state) {
	case MASTER_STARTING:
		master_set_state(m, MASTER_DATABASE);
		embedded_start(m);
		break;
	case MASTER_DATABASE:
		if (embedded_ready(&m->embedded)) {
			master_set_state(m, MASTER_PREPARING);
			prepare_start(m);
		}
		break;
	case MASTER_PREPARING:
		if (m->prepare.done)
			master_boot(m);
		break;
	case MASTER_BOOTING:
		if (m->slot_count[SLOT_SERVING] == slot_count_wanted(m))
			master_run_all(m);
		break;
	case MASTER_RUNNING:
		replace_step(m);
		reload_step(m);
		break;
	case MASTER_CHECKING:
		replace_step(m);
		break;
	case MASTER_ROLLING:
	case MASTER_REVERTING:
		replace_step(m);
		rolling_step(m);
		break;
	case MASTER_STOPPING:
		if (stop_roles_gone(m))
			master_stop_database(m);
		break;
	case MASTER_STOPPING_DATABASE:
		if (embedded_gone(&m->embedded)) {
			master_set_state(m, MASTER_ENDED);
			event_base_loopbreak(m->base);
		}
		break;
	case MASTER_ENDED:
		break;
	}
}

void
master_advance(struct master *m)
{
	enum master_state before;

	do {
		before = m->state;
		master_step(m);
	} while (m->state != before);
	rescue_step(m);
	slot_sweep(m);
	report_status(m);
}

static struct master *
master_new(struct conf *conf, const struct master_opts *opts)
{
	struct master *m = mem_zalloc(sizeof(*m));

	m->conf = conf;
	m->opts = opts;
	m->pid = getpid();
	m->born_ms = clock_mono_ms();
	m->serial = 1;
	m->next_serial = 2;
	m->pid_file.fd = m->embedded.lock.fd = m->embedded.output_fd = -1;
	m->reload.fd = -1;
	uuid_random(m->node_id);
	list_init(&m->slots);
	for (int i = 0; i < SLOT_STATES; i++)
		list_init(&m->slots_in[i]);
	notify_init(&m->notify, opts->ready_fd);
	return m;
}

static int
master_open_listeners(struct master *m, struct err *err)
{
	const struct conf_strings *listen = conf_listen(m->conf);
	struct inherit *inherit = m->opts->inherit;

	for (int i = 0; i < inherit->count; i++)
		if (listen_inherit(&m->listeners, &inherit->fds[i], err) != 0)
			return -1;
	if (inherit->count > 0 && listen->count == 0)
		log_warn("systemd hands over sockets for http, but no http "
			 "process runs on this node: connections will wait");
	if (listen_change(&m->listeners, listen, err) != 0)
		return -1;
	listen_commit(&m->listeners);
	return 0;
}

/* What may need root. */
static int
master_open(struct master *m, struct err *err)
{
	const struct conf *c = m->conf;
	int rc = 0;

	limits_raise_files();
	if (c->pid_file[0] != '\0')
		rc = lockfile_take(&m->pid_file, c->pid_file, err);
	if (rc > 0)
		err_hint(err, "another chimpd runs: stop that one, or change "
			      "pid_file");
	if (rc != 0)
		return err_prefix(err, "pid_file");
	if (master_open_listeners(m, err) != 0)
		return -1;
	return privs_drop(c, err);
}

static int
master_init(struct master *m, struct err *err)
{
	if (slot_table_check(m->conf, err) != 0 || master_open(m, err) != 0)
		return -1;
	m->base = event_base_new();
	if (m->base == NULL)
		return err_set(err, "cannot make an event loop");
	signals_init(m);
	stop_init(m);
	notify_start(&m->notify, m->base);
	evtimer_assign(&m->boot_timer, m->base, master_on_boot_timeout, m);
	patience_init(m);
	slot_table_init(m);
	return embedded_init(m, err);
}

static void
master_free(struct master **mp)
{
	struct master *m = *mp;

	slot_table_done(m);
	reload_done(m);
	listen_close(&m->listeners);
	lockfile_release(&m->pid_file);
	if (m->base != NULL) {
		embedded_done(m);
		event_del(&m->boot_timer);
		patience_done(m);
		stop_done(m);
		signals_done(m);
	}
	notify_done(&m->notify);
	if (m->base != NULL)
		event_base_free(m->base);
	conf_free(&m->conf);
	conf_free(&m->conf_before);
	mem_free(mp);
}

int
master_run(struct conf *conf, const struct master_opts *opts)
{
	struct master *m = master_new(conf, opts);
	struct err err;
	int status;

	log_info("chimpd %s starts node %s with %s", PACKAGE_VERSION,
	    conf->node, conf->path);
	signals_hold();
	stray_init(m);
	if (master_init(m, &err) != 0) {
		log_err(LOG_LEVEL_ERROR, &err);
		m->exit_status = 1;
	} else {
		master_advance(m);
		while (m->state != MASTER_ENDED)
			event_base_loop(m->base, EVLOOP_ONCE);
		stray_end(m);
		report_ended(m);
	}
	status = m->exit_status;
	master_free(&m);
	return status;
}

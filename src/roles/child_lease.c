/*
 * A child's row in chimp.process: registered when the control connection is
 * ready, renewed at a third of its lease, ended with the process. Also ends
 * the rows of dead siblings when the master says so (G5).
 *
 * After a loss of the database the lease may be over, and what the process
 * held may run elsewhere. So it asks first (process_renew) and registers anew
 * only when the answer is no, after the role has dropped everything.
 */
#include "config.h"

#include "roles/child.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	CHILD_LEASE_MS = 30000, /* of roles that configure none */
	CHILD_RETRY_MS = 1000,  /* after the registration was refused */
	/* Short calls only run here: a longer one is stuck behind a lock, and
	 * the lease's renewal with it. */
	CHILD_STATEMENT_TIMEOUT_MS = 10000
};

/* clang-format off */
static const struct pg_stmt stmt_process_start = { "process_start",
	"select chimp.process_start($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
	10 };
static const struct pg_stmt stmt_process_renew = { "process_renew",
	"select chimp.process_renew($1, $2, $3, $4)", 4 };
static const struct pg_stmt stmt_process_end = { "process_end",
	"select chimp.process_end($1)", 1 };
static const struct pg_stmt stmt_process_crashed = { "process_crashed",
	"select chimp.process_crashed($1, $2, $3)", 3 };
/* clang-format on */

static void child_register(struct child *child);
static void child_rescue_next(struct child *child);

static int64_t
child_lease_ms(const struct child *child)
{
	return child->birth->worker != NULL ? child->birth->worker->lease_ms
					    : CHILD_LEASE_MS;
}

/* --- registration --- */

static void
child_refused(
    struct child *child, const char *what, const struct pg_error *error)
{
	if (!child->priv->said_refused)
		log_error("cannot %s: %s%s%s; trying again every second", what,
		    error->message, error->hint != NULL ? "; " : "",
		    error->hint != NULL ? error->hint : "");
	child->priv->said_refused = true;
	loop_timer_start(&child->priv->lease, CHILD_RETRY_MS);
}

/* The row is there: the role may claim. */
static void
child_registered(struct child *child)
{
	struct child_priv *p = child->priv;

	child->registered = true;
	p->known = true;
	p->tried = true;
	p->said_refused = false;
	loop_timer_start(&p->lease, child_lease_ms(child) / 3);
	child_ready(child);
	child_rescue_next(child);
	if (child->birth->role->registered != NULL)
		child->birth->role->registered(child);
}

static void
child_on_start(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct child *child = arg;

	(void)link;
	if (reply->lost || child->priv->stage == CHILD_FINISHING)
		return;
	if (reply->ok)
		child_registered(child);
	else
		child_refused(child, "register this process", &reply->error);
}

/* A worker's patterns as an array literal; NULL for other roles. */
static char *
child_queues(const struct conf_worker *worker)
{
	struct strbuf b = STRBUF_EMPTY;

	if (worker == NULL)
		return NULL;
	strbuf_putc(&b, '{');
	for (int i = 0; i < worker->queues.count; i++) {
		strbuf_puts(&b, i > 0 ? ",\"" : "\"");
		for (const char *c = worker->queues.items[i]; *c; c++) {
			if (*c == '"' || *c == '\\')
				strbuf_putc(&b, '\\');
			strbuf_putc(&b, *c);
		}
		strbuf_putc(&b, '"');
	}
	strbuf_putc(&b, '}');
	return strbuf_take(&b);
}

static void
child_register(struct child *child)
{
	const struct birth *birth = child->birth;
	char slot[16], pid[16], lease[24];
	char *queues = child_queues(birth->worker);
	const char *values[] = {birth->id, birth->node_id, birth->conf->node,
	    birth->role->name, birth->worker ? birth->worker->name : NULL, slot,
	    pid, PACKAGE_VERSION, queues, lease};

	snprintf(slot, sizeof(slot), "%d", birth->index);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	snprintf(lease, sizeof(lease), "%" PRId64, child_lease_ms(child));
	pg_query(
	    child->control, &stmt_process_start, values, child_on_start, child);
	free(queues);
}

/* --- the lease --- */

static void
child_evicted(struct child *child)
{
	log_warn("this process was declared dead while it was cut off: "
		 "dropping its work and registering anew");
	child->registered = false;
	if (child->birth->role->evicted != NULL)
		child->birth->role->evicted(child);
	if (pg_link_ready(child->control))
		child_register(child);
}

static void
child_on_renew(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct child *child = arg;

	(void)link;
	child->priv->renewing = false;
	if (reply->lost || child->priv->stage == CHILD_FINISHING)
		return;
	if (!reply->ok) {
		child_refused(
		    child, "renew the lease of this process", &reply->error);
	} else if (!pg_bool(reply->results[0], 0, 0)) {
		child_evicted(child);
	} else if (!child->registered) {
		child_registered(child); /* reconnected in time */
	} else {
		loop_timer_start(
		    &child->priv->lease, child_lease_ms(child) / 3);
	}
}

void
child_renew(struct child *child)
{
	char lease[24], busy[16];
	const char *values[] = {child->birth->id, lease, busy, NULL};
	struct msg status;

	if (!pg_link_ready(child->control) || child->priv->renewing)
		return;
	child->priv->renewing = true;
	loop_timer_stop(&child->priv->lease);
	child_status(child, &status);
	snprintf(lease, sizeof(lease), "%" PRId64, child_lease_ms(child));
	snprintf(busy, sizeof(busy), "%" PRIu32, status.busy);
	values[3] = status.text;
	pg_query(
	    child->control, &stmt_process_renew, values, child_on_renew, child);
}

static void
child_on_lease(struct loop_timer *timer, void *arg)
{
	struct child *child = arg;

	(void)timer;
	if (!pg_link_ready(child->control))
		return; /* child_on_control_ready takes over */
	if (child->priv->known)
		child_renew(child);
	else
		child_register(child);
}

/* --- rescue of the dead --- */

static bool
child_is_uuid(const char *s)
{
	return strlen(s) == UUID_TEXT_BYTES - 1 &&
	       strspn(s, "0123456789abcdef-") == UUID_TEXT_BYTES - 1;
}

static void
child_rescued(struct child *child)
{
	struct child_priv *p = child->priv;

	child_master_rescued(child, p->rescues[0].birth);
	p->n_rescues--;
	memmove(&p->rescues[0], &p->rescues[1],
	    (size_t)p->n_rescues * sizeof(p->rescues[0]));
	child_rescue_next(child);
}

static void
child_on_rescue(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct child *child = arg;
	const char *birth = child->priv->rescues[0].birth;

	(void)link;
	child->priv->rescuing = false;
	if (reply->lost)
		return; /* again when the database is back */
	if (!reply->ok)
		log_warn("cannot release what the dead process %s held: %s; "
			 "its lease will",
		    birth, reply->error.message);
	else
		log_info("released %" PRId64 " jobs of the dead process %s",
		    pg_int(reply->results[0], 0, 0), birth);
	child_rescued(child);
}

/* The tokens as an array literal; NULL: whatever it held may have run. */
static char *
child_started(const struct msg_crash *crash)
{
	struct strbuf b = STRBUF_EMPTY;

	if (crash->n_started > MSG_STARTED_MAX)
		return NULL;
	strbuf_putc(&b, '{');
	for (uint32_t i = 0; i < crash->n_started; i++)
		strbuf_printf(
		    &b, "%s%" PRId64, i > 0 ? "," : "", crash->started[i]);
	strbuf_putc(&b, '}');
	return strbuf_take(&b);
}

static void
child_rescue_send(struct child *child, const struct child_rescue *rescue)
{
	const struct msg_crash *crash = &rescue->crash;
	const char *values[] = {rescue->birth, NULL, crash->how};
	char *started;

	if (crash->how[0] == '\0') {
		pg_query(child->control, &stmt_process_end, values,
		    child_on_rescue, child);
		return;
	}
	values[1] = started = child_started(crash);
	pg_query(child->control, &stmt_process_crashed, values, child_on_rescue,
	    child);
	free(started);
}

static void
child_rescue_next(struct child *child)
{
	struct child_priv *p = child->priv;

	if (p->rescuing || p->n_rescues == 0 || !child->registered ||
	    !pg_link_ready(child->control))
		return;
	p->rescuing = true;
	child_rescue_send(child, &p->rescues[0]);
}

void
child_rescue(
    struct child *child, const char *birth, const struct msg_crash *crash)
{
	struct child_priv *p = child->priv;
	struct child_rescue *rescue;

	if (!child_is_uuid(birth)) {
		p->ignored++;
		return;
	}
	for (int i = 0; i < p->n_rescues; i++)
		if (strcmp(p->rescues[i].birth, birth) == 0)
			return;
	if (p->n_rescues == CHILD_RESCUES_MAX)
		return; /* the master asks again */
	rescue = &p->rescues[p->n_rescues++];
	memcpy(rescue->birth, birth, UUID_TEXT_BYTES);
	rescue->crash = *crash;
	child_rescue_next(child);
}

/* --- the control connection --- */

static void
child_on_control_ready(struct pg_link *link, void *arg)
{
	struct child *child = arg;

	(void)link;
	if (child->priv->stage == CHILD_FINISHING)
		return;
	if (child->priv->known)
		child_renew(child);
	else
		child_register(child);
}

static void
child_on_control_lost(struct pg_link *link, void *arg)
{
	struct child *child = arg;
	bool was_registered = child->registered;

	(void)link;
	child->registered = false;
	loop_timer_stop(&child->priv->lease);
	if (child->priv->stage == CHILD_FINISHING) {
		child_exit(child);
		return;
	}
	/* A child that is restarted during an outage is as ready as its
	 * siblings: it waits for the database like them. */
	child->priv->tried = true;
	child_ready(child);
	if (was_registered && child->birth->role->db_lost != NULL)
		child->birth->role->db_lost(child);
}

static void
child_on_control_notify(
    struct pg_link *link, const char *channel, const char *payload, void *arg)
{
	struct child *child = arg;

	(void)link;
	if (child->priv->stage != CHILD_FINISHING &&
	    child->birth->role->notified != NULL)
		child->birth->role->notified(child, channel, payload);
}

void
child_lease_start(struct child *child)
{
	const struct birth *birth = child->birth;
	const struct conf_database *db = &birth->conf->database;
	char *name = mem_printf("chimpd/%s@%s", child->name, birth->conf->node);
	struct pg_link_opts opts = {
	    .loop = child->loop,
	    .conninfo = db->url,
	    .application_name = name,
	    .connect_timeout_ms = db->connect_timeout_ms,
	    .statement_timeout_ms = CHILD_STATEMENT_TIMEOUT_MS,
	    .listen = birth->role->listen,
	    .on_ready = child_on_control_ready,
	    .on_lost = child_on_control_lost,
	    .on_notify = child_on_control_notify,
	    .arg = child,
	};

	loop_timer_init(
	    &child->priv->lease, child->loop, child_on_lease, child);
	child->control = pg_link_new(&opts);
	free(name);
	/* Before anything is claimed: what ran when the process died whose
	 * place this is has to be run alone, and here nothing else runs yet. */
	if (birth->crashed[0] != '\0')
		child_rescue(child, birth->crashed, &birth->crash);
}

static void
child_on_end(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct child *child = arg;

	(void)link;
	if (!reply->ok && !reply->lost)
		log_warn(
		    "cannot deregister this process: %s", reply->error.message);
	if (!reply->lost)
		child_exit(child);
}

void
child_lease_end(struct child *child)
{
	const char *values[] = {child->birth->id};

	loop_timer_stop(&child->priv->lease);
	if (pg_link_ready(child->control))
		pg_query(child->control, &stmt_process_end, values,
		    child_on_end, child);
	else
		child_exit(child);
}

void
child_lease_done(struct child *child)
{
	child->registered = false;
	pg_link_free(&child->control);
	loop_timer_done(&child->priv->lease);
}

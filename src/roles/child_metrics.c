/*
 * A process's figures: those of all roles and the role's own, said in the
 * database every few seconds, where the http process that answers GET /metrics
 * finds those of the other processes of its node.
 */
#include "config.h"

#include "roles/child.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
	CHILD_METRICS_FIRST_MS = 500, /* after birth */
	CHILD_METRICS_MS = 5000
};

/* clang-format off */
static const struct pg_stmt stmt_stats_set = { "process_stats_set",
	"select chimp.process_stats_set($1, $2)", 2 };
/* clang-format on */

/* --- figures --- */

static double
child_seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* proc(5): of `pid`; statm has pages, the second number is what is resident. */
static void
child_metrics_memory(int64_t pid, const char *labels, struct strbuf *out)
{
	char path[64];
	long pages;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%" PRId64 "/statm", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return;
	if (fscanf(file, "%*d %ld", &pages) == 1)
		metrics_count(out, "chimpd_process_resident_memory_bytes",
		    labels, (uint64_t)(pages * sysconf(_SC_PAGESIZE)));
	fclose(file);
}

static void
child_metrics_cpu(clockid_t clock, const char *labels, struct strbuf *out)
{
	metrics_value(out, "chimpd_process_cpu_seconds_total", labels,
	    child_seconds(clock));
}

static void
child_metrics_process(
    struct child *child, const char *labels, struct strbuf *out)
{
	struct msg status;

	child_status(child, &status);
	metrics_value(out, "chimpd_process_start_timestamp_seconds", labels,
	    child->priv->born_s);
	metrics_count(out, "chimpd_process_restarts_total", labels,
	    child->birth->restarts);
	child_metrics_cpu(CLOCK_PROCESS_CPUTIME_ID, labels, out);
	child_metrics_memory(getpid(), labels, out);
	metrics_count(out, "chimpd_process_busy", labels, status.busy);
	metrics_count(out, "chimpd_process_capacity", labels, status.capacity);
	metrics_count(out, "chimpd_process_done_total", labels, status.done);
}

void
child_metrics(struct child *child, struct strbuf *out)
{
	const struct role *role = child->birth->role;
	struct strbuf labels = STRBUF_EMPTY, build = STRBUF_EMPTY;

	metrics_label(&labels, "process", child->name);
	metrics_label(&build, "process", child->name);
	metrics_label(&build, "version", PACKAGE_VERSION);
	metrics_count(out, "chimpd_build_info", strbuf_str(&build), 1);
	child_metrics_process(child, strbuf_str(&labels), out);
	if (role->metrics != NULL && child->state != NULL)
		role->metrics(child, strbuf_str(&labels), out);
	strbuf_done(&labels);
	strbuf_done(&build);
}

void
child_metrics_master(struct child *child, struct strbuf *out)
{
	int64_t pid = child->birth->master_pid;
	struct strbuf labels = STRBUF_EMPTY;
	clockid_t clock;

	metrics_label(&labels, "process", "master");
	if (clock_getcpuclockid((pid_t)pid, &clock) == 0)
		child_metrics_cpu(clock, strbuf_str(&labels), out);
	child_metrics_memory(pid, strbuf_str(&labels), out);
	strbuf_done(&labels);
}

/* --- said --- */

static void
child_on_metrics_set(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct child *child = arg;

	(void)link;
	child->priv->metrics_sent = false;
	if (!reply->ok && !reply->lost)
		log_debug("cannot say this process's figures: %s",
		    reply->error.message);
}

static void
child_on_metrics_timer(struct loop_timer *timer, void *arg)
{
	struct child *child = arg;
	const char *values[] = {child->birth->id, NULL};
	struct strbuf stats = STRBUF_EMPTY;

	loop_timer_start(timer, CHILD_METRICS_MS);
	if (!child->registered || !pg_link_ready(child->control) ||
	    child->priv->metrics_sent || child->priv->stage == CHILD_FINISHING)
		return;
	child_metrics(child, &stats);
	values[1] = strbuf_str(&stats);
	child->priv->metrics_sent = true;
	pg_query(child->control, &stmt_stats_set, values, child_on_metrics_set,
	    child);
	strbuf_done(&stats);
}

void
child_metrics_start(struct child *child)
{
	const struct conf_http *http = &child->birth->conf->http;
	struct child_priv *p = child->priv;

	p->born_s = child_seconds(CLOCK_REALTIME);
	loop_timer_init(
	    &p->metrics, child->loop, child_on_metrics_timer, child);
	/* Who would show them? */
	if (!http->present || http->processes == 0)
		return;
	loop_timer_start(&p->metrics,
	    CHILD_METRICS_FIRST_MS + clock_jitter(CHILD_METRICS_FIRST_MS));
}

void
child_metrics_done(struct child *child)
{
	loop_timer_done(&child->priv->metrics);
}

/*
 * Maintenance of queues (chimp.maintain, chimp.count_open): retention and
 * counts, in bounded steps over the control connection. One process in the
 * database does it at a time, whichever asks; a second after something has
 * changed, and at every safety poll. What retention has left is gone on with
 * sooner: it must be as fast as jobs are. Counts need not.
 */
#include "roles/worker/worker.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum { MAINTAIN_SOON_MS = 1000, MAINTAIN_MORE_MS = 100 };

/* clang-format off */
static const struct pg_stmt stmt_maintain = { "maintain",
	"select chimp.maintain()", 0 };
static const struct pg_stmt stmt_count = { "count_open",
	"select chimp.count_open()", 0 };
/* clang-format on */

void
worker_maintain_soon(struct worker *w)
{
	if (!w->maintain_timer.armed && !w->maintaining)
		loop_timer_start(&w->maintain_timer, MAINTAIN_SOON_MS);
}

static void
maintain_on_reply(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct worker *w = arg;

	(void)link;
	w->maintaining = false;
	if (reply->lost)
		return;
	if (!reply->ok)
		log_warn("maintenance of queues: %s", reply->error.message);
	else if (pg_bool(reply->results[0], 0, 0))
		loop_timer_start(&w->maintain_timer, MAINTAIN_MORE_MS);
	else if (reply->n_results > 1 && pg_bool(reply->results[1], 0, 0))
		loop_timer_start(&w->maintain_timer, MAINTAIN_SOON_MS);
}

static void
maintain_on_timer(struct loop_timer *timer, void *arg)
{
	struct worker *w = arg;
	int64_t now_us = clock_mono_us();

	(void)timer;
	if (w->child->draining || !worker_connected(w))
		return;
	w->maintaining = true;
	pg_send(w->child->control, &stmt_maintain, NULL);
	if (now_us - w->counted_us >= MAINTAIN_SOON_MS * 1000) {
		w->counted_us = now_us;
		pg_send(w->child->control, &stmt_count, NULL);
	}
	pg_sync(w->child->control, maintain_on_reply, w);
}

void
worker_maintain_start(struct worker *w)
{
	loop_timer_init(
	    &w->maintain_timer, w->child->loop, maintain_on_timer, w);
}

void
worker_maintain_done(struct worker *w)
{
	loop_timer_done(&w->maintain_timer);
}

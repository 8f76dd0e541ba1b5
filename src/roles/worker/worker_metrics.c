/*
 * What a worker's runs came to, by queue, for GET /metrics. See worker.h.
 */
#include "roles/worker/worker.h"
#include "common/base/metrics_text.h"

#include <string.h>

/* G40: queues that are shown of one process; the rest are in the database's
 * own figures. */
enum { WORKER_METRICS_QUEUES = 1000 };

static const char *const queue_outcome_names[QUEUE_OUTCOMES] = {
    [QUEUE_DONE] = "done",
    [QUEUE_RETRY] = "retry",
    [QUEUE_DEAD] = "dead",
    [QUEUE_SNOOZED] = "snoozed",
    [QUEUE_CANCELLED] = "cancelled",
    [QUEUE_RELEASED] = "released",
};

void
queue_failed(struct queue *q, const char *outcome)
{
	for (int i = 0; i < QUEUE_OUTCOMES; i++)
		if (strcmp(outcome, queue_outcome_names[i]) == 0)
			q->outcomes[i]++;
}

static void
worker_metrics_queue(
    const struct queue *q, const char *process, struct strbuf *out)
{
	struct strbuf labels = STRBUF_EMPTY;
	size_t length;

	strbuf_puts(&labels, process);
	metrics_label(&labels, "queue", q->name);
	length = labels.length;
	for (int i = 0; i < QUEUE_OUTCOMES; i++) {
		/* Always of the usual ones, so that a rate has a beginning. */
		if (q->outcomes[i] == 0 && i > QUEUE_DEAD)
			continue;
		metrics_label(&labels, "outcome", queue_outcome_names[i]);
		metrics_count(out, "chimpd_worker_jobs_total",
		    strbuf_str(&labels), q->outcomes[i]);
		labels.length = length;
	}
	strbuf_done(&labels);
}

void
worker_metrics(struct child *child, const char *labels, struct strbuf *out)
{
	const struct worker *w = child->state;
	int left = WORKER_METRICS_QUEUES;
	struct list *n;

	metrics_count(out, "chimpd_worker_jobs_waiting", labels,
	    (uint64_t)w->n_jobs[JOB_WAITING]);
	LIST_FOREACH (n, &w->all_queues)
		if (left-- > 0)
			worker_metrics_queue(
			    LIST_ENTRY(n, struct queue, node), labels, out);
}

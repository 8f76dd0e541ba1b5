/*
 * Prometheus' text format. See metrics_text.h.
 */
#include "common/base/metrics_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_family {
	const char *name;
	enum metrics_type type;
	const char *help;
};

/* clang-format off */
/* All that there is, in the order of the page. doc/metrics.md has them too. */
static const struct metrics_family metrics_families[] = {
	{ "chimpd_build_info", METRICS_GAUGE,
	  "1; the label version says which build runs." },
	{ "chimpd_database_up", METRICS_GAUGE,
	  "Whether the database answered this request within a second." },
	{ "chimpd_metrics_complete", METRICS_GAUGE,
	  "Whether this part of the page was brought by the database in time." },
	{ "chimpd_metrics_left_out", METRICS_GAUGE,
	  "Queues, subscriptions, schedules and counters beyond the first 1000." },

	{ "chimpd_process_start_timestamp_seconds", METRICS_GAUGE,
	  "When the process was born, since 1970." },
	{ "chimpd_process_restarts_total", METRICS_COUNTER,
	  "Processes that died in this place, over reloads and recycling." },
	{ "chimpd_process_cpu_seconds_total", METRICS_COUNTER,
	  "Processor time of the process, user and system." },
	{ "chimpd_process_resident_memory_bytes", METRICS_GAUGE,
	  "Memory of the process, shared pages included." },
	{ "chimpd_process_busy", METRICS_GAUGE,
	  "Requests, jobs, lanes or firings at work." },
	{ "chimpd_process_capacity", METRICS_GAUGE,
	  "How many there can be at once." },
	{ "chimpd_process_done_total", METRICS_COUNTER,
	  "Answers, runs of jobs, events or firings since birth." },

	{ "chimpd_http_connections", METRICS_GAUGE,
	  "Connections of clients." },
	{ "chimpd_http_requests_in_flight", METRICS_GAUGE,
	  "Requests that are not answered yet, or whose query still runs." },
	{ "chimpd_http_requests_total", METRICS_COUNTER,
	  "Answers by route and class of status." },
	{ "chimpd_http_request_duration_seconds", METRICS_HISTOGRAM,
	  "From the whole request to the last byte handed to the kernel." },
	{ "chimpd_http_sent_bytes_total", METRICS_COUNTER,
	  "Bodies of answers." },
	{ "chimpd_http_access_log_dropped_total", METRICS_COUNTER,
	  "Lines of the access log that nobody took in time." },
	{ "chimpd_pool_connections", METRICS_GAUGE,
	  "Open connections to the database for requests." },
	{ "chimpd_pool_connections_busy", METRICS_GAUGE,
	  "Those in use." },
	{ "chimpd_pool_connections_max", METRICS_GAUGE,
	  "How many there can be: pool_max." },
	{ "chimpd_pool_waiting", METRICS_GAUGE,
	  "Requests that wait for a connection." },

	{ "chimpd_worker_jobs_total", METRICS_COUNTER,
	  "Runs of jobs by queue and outcome." },
	{ "chimpd_worker_jobs_waiting", METRICS_GAUGE,
	  "Claims that wait for a connection of the worker." },
	{ "chimpd_queue_jobs", METRICS_GAUGE,
	  "Jobs that are kept, by queue and state." },
	{ "chimpd_queue_oldest_ready_age_seconds", METRICS_GAUGE,
	  "Age of the job that is next; 0 if none is ready." },
	{ "chimpd_queue_consumers", METRICS_GAUGE,
	  "Live worker processes that serve the queue, on all nodes." },
	{ "chimpd_queue_paused", METRICS_GAUGE,
	  "Whether the queue is paused." },

	{ "chimpd_subscription_lag_events", METRICS_GAUGE,
	  "Events committed and not handled; many: an upper bound." },
	{ "chimpd_subscription_lag_seconds", METRICS_GAUGE,
	  "Age of the oldest of those." },
	{ "chimpd_subscription_dead_events", METRICS_GAUGE,
	  "Events that were set aside after their last attempt." },
	{ "chimpd_subscription_lanes", METRICS_GAUGE,
	  "Lanes of the subscription." },
	{ "chimpd_subscription_lanes_paused", METRICS_GAUGE,
	  "Those that an operator or a failed event has stopped." },

	{ "chimpd_schedule_lateness_seconds", METRICS_GAUGE,
	  "From the last slot that fired to its firing." },
	{ "chimpd_schedule_next_timestamp_seconds", METRICS_GAUGE,
	  "When the next slot is due, since 1970." },
	{ "chimpd_schedule_paused", METRICS_GAUGE,
	  "Whether the schedule is paused." },
	{ "chimpd_schedule_unreadable", METRICS_GAUGE,
	  "Whether no cron process can read the schedule." },

	{ "chimpd_state_value", METRICS_GAUGE,
	  "Sums of chimp.counter_add." },
	{ "chimpd_state_bytes", METRICS_GAUGE,
	  "Bytes on disk of keys, caches, streams and so on, with indexes." },
};
/* clang-format on */

enum {
	METRICS_FAMILIES =
	    sizeof(metrics_families) / sizeof(metrics_families[0])
};

static const char *const metrics_type_names[] = {
    [METRICS_COUNTER] = "counter",
    [METRICS_GAUGE] = "gauge",
    [METRICS_HISTOGRAM] = "histogram",
};

/* Upper ends in microseconds, and as they are written, in seconds. */
static const struct {
	int64_t us;
	const char *text;
} metrics_buckets[METRICS_BUCKETS] = {
    {1000, "0.001"},
    {2500, "0.0025"},
    {5000, "0.005"},
    {10000, "0.01"},
    {25000, "0.025"},
    {50000, "0.05"},
    {100000, "0.1"},
    {250000, "0.25"},
    {500000, "0.5"},
    {1000000, "1"},
    {2500000, "2.5"},
    {5000000, "5"},
    {10000000, "10"},
};

/* --- lines --- */

/* Bytes of the UTF-8 character at `s`, which is terminated; 0 = none (RFC
 * 3629). */
static size_t
metrics_utf8(const unsigned char *s)
{
	static const unsigned char least[] = {0, 0, 0xc2, 0xe0, 0xf0};
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] < least[n] || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than need be, surrogates, beyond the last. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void
metrics_label(struct strbuf *labels, const char *name, const char *value)
{
	size_t n;

	strbuf_printf(labels, "%s%s=\"", labels->length > 0 ? "," : "", name);
	for (; *value != '\0'; value += n) {
		n = metrics_utf8((const unsigned char *)value);
		if (*value == '\n')
			strbuf_puts(labels, "\\n");
		else if (*value == '\\' || *value == '"')
			strbuf_printf(labels, "\\%c", *value);
		else if (n > 0)
			strbuf_append(labels, value, n);
		else
			strbuf_putc(labels, '?');
		if (n == 0)
			n = 1;
	}
	strbuf_putc(labels, '"');
}

void
metrics_count(
    struct strbuf *out, const char *name, const char *labels, uint64_t value)
{
	strbuf_printf(out, "%s{%s} %" PRIu64 "\n", name, labels, value);
}

void
metrics_value(
    struct strbuf *out, const char *name, const char *labels, double value)
{
	strbuf_printf(out, "%s{%s} %.15g\n", name, labels, value);
}

void
metrics_observe(struct metrics_histogram *h, int64_t us)
{
	int i = 0;

	if (us < 0)
		us = 0;
	while (i < METRICS_BUCKETS && us > metrics_buckets[i].us)
		i++;
	h->counts[i]++;
	h->sum_us += (uint64_t)us;
}

void
metrics_histogram(struct strbuf *out, const char *name, const char *labels,
    const struct metrics_histogram *h)
{
	uint64_t n = 0;

	for (int i = 0; i <= METRICS_BUCKETS; i++) {
		n += h->counts[i];
		strbuf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n",
		    name, labels, labels[0] != '\0' ? "," : "",
		    i < METRICS_BUCKETS ? metrics_buckets[i].text : "+Inf", n);
	}
	strbuf_printf(out, "%s_sum{%s} %" PRIu64 ".%06" PRIu64 "\n", name,
	    labels, h->sum_us / 1000000, h->sum_us % 1000000);
	strbuf_printf(out, "%s_count{%s} %" PRIu64 "\n", name, labels, n);
}

/* --- the page --- */

/* Whether a line of this name belongs to the family. */
static bool
metrics_belongs(const struct metrics_family *f, const char *name, size_t length)
{
	static const char *const parts[] = {"_bucket", "_sum", "_count"};
	size_t n = strlen(f->name);

	if (length < n || memcmp(name, f->name, n) != 0)
		return false;
	if (f->type != METRICS_HISTOGRAM)
		return length == n;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (length - n == strlen(parts[i]) &&
		    memcmp(name + n, parts[i], length - n) == 0)
			return true;
	return false;
}

/* METRICS_FAMILIES if there is none. Lines of one family follow each other:
 * `last` is where to look first. */
static int
metrics_family_of(const char *line, size_t length, int last)
{
	const char *brace = memchr(line, '{', length);
	size_t n = brace != NULL ? (size_t)(brace - line) : 0;

	for (int i = 0; n > 0 && i < METRICS_FAMILIES; i++) {
		int at = (last + i) % METRICS_FAMILIES;

		if (metrics_belongs(&metrics_families[at], line, n))
			return at;
	}
	return METRICS_FAMILIES;
}

static void
metrics_sort(const char *text, struct strbuf lines[METRICS_FAMILIES])
{
	int last = 0;

	while (*text != '\0') {
		size_t length = strcspn(text, "\n");
		int at = metrics_family_of(text, length, last);

		if (at < METRICS_FAMILIES) {
			strbuf_append(&lines[at], text, length);
			strbuf_putc(&lines[at], '\n');
			last = at;
		}
		text += length + (text[length] == '\n');
	}
}

void
metrics_page(const char *const *texts, size_t n, struct strbuf *out)
{
	struct strbuf lines[METRICS_FAMILIES] = {STRBUF_EMPTY};

	for (size_t i = 0; i < n; i++)
		metrics_sort(texts[i], lines);
	for (int i = 0; i < METRICS_FAMILIES; i++) {
		const struct metrics_family *f = &metrics_families[i];

		if (lines[i].length == 0)
			continue;
		strbuf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name,
		    f->help, f->name, metrics_type_names[f->type]);
		strbuf_append(out, lines[i].data, lines[i].length);
		strbuf_done(&lines[i]);
	}
}

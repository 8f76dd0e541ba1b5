/*
 * The rules between values: names, listeners, patterns, policies. See
 * conf_draft.h. What a single value may be stands in conf_keys*.c.
 */
#include "common/conf/conf_draft.h"
#include "common/base/address.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_MAX_BYTES = 128, CLASS_MAX_BYTES = 32, NODE_MAX_BYTES = 64 };

static bool
is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

bool
conf_name_valid(const char *name, size_t max)
{
	size_t length = strlen(name);

	if (length == 0 || length > max || name[length - 1] == '.')
		return false;
	for (size_t i = 0; i < length; i++)
		if (name[i] == '.' ? i == 0 || name[i - 1] == '.'
				   : !is_name_char(name[i]))
			return false;
	return true;
}

bool
conf_pattern_valid(const char *pattern)
{
	size_t length = strlen(pattern);
	char name[NAME_MAX_BYTES + 1];

	if (strcmp(pattern, "*") == 0)
		return true;
	if (length < 3 || strcmp(pattern + length - 2, ".*") != 0)
		return conf_name_valid(pattern, NAME_MAX_BYTES);
	if (length > NAME_MAX_BYTES)
		return false;
	memcpy(name, pattern, length - 2);
	name[length - 2] = '\0';
	return conf_name_valid(name, NAME_MAX_BYTES);
}

/* ---------------------------------------------------------------- names */

static int
check_name(const struct conf_draft *d, const void *base, const char *name,
    size_t max, struct err *err)
{
	if (conf_name_valid(name, max))
		return 0;
	return conf_draft_err(d, base, NULL, err,
	    "a name is made of letters, digits, _ and -, with dots between, "
	    "at most %zu bytes",
	    max);
}

/* Whether a later title equals this one; names both places. */
static int
check_unique(const struct conf_draft *d, const char *title, const void *base,
    const void *other, struct err *err)
{
	if (strcmp(title, *(char *const *)other) != 0)
		return 0;
	return conf_draft_err(d, other, NULL, err,
	    "the name is taken already at %s", conf_draft_node(d, base)->where);
}

/* All sections of one kind, over all apps: fn(nth) or NULL behind the last. */
static void *
app_element(
    const struct conf *conf, const struct conf_section *kind, size_t nth)
{
	for (size_t a = 0; a < conf->n_apps; a++) {
		size_t n = conf_section_count(&conf->apps[a], kind);

		if (nth < n)
			return conf_section_at(&conf->apps[a], kind, nth);
		nth -= n;
	}
	return NULL;
}

static int
check_kind(const struct conf_draft *d, const struct conf_section *kind,
    struct err *err)
{
	void *one, *other;

	for (size_t i = 0; (one = app_element(d->conf, kind, i)); i++) {
		const char *title = *conf_field_string(one, 0);

		if (check_name(d, one, title, NAME_MAX_BYTES, err) < 0)
			return -1;
		for (size_t j = i + 1; (other = app_element(d->conf, kind, j));
		     j++)
			if (check_unique(d, title, one, other, err) < 0)
				return -1;
	}
	return 0;
}

static int
check_names(const struct conf_draft *d, struct err *err)
{
	const struct conf *conf = d->conf;
	const struct conf_section *app = NULL;

	if (!conf_name_valid(conf->node, NODE_MAX_BYTES))
		return conf_draft_err(d, conf, "node", err,
		    "\"%s\" is no name: letters, digits, _ and -, with dots "
		    "between, at most %d bytes",
		    conf->node, (int)NODE_MAX_BYTES);
	for (size_t i = 0; i < conf->n_workers; i++)
		if (check_name(d, &conf->workers[i], conf->workers[i].name,
			CLASS_MAX_BYTES, err) < 0)
			return -1;
	for (size_t i = 0; i < conf->n_apps; i++) {
		if (check_name(d, &conf->apps[i], conf->apps[i].name,
			NAME_MAX_BYTES, err) < 0)
			return -1;
		app = conf_draft_node(d, &conf->apps[i])->section;
	}
	for (size_t i = 0; app != NULL && i < app->n_subs; i++)
		/* These titles have rules of their own. */
		if (strcmp(app->subs[i].name, "route") != 0 &&
		    strcmp(app->subs[i].name, "static") != 0 &&
		    strcmp(app->subs[i].name, "workflow") != 0 &&
		    check_kind(d, &app->subs[i], err) < 0)
			return -1;
	return 0;
}

/* ------------------------------------------------------------ listeners */

/* One address; its place in *address. */
static int
check_address(const char *text, struct address *address, struct err *err)
{
	if (address_parse(text, address, err) != 0)
		return -1;
	/* Tests may ask for any port. Nobody could find it. */
	if (strcmp(address->port, "0") == 0)
		return err_set(
		    err, "\"%s\": the port must be from 1 to 65535", text);
	return 0;
}

static int
check_listen(const struct conf_draft *d, struct err *err)
{
	const struct conf_strings *listen = &d->conf->http.listen;
	struct address address, other;
	struct err fault;
	int rc = 0;

	for (int i = 0; i < listen->count && rc == 0; i++) {
		rc = check_address(listen->items[i], &address, &fault);
		for (int j = 0; j < i && rc == 0; j++) {
			rc = address_parse(listen->items[j], &other, &fault);
			if (rc == 0 && address_same_place(&address, &other))
				rc = err_set(&fault, "\"%s\": stands twice",
				    listen->items[i]);
		}
	}
	if (rc == 0)
		return 0;
	conf_draft_err(d, &d->conf->http, "listen", err, "%s", fault.message);
	return fault.hint[0] != '\0' ? err_hint(err, "%s", fault.hint) : -1;
}

/* ------------------------------------------------- patterns and policies */

static int
check_workers(const struct conf_draft *d, struct err *err)
{
	for (size_t i = 0; i < d->conf->n_workers; i++) {
		const struct conf_worker *w = &d->conf->workers[i];

		for (int j = 0; j < w->queues.count; j++)
			if (!conf_pattern_valid(w->queues.items[j]))
				return conf_draft_err(d, w, "queues", err,
				    "\"%s\" is neither a queue's name nor a "
				    "pattern like \"video.*\" or \"*\"",
				    w->queues.items[j]);
	}
	return 0;
}

static int
check_retry(const struct conf_draft *d, const void *base,
    const struct conf_retry *retry, struct err *err)
{
	if (retry->retry_delay_ms <= retry->retry_delay_max_ms)
		return 0;
	return conf_draft_err(d, base, "retry_delay", err,
	    "must not be longer than retry_delay_max");
}

static int
check_queue(
    const struct conf_draft *d, const struct conf_queue *q, struct err *err)
{
	if (check_retry(d, q, &q->retry, err) < 0)
		return -1;
	if (*q->dead_letter != '\0' &&
	    !conf_name_valid(q->dead_letter, NAME_MAX_BYTES))
		return conf_draft_err(d, q, "dead_letter", err,
		    "\"%s\" is no name of a queue", q->dead_letter);
	if (strcmp(q->dead_letter, q->name) == 0)
		return conf_draft_err(
		    d, q, "dead_letter", err, "must be another queue");
	return 0;
}

/* Begins like 2026-01-31; the database reads the rest. */
static bool
is_date(const char *text)
{
	return strspn(text, "0123456789") == 4 && text[4] == '-' &&
	       strspn(text + 5, "0123456789") == 2 && text[7] == '-' &&
	       strspn(text + 8, "0123456789") == 2;
}

static int
check_subscription(const struct conf_draft *d,
    const struct conf_subscription *s, struct err *err)
{
	if (*s->event == '\0')
		return conf_draft_err(d, s, "event", err,
		    "must be given: a name, or a pattern like \"order.*\"");
	if (!conf_pattern_valid(s->event))
		return conf_draft_err(d, s, "event", err,
		    "\"%s\" is neither an event's name nor a pattern like "
		    "\"order.*\" or \"*\"",
		    s->event);
	if (strcmp(s->from, "now") != 0 && strcmp(s->from, "beginning") != 0 &&
	    !is_date(s->from))
		return conf_draft_err(d, s, "from", err,
		    "\"%s\" is neither \"now\" nor \"beginning\" nor a time "
		    "like \"2026-01-31T12:00:00Z\"",
		    s->from);
	return check_retry(d, s, &s->retry, err);
}

/* skip, latest, all(N) */
static bool
is_misfire(const char *text)
{
	size_t digits;

	if (strcmp(text, "skip") == 0 || strcmp(text, "latest") == 0)
		return true;
	if (strncmp(text, "all(", 4) != 0)
		return false;
	digits = strspn(text + 4, "0123456789");
	return digits > 0 && digits < 7 && text[4] != '0' &&
	       strcmp(text + 4 + digits, ")") == 0;
}

static int
check_schedule(
    const struct conf_draft *d, const struct conf_schedule *s, struct err *err)
{
	if (*s->schedule == '\0')
		return conf_draft_err(d, s, "schedule", err,
		    "must be given: a cron expression like \"*/15 * * * *\"");
	if (!is_misfire(s->misfire))
		return conf_draft_err(d, s, "misfire", err,
		    "must be \"skip\", \"latest\" or \"all(N)\" with N from 1 "
		    "to 999999, not \"%s\"",
		    s->misfire);
	if (*s->timezone == '\0')
		return conf_draft_err(d, s, "timezone", err,
		    "must be a name like \"UTC\" or \"Europe/Berlin\"");
	return 0;
}

static int
check_app(
    const struct conf_draft *d, const struct conf_app *app, struct err *err)
{
	struct stat st;

	if (*app->migrations != '\0' &&
	    (stat(app->migrations, &st) != 0 || !S_ISDIR(st.st_mode)))
		return conf_draft_err(d, app, "migrations", err,
		    "there is no folder \"%s\"", app->migrations);
	for (size_t i = 0; i < app->n_queues; i++)
		if (check_queue(d, &app->queues[i], err) < 0)
			return -1;
	for (size_t i = 0; i < app->n_subscriptions; i++)
		if (check_subscription(d, &app->subscriptions[i], err) < 0)
			return -1;
	for (size_t i = 0; i < app->n_schedules; i++)
		if (check_schedule(d, &app->schedules[i], err) < 0)
			return -1;
	return 0;
}

int
conf_check(struct conf_draft *d, struct err *err)
{
	if (check_names(d, err) < 0 || check_listen(d, err) < 0 ||
	    check_workers(d, err) < 0)
		return -1;
	for (size_t i = 0; i < d->conf->n_apps; i++)
		if (check_app(d, &d->conf->apps[i], err) < 0)
			return -1;
	if (conf_check_collections(d, err) < 0 ||
	    conf_check_routes(d, err) < 0 || conf_check_handlers(d, err) < 0 ||
	    conf_check_workflows(d, err) < 0 ||
	    conf_check_statics(d, err) < 0 || conf_check_cors(d, err) < 0)
		return -1;
	if (conf_check_tls(d, err) < 0)
		return -1;
	return conf_check_database(d, err);
}

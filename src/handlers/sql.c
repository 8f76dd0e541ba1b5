/*
 * How `sql = "schema.function"` handlers are called. See sql.h.
 */
#include "handlers/sql.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* PostgreSQL cuts longer identifiers (NAMEDATALEN - 1). */
enum { SQL_IDENTIFIER_MAX = 63 };

static bool
sql_is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The length of the identifier at `s`, 0 if there is none. */
static size_t
sql_identifier(const char *s)
{
	size_t n = 0;

	if (!sql_is_letter(s[0]))
		return 0;
	while (
	    sql_is_letter(s[n]) || (s[n] >= '0' && s[n] <= '9') || s[n] == '$')
		n++;
	return n <= SQL_IDENTIFIER_MAX ? n : 0;
}

bool
sql_handler_valid(const char *function)
{
	size_t schema = sql_identifier(function);
	size_t name;

	if (schema == 0 || function[schema] != '.')
		return false;
	name = sql_identifier(function + schema + 1);
	return name > 0 && function[schema + 1 + name] == '\0';
}

/* "schema"."function", in lower case as SQL reads a name without quotes. */
static char *
sql_quote(const char *function)
{
	size_t n = strlen(function);
	char *lower = mem_strdup(function);
	char *quoted;

	assert(sql_handler_valid(function));
	for (size_t i = 0; i < n; i++) {
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] - 'A' + 'a');
		if (lower[i] == '.')
			lower[i] = '\0';
	}
	quoted = mem_printf("\"%s\".\"%s\"", lower, lower + strlen(lower) + 1);
	free(lower);
	return quoted;
}

/* `head` and `tail` stand around the function's quoted name. */
static struct pg_stmt *
sql_stmt(const char *kind, const char *function, const char *head,
    const char *tail, int n_params)
{
	struct pg_stmt *stmt = mem_zalloc(sizeof(*stmt));
	char *quoted = sql_quote(function);

	stmt->name = mem_printf("%s %s", kind, function);
	stmt->sql = mem_printf("select %s%s%s", head, quoted, tail);
	stmt->n_params = n_params;
	free(quoted);
	return stmt;
}

/* The settings first: a subquery that is not pulled up. They are gone with the
 * statement's transaction. */
struct pg_stmt *
sql_handler_action(const char *function, bool readonly)
{
	return readonly
		   ? sql_stmt("read", function, "",
			 "($1::jsonb), current_setting('chimp.response', true)"
			 " from (select set_config('chimp.request', $2, true),"
			 " set_config('chimp.trace', $3, true),"
			 " set_config('transaction_read_only', 'on', true)"
			 " offset 0) s",
			 3)
		   : sql_stmt("action", function, "",
			 "($1::jsonb), current_setting('chimp.response', true)"
			 " from (select set_config('chimp.request', $2, true),"
			 " set_config('chimp.trace', $3, true) offset 0) s",
			 3);
}

struct pg_stmt *
sql_handler_guarded(const char *function)
{
	return sql_stmt("guarded", function,
	    "case when b.status is null then chimp.idempotency_keep($3, $6, ",
	    "($1::jsonb)) else chimp.idempotency_replay($3, $4) end,"
	    " current_setting('chimp.response', true), b.status"
	    " from (select chimp.idempotency_begin($3, $4, $5) as status"
	    " from (select set_config('chimp.request', $2, true),"
	    " set_config('chimp.trace', $7, true) offset 0) s offset 0) b",
	    7);
}

/* Not as F(job_begin()): PostgreSQL inlines a handler that is written in SQL,
 * and with it drops an argument that it does not use. */
struct pg_stmt *
sql_handler_job(const char *function)
{
	return sql_stmt("job", function, "chimp.job_done($1, $2, ",
	    "(b.payload)) from (select chimp.job_begin($1, $2) as payload"
	    " from (select chimp.session_reset() offset 0) as r offset 0) as b",
	    2);
}

struct pg_stmt *
sql_handler_group(const char *queue_id)
{
	struct pg_stmt *stmt = mem_zalloc(sizeof(*stmt));

	assert(queue_id[strspn(queue_id, "0123456789")] == '\0');
	stmt->name = mem_printf("group %s", queue_id);
	stmt->sql = mem_printf(
	    "select done, took_us, slowest_us, jobs, tokens, timeouts_ms"
	    " from chimp.run_%s($1, $2)",
	    queue_id);
	stmt->n_params = 2;
	return stmt;
}

struct pg_stmt *
sql_handler_event(const char *function)
{
	if (!sql_handler_valid(function))
		return NULL;
	return sql_stmt("event", function,
	    "chimp.lane_advance($1, $2, $3, $4, $5, $6, ",
	    "(b.event)) from (select chimp.event_begin($7) as event"
	    " from (select chimp.session_reset() offset 0) as r offset 0) as b",
	    7);
}

struct pg_stmt *
sql_handler_deliver(const char *subscription_id)
{
	struct pg_stmt *stmt;

	if (*subscription_id == '\0' ||
	    subscription_id[strspn(subscription_id, "0123456789")] != '\0')
		return NULL;
	stmt = mem_zalloc(sizeof(*stmt));
	stmt->name = mem_printf("deliver %s", subscription_id);
	stmt->sql = mem_printf("select handled, more, alone, waits,"
			       " tick, event_id from chimp.deliver_%s($1, $2)",
	    subscription_id);
	stmt->n_params = 2;
	return stmt;
}

void
sql_handler_free(struct pg_stmt **stmt)
{
	if (*stmt == NULL)
		return;
	free((void *)(uintptr_t)(*stmt)->name);
	free((void *)(uintptr_t)(*stmt)->sql);
	mem_free(stmt);
}

/* --- kept statements --- */

struct sql_kept {
	struct list node;
	char *name;
	struct pg_stmt *stmt;
};

void
sql_handlers_init(
    struct sql_handlers *h, struct pg_stmt *(*make)(const char *name))
{
	list_init(&h->all);
	h->make = make;
}

const struct pg_stmt *
sql_handlers_get(struct sql_handlers *h, const char *name)
{
	struct pg_stmt *stmt;
	struct sql_kept *kept;
	struct list *n;

	LIST_FOREACH (n, &h->all) {
		kept = LIST_ENTRY(n, struct sql_kept, node);
		if (strcmp(kept->name, name) == 0)
			return kept->stmt;
	}
	stmt = h->make(name);
	if (stmt == NULL)
		return NULL;
	kept = mem_zalloc(sizeof(*kept));
	kept->name = mem_strdup(name);
	kept->stmt = stmt;
	list_append(&h->all, &kept->node);
	return stmt;
}

void
sql_handlers_done(struct sql_handlers *h)
{
	struct list *n;

	while ((n = list_shift(&h->all)) != NULL) {
		struct sql_kept *kept = LIST_ENTRY(n, struct sql_kept, node);

		sql_handler_free(&kept->stmt);
		free(kept->name);
		free(kept);
	}
}

/*
 * chimpctl status: nodes, processes, queues, schedules and subscriptions of
 * a database at a glance.
 */
#include "chimpctl/command.h"
#include "chimpctl/db.h"
#include "chimpctl/human.h"
#include "chimpctl/say.h"
#include "chimpctl/table.h"

#include <jansson.h>

#include <stdlib.h>

static const char status_sql[] =
    "select chimp.status() as json, chimp.to_ms(clock_timestamp()) as now_ms";

/* Members of what chimp.status() answers, as cells. */

static void
cell_text(struct table *table, const json_t *object, const char *member)
{
	const char *text = json_string_value(json_object_get(object, member));

	table_cell(table, "%s", text != NULL && *text != '\0' ? text : "-");
}

static void
cell_number(struct table *table, const json_t *object, const char *member)
{
	const json_t *value = json_object_get(object, member);

	if (json_is_number(value))
		table_cell(table, "%.0f", json_number_value(value));
	else
		table_cell(table, "-");
}

static void
cell_duration(struct table *table, const json_t *object, const char *member)
{
	const json_t *value = json_object_get(object, member);

	if (json_is_number(value))
		table_cell(table, "%s",
		    human_duration((int64_t)json_number_value(value)).text);
	else
		table_cell(table, "-");
}

/* Since an instant in milliseconds since 1970, by the database's clock. */
static void
cell_since(struct table *table, const json_t *object, const char *member,
    int64_t now_ms)
{
	const json_t *value = json_object_get(object, member);
	int64_t ms = now_ms - (int64_t)json_number_value(value);

	table_cell(table, "%s", human_duration(ms < 0 ? 0 : ms).text);
}

static void
cell_instant(struct table *table, const json_t *object, const char *member)
{
	const char *text = json_string_value(json_object_get(object, member));

	table_cell(table, "%s", human_instant(text).text);
}

/* The sections --------------------------------------------------------------*/

static const struct table_column node_columns[] = {
    {"NODE", TABLE_LEFT, 40},
    {"PROCESS", TABLE_LEFT, 40},
    {"PID", TABLE_RIGHT, 0},
    {"BUSY", TABLE_RIGHT, 0},
    {"UP", TABLE_RIGHT, 0},
    {"STATUS", TABLE_LEFT, 60},
};

static void
nodes_row(struct table *table, const json_t *node, int64_t now_ms)
{
	const json_t *process;
	size_t i;

	json_array_foreach (json_object_get(node, "processes"), i, process) {
		cell_text(table, node, "name");
		cell_text(table, process, "name");
		cell_number(table, process, "pid");
		cell_number(table, process, "busy");
		cell_since(table, process, "since_ms", now_ms);
		if (json_is_false(json_object_get(process, "alive")))
			table_cell(table, "dead: its lease has run out");
		else
			cell_text(table, process, "status");
	}
}

static const struct table_column queue_columns[] = {
    {"QUEUE", TABLE_LEFT, 50},
    {"READY", TABLE_RIGHT, 0},
    {"SCHEDULED", TABLE_RIGHT, 0},
    {"RUNNING", TABLE_RIGHT, 0},
    {"DONE", TABLE_RIGHT, 0},
    {"DEAD", TABLE_RIGHT, 0},
    {"OLDEST", TABLE_RIGHT, 0},
    {"CONSUMERS", TABLE_RIGHT, 0},
    {"STATUS", TABLE_LEFT, 0},
};

/* What an operator should see about a queue in one word. */
static const char *
queue_word(const json_t *queue)
{
	const json_t *paused = json_object_get(queue, "paused");

	if (paused != NULL && !json_is_null(paused) && !json_is_false(paused))
		return "paused";
	if (json_number_value(json_object_get(queue, "consumers")) > 0)
		return "served";
	return "no consumer";
}

static void
queues_row(struct table *table, const json_t *queue, int64_t now_ms)
{
	(void)now_ms;
	cell_text(table, queue, "name");
	cell_number(table, queue, "ready");
	cell_number(table, queue, "scheduled");
	cell_number(table, queue, "running");
	cell_number(table, queue, "done");
	cell_number(table, queue, "dead");
	cell_duration(table, queue, "oldest_ready_ms");
	cell_number(table, queue, "consumers");
	table_cell(table, "%s", queue_word(queue));
}

static const struct table_column schedule_columns[] = {
    {"SCHEDULE", TABLE_LEFT, 50},
    {"EXPRESSION", TABLE_LEFT, 30},
    {"TIME ZONE", TABLE_LEFT, 0},
    {"NEXT", TABLE_LEFT, 0},
    {"LAST", TABLE_LEFT, 0},
    {"STATE", TABLE_LEFT, 0},
};

static void
schedules_row(struct table *table, const json_t *schedule, int64_t now_ms)
{
	(void)now_ms;
	cell_text(table, schedule, "name");
	cell_text(table, schedule, "schedule");
	cell_text(table, schedule, "timezone");
	cell_instant(table, schedule, "next_at");
	cell_instant(table, schedule, "last_at");
	cell_text(table, schedule, "state");
}

static const struct table_column subscription_columns[] = {
    {"SUBSCRIPTION", TABLE_LEFT, 50},
    {"EVENT", TABLE_LEFT, 40},
    {"LANES", TABLE_RIGHT, 0},
    {"LAG", TABLE_RIGHT, 0},
    {"BEHIND", TABLE_RIGHT, 0},
    {"DEAD", TABLE_RIGHT, 0},
    {"STATUS", TABLE_LEFT, 0},
};

static void
subscriptions_row(
    struct table *table, const json_t *subscription, int64_t now_ms)
{
	(void)now_ms;
	cell_text(table, subscription, "name");
	cell_text(table, subscription, "event");
	cell_number(table, subscription, "lanes");
	cell_number(table, subscription, "lag_events");
	cell_duration(table, subscription, "lag_ms");
	cell_number(table, subscription, "dead");
	cell_text(table, subscription, "state");
}

#define COLUMNS(table) (table), sizeof(table) / sizeof(*(table))

static const struct section {
	const char *member;
	const char *none; /* said when there is no row */
	const struct table_column *columns;
	size_t n_columns;
	void (*row)(struct table *table, const json_t *item, int64_t now_ms);
} sections[] = {
    {"nodes", "no node is running", COLUMNS(node_columns), nodes_row},
    {"queues", "no queues", COLUMNS(queue_columns), queues_row},
    {"schedules", "no schedules", COLUMNS(schedule_columns), schedules_row},
    {"subscriptions", "no subscriptions", COLUMNS(subscription_columns),
	subscriptions_row},
};

static void
section_print(
    const struct section *section, const json_t *status, int64_t now_ms)
{
	const json_t *items = json_object_get(status, section->member);
	struct table *table;
	const json_t *item;
	size_t i;

	if (json_array_size(items) == 0) {
		puts(section->none);
		return;
	}
	table = table_new(section->columns, (int)section->n_columns);
	json_array_foreach (items, i, item)
		section->row(table, item, now_ms);
	table_print(table, stdout);
	table_free(&table);
}

static int
status_print(const char *text, int64_t now_ms)
{
	json_t *status = json_loads(text, 0, NULL);

	if (!json_is_object(status)) {
		say_error("chimp.status() answered something else than a "
			  "JSON object",
		    text, "Is this chimpctl older than the database's schema?");
		json_decref(status);
		return CTL_FAILED;
	}
	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
		if (i > 0)
			putchar('\n');
		section_print(&sections[i], status, now_ms);
	}
	json_decref(status);
	return CTL_OK;
}

static int
status_run(struct ctl_call *call)
{
	PGresult *result = db_run(call, status_sql, 0, NULL);
	int status = CTL_OK;

	if (result == NULL)
		return CTL_FAILED;
	if (call->json)
		puts(db_text(result, 0, "json"));
	else
		status = status_print(db_text(result, 0, "json"),
		    strtoll(db_text(result, 0, "now_ms"), NULL, 10));
	PQclear(result);
	return status;
}

static const struct ctl_verb status_verbs[] = {
    {NULL, "", "show all of it", 0, 0, NULL, status_run},
    {0},
};

const struct ctl_noun noun_status = {
    .name = "status",
    .help = "nodes, processes, queues, schedules, subscriptions at a glance",
    .verbs = status_verbs,
};

/*
 * The tables of configuration keys of an app: what it declares. Those of the
 * program are in conf_keys.c. See conf_keys.h.
 */
#include "common/conf/conf.h"
#include "common/conf/conf_keys.h"
#include "common/conf/conf_table.h"

#include <assert.h>

/* The title of a section relies on these. */
static_assert(offsetof(struct conf_action, name) == 0, "title");
static_assert(offsetof(struct conf_route, pattern) == 0, "title");
static_assert(offsetof(struct conf_static, prefix) == 0, "title");
static_assert(offsetof(struct conf_collection, name) == 0, "title");
static_assert(offsetof(struct conf_queue, name) == 0, "title");
static_assert(offsetof(struct conf_subscription, name) == 0, "title");
static_assert(offsetof(struct conf_schedule, name) == 0, "title");
static_assert(offsetof(struct conf_workflow, name) == 0, "title");
static_assert(offsetof(struct conf_step, name) == 0, "title");

/* clang-format off */

/* What runs: exactly one of them. */
#define HANDLER_KEYS(type)                                                    \
	{ "sql", CONF_STRING, AT(type, handler.sql), .flags = CONF_OPTIONAL,  \
	  .unless = offsetof(struct type, handler.action),                    \
	  .help = "function \"schema.name\" (jsonb) returns jsonb" },         \
	{ "action", CONF_STRING, AT(type, handler.action),                    \
	  .flags = CONF_OPTIONAL, .help = "an action of any app" },           \
	LATER("program"),                                                     \
	LATER("command"),                                                     \
	LATER("http")

/* How the input is read; they belong to the action when there is one. */
#define INPUT_KEYS(type)                                                      \
	{ "args", CONF_STRING, AT(type, args), .flags = CONF_OPTIONAL,        \
	  .unless = offsetof(struct type, handler.action),                    \
	  .help = "signature \"name: type, ...\" that the input must have" }, \
	{ "readonly", CONF_BOOL, AT(type, readonly), .def = "false",          \
	  .unless = offsetof(struct type, handler.action),                    \
	  .help = "runs in a read-only transaction" },                        \
	{ "body", CONF_CHOICE, AT(type, body), .def = "auto",                 \
	  .choices = "auto|raw",                                              \
	  .unless = offsetof(struct type, handler.action),                    \
	  .help = "auto: the members of JSON or a form; raw: any bytes, as "  \
		  "body, bodyEncoding and contentType" }

#define RETRY_KEYS(type)                                                      \
	{ "max_attempts", CONF_INT, AT(type, retry.max_attempts), .def = "5", \
	  .min = 1, .max = 10000,                                             \
	  .help = "attempts in all, the first included" },                    \
	{ "retry_delay", CONF_DURATION, AT(type, retry.retry_delay_ms),       \
	  .def = "1s", .min = 0, .max = 30 * DAY,                             \
	  .help = "before the second attempt" },                              \
	{ "retry_delay_max", CONF_DURATION,                                   \
	  AT(type, retry.retry_delay_max_ms),                                 \
	  .def = "1h", .min = 0, .max = 30 * DAY,                             \
	  .help = "before any attempt at most" },                             \
	{ "backoff", CONF_CHOICE, AT(type, retry.backoff),                    \
	  .def = "exponential", .choices = "constant|linear|exponential",     \
	  .help = "how the delay grows with the attempts" }

static const struct conf_key action_keys[] = {
	HANDLER_KEYS(conf_action),
	INPUT_KEYS(conf_action),
	{ "at", CONF_STRING, AT(conf_action, at), .flags = CONF_INTERNAL },
};

static const struct conf_key route_keys[] = {
	HANDLER_KEYS(conf_route),
	INPUT_KEYS(conf_route),
	{ "status", CONF_INT, AT(conf_route, status), .def = "200",
	  .min = 200, .max = 299,
	  .help = "of an answer with a result" },
	{ "rate", CONF_RATE, AT(conf_route, rate),
	  .help = "\"COUNT/DURATION\": so many requests of one client may "
		  "start in any such time, over all nodes, else 429; \"\" "
		  "(the default) = no limit" },
	{ "rate_by", CONF_STRING, AT(conf_route, rate_by), .def = "address",
	  .help = "who is one client: \"address\", \"header:NAME\" or "
		  "\"arg:NAME\" of the input" },
	{ "idempotency", CONF_CHOICE, AT(conf_route, idempotency),
	  .def = "optional", .choices = "optional|required|off",
	  .help = "whether an Idempotency-Key is heeded, of POST, PUT, PATCH "
		  "and DELETE that are not readonly" },
	{ "etag", CONF_BOOL, AT(conf_route, etag), .def = "true",
	  .help = "answers of a readonly handler have an ETag, and 304 "
		  "when it is the client's" },
	{ "at", CONF_STRING, AT(conf_route, at), .flags = CONF_INTERNAL },
};

static const struct conf_key static_keys[] = {
	{ "dir", CONF_PATH, AT(conf_static, dir),
	  .help = "folder of the files" },
	{ "fallback", CONF_STRING, AT(conf_static, fallback), .def = "",
	  .help = "file of dir that is answered for pages that are not there; "
		  "\"\" = none" },
	{ "max_age", CONF_DURATION, AT(conf_static, max_age_ms),
	  .def = "0s", .min = 0, .max = 3660 * DAY,
	  .help = "caches may use a file so long without asking" },
};

static const struct conf_key collection_keys[] = {
	{ "path", CONF_STRING, AT(conf_collection, path),
	  .help = "where it is served, \"/api/reports\"" },
	{ "filters", CONF_STRINGS, AT(conf_collection, filters), .max = 100,
	  .help = "dotted paths in documents that a list may be asked for by "
		  "query parameters" },
	{ "writable", CONF_STRINGS, AT(conf_collection, writable),
	  .max = 1000,
	  .help = "members that clients may write; {\"*\"} = any, {} = they "
		  "can only read" },
	{ "at", CONF_STRING, AT(conf_collection, at),
	  .flags = CONF_INTERNAL },
};

static const struct conf_key queue_keys[] = {
	HANDLER_KEYS(conf_queue),
	RETRY_KEYS(conf_queue),
	{ "timeout", CONF_DURATION, AT(conf_queue, timeout_ms), .def = "0s",
	  .min = 0, .max = 30 * DAY,
	  .help = "of one attempt; 0s = none" },
	{ "dead_letter", CONF_STRING, AT(conf_queue, dead_letter),
	  .flags = CONF_OPTIONAL,
	  .help = "queue for dead jobs, else NAME.dlq if there is one" },
	{ "priority", CONF_INT, AT(conf_queue, priority), .def = "0",
	  .min = -32768, .max = 32767,
	  .help = "of its jobs, unless enqueue says another" },
	{ "concurrency", CONF_INT, AT(conf_queue, concurrency), .def = "0",
	  .min = 0, .max = 100000,
	  .help = "jobs that run at once, over all nodes; 0 = no limit" },
	{ "key_concurrency", CONF_INT, AT(conf_queue, key_concurrency),
	  .def = "1", .min = 1, .max = 1000,
	  .help = "jobs of one ordering_key that run at once, "
		  "over all nodes" },
	{ "rate", CONF_RATE, AT(conf_queue, rate),
	  .help = "\"COUNT/DURATION\": so many jobs may start in any such "
		  "time, over all nodes; \"\" (the default) = no limit" },
	{ "group", CONF_INT, AT(conf_queue, group), .def = "32",
	  .min = 1, .max = 32,
	  .help = "jobs that may share one transaction at most; "
		  "1 = each has its own" },
	{ "unique_for", CONF_DURATION, AT(conf_queue, unique_for_ms),
	  .def = "0s", .min = 0, .max = 366 * DAY,
	  .help = "a unique_key stays taken so long after the enqueue, even "
		  "if its job has ended; 0s = until the job has ended" },
	{ "retention", CONF_DURATION, AT(conf_queue, retention_ms),
	  .def = "24h", .min = 0, .max = 3660 * DAY,
	  .help = "done and cancelled jobs are kept so long" },
	{ "retention_dead", CONF_DURATION, AT(conf_queue, retention_dead_ms),
	  .def = "720h", .min = 0, .max = 3660 * DAY,
	  .help = "dead jobs are kept so long" },
	{ "max_ready", CONF_INT, AT(conf_queue, max_ready), .def = "0",
	  .min = 0, .max = 1000000000,
	  .help = "jobs that may wait; an enqueue beyond is refused with "
		  "SQLSTATE CH004; 0 = no bound" },
};

static const struct conf_key subscription_keys[] = {
	{ "event", CONF_STRING, AT(conf_subscription, event),
	  .help = "name of the event, or a pattern like \"order.*\"" },
	{ "key", CONF_STRING, AT(conf_subscription, key), .def = "",
	  .help = "only events of this key; \"\" = of any" },
	{ "where", CONF_STRING, AT(conf_subscription, where), .def = "",
	  .help = "only events whose payload fits this JSON path predicate, "
		  "\"$.amount > 1000\"; \"\" = any" },
	HANDLER_KEYS(conf_subscription),
	RETRY_KEYS(conf_subscription),
	{ "lanes", CONF_INT, AT(conf_subscription, lanes), .def = "1",
	  .min = 1, .max = 1024,
	  .help = "ordered shares that are handled side by side; when it "
		  "changes, the old ones finish what was published before" },
	{ "mode", CONF_CHOICE, AT(conf_subscription, mode), .def = "each",
	  .choices = "each|batch",
	  .help = "the handler gets one event, or an array of up to batch" },
	{ "batch", CONF_INT, AT(conf_subscription, batch), .def = "100",
	  .min = 1, .max = 1000,
	  .help = "events that may share a transaction; mode = \"batch\": "
		  "a call" },
	{ "from", CONF_STRING, AT(conf_subscription, from), .def = "now",
	  .help = "where a new subscription begins: \"now\", \"beginning\" or "
		  "a time, \"2026-01-31T12:00:00Z\"" },
	{ "on_failure", CONF_CHOICE, AT(conf_subscription, on_failure),
	  .def = "park", .choices = "park|pause",
	  .help = "after the last attempt: set aside, or stop the lane" },
	{ "idempotent", CONF_BOOL, AT(conf_subscription, idempotent),
	  .def = "false",
	  .help = "the handler bears repetition; always so for sql" },
};

static const struct conf_key schedule_keys[] = {
	{ "schedule", CONF_STRING, AT(conf_schedule, schedule),
	  .help = "cron expression, \"*/15 * * * *\"" },
	{ "timezone", CONF_STRING, AT(conf_schedule, timezone), .def = "UTC",
	  .help = "IANA name that the expression is read in" },
	HANDLER_KEYS(conf_schedule),
	{ "misfire", CONF_STRING, AT(conf_schedule, misfire),
	  .def = "latest",
	  .help = "missed slots: \"skip\", \"latest\" or \"all(N)\"" },
	{ "overlap", CONF_CHOICE, AT(conf_schedule, overlap), .def = "skip",
	  .choices = "allow|skip|queue_one",
	  .help = "a slot that is due while the last one still runs" },
	{ "jitter", CONF_DURATION, AT(conf_schedule, jitter_ms),
	  .def = "0s", .min = 0, .max = DAY,
	  .help = "spread firings over so long" },
	{ "at", CONF_STRING, AT(conf_schedule, at), .flags = CONF_INTERNAL },
};

#define DOCUMENT "\"$.path\", JSON whose strings may be such paths, or " \
		 "\"schema.function\""

static const struct conf_key step_keys[] = {
	{ "action", CONF_STRING, AT(conf_step, action),
	  .flags = CONF_OPTIONAL, .help = "call this action of the app" },
	{ "signal", CONF_STRING, AT(conf_step, signal),
	  .flags = CONF_OPTIONAL, .help = "wait for this signal" },
	{ "sleep", CONF_DURATION, AT(conf_step, sleep_ms),
	  .min = 0, .max = 3660 * DAY,
	  .flags = CONF_OPTIONAL, .help = "wait so long" },
	{ "goto", CONF_STRING, AT(conf_step, go_to),
	  .flags = CONF_OPTIONAL,
	  .help = "go on with this step of the workflow; \"end\": with none" },
	{ "workflow", CONF_STRING, AT(conf_step, workflow),
	  .flags = CONF_OPTIONAL,
	  .help = "run this workflow of any app and wait for its end" },
	{ "when", CONF_STRING, AT(conf_step, when),
	  .flags = CONF_OPTIONAL,
	  .help = "JSON path predicate over {input, state, results}, "
		  "\"$.state.total > 100\"; else the step is passed over" },
	{ "input", CONF_STRING, AT(conf_step, input),
	  .flags = CONF_OPTIONAL,
	  .help = "action and workflow: over {input, state, results}; "
		  DOCUMENT },
	{ "result", CONF_STRING, AT(conf_step, result),
	  .flags = CONF_OPTIONAL,
	  .help = "action, signal and workflow: keep the result in results "
		  "under this name" },
	{ "state", CONF_STRING, AT(conf_step, state),
	  .flags = CONF_OPTIONAL,
	  .help = "the new state, over {input, state, results, result}, as "
		  "input" },
	{ "timeout", CONF_DURATION, AT(conf_step, timeout_ms),
	  .min = 0, .max = 3660 * DAY,
	  .flags = CONF_OPTIONAL,
	  .help = "action: of one attempt, else as the workflow says; signal "
		  "and workflow: wait so long; 0s, the default = for ever" },
	{ "on_timeout", CONF_STRING, AT(conf_step, on_timeout),
	  .flags = CONF_OPTIONAL,
	  .help = "signal and workflow: \"fail\", which is the default, "
		  "\"continue\" or \"step:NAME\"" },
	{ "max_attempts", CONF_INT, AT(conf_step, retry.max_attempts),
	  .min = 1, .max = 10000,
	  .flags = CONF_OPTIONAL,
	  .help = "action: attempts in all, else as the workflow says" },
	{ "retry_delay", CONF_DURATION, AT(conf_step, retry.retry_delay_ms),
	  .min = 0, .max = 30 * DAY,
	  .flags = CONF_OPTIONAL,
	  .help = "action: before the second attempt, else as the workflow "
		  "says" },
	{ "retry_delay_max", CONF_DURATION,
	  AT(conf_step, retry.retry_delay_max_ms),
	  .min = 0, .max = 30 * DAY,
	  .flags = CONF_OPTIONAL,
	  .help = "action: before any attempt at most, else as the workflow "
		  "says" },
	{ "backoff", CONF_CHOICE, AT(conf_step, retry.backoff),
	  .choices = "constant|linear|exponential",
	  .flags = CONF_OPTIONAL,
	  .help = "action: how the delay grows with the attempts, else as the "
		  "workflow says" },
	{ "compensate", CONF_STRING, AT(conf_step, compensate),
	  .flags = CONF_OPTIONAL,
	  .help = "action: call this action of the app when the run fails or "
		  "is cancelled later" },
	{ "compensate_input", CONF_STRING, AT(conf_step, compensate_input),
	  .flags = CONF_OPTIONAL,
	  .help = "its input over {input, state, results, result}, as input; "
		  "else {input, result} of the step" },
	{ "kind", CONF_STRING, AT(conf_step, kind), .flags = CONF_INTERNAL },
};

static const struct conf_section workflow_sections[] = {
	MANY("step", conf_step, conf_workflow, steps, step_keys, NULL, 0),
};

static const struct conf_key workflow_keys[] = {
	{ "version", CONF_INT, AT(conf_workflow, version), .def = "1",
	  .min = 1, .max = 1000000,
	  .help = "a name may stand several times with different ones" },
	{ "initial", CONF_STRING, AT(conf_workflow, initial),
	  .flags = CONF_OPTIONAL,
	  .help = "function \"schema.name\" (jsonb) returns jsonb that makes "
		  "the first state of the input, else {}" },
	{ "sql", CONF_STRING, AT(conf_workflow, sql), .flags = CONF_OPTIONAL,
	  .help = "function \"schema.name\" (jsonb) returns jsonb that runs "
		  "it, in place of steps" },
	RETRY_KEYS(conf_workflow),
	{ "timeout", CONF_DURATION, AT(conf_workflow, timeout_ms),
	  .def = "0s", .min = 0, .max = 30 * DAY,
	  .help = "of one attempt of a step; 0s = none" },
	{ "concurrency", CONF_INT, AT(conf_workflow, concurrency),
	  .def = "0", .min = 0, .max = 100000,
	  .help = "steps that run at once, over all nodes; 0 = no limit" },
	{ "group", CONF_INT, AT(conf_workflow, group), .def = "32",
	  .min = 1, .max = 32,
	  .help = "steps that may share one transaction at most; "
		  "1 = each has its own" },
	{ "retention", CONF_DURATION, AT(conf_workflow, retention_ms),
	  .def = "720h", .min = 0, .max = 3660 * DAY,
	  .help = "ended runs are kept so long" },
	{ "max_transitions", CONF_INT, AT(conf_workflow, max_transitions),
	  .def = "10000", .min = 1, .max = 1000000000,
	  .help = "a run that makes more without having waited or slept is "
		  "failed" },
};

const struct conf_section conf_app_sections[CONF_APP_SECTIONS] = {
	MANY("action", conf_action, conf_app, actions, action_keys, NULL, 0),
	MANY("route", conf_route, conf_app, routes, route_keys, NULL, 0),
	MANY("static", conf_static, conf_app, statics, static_keys, NULL, 0),
	MANY("collection", conf_collection, conf_app, collections,
	    collection_keys, NULL, 0),
	MANY("queue", conf_queue, conf_app, queues, queue_keys, NULL, 0),
	MANY("subscription", conf_subscription, conf_app, subscriptions,
	    subscription_keys, NULL, 0),
	MANY("cron", conf_schedule, conf_app, schedules, schedule_keys,
	    NULL, 0),
	REPEATED("workflow", conf_workflow, conf_app, workflows, workflow_keys,
	    workflow_sections, COUNT(workflow_sections)),
};

/* clang-format on */

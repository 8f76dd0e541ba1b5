/*
 * The tables of configuration keys of the program: what the operator says of
 * this node, its database and its processes. What an app declares is in
 * conf_keys_app.c. See conf_keys.h.
 *
 * Limits are there to catch slips of the unit or the finger, not to know
 * better than the operator.
 */
#include "common/conf/conf_keys.h"
#include "common/conf/conf.h"
#include "common/conf/conf_table.h"

#include <assert.h>
#include <string.h>

/* conf_section_at and the title of a section rely on these. */
static_assert(offsetof(struct conf_http, present) == 0, "role");
static_assert(offsetof(struct conf_cron, present) == 0, "role");
static_assert(offsetof(struct conf_subscriber, present) == 0, "role");
static_assert(offsetof(struct conf_fake, present) == 0, "role");
static_assert(offsetof(struct conf_worker, name) == 0, "title");
static_assert(offsetof(struct conf_app, name) == 0, "title");
static_assert(offsetof(struct conf_tls, name) == 0, "title");

/* clang-format off */

/* When the master replaces a process by a fresh one. */
#define RECYCLE_WORK(type, key, what)                                         \
	{ key, CONF_INT, AT(type, recycle.max_work), .def = "0",              \
	  .min = 0, .max = INT64_C(1000000000000),                            \
	  .help = "replace a process after about so many " what               \
		  "; 0 = never" }
#define RECYCLE_KEYS(type)                                                    \
	{ "max_age", CONF_DURATION, AT(type, recycle.max_age_ms),             \
	  .def = "0s", .min = 0, .max = 366 * DAY,                            \
	  .help = "replace a process of about that age; 0s = never" },        \
	{ "memory_max", CONF_SIZE, AT(type, recycle.memory_max_bytes),        \
	  .def = "0B", .min = 0, .max = 1024 * GIB,                           \
	  .help = "replace a process with more private memory; 0B = never" }

static const struct conf_key log_keys[] = {
	{ "level", CONF_CHOICE, AT(conf_log, level), .def = "info",
	  .choices = "error|warn|info|debug",
	  .help = "the least important level that is logged" },
	{ "format", CONF_CHOICE, AT(conf_log, format), .def = "text",
	  .choices = "text|json",
	  .help = "of log lines, which go to stderr" },
};

static const struct conf_key database_keys[] = {
	{ "mode", CONF_CHOICE, AT(conf_database, mode), .def = "auto",
	  .choices = "auto|postgres|embedded|memory",
	  .flags = CONF_FIXED,
	  .help = "auto: postgres if there is a url, else embedded" },
	{ "url", CONF_STRING, AT(conf_database, url), .flags = CONF_SECRET,
	  .help = "postgresql://user@host/name, libpq keywords, or secret:NAME" },
	{ "data_dir", CONF_PATH, AT(conf_database, data_dir),
	  .def = "/var/lib/chimpd/postgres",
	  .flags = CONF_FIXED,
	  .help = "embedded: folder of the database" },
	{ "pool_min", CONF_INT, AT(conf_database, pool_min), .def = "1",
	  .min = 0, .max = 1000,
	  .help = "connections that an http process keeps open" },
	{ "pool_max", CONF_INT, AT(conf_database, pool_max), .def = "8",
	  .min = 1, .max = 1000,
	  .help = "connections that an http process opens at most" },
	{ "pool_idle", CONF_DURATION, AT(conf_database, pool_idle_ms),
	  .def = "30m", .min = SECOND, .max = 30 * DAY,
	  .help = "close a connection above pool_min unused so long" },
	{ "pool_life", CONF_DURATION, AT(conf_database, pool_life_ms),
	  .def = "1h", .min = SECOND, .max = 30 * DAY,
	  .help = "replace a connection after so long" },
	{ "connect_timeout", CONF_DURATION,
	  AT(conf_database, connect_timeout_ms),
	  .def = "5s", .min = 100 * MS, .max = HOUR,
	  .help = "for one attempt to connect" },
	{ "statement_timeout", CONF_DURATION,
	  AT(conf_database, statement_timeout_ms),
	  .def = "0s", .min = 0, .max = 30 * DAY,
	  .help = "PostgreSQL's statement_timeout; 0s = none" },
	{ "start_timeout", CONF_DURATION, AT(conf_database, start_timeout_ms),
	  .def = "30s", .min = 100 * MS, .max = DAY,
	  .help = "wait so long for the database at the first start" },
	{ "cache_max", CONF_SIZE, AT(conf_database, cache_max_bytes),
	  .def = "64MiB", .min = 1 * MIB, .max = 1024 * GIB,
	  .help = "about so much chimp.cache_set keeps, in this database" },
	{ "telemetry_retention", CONF_DURATION,
	  AT(conf_database, telemetry_retention_ms),
	  .def = "168h", .min = MINUTE, .max = 3660 * DAY,
	  .help = "what chimp.log and chimp.metric record is kept so long, in "
		  "this database" },
	{ "max_connections", CONF_INT, AT(conf_database, max_connections),
	  .def = "200", .min = 10, .max = 10000,
	  .flags = CONF_FIXED,
	  .help = "embedded: PostgreSQL's max_connections" },
	{ "shared_buffers", CONF_SIZE, AT(conf_database, shared_buffers_bytes),
	  .def = "128MiB", .min = 1 * MIB, .max = 1024 * GIB,
	  .flags = CONF_FIXED,
	  .help = "embedded: PostgreSQL's shared_buffers" },
	{ "settings", CONF_STRINGS, AT(conf_database, settings),
	  .min = 0, .max = 200,
	  .flags = CONF_FIXED,
	  .help = "embedded: more settings of PostgreSQL, \"name=value\"" },
};

static const struct conf_key http_keys[] = {
	{ "processes", CONF_INT, AT(conf_http, processes), .def = "2",
	  .min = 0, .max = 1024,
	  .help = "http processes on this node; 0 = none" },
	{ "listen", CONF_STRINGS, AT(conf_http, listen),
	  .def = "0.0.0.0:3000", .min = 1, .max = 64,
	  .help = "\"host:port\", \"[v6]:port\" or \"unix:/path\" with options" },
	{ "tls_min", CONF_CHOICE, AT(conf_http, tls_min), .def = "1.2",
	  .choices = "1.2|1.3",
	  .help = "the oldest version of TLS that is spoken" },
	{ "read_header_timeout", CONF_DURATION,
	  AT(conf_http, read_header_timeout_ms),
	  .def = "10s", .min = 10 * MS, .max = DAY,
	  .help = "for the head of a request, and for a TLS handshake" },
	{ "read_timeout", CONF_DURATION, AT(conf_http, read_timeout_ms),
	  .def = "30s", .min = 10 * MS, .max = DAY,
	  .help = "for a whole request with its body" },
	{ "write_timeout", CONF_DURATION, AT(conf_http, write_timeout_ms),
	  .def = "60s", .min = 10 * MS, .max = DAY,
	  .help = "for a client to take its answer, or 64 KiB of it" },
	{ "idle_timeout", CONF_DURATION, AT(conf_http, idle_timeout_ms),
	  .def = "120s", .min = 10 * MS, .max = DAY,
	  .help = "keep an idle connection open" },
	{ "request_timeout", CONF_DURATION, AT(conf_http, request_timeout_ms),
	  .def = "5s", .min = 10 * MS, .max = DAY,
	  .help = "from the end of the request to the answer, else 504" },
	{ "body_max", CONF_SIZE, AT(conf_http, body_max_bytes),
	  .def = "4MiB", .min = 1, .max = GIB,
	  .help = "longest body of a request, else 413" },
	{ "wait_max", CONF_DURATION, AT(conf_http, wait_max_ms),
	  .def = "100ms", .min = 0, .max = HOUR,
	  .help = "longest wait for a database connection, else 503" },
	{ "max_connections", CONF_INT, AT(conf_http, max_connections),
	  .def = "10000", .min = 1, .max = 1000000,
	  .help = "clients at once per process" },
	{ "max_requests_waiting", CONF_INT,
	  AT(conf_http, max_requests_waiting),
	  .def = "1024", .min = 0, .max = 1000000,
	  .help = "requests waiting for a connection per process, else 503" },
	{ "max_connections_per_client", CONF_INT,
	  AT(conf_http, max_connections_per_client), .def = "0",
	  .min = 0, .max = 1000000,
	  .help = "of one address per process, more are closed; 0 = any" },
	{ "max_requests_per_client", CONF_INT,
	  AT(conf_http, max_requests_per_client), .def = "0",
	  .min = 0, .max = 1000000,
	  .help = "at work for one client per process, else 503; 0 = any" },
	{ "trusted_proxies", CONF_STRINGS, AT(conf_http, trusted_proxies),
	  .min = 0, .max = 256,
	  .help = "networks like \"10.0.0.0/8\", or \"unix\", whose "
		  "X-Forwarded-For and -Proto, or Forwarded, say who the "
		  "client is and whether it came over TLS" },
	{ "idempotency_retention", CONF_DURATION,
	  AT(conf_http, idempotency_retention_ms),
	  .def = "24h", .min = SECOND, .max = 366 * DAY,
	  .help = "answers to requests with an Idempotency-Key are kept so "
		  "long" },
	{ "gzip", CONF_BOOL, AT(conf_http, gzip), .def = "true",
	  .help = "compress texts of 1 KiB and more for clients that take it" },
	{ "security_headers", CONF_BOOL, AT(conf_http, security_headers),
	  .def = "true",
	  .help = "X-Content-Type-Options, Referrer-Policy and, with HTML, "
		  "X-Frame-Options" },
	{ "hsts", CONF_DURATION, AT(conf_http, hsts_ms), .def = "0s",
	  .min = 0, .max = 3660 * DAY,
	  .help = "Strict-Transport-Security over TLS for so long; 0s = none" },
	{ "access_log", CONF_CHOICE, AT(conf_http, access_log), .def = "off",
	  .choices = "off|text|json",
	  .help = "a line for each request that is over" },
	{ "access_log_file", CONF_PATH, AT(conf_http, access_log_file),
	  .help = "where they go, opened anew at USR1; \"\" = to stderr" },
	RECYCLE_WORK(conf_http, "max_requests", "requests"),
	RECYCLE_KEYS(conf_http),
};

static const struct conf_key tls_keys[] = {
	{ "certificate", CONF_PATH, AT(conf_tls, certificate),
	  .help = "PEM file of the chain, the server's own certificate first" },
	{ "key", CONF_PATH, AT(conf_tls, key),
	  .help = "PEM file of its private key" },
	{ "certificate_pem", CONF_STRING, AT(conf_tls, certificate_pem),
	  .flags = CONF_INTERNAL },
	{ "key_pem", CONF_STRING, AT(conf_tls, key_pem),
	  .flags = CONF_INTERNAL },
	{ "at", CONF_STRING, AT(conf_tls, at), .flags = CONF_INTERNAL },
};

static const struct conf_key cors_keys[] = {
	{ "origins", CONF_STRINGS, AT(conf_cors, origins), .max = 1000,
	  .help = "sites whose pages may read answers, \"https://host\"; "
		  "{\"*\"} = any" },
	{ "credentials", CONF_BOOL, AT(conf_cors, credentials),
	  .def = "false",
	  .help = "they may do so with the user's cookies; not with \"*\"" },
	{ "headers", CONF_STRINGS, AT(conf_cors, headers),
	  .def = "content-type", .min = 0, .max = 100,
	  .help = "headers that their requests may have" },
	{ "max_age", CONF_DURATION, AT(conf_cors, max_age_ms), .def = "10m",
	  .min = 0, .max = DAY,
	  .help = "browsers keep the permission so long" },
};

static const struct conf_key worker_keys[] = {
	{ "processes", CONF_INT, AT(conf_worker, processes), .def = "2",
	  .min = 0, .max = 1024,
	  .help = "processes of this class on this node; 0 = none" },
	{ "concurrency", CONF_INT, AT(conf_worker, concurrency), .def = "16",
	  .min = 1, .max = 1024,
	  .help = "jobs at once per process" },
	{ "queues", CONF_STRINGS, AT(conf_worker, queues), .def = "*",
	  .min = 1, .max = 1024,
	  .help = "queues served: names, or patterns like \"video.*\"" },
	{ "lease", CONF_DURATION, AT(conf_worker, lease_ms), .def = "30s",
	  .min = SECOND, .max = HOUR,
	  .help = "a claim expires so long after a worker's last sign" },
	{ "poll", CONF_DURATION, AT(conf_worker, poll_ms), .def = "250ms",
	  .min = 10 * MS, .max = HOUR,
	  .help = "look for jobs this often when LISTEN is unavailable" },
	RECYCLE_WORK(conf_worker, "max_jobs", "jobs"),
	RECYCLE_KEYS(conf_worker),
	LATER("processes_max"),
	LATER("cpu_max"),
};

static const struct conf_key cron_keys[] = {
	{ "processes", CONF_INT, AT(conf_cron, processes), .def = "1",
	  .min = 0, .max = 64,
	  .help = "cron processes on this node; 0 = none" },
	RECYCLE_KEYS(conf_cron),
};

static const struct conf_key subscriber_keys[] = {
	{ "processes", CONF_INT, AT(conf_subscriber, processes), .def = "1",
	  .min = 0, .max = 64,
	  .help = "subscriber processes on this node; 0 = none" },
	{ "event_retention", CONF_DURATION,
	  AT(conf_subscriber, event_retention_ms),
	  .def = "168h", .min = MINUTE, .max = 3660 * DAY,
	  .help = "events are kept at least so long, and up to half as long "
		  "again; for the database: the node that registered last says it" },
	RECYCLE_KEYS(conf_subscriber),
};

#ifdef CHIMP_TEST_ROLE
static const struct conf_key fake_keys[] = {
	{ "processes", CONF_INT, AT(conf_fake, processes), .def = "1",
	  .min = 0, .max = 1024, .help = "fake processes; 0 = none" },
	{ "behaviour", CONF_STRING, AT(conf_fake, behaviour), .def = "",
	  .help = "orders at birth, see tests/fake/order.c" },
	{ "control", CONF_PATH, AT(conf_fake, control),
	  .help = "folder of more orders" },
	RECYCLE_WORK(conf_fake, "max_jobs", "jobs"),
	RECYCLE_KEYS(conf_fake),
};
#endif

static const struct conf_key app_keys[] = {
	{ "migrations", CONF_PATH, AT(conf_app, migrations),
	  .flags = CONF_OPTIONAL,
	  .help = "folder of *.sql files, each applied once, in order" },
	{ "dir", CONF_STRING, AT(conf_app, dir), .flags = CONF_INTERNAL },
};

static const struct conf_key root_keys[] = {
	{ "node", CONF_STRING, AT(conf, node),
	  .flags = CONF_FIXED,
	  .help = "name of this node, else the host name" },
	{ "pid_file", CONF_PATH, AT(conf, pid_file),
	  .flags = CONF_FIXED,
	  .help = "locked for life when given; \"\" = none" },
	{ "user", CONF_STRING, AT(conf, user), .def = "chimp",
	  .flags = CONF_FIXED,
	  .help = "drop to this user when started as root; \"\" = stay" },
	{ "secrets_dir", CONF_PATH, AT(conf, secrets_dir),
	  .help = "folder with a file for each secret:NAME; \"\" = none" },
	{ "stop_timeout", CONF_DURATION, AT(conf, stop_timeout_ms),
	  .def = "30s", .min = 0, .max = DAY,
	  .help = "running work gets so long at a stop" },
	{ "drain_timeout", CONF_DURATION, AT(conf, drain_timeout_ms),
	  .def = "1h", .min = 0, .max = 30 * DAY,
	  .help = "a replaced process may finish its work for so long; "
		  "0s = without limit" },
	{ "start_timeout", CONF_DURATION, AT(conf, start_timeout_ms),
	  .def = "30s", .min = 100 * MS, .max = DAY,
	  .help = "give up when a role cannot start for so long" },
	{ "restart_delay_max", CONF_DURATION, AT(conf, restart_delay_max_ms),
	  .def = "30s", .min = 100 * MS, .max = HOUR,
	  .help = "longest delay before a dead process is replaced" },
	{ "watchdog", CONF_DURATION, AT(conf, watchdog_ms),
	  .def = "10s", .min = SECOND, .max = HOUR,
	  .help = "a process without a heartbeat for so long is replaced" },
	{ "path", CONF_STRING, AT(conf, path), .flags = CONF_INTERNAL },
	{ "warnings", CONF_STRINGS, AT(conf, warnings), .max = 1000,
	  .flags = CONF_INTERNAL },
	{ "background_workers", CONF_BOOL, AT(conf, background_workers),
	  .def = "true", .flags = CONF_INTERNAL },
};

#define ONE(name, how, type, at, keys)                                        \
	{ name, how, sizeof(struct type), offsetof(struct conf, at), 0,       \
	  keys, COUNT(keys), NULL, 0, false }

static const struct conf_section http_sections[] = {
	MANY("tls", conf_tls, conf_http, tls, tls_keys, NULL, 0),
	{ "cors", CONF_ONE, sizeof(struct conf_cors),
	  offsetof(struct conf_http, cors), 0,
	  cors_keys, COUNT(cors_keys), NULL, 0, false },
};

static const struct conf_section root_sections[] = {
	ONE("log", CONF_ONE, conf_log, log, log_keys),
	ONE("database", CONF_ONE, conf_database, database, database_keys),
	{ "http", CONF_ROLE, sizeof(struct conf_http),
	  offsetof(struct conf, http), 0, http_keys, COUNT(http_keys),
	  http_sections, COUNT(http_sections), false },
	MANY("worker", conf_worker, conf, workers, worker_keys, NULL, 0),
	ONE("cron", CONF_ROLE, conf_cron, cron, cron_keys),
	ONE("subscriber", CONF_ROLE, conf_subscriber, subscriber,
	    subscriber_keys),
#ifdef CHIMP_TEST_ROLE
	ONE("fake", CONF_ROLE, conf_fake, fake, fake_keys),
#endif
	MANY("app", conf_app, conf, apps, app_keys, conf_app_sections,
	    COUNT(conf_app_sections)),
};

const struct conf_section conf_root = {
	"", CONF_ONE, sizeof(struct conf), 0, 0,
	root_keys, COUNT(root_keys), root_sections, COUNT(root_sections),
	false,
};

/* clang-format on */

bool
conf_key_in_file(const struct conf_key *key)
{
	return (key->flags & CONF_INTERNAL) == 0;
}

const struct conf_key *
conf_key_find(const struct conf_section *section, const char *name)
{
	for (size_t i = 0; i < section->n_keys; i++)
		if (strcmp(section->keys[i].name, name) == 0)
			return &section->keys[i];
	return NULL;
}

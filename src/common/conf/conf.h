/*
 * The configuration: what chimpd.conf and its included app files say.
 *
 * Text becomes a struct conf in one place only, a short-lived child
 * (conf_parse: libConfuse's scanner may call exit). The child hands the
 * checked result to the master as JSON (conf_to_json, conf_from_json), so that
 * the master never sees the scanner; roles inherit the struct by fork.
 *
 * Every key stands once, in the tables of conf_keys*.c: parser, checks,
 * defaults, -T and the manual are made from them.
 */
#ifndef CHIMP_CONF_CONF_H
#define CHIMP_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/log.h"

struct err;
struct arena;

/* What an optional number or duration is when the file says nothing. */
enum { CONF_UNSET = -1 };

/* A list of strings; items[count] is NULL. */
struct conf_strings {
	char **items;
	int count;
};

/* How often in any time of that length; no limit if the count is 0. */
struct conf_rate {
	int64_t count;
	int64_t window_ms; /* 0 if the count is 0 */
};

struct conf_log {
	char *level;  /* "error" "warn" "info" "debug" */
	char *format; /* "text" "json" */
};

struct conf_database {
	char *mode;     /* "postgres" or "embedded" once parsed; the file
			 * may say "auto" */
	char *url;      /* libpq URL or keywords; in embedded mode made by
			 * conf_parse from data_dir */
	char *data_dir; /* embedded: PGDATA; the socket lies in a folder
			 * beside it, see conf_embedded_socket_dir */
	int64_t pool_min;
	int64_t pool_max;
	int64_t pool_idle_ms;
	int64_t pool_life_ms;
	int64_t connect_timeout_ms;
	int64_t statement_timeout_ms; /* for every connection; 0 = none */
	int64_t start_timeout_ms;     /* for the first connection */
	int64_t cache_max_bytes;      /* of chimp.cache_set's values */
	int64_t telemetry_retention_ms;
	int64_t max_connections;      /* embedded: of PostgreSQL */
	int64_t shared_buffers_bytes; /* embedded */
	struct conf_strings settings; /* embedded: more "name=value" */
};

/* When a process is replaced by a fresh one; 0 = never. */
struct conf_recycle {
	int64_t max_work; /* requests, or jobs, since its birth */
	int64_t max_age_ms;
	int64_t memory_max_bytes; /* private memory, by the master's measure */
};

/* A certificate for listeners with the option tls. */
struct conf_tls {
	char *name;
	char *certificate; /* path of the chain, the server's own first */
	char *key;         /* path */
	/* What stood in them, PEM: a process that takes a dead one's place
	 * serves what the others serve, whatever the files say by then, and
	 * needs no right to read them. */
	char *certificate_pem;
	char *key_pem; /* secret */
	char *at;      /* "FILE:LINE" */
};

/* Which other sites' pages may read answers. */
struct conf_cors {
	struct conf_strings origins; /* "https://host", "null"; or only "*" */
	bool credentials;            /* with cookies; not with "*" */
	struct conf_strings headers; /* that requests may have */
	int64_t max_age_ms;          /* of the answer to a preflight */
};

struct conf_http {
	bool present;
	int64_t processes;
	struct conf_strings listen; /* as base/address.h reads them */
	char *tls_min;              /* "1.2" or "1.3" */
	struct conf_tls *tls;       /* the first is the default */
	size_t n_tls;
	int64_t read_header_timeout_ms;
	int64_t read_timeout_ms;
	int64_t write_timeout_ms;
	int64_t idle_timeout_ms;
	int64_t request_timeout_ms;
	int64_t body_max_bytes;
	int64_t wait_max_ms;
	int64_t max_connections;      /* clients at once per process */
	int64_t max_requests_waiting; /* for a connection, per process */
	/* Per process; 0 = no bound. */
	int64_t max_connections_per_client;
	int64_t max_requests_per_client;
	struct conf_strings trusted_proxies; /* networks, or "unix" */
	int64_t idempotency_retention_ms;    /* of kept answers */
	bool gzip;
	bool security_headers;
	int64_t hsts_ms; /* Strict-Transport-Security; 0 = none */
	struct conf_cors cors;
	char *access_log;      /* "off" "text" "json" */
	char *access_log_file; /* "" = stderr */
	struct conf_recycle recycle;
};

struct conf_worker {
	char *name; /* the class */
	int64_t processes;
	int64_t concurrency;
	struct conf_strings queues; /* exact names or patterns "a.*", "*" */
	int64_t lease_ms;
	int64_t poll_ms;
	struct conf_recycle recycle;
};

struct conf_cron {
	bool present;
	int64_t processes;
	struct conf_recycle recycle;
};

struct conf_subscriber {
	bool present;
	int64_t processes;
	int64_t event_retention_ms;
	struct conf_recycle recycle;
};

/* The role that misbehaves on order: in tests/fake/, and in no chimpd. */
struct conf_fake {
	bool present;
	int64_t processes;
	char *behaviour; /* orders for every process at birth */
	char *control;   /* folder where more are found; "" = none */
	struct conf_recycle recycle;
};

/*
 * A handler names exactly one of its members. In this version only sql and
 * action are accepted; the others are refused with their name.
 */
struct conf_handler {
	char *sql;    /* "schema.function", checked for that shape */
	char *action; /* name of an action of any app */
};

struct conf_action {
	char *name;
	struct conf_handler handler;
	char *args; /* signature, "" = the input passes unchecked */
	bool readonly;
	char *body; /* "auto" "raw" */
	char *at;   /* "FILE:LINE" of args or the action, for messages */
};

struct conf_route {
	char *pattern;               /* "METHOD /path/{param}" */
	struct conf_handler handler; /* action or sql */
	char *args; /* signature when the route names sql itself */
	bool readonly;
	char *body;            /* "auto" "raw" */
	char *at;              /* "FILE:LINE" */
	int64_t status;        /* of a success with a result; 200 */
	bool etag;             /* of answers of a readonly handler */
	struct conf_rate rate; /* of starts, all nodes */
	char *rate_by;         /* "address" "header:NAME" "arg:NAME" */
	char *idempotency;     /* "optional" "required" "off" */
	char *collection;      /* that it serves: settings as JSON; else NULL */
};

/* Documents that are served: chimp.collection_insert and others. */
struct conf_collection { /* collection "name" { ... } */
	char *name;
	char *path;                   /* "/a/b" */
	struct conf_strings filters;  /* dotted paths: query parameters */
	struct conf_strings writable; /* members, or only "*"; none: readonly */
	char *at;                     /* "FILE:LINE" */
};

/* Files that are answered where no route is. */
struct conf_static {    /* static "/prefix" { ... } */
	char *prefix;   /* "/" or "/a/b" */
	char *dir;      /* absolute once parsed */
	char *fallback; /* file in dir for missing pages; "" = none */
	int64_t max_age_ms;
};

/* Retry policy shared by queues and subscriptions. */
struct conf_retry {
	int64_t max_attempts;
	int64_t retry_delay_ms;
	int64_t retry_delay_max_ms;
	char *backoff; /* "constant" "linear" "exponential" */
};

struct conf_queue {
	char *name;
	struct conf_handler handler;
	struct conf_retry retry;
	int64_t timeout_ms;  /* of one attempt; 0 = none */
	char *dead_letter;   /* queue for dead letters; "" = NAME.dlq if any */
	int64_t priority;    /* of its jobs, unless enqueue says another */
	int64_t concurrency; /* running jobs, all nodes; 0 = any */
	int64_t key_concurrency;   /* running jobs of an ordering_key */
	struct conf_rate rate;     /* of starts, all nodes */
	int64_t group;             /* jobs in one transaction at most */
	int64_t unique_for_ms;     /* after the enqueue; 0 = to the end */
	int64_t retention_ms;      /* of done and cancelled jobs */
	int64_t retention_dead_ms; /* of dead jobs */
	int64_t max_ready;         /* waiting jobs; 0 = any number */
};

struct conf_subscription {
	char *name;
	char *event; /* exact name or "order.*" */
	char *key;   /* "" = any */
	char *where; /* JSON path predicate of the payload; "" = any */
	struct conf_handler handler;
	struct conf_retry retry;
	int64_t lanes;
	char *mode;       /* of calls: "each" event or a "batch" */
	int64_t batch;    /* events in one transaction at most */
	char *from;       /* "now", "beginning" or a time */
	char *on_failure; /* "park" or "pause" */
	bool idempotent;  /* accepted; always so for sql handlers */
};

struct conf_schedule { /* cron "name" { ... } */
	char *name;
	char *at;       /* "FILE:LINE" */
	char *schedule; /* the expression */
	char *timezone;
	struct conf_handler handler;
	char *misfire; /* "skip" "latest" "all(N)" */
	char *overlap; /* "allow" "skip" "queue_one" */
	int64_t jitter_ms;
};

/*
 * A step of a workflow. Exactly one of action, signal, sleep_ms, go_to and
 * workflow is set and says what it does. What the file does not say is "" or
 * CONF_UNSET.
 */
struct conf_step {
	char *name;
	char *kind;   /* "action" "signal" "sleep" "goto" "workflow" */
	char *action; /* of the same app */
	char *signal;
	int64_t sleep_ms;
	char *go_to;    /* a step of the workflow, or "end" */
	char *workflow; /* name of a child's, of any app */
	char *when;     /* JSON path predicate */
	/* Documents: "$.path", JSON with such paths, or "schema.function". */
	char *input;
	char *result; /* name of the result in results */
	char *state;  /* document */
	int64_t timeout_ms;
	char *on_timeout; /* signal, workflow: "fail" "continue" "step:NAME" */
	struct conf_retry retry;
	char *compensate;       /* action of the same app */
	char *compensate_input; /* document */
};

/* One version of a workflow: either a handler, or steps. */
struct conf_workflow {
	char *name;
	int64_t version; /* unique together with the name */
	char *initial;   /* function that makes the first state; "" = {} */
	char *sql;       /* the run form's handler; "" = steps */
	struct conf_retry retry; /* of steps that say nothing else */
	int64_t timeout_ms;      /* of an attempt of a step; 0 = none */
	int64_t concurrency;     /* running steps, all nodes; 0 = any */
	int64_t group;           /* steps in one transaction at most */
	int64_t retention_ms;    /* of ended runs */
	int64_t max_transitions; /* of a run without waiting or sleeping */
	struct conf_step *steps;
	size_t n_steps;
};

struct conf_app {
	char *name;
	char *dir;        /* folder of the app file; migrations go by it */
	char *migrations; /* folder, absolute once parsed; "" = none */
	struct conf_action *actions;
	size_t n_actions;
	struct conf_route *routes;
	size_t n_routes;
	struct conf_static *statics;
	size_t n_statics;
	struct conf_collection *collections;
	size_t n_collections;
	struct conf_queue *queues;
	size_t n_queues;
	struct conf_subscription *subscriptions;
	size_t n_subscriptions;
	struct conf_schedule *schedules;
	size_t n_schedules;
	struct conf_workflow *workflows;
	size_t n_workflows;
};

struct conf {
	struct arena *arena; /* owns everything below */
	char *path;          /* of chimpd.conf */
	char *node;
	char *pid_file;    /* "" = none */
	char *user;        /* "" = stay */
	char *secrets_dir; /* "" = none */
	int64_t stop_timeout_ms;
	int64_t drain_timeout_ms; /* of a replaced process; 0 = no limit */
	int64_t start_timeout_ms;
	int64_t restart_delay_max_ms;
	int64_t watchdog_ms;
	struct conf_strings warnings; /* whoever reads it tells them */
	bool background_workers;      /* false: DISABLE_BACKGROUND_WORKERS */
	struct conf_log log;
	struct conf_database database;
	struct conf_http http;
	struct conf_worker *workers;
	size_t n_workers;
	struct conf_cron cron;
	struct conf_subscriber subscriber;
	struct conf_fake fake; /* zero but in test builds */
	struct conf_app *apps;
	size_t n_apps;
};

/*
 * Read, expand, apply the environment (design.md section 3), check. May call
 * exit(2) on a read error inside libConfuse: call it in a process that can be
 * spared. The error begins with "FILE:LINE: " and names the key and, for an
 * unknown key, the nearest right name. NULL on error.
 */
struct conf *conf_parse(const char *path, struct err *err);
void conf_free(struct conf **conf);

/* Log its warnings: who else may read its secrets. */
void conf_warn(const struct conf *conf);

/*
 * conf_parse in a forked child: what the master calls at start and at
 * reload. Blocks until the child has ended.
 */
struct conf *conf_load(const char *path, struct err *err);

/* Level and format of this process's log become those of the configuration. */
void conf_apply_log(const struct conf *conf);

/* The hand-over to the master. The caller frees the text. */
char *conf_to_json(const struct conf *conf);
struct conf *conf_from_json(const char *text, struct err *err);

/* -T: the effective configuration as a configuration file, passwords masked,
 * with the connection arithmetic as comments. The caller frees the text. */
char *conf_print(const struct conf *conf);

/* A copy of `url` whose password is "***"; the caller frees it. */
char *conf_mask_url(const char *url);

/* What one process may open, and the short-lived children; conf_budget.h sums
 * it up. */
enum {
	CONF_CRON_CONNECTIONS = 2,
	CONF_SUBSCRIBER_CONNECTIONS = 10,
	CONF_EXTRA_CONNECTIONS = 1,
	CONF_CONTROL_CONNECTIONS = 1,
	CONF_WORKER_CONNECTIONS = 2 /* besides one for each job */
};

/* The addresses to listen on; none if no http process runs here. */
const struct conf_strings *conf_listen(const struct conf *conf);

/*
 * For a reload: what cannot change while the master lives (node, user, pid_file
 * and where the database is) becomes in `next` as it is in `now`; each key that
 * differs is warned about.
 */
void conf_keep_fixed(struct conf *next, const struct conf *now);

/* The most that a collection stands for. */
enum { CONF_COLLECTION_ROUTES = 5 };

/* The routes that serve a collection, and how many there are: those that write
 * only if something is writable. Their texts lie in the arena. */
size_t conf_collection_routes(const struct conf_collection *collection,
    struct arena *arena, struct conf_route routes[CONF_COLLECTION_ROUTES]);

/* Where the embedded PostgreSQL's socket lies: DATA_DIR + ".sock". */
char *conf_embedded_socket_dir(const struct conf *conf);

/* All registrations of all apps as JSON, as chimp.register_apps takes it
 * (sql/registry.sql describes it). The caller frees the text. */
char *conf_apps_json(const struct conf *conf);

#endif

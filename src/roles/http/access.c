/*
 * What is known of a request when it is over. See access.h.
 */
#include "roles/http/access.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "roles/http/access_line.h"
#include "roles/http/http.h"

enum {
	ACCESS_PRIORITY = 6, /* info, of syslog(3) */
	ACCESS_GONE = 499    /* the client left before there was an answer */
};

/* --- timing --- */

void
access_begin(struct conn *conn)
{
	conn->access.begun_us = clock_mono_us();
	conn->access.queue_us = -1;
	conn->access.database_us = -1;
}

void
access_called(struct conn *conn, int64_t begun_us, int64_t granted_us)
{
	int64_t now_us = clock_mono_us();

	conn->access.queue_us =
	    (granted_us != 0 ? granted_us : now_us) - begun_us;
	if (granted_us != 0)
		conn->access.database_us = now_us - granted_us;
}

/* --- a line --- */

static struct access_text
access_header(h2o_req_t *req, const h2o_token_t *token)
{
	ssize_t at = h2o_find_header(&req->headers, token, -1);

	if (at < 0)
		return (struct access_text){NULL, 0};
	return (struct access_text){req->headers.entries[at].value.base,
	    req->headers.entries[at].value.len};
}

/* Queries carry secrets. */
static struct access_text
access_path(h2o_req_t *req)
{
	h2o_iovec_t path = req->input.path;
	const char *query = memchr(path.base, '?', path.len);

	return (struct access_text){
	    path.base, query != NULL ? (size_t)(query - path.base) : path.len};
}

static void
access_fill(struct access_line *line, struct conn *conn, h2o_req_t *req,
    const struct endpoint *endpoint, int64_t total_us)
{
	const struct access *a = &conn->access;
	bool begun = a->begun_us != 0;

	peer_text(&conn->client, conn->access.peer);
	line->remote = conn->access.peer;
	line->method =
	    (struct access_text){req->input.method.base, req->input.method.len};
	line->path = access_path(req);
	line->status = req->res.status != 0 ? req->res.status : ACCESS_GONE;
	line->bytes = req->bytes_sent;
	line->total_us = begun ? total_us : -1;
	line->queue_us = begun ? a->queue_us : -1;
	line->database_us = begun ? a->database_us : -1;
	line->route = endpoint->pattern[0] != '\0' ? endpoint->pattern : NULL;
	line->request_id = begun ? conn->request_id : NULL;
	line->trace_id = begun ? conn->trace.parent + TRACE_ID_AT : NULL;
	line->agent = access_header(req, H2O_TOKEN_USER_AGENT);
	line->referer = access_header(req, H2O_TOKEN_REFERER);
}

/* What stands in front of every line, as in the log. */
static void
access_head(struct strbuf *out, bool json)
{
	char when[LOG_TIME_BYTES];

	if (log_journal())
		strbuf_printf(out, "<%d>", ACCESS_PRIORITY);
	log_time(when);
	if (json)
		strbuf_printf(out,
		    "{\"time\":\"%s\",\"pid\":%d,\"level\":\"info\","
		    "\"process\":\"%s\",\"kind\":\"access\"",
		    when, (int)getpid(), log_process());
	else if (log_journal())
		strbuf_printf(out, "access %s: ", log_process());
	else
		strbuf_printf(out, "%s chimpd[%d] access %s: ", when,
		    (int)getpid(), log_process());
}

static void
access_write(struct access_log *log, const struct access_line *line)
{
	struct strbuf *out = access_out_line(&log->out);

	if (out == NULL)
		return;
	access_head(out, log->json);
	if (log->json)
		access_line_json(line, out);
	else
		access_line_text(line, out);
	strbuf_puts(out, log->json ? "}\n" : "\n");
}

/* --- the end of a request --- */

struct access_logger {
	h2o_logger_t super;
	struct http *http;
};

static void
access_on_end(h2o_logger_t *logger, h2o_req_t *req)
{
	struct http *http = ((struct access_logger *)logger)->http;
	struct conn *conn = conn_of(req);
	struct access_line line;
	struct endpoint *endpoint = conn->endpoint;
	int64_t total_us = clock_mono_us() - conn->access.begun_us;

	http->access.sent_bytes += req->bytes_sent;
	/* What h2o has refused itself has no route and no time. */
	if (conn->access.begun_us == 0)
		endpoint = &http->endpoints->unmatched;
	else if (req->res.status >= 100 && req->res.status < 600)
		metrics_observe(
		    &endpoint->durations[req->res.status / 100], total_us);
	if (http->access.on) {
		access_fill(&line, conn, req, endpoint, total_us);
		access_write(&http->access, &line);
	}
	conn->access.begun_us = 0;
}

void
access_register(struct http *http, h2o_pathconf_t *path)
{
	struct access_logger *logger =
	    (struct access_logger *)h2o_create_logger(path, sizeof(*logger));

	logger->super.log_access = access_on_end;
	logger->http = http;
}

/* --- life --- */

int
access_open(struct http *http, struct err *err)
{
	const struct conf_http *conf = http->conf;
	struct access_log *log = &http->access;

	log->on = strcmp(conf->access_log, "off") != 0;
	log->json = strcmp(conf->access_log, "json") == 0;
	if (!log->on)
		return 0;
	return access_out_open(
	    &log->out, conf->access_log_file, http->loop, err);
}

void
access_close(struct http *http)
{
	if (http->access.on)
		access_out_close(&http->access.out);
}

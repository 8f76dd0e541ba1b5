/*
 * One call of a handler for a request. See call.h.
 *
 *	WAITING -> RUNNING -> ENDED
 *	   ^__________|       a lost link, once, when nothing can be written
 */
#include "roles/http/call.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "roles/http/answer.h"
#include "roles/http/respond.h"
#include "roles/http/share.h"

enum {
	CALL_ATTEMPTS = 3 /* of a unit that met a conflict */
};

/* clang-format off */
static const struct pg_stmt call_stop = { "http_cancel",
	"select pg_cancel_backend($1)", 1 };
/* clang-format on */

/* --- the end --- */

/* After any event: give back and free what nobody needs any more. */
static void
call_settle(struct call *call)
{
	struct http *http = call->http;

	if (call->state == CALL_ENDED && call->link != NULL &&
	    !call->cancelling)
		line_release(call);
	if (call->state != CALL_ENDED || call->link != NULL ||
	    call->req != NULL || call->cancelling)
		return;
	list_remove(&call->node);
	list_remove(&call->pass.node);
	pg_result_free(&call->body);
	free(call->request);
	free(call->input);
	free(call);
	http->n_calls--;
	http_advance(http);
}

/* No answer is owed from here on; the request may still be written to. */
static h2o_req_t *
call_answer(struct call *call)
{
	assert(!call->answered && call->req != NULL);
	call->answered = true;
	list_remove(&call->node);
	access_called(conn_of(call->req), call->begun_us, call->granted_us);
	return call->req;
}

static void
call_refuse(struct call *call, int status, const char *detail)
{
	call->state = CALL_ENDED;
	answer_error(call_answer(call), status, detail);
}

/* --- cancelling --- */

static void
call_on_cancelled(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct call *call = arg;

	(void)link;
	(void)reply;
	call->cancelling = false;
	call_settle(call);
}

static void
call_cancel(struct call *call)
{
	struct pg_link *control = call->http->child->control;
	char pid[16];
	const char *values[] = {pid};

	if (call->state == CALL_WAITING) {
		line_leave(call);
		call->state = CALL_ENDED;
	}
	if (call->state != CALL_RUNNING || call->cancelling ||
	    !pg_link_ready(call->link))
		return;
	/* Otherwise statement_timeout does it. */
	if (control == NULL || !pg_link_ready(control) || !share_close(call))
		return;
	snprintf(pid, sizeof(pid), "%d", pg_link_backend_pid(call->link));
	call->cancelling = true;
	pg_query(control, &call_stop, values, call_on_cancelled, call);
}

/* --- running --- */

/* Something to run for, and time to do it in. */
static bool
call_is_wanted(const struct call *call)
{
	return !call->answered && call->req != NULL &&
	       clock_mono_ms() < call->deadline_ms;
}

static void call_on_reply(
    struct pg_link *link, struct pg_reply *reply, void *arg);

static void
call_send(struct call *call)
{
	const char *values[] = {call->input, call->request, call->trace};

	call->sent_ms = clock_mono_ms();
	call->state = CALL_RUNNING;
	call->attempts++;
	if (call->pass.key[0] != '\0')
		idempotent_send(call, call_on_reply);
	else
		pg_query(call->link, call->endpoint->stmt, values,
		    call_on_reply, call);
}

/* A second one changes nothing that the first has not: it cannot write, it has
 * a key, or the first has not been sent. */
static bool
call_is_repeatable(const struct call *call)
{
	return call->endpoint->readonly || call->pass.key[0] != '\0' ||
	       call->attempts == 0;
}

static void
call_on_lost(struct call *call)
{
	call->state = CALL_ENDED;
	if (!call_is_wanted(call))
		return;
	if (!call_is_repeatable(call) || call->resent) {
		call_refuse(call, 503,
		    call_is_repeatable(call)
			? "the connection to the database was lost"
			: "the connection to the database was lost; whether "
			  "the request took effect is not known");
		return;
	}
	/* Once more, elsewhere. */
	call->resent = true;
	call->state = CALL_WAITING;
	line_release(call);
	line_join(call);
}

static void
call_on_error(struct call *call, const struct pg_error *error)
{
	if (!call_is_wanted(call)) {
		call->state = CALL_ENDED;
	} else if (problem_is_conflict(error->sqlstate) &&
		   call->attempts < CALL_ATTEMPTS && !call->cancelling) {
		call_send(call);
	} else {
		call->state = CALL_ENDED;
		call_answer(call);
		respond_failure(call, error);
	}
}

/* The unit is over, its commit included. */
static void
call_on_reply(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct call *call = arg;

	assert(call->state == CALL_RUNNING && call->link == link);
	if (reply->lost) {
		call_on_lost(call);
	} else if (!reply->ok) {
		call_on_error(call, &reply->error);
	} else {
		call->state = CALL_ENDED;
		if (!call->answered && call->req != NULL) {
			call_answer(call);
			respond_result(call, reply);
		}
	}
	call_settle(call);
}

/* The rate has been asked, and that is committed. */
static void
call_on_limit(struct pg_link *link, struct pg_reply *reply, void *arg)
{
	struct call *call = arg;
	int64_t retry_ms;

	assert(call->state == CALL_RUNNING && call->link == link);
	limit_counted(call);
	line_go_on(call->http);
	if (reply->lost) {
		call_on_lost(call);
	} else if (!call_is_wanted(call)) {
		call->state = CALL_ENDED;
	} else if (!reply->ok) {
		call->state = CALL_ENDED;
		call_answer(call);
		respond_failure(call, &reply->error);
	} else if (limit_allowed(call, reply, &retry_ms)) {
		call_send(call);
		return;
	} else {
		call->state = CALL_ENDED;
		limit_refuse(call_answer(call), call->endpoint, retry_ms);
	}
	call_settle(call);
}

void
call_granted(struct call *call, struct pg_link *link)
{
	assert(call->state == CALL_WAITING && call->link == NULL);
	call->link = link;
	if (call->granted_us == 0)
		call->granted_us = clock_mono_us();
	if (call->pass.rate_key[0] == '\0') {
		call_send(call);
		return;
	}
	call->state = CALL_RUNNING;
	call->sent_ms = clock_mono_ms();
	limit_send(call, call_on_limit);
}

void
call_refused(struct call *call, const char *detail)
{
	assert(call->state == CALL_WAITING && call->link == NULL);
	call_refuse(call, 503, detail);
	call_settle(call);
}

/* --- the request --- */

/* Lies in the request's pool: its end is the request's. */
struct call_guard {
	struct call *call;
};

static void
call_on_request_gone(void *arg)
{
	struct call *call = ((struct call_guard *)arg)->call;

	call->req = NULL;
	if (!call->answered) {
		call->answered = true;
		list_remove(&call->node);
		call_cancel(call);
	}
	call_settle(call);
}

void
call_start(struct http *http, h2o_req_t *req, struct endpoint *endpoint,
    char *request, char *input, const struct limit_pass *pass)
{
	struct call *call = mem_zalloc(sizeof(*call));
	struct call_guard *guard;

	call->http = http;
	call->req = req;
	call->endpoint = endpoint;
	call->request = request;
	call->input = input;
	call->pass = *pass;
	if (call->pass.key[0] != '\0')
		list_append(&http->guarded, &call->pass.node);
	snprintf(call->trace, sizeof(call->trace), "%s %s",
	    conn_of(req)->request_id, conn_of(req)->trace.parent);
	call->begun_us = clock_mono_us();
	call->deadline_ms = clock_mono_ms() + http->conf->request_timeout_ms;
	list_append(&http->calls, &call->node);
	http->n_calls++;
	conn_of(req)->call = call;
	guard = h2o_mem_alloc_shared(
	    &req->pool, sizeof(*guard), call_on_request_gone);
	guard->call = call;
	if (!http->deadline_timer.armed)
		loop_timer_start(
		    &http->deadline_timer, http->conf->request_timeout_ms);
	line_join(call);
}

/* --- time-outs --- */

/* Answer now; a query that still runs is cancelled. */
static void
call_give_up(struct call *call, int status, const char *detail)
{
	call_cancel(call);
	answer_error(call_answer(call), status, detail);
	call_settle(call);
}

void
call_drop(struct call *call)
{
	if (!call->answered)
		call_give_up(call, 499, "the client went away");
}

/* All have the same time: the oldest is the first whose time is over. */
static void
call_on_deadline(struct loop_timer *timer, void *arg)
{
	struct http *http = arg;

	while (!list_empty(&http->calls)) {
		struct call *call =
		    LIST_ENTRY(http->calls.next, struct call, node);
		int64_t left = call->deadline_ms - clock_mono_ms();

		if (left > 0) {
			loop_timer_start(timer, left);
			return;
		}
		call_give_up(
		    call, 504, "the request took longer than request_timeout");
	}
}

void
call_abandon_all(struct http *http)
{
	while (!list_empty(&http->calls))
		call_give_up(LIST_ENTRY(http->calls.next, struct call, node),
		    503, "the server is stopping");
}

void
call_init(struct http *http)
{
	list_init(&http->calls);
	loop_timer_init(
	    &http->deadline_timer, http->loop, call_on_deadline, http);
}

void
call_done(struct http *http)
{
	assert(http->n_calls == 0);
	loop_timer_done(&http->deadline_timer);
}

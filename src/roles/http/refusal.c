/*
 * h2o's own refusals as problem+json. See refusal.h.
 */
#include "roles/http/refusal.h"

#include <stdlib.h>
#include <string.h>

#include "roles/http/http.h"
#include "roles/http/problem.h"

struct refusal {
	h2o_ostream_t super;
	h2o_iovec_t body;
};

static const char *
refusal_detail(int status)
{
	switch (status) {
	case 400:
		return "the message is framed wrongly: look at "
		       "Content-Length and Transfer-Encoding";
	case 413:
		return "the body is larger than http.body_max";
	case 417:
		return "the only expectation that is met is 100-continue";
	default:
		return NULL;
	}
}

/* h2o sends its own text at once and last: ours goes in its place. */
static void
refusal_send(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t n,
    h2o_send_state_t state)
{
	struct refusal *refusal = (struct refusal *)self;

	(void)bufs;
	h2o_ostream_send_next(self, req, &refusal->body, n > 0, state);
}

static void
refusal_on_setup(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
	struct problem problem = {.status = req->res.status,
	    .detail = refusal_detail(req->res.status)};
	struct strbuf body = STRBUF_EMPTY;
	struct refusal *refusal;

	(void)filter;
	problem_body(&problem, &body);
	refusal =
	    (struct refusal *)h2o_add_ostream(req, sizeof(*refusal), slot);
	refusal->super.do_send = refusal_send;
	refusal->body = h2o_strdup(&req->pool, body.data, body.length);
	strbuf_done(&body);
	req->res.reason = problem_reason(req->res.status);
	req->res.content_length = refusal->body.len;
	h2o_set_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE,
	    H2O_STRLIT(PROBLEM_CONTENT_TYPE), 1);
	conn_of(req)
	    ->http->endpoints->unmatched.answers[req->res.status / 100]++;
	h2o_setup_next_ostream(req, &refusal->super.next);
}

void
refusal_register(h2o_pathconf_t *fallback)
{
	h2o_filter_t *filter = h2o_create_filter(fallback, sizeof(*filter));

	filter->on_setup_ostream = refusal_on_setup;
}

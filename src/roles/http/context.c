/*
 * What chimp.request() tells a handler. See context.h.
 */
#include "roles/http/context.h"

#include <ctype.h>
#include <string.h>

#include "common/base/uuid.h"

static bool
context_id_valid(h2o_iovec_t id)
{
	if (id.len == 0 || id.len >= HTTP_REQUEST_ID_BYTES)
		return false;
	for (size_t i = 0; i < id.len; i++)
		if (!isalnum((unsigned char)id.base[i]) &&
		    strchr("-_.:", id.base[i]) == NULL)
			return false;
	return true;
}

void
context_request_id(struct conn *conn, h2o_req_t *req)
{
	ssize_t at = h2o_find_header_by_str(
	    &req->headers, H2O_STRLIT("x-request-id"), -1);
	h2o_iovec_t id;

	if (at >= 0) {
		id = req->headers.entries[at].value;
		if (context_id_valid(id)) {
			memcpy(conn->request_id, id.base, id.len);
			conn->request_id[id.len] = '\0';
			return;
		}
	}
	uuid_random(conn->request_id);
}

/* A JSON string of bytes that may be of any encoding. */
static void
context_text(struct strbuf *out, const char *text, size_t length)
{
	struct strbuf utf8 = STRBUF_EMPTY;

	if (url_utf8_valid(text, length)) {
		strbuf_json(out, text, length);
		return;
	}
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x80)
			strbuf_putc(&utf8, (char)(0xc0 | c >> 6));
		strbuf_putc(&utf8, (char)(c < 0x80 ? c : 0x80 | (c & 0x3f)));
	}
	strbuf_json(out, utf8.data, utf8.length);
	strbuf_done(&utf8);
}

static bool
context_same(const h2o_header_t *a, const h2o_header_t *b)
{
	return a->name == b->name ||
	       (a->name->len == b->name->len &&
		   memcmp(a->name->base, b->name->base, a->name->len) == 0);
}

static bool
context_seen(const h2o_headers_t *headers, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (context_same(&headers->entries[j], &headers->entries[i]))
			return true;
	return false;
}

/* The values of all headers of the name of number i, joined. */
static void
context_value(const h2o_headers_t *headers, size_t i, struct strbuf *out)
{
	const h2o_header_t *first = &headers->entries[i];
	/* RFC 6265, 5.4: cookies have a separator of their own. */
	bool cookie = first->name == &H2O_TOKEN_COOKIE->buf;
	struct strbuf value = STRBUF_EMPTY;

	for (size_t j = i; j < headers->size; j++) {
		const h2o_header_t *h = &headers->entries[j];

		if (!context_same(first, h))
			continue;
		if (j > i)
			strbuf_puts(&value, cookie ? "; " : ", ");
		strbuf_append(&value, h->value.base, h->value.len);
	}
	context_text(out, strbuf_str(&value), value.length);
	strbuf_done(&value);
}

static void
context_headers(h2o_req_t *req, struct strbuf *out)
{
	const h2o_headers_t *headers = &req->headers;

	/* h2o keeps the Host header elsewhere. */
	strbuf_puts(out, "{\"host\":");
	context_text(out, req->input.authority.base, req->input.authority.len);
	for (size_t i = 0; i < headers->size; i++) {
		const h2o_iovec_t *name = headers->entries[i].name;

		if (context_seen(headers, i))
			continue;
		strbuf_putc(out, ',');
		context_text(out, name->base, name->len);
		strbuf_putc(out, ':');
		context_value(headers, i, out);
	}
	strbuf_putc(out, '}');
}

static void
context_on_field(void *arg, const char *name, size_t name_length,
    const char *value, size_t value_length)
{
	struct strbuf *out = arg;

	if (out->data[out->length - 1] != '{')
		strbuf_putc(out, ',');
	strbuf_json(out, name, name_length);
	strbuf_putc(out, ':');
	strbuf_json(out, value, value_length);
}

static void
context_peer(const struct conn *conn, struct strbuf *out)
{
	char text[PEER_TEXT_BYTES];

	peer_text(&conn->client, text);
	strbuf_json(out, text, strlen(text));
}

void
context_json(const struct conn *conn, h2o_req_t *req, const struct url *url,
    struct strbuf *out)
{
	strbuf_puts(out, "{\"method\":");
	context_text(out, req->method.base, req->method.len);
	strbuf_puts(out, ",\"path\":");
	context_text(out, url->path, url->path_length);
	strbuf_puts(out, req->input.scheme == &H2O_URL_SCHEME_HTTPS
			     ? ",\"scheme\":\"https\""
			     : ",\"scheme\":\"http\"");
	strbuf_puts(out, ",\"headers\":");
	context_headers(req, out);
	strbuf_puts(out, ",\"query\":{");
	url_form(url->query, url->query_length, context_on_field, out);
	strbuf_puts(out, "},\"peer\":");
	context_peer(conn, out);
	strbuf_puts(out, ",\"requestId\":");
	strbuf_json(out, conn->request_id, strlen(conn->request_id));
	strbuf_printf(out, ",\"traceparent\":\"%s\"", conn->trace.parent);
	if (conn->trace.state != NULL) {
		strbuf_puts(out, ",\"tracestate\":");
		strbuf_json(out, conn->trace.state, conn->trace.state_length);
	}
	strbuf_putc(out, '}');
}

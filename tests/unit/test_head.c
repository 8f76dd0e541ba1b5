/*
 * Heads of requests: which can be read in one way only.
 */
#include "roles/http/head.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

#define LINE "POST /x HTTP/1.1\r\n"
#define HOST "Host: x\r\n"
#define END  "\r\n"

static const struct {
	const char *head;
	const char *says; /* part of the fault; NULL: fine */
	bool chunked;
} heads[] = {
    {LINE HOST END, NULL, false},
    {"\r\n" LINE HOST END, NULL, false},
    {"GET / HTTP/1.0\r\n\r\n", NULL, false},
    {"OPTIONS * HTTP/1.1\r\n" HOST END, NULL, false},
    {"GET http://x/y HTTP/1.1\r\n" HOST END, NULL, false},
    {"GET https://X?y HTTP/1.1\r\n" HOST END, NULL, false},
    {LINE HOST "content-length: 5\r\n" END "hello\nX", NULL, false},
    {LINE HOST "Content-Length:\t5 \r\n" END, NULL, false},
    {LINE HOST "TRANSFER-ENCODING: Chunked\r\n" END, NULL, true},
    {LINE HOST "x!#$%&'*+-.^_`|~9: \xc3\xa4 \t b\r\n" END, NULL, false},
    {LINE HOST "Empty:\r\n" END, NULL, false},
    {LINE HOST "Content-Lengths: x\r\nContent-Length: 1\r\n" END, NULL, false},

    {"", "does not end", false},
    {LINE, "does not end", false},
    {LINE HOST, "does not end", false},
    {LINE HOST "\r", "does not end", false},
    {"\n" LINE HOST END, "without CR", false},
    {"\r\n\r\n" LINE HOST END, "no good method", false},
    {"POST /x HTTP/1.1\n" HOST END, "without CR", false},
    {LINE "Host: x\n" END, "without CR", false},
    {LINE HOST "\n", "without CR", false},
    {LINE HOST "a: b\rc\r\n" END, "control character", false},
    {LINE HOST "a: \x0b"
	       "b\r\n" END,
	"control character", false},
    {LINE HOST "a: \x7f\r\n" END, "control character", false},

    {"GET /x\r\n" HOST END, "no good target", false},
    {"GET  /x HTTP/1.1\r\n" HOST END, "no good target", false},
    {" GET /x HTTP/1.1\r\n" HOST END, "no good method", false},
    {"G(T /x HTTP/1.1\r\n" HOST END, "no good method", false},
    {"GET\t/x\tHTTP/1.1\r\n" HOST END, "no good method", false},
    {"GET /\tx HTTP/1.1\r\n" HOST END, "no good target", false},
    {"GET http://y/x HTTP/1.1\r\n" HOST END, "another host", false},
    {"GET http://xy/x HTTP/1.1\r\n" HOST END, "another host", false},
    {"GET http:///x HTTP/1.1\r\n" HOST END, "not a path", false},
    {"GET ftp://x/x HTTP/1.1\r\n" HOST END, "not a path", false},
    {"GET x HTTP/1.1\r\n" HOST END, "not a path", false},
    {"GET *x HTTP/1.1\r\n" HOST END, "not a path", false},
    {"CONNECT x:80 HTTP/1.1\r\n" HOST END, "not a path", false},
    {"GET /x HTTP/1.1 HTTP/1.1\r\n" HOST END, "neither", false},
    {"GET /x HTTP/1.2\r\n" HOST END, "neither", false},
    {"GET /x HTTP/2.0\r\n" HOST END, "neither", false},
    {"GET /x http/1.1\r\n" HOST END, "neither", false},
    {"GET /x HTTP/1.1 \r\n" HOST END, "neither", false},

    {LINE HOST "a\r\n" END, "name: value", false},
    {LINE HOST ": a\r\n" END, "name: value", false},
    {LINE HOST "a : b\r\n" END, "name: value", false},
    {LINE HOST "a\t: b\r\n" END, "name: value", false},
    {LINE HOST " a: b\r\n" END, "name: value", false},
    {LINE HOST "a: b\r\n c\r\n" END, "name: value", false},
    {LINE HOST "a: b\r\n\tc: d\r\n" END, "name: value", false},
    {LINE HOST "\xc3\xa4: b\r\n" END, "name: value", false},

    {LINE HOST "Content-Length: 1\r\nContent-Length: 1\r\n" END,
	"more than one Content-Length", false},
    {LINE HOST "Content-Length: 1, 1\r\n" END, "not a number", false},
    {LINE HOST "Content-Length: +1\r\n" END, "not a number", false},
    {LINE HOST "Content-Length: 0x1\r\n" END, "not a number", false},
    {LINE HOST "Content-Length:\r\n" END, "not a number", false},
    {LINE HOST "Content-Length: 1 1\r\n" END, "not a number", false},
    {LINE HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n" END,
	"both", false},
    {LINE HOST "Transfer-Encoding: chunked\r\ncontent-length: 1\r\n" END,
	"both", false},
    {LINE HOST "Transfer-Encoding: chunked\r\n"
	       "Transfer-Encoding: chunked\r\n" END,
	"more than one Transfer-Encoding", false},
    {LINE HOST "Transfer-Encoding: gzip, chunked\r\n" END, "not \"chunked\"",
	false},
    {LINE HOST "Transfer-Encoding: identity\r\n" END, "not \"chunked\"", false},
    {LINE HOST "Transfer-Encoding:\r\n" END, "not \"chunked\"", false},
    {"POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END, "HTTP/1.0",
	false},
    {LINE END, "exactly one Host", false},
    {LINE HOST HOST END, "exactly one Host", false},
    {"GET /x HTTP/1.0\r\n" HOST HOST END, "exactly one Host", false},
};

/* In memory of exactly that length, for the sanitizers. */
static const char *
check_exactly(const char *text, size_t size, struct head *head)
{
	char *copy = malloc(size + 1);
	const char *fault;

	memcpy(copy + 1, text, size);
	fault = head_check(copy + 1, size, head);
	free(copy);
	return fault;
}

START_TEST(a_head_is_fine_only_if_it_can_be_read_in_one_way)
{
	struct head head;
	const char *fault =
	    check_exactly(heads[_i].head, strlen(heads[_i].head), &head);

	if (heads[_i].says == NULL)
		ck_assert_ptr_null(fault);
	else
		ck_assert_msg(
		    fault != NULL && strstr(fault, heads[_i].says) != NULL,
		    "%s: %s", heads[_i].head, fault);
	ck_assert_int_eq(head.chunked, heads[_i].chunked);
}
END_TEST

START_TEST(a_nul_is_refused_wherever_it_stands)
{
	static const char good[] = LINE HOST "Content-Length: 12\r\n" END;
	char text[sizeof(good)];
	struct head head;

	for (size_t i = 0; i + 1 < sizeof(good); i++) {
		memcpy(text, good, sizeof(good));
		text[i] = '\0';
		ck_assert_ptr_nonnull(
		    check_exactly(text, sizeof(good) - 1, &head));
	}
}
END_TEST

START_TEST(every_beginning_of_a_head_is_refused)
{
	static const char good[] = LINE HOST "Content-Length: 12\r\n" END;
	struct head head;

	for (size_t n = 0; n + 1 < sizeof(good); n++)
		ck_assert_ptr_nonnull(check_exactly(good, n, &head));
	ck_assert_ptr_null(check_exactly(good, sizeof(good) - 1, &head));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("head");
	TCase *tc = tcase_create("head");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc,
	    a_head_is_fine_only_if_it_can_be_read_in_one_way, 0,
	    sizeof(heads) / sizeof(heads[0]));
	tcase_add_test(tc, a_nul_is_refused_wherever_it_stands);
	tcase_add_test(tc, every_beginning_of_a_head_is_refused);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/*
 * Trace Context: what is a traceparent and a tracestate, and what is made of
 * them.
 */
#include "roles/http/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#define TRACE_ID "0af7651916cd43dd8448eb211c80319c"
#define SPAN_ID  "b7ad6b7169203331"

static const struct {
	const char *text;
	bool valid;
} parents[] = {
    {"00-" TRACE_ID "-" SPAN_ID "-01", true},
    {"00-" TRACE_ID "-" SPAN_ID "-00", true},
    {"00-" TRACE_ID "-" SPAN_ID "-ff", true},
    {"01-" TRACE_ID "-" SPAN_ID "-01", true},
    {"cc-" TRACE_ID "-" SPAN_ID "-01-what-the-future-will-be", true},
    {"cc-" TRACE_ID "-" SPAN_ID "-01.what", false},
    {"00-" TRACE_ID "-" SPAN_ID "-01-", false},
    {"00-" TRACE_ID "-" SPAN_ID "-01 ", false},
    {" 00-" TRACE_ID "-" SPAN_ID "-01", false},
    {"ff-" TRACE_ID "-" SPAN_ID "-01", false},
    {"0-" TRACE_ID "-" SPAN_ID "-01", false},
    {"00-" TRACE_ID "-" SPAN_ID "-1", false},
    {"00-" TRACE_ID "-" SPAN_ID, false},
    {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN_ID "-01", false},
    {"00-" TRACE_ID "-B7AD6B7169203331-01", false},
    {"00-00000000000000000000000000000000-" SPAN_ID "-01", false},
    {"00-" TRACE_ID "-0000000000000000-01", false},
    {"00-" TRACE_ID "-" SPAN_ID "-0g", false},
    {"00-" TRACE_ID "-" SPAN_ID "-0F", false},
    {"0x-" TRACE_ID "-" SPAN_ID "-01", false},
    {"00_" TRACE_ID "-" SPAN_ID "-01", false},
    {"00-" TRACE_ID "_" SPAN_ID "-01", false},
    {"00-" TRACE_ID "-" SPAN_ID "_01", false},
    {"", false},
    {"00", false},
};

START_TEST(a_traceparent_is_read_strictly)
{
	size_t length = strlen(parents[_i].text);
	/* Of exactly that size, for the sanitizers. */
	char *text = malloc(length + 1);

	memcpy(text, parents[_i].text, length);
	ck_assert_msg(trace_parent_valid(text, length) == parents[_i].valid,
	    "%s", parents[_i].text);
	free(text);
}
END_TEST

START_TEST(a_nul_byte_is_no_digit)
{
	char text[] = "00-" TRACE_ID "-" SPAN_ID "-01";

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char was = text[i];

		text[i] = '\0';
		ck_assert(!trace_parent_valid(text, sizeof(text) - 1));
		text[i] = was;
	}
}
END_TEST

static const uint8_t some[16] = {
    0x12, 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xab};
static const uint8_t zeros[16];

START_TEST(the_trace_goes_on_with_a_new_span)
{
	char parent[TRACE_PARENT_BYTES];

	trace_parent_make(
	    parent, "00-" TRACE_ID "-" SPAN_ID "-01", zeros, some);
	ck_assert_str_eq(parent, "00-" TRACE_ID "-12ff000102030405-01");
	/* Of the flags, the one that is known. */
	trace_parent_make(
	    parent, "cc-" TRACE_ID "-" SPAN_ID "-fe-more", zeros, some);
	ck_assert_str_eq(parent, "00-" TRACE_ID "-12ff000102030405-00");
	ck_assert(trace_parent_valid(parent, strlen(parent)));
}
END_TEST

START_TEST(a_new_trace_is_not_sampled)
{
	char parent[TRACE_PARENT_BYTES];

	trace_parent_make(parent, NULL, some, some);
	ck_assert_str_eq(parent, "00-12ff00010203040506070809" /* the trace */
				 "0a0b0cab-12ff000102030405-00");
	trace_parent_make(parent, NULL, zeros, zeros);
	ck_assert_msg(trace_parent_valid(parent, strlen(parent)), "%s", parent);
}
END_TEST

static const struct {
	const char *text;
	bool valid;
} states[] = {
    {"rojo=00f067aa0ba902b7", true},
    {"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true},
    {"rojo=1 , congo=2", true},
    {"a=1,,b=2", true},
    {"a=1,", true},
    {"fw529a3039@dt=FfAx", true},
    {"0a_-*/=x", true},
    {"a=with space inside", true},
    {"", false},
    {" , ", false},
    {"a", false},
    {"=1", false},
    {"a=", false},
    {"A=1", false},
    {"a=1,a=2", false},
    {"a=1=2", false},
    {"a=\x7f", false},
    {"a=\xc3\xa4", false},
    {"a b=1", false},
    {"_a=1", false},
};

START_TEST(a_tracestate_is_a_list_of_members)
{
	ck_assert_msg(trace_state_valid(states[_i].text,
			  strlen(states[_i].text)) == states[_i].valid,
	    "%s", states[_i].text);
}
END_TEST

START_TEST(a_tracestate_has_bounds)
{
	char text[4096] = "";
	size_t n = 0;

	for (int i = 0; i < 32; i++)
		n += (size_t)sprintf(text + n, "k%d=v,", i);
	ck_assert(trace_state_valid(text, n));
	n += (size_t)sprintf(text + n, "k32=v,");
	ck_assert(!trace_state_valid(text, n));
	memset(text, 'a', sizeof(text));
	memcpy(text + 256, "=v", 3);
	ck_assert(trace_state_valid(text, 258));
	memcpy(text + 256, "a=v", 4);
	ck_assert(!trace_state_valid(text, 259));
	memcpy(text, "a=", 2);
	memset(text + 2, 'a', 257);
	ck_assert(trace_state_valid(text, 258));
	ck_assert(!trace_state_valid(text, 259));
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("trace");
	TCase *t = tcase_create("trace");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(t, a_traceparent_is_read_strictly, 0,
	    sizeof(parents) / sizeof(parents[0]));
	tcase_add_test(t, a_nul_byte_is_no_digit);
	tcase_add_test(t, the_trace_goes_on_with_a_new_span);
	tcase_add_test(t, a_new_trace_is_not_sampled);
	tcase_add_loop_test(t, a_tracestate_is_a_list_of_members, 0,
	    sizeof(states) / sizeof(states[0]));
	tcase_add_test(t, a_tracestate_has_bounds);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

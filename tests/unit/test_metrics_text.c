/*
 * Prometheus' text format: labels, histograms, and the page that is made of
 * the lines of many processes.
 */
#include "common/base/metrics_text.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

static const struct {
	const char *value;
	const char *written;
} labels[] = {
    {"", "l=\"\""},
    {"GET /a/{id}", "l=\"GET /a/{id}\""},
    {"a\"b\\c\nd", "l=\"a\\\"b\\\\c\\nd\""},
    {"\xc3\xa4\xf0\x9f\x98\x80", "l=\"\xc3\xa4\xf0\x9f\x98\x80\""},
    {"\xe4", "l=\"?\""},
    {"a\xc3", "l=\"a?\""},
    {"\xc0\xaf\xed\xa0\x80", "l=\"?????\""},
    {"\xf4\x90\x80\x80\xff", "l=\"?????\""},
    {"\t\r", "l=\"\t\r\""},
};

START_TEST(a_label_s_value_is_escaped)
{
	struct strbuf out = STRBUF_EMPTY;

	metrics_label(&out, "l", labels[_i].value);
	ck_assert_str_eq(out.data, labels[_i].written);
	metrics_label(&out, "m", "2");
	ck_assert_str_eq(out.data + strlen(labels[_i].written), ",m=\"2\"");
	strbuf_done(&out);
}
END_TEST

START_TEST(a_histogram_is_cumulative)
{
	struct metrics_histogram h = {{0}, 0};
	struct strbuf out = STRBUF_EMPTY;

	metrics_observe(&h, -1); /* a clock that stands still */
	metrics_observe(&h, 1000);
	metrics_observe(&h, 1001);
	metrics_observe(&h, 20000000);
	metrics_histogram(&out, "x_seconds", "a=\"b\"", &h);
	ck_assert_str_eq(out.data, "x_seconds_bucket{a=\"b\",le=\"0.001\"} 2\n"
				   "x_seconds_bucket{a=\"b\",le=\"0.0025\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"0.005\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"0.01\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"0.025\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"0.05\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"0.1\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"0.25\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"0.5\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"1\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"2.5\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"5\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"10\"} 3\n"
				   "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 4\n"
				   "x_seconds_sum{a=\"b\"} 20.002001\n"
				   "x_seconds_count{a=\"b\"} 4\n");
	strbuf_done(&out);
}
END_TEST

START_TEST(a_page_brings_the_lines_of_one_name_together)
{
	static const char *const texts[] = {
	    "chimpd_pool_waiting{process=\"http/0\"} 1\n"
	    "chimpd_http_request_duration_seconds_sum{} 1\n"
	    "chimpd_build_info{process=\"http/0\"} 1\n",
	    "chimpd_build_info{process=\"worker/default/0\"} 1\n"
	    "chimpd_http_request_duration_seconds_count{} 1\n"
	    "chimpd_pool_waiting{process=\"http/1\"} 2",
	};
	struct strbuf out = STRBUF_EMPTY;

	metrics_page(texts, 2, &out);
	ck_assert_str_eq(out.data,
	    "# HELP chimpd_build_info 1; the label version says which build "
	    "runs.\n"
	    "# TYPE chimpd_build_info gauge\n"
	    "chimpd_build_info{process=\"http/0\"} 1\n"
	    "chimpd_build_info{process=\"worker/default/0\"} 1\n"
	    "# HELP chimpd_http_request_duration_seconds From the whole "
	    "request to the last byte handed to the kernel.\n"
	    "# TYPE chimpd_http_request_duration_seconds histogram\n"
	    "chimpd_http_request_duration_seconds_sum{} 1\n"
	    "chimpd_http_request_duration_seconds_count{} 1\n"
	    "# HELP chimpd_pool_waiting Requests that wait for a connection.\n"
	    "# TYPE chimpd_pool_waiting gauge\n"
	    "chimpd_pool_waiting{process=\"http/0\"} 1\n"
	    "chimpd_pool_waiting{process=\"http/1\"} 2\n");
	strbuf_done(&out);
}
END_TEST

START_TEST(what_is_no_line_is_left_out)
{
	static const char *const texts[] = {
	    "# a comment\n\nchimpd_of_the_future{} 1\n"
	    "chimpd_pool_waiting_sum{} 1\nchimpd_pool_waiting 1\n{} 1\n"
	    "chimpd_pool{} 1\nchimpd_http_request_duration_seconds{} 1\n",
	    "",
	};
	struct strbuf out = STRBUF_EMPTY;

	metrics_page(texts, 2, &out);
	ck_assert_str_eq(strbuf_str(&out), "");
	strbuf_done(&out);
}
END_TEST

START_TEST(numbers_are_written_in_full)
{
	struct strbuf out = STRBUF_EMPTY;

	metrics_value(&out, "x", "", 1764252690.125);
	metrics_value(&out, "x", "", 0);
	metrics_count(&out, "x", "a=\"b\"", UINT64_MAX);
	ck_assert_str_eq(out.data,
	    "x{} 1764252690.125\nx{} 0\nx{a=\"b\"} 18446744073709551615\n");
	strbuf_done(&out);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("metrics_text");
	TCase *t = tcase_create("metrics_text");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(t, a_label_s_value_is_escaped, 0,
	    sizeof(labels) / sizeof(labels[0]));
	tcase_add_test(t, a_histogram_is_cumulative);
	tcase_add_test(t, a_page_brings_the_lines_of_one_name_together);
	tcase_add_test(t, what_is_no_line_is_left_out);
	tcase_add_test(t, numbers_are_written_in_full);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

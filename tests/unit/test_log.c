/*
 * Log lines: on a file, on the journal, in both formats.
 */
#include "common/base/fd.h"
#include "common/base/log.h"

#include <check.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int reader; /* of what goes to stderr */
static char stream[64];

/* stderr becomes one end of a pair, as it is under systemd. */
static void
setup(void)
{
	struct stat st;
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(dup2(pair[1], STDERR_FILENO), STDERR_FILENO);
	fd_close(&pair[1]);
	reader = pair[0];
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)st.st_ino);
	unsetenv("JOURNAL_STREAM");
}

/* What was logged; terminated. */
static const char *
logged(void)
{
	static char text[8192];
	ssize_t n = recv(reader, text, sizeof(text) - 1, MSG_DONTWAIT);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	return text;
}

static const struct {
	void (*log)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
	const char *line;
} levels[] = {
    {log_error, "<3>master: it is 42\n"},
    {log_warn, "<4>master: it is 42\n"},
    {log_info, "<6>master: it is 42\n"},
    {log_debug, "<7>master: it is 42\n"},
};

START_TEST(test_the_journal_gets_priorities_and_no_time)
{
	setenv("JOURNAL_STREAM", stream, 1);
	log_init(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	levels[_i].log("it is %d", 42);
	ck_assert_str_eq(logged(), levels[_i].line);
}
END_TEST

START_TEST(test_a_line_break_does_not_forge_a_priority)
{
	setenv("JOURNAL_STREAM", stream, 1);
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("one\n<0>two");
	ck_assert_str_eq(logged(), "<6>master: one <0>two\n");
}
END_TEST

START_TEST(test_a_long_line_is_cut_and_ends)
{
	static char message[10000];
	const char *line;

	memset(message, 'x', sizeof(message) - 1);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("%s", message);
	line = logged();
	ck_assert_int_eq(strncmp(line, "<6>master: xxx", 14), 0);
	ck_assert_uint_gt(strlen(line), 4000);
	ck_assert_uint_lt(strlen(line), 4400);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
}
END_TEST

START_TEST(test_json_on_the_journal)
{
	const char *line;
	json_t *o;

	setenv("JOURNAL_STREAM", stream, 1);
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_warn("it is %d", 42);
	line = logged();
	ck_assert_int_eq(strncmp(line, "<4>{", 4), 0);
	/* Behind the priority it is what it is elsewhere. */
	o = json_loads(line + 3, 0, NULL);
	ck_assert_ptr_nonnull(o);
	ck_assert_str_eq(
	    json_string_value(json_object_get(o, "level")), "warn");
	ck_assert_str_eq(
	    json_string_value(json_object_get(o, "message")), "it is 42");
	ck_assert_ptr_nonnull(json_object_get(o, "time"));
	json_decref(o);
}
END_TEST

/* Bytes of a character, a quote that needs two, and what is odd in both. */
static const char *const pieces[] = {
    "\xc3\xa4", "\"", "x\"\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x01"};

START_TEST(test_long_json_is_cut_and_is_json)
{
	static char message[12000];
	const char *line, *text;
	json_t *o;

	message[0] = '\0';
	for (char *end = message; end - message < 11000;)
		end = stpcpy(end, pieces[_i]);
	setenv("JOURNAL_STREAM", "", 1);
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	for (int shift = 0; shift < 8; shift++) {
		log_info("%.*s%s", shift, "01234567", message);
		line = logged();
		o = json_loads(line, 0, NULL);
		ck_assert_msg(o != NULL, "no JSON: %s", line);
		ck_assert_str_eq(
		    json_string_value(json_object_get(o, "level")), "info");
		text = json_string_value(json_object_get(o, "message"));
		ck_assert_uint_gt(strlen(text), 600);
		ck_assert_int_eq(
		    strncmp(text + shift, message, strlen(text + shift)), 0);
		json_decref(o);
	}
}
END_TEST

/* Not this stderr: other files, no files. */
static const char *const others[] = {NULL, "", "1:2", "8:", ":", "x", "8:x"};

START_TEST(test_elsewhere_there_is_a_time)
{
	const char *line;

	if (others[_i] != NULL)
		setenv("JOURNAL_STREAM", others[_i], 1);
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("hello");
	line = logged();
	ck_assert_int_eq(strncmp(line, "20", 2), 0);
	ck_assert_ptr_nonnull(strstr(line, "] info master: hello\n"));
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_info("hello");
	ck_assert_int_eq(logged()[0], '{');
}
END_TEST

START_TEST(test_a_redirected_stderr_is_not_the_journal)
{
	FILE *file = tmpfile();
	char line[200] = "";

	ck_assert_ptr_nonnull(file);
	setenv("JOURNAL_STREAM", stream, 1);
	ck_assert_int_eq(dup2(fileno(file), STDERR_FILENO), STDERR_FILENO);
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("hello");
	ck_assert_int_gt(pread(STDERR_FILENO, line, sizeof(line) - 1, 0), 0);
	ck_assert_int_eq(strncmp(line, "20", 2), 0);
	fclose(file);
}
END_TEST

#define COUNT(a) ((int)(sizeof(a) / sizeof(*(a))))

int
main(void)
{
	Suite *s = suite_create("log");
	TCase *tc = tcase_create("log");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(
	    tc, test_the_journal_gets_priorities_and_no_time, 0, COUNT(levels));
	tcase_add_test(tc, test_a_line_break_does_not_forge_a_priority);
	tcase_add_test(tc, test_a_long_line_is_cut_and_ends);
	tcase_add_test(tc, test_json_on_the_journal);
	tcase_add_loop_test(
	    tc, test_long_json_is_cut_and_is_json, 0, COUNT(pieces));
	tcase_add_loop_test(
	    tc, test_elsewhere_there_is_a_time, 0, COUNT(others));
	tcase_add_test(tc, test_a_redirected_stderr_is_not_the_journal);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

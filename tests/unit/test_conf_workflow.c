/*
 * Workflows as register_apps takes them, after the hand-over to the master.
 * What is refused: tests/conf/cases/workflow-*.
 */
#include "common/conf/conf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

static const char process[] =
    "app one {\n"
    "  action a { sql = one.a }\n"
    "  workflow w { version = 2 initial = one.initial max_attempts = 3\n"
    "    timeout = 30s concurrency = 4 group = 1 max_transitions = 100\n"
    "    step call { action = a input = '{\"id\": \"$.input.id\"}'\n"
    "      result = x state = one.state timeout = 10s max_attempts = 1\n"
    "      retry_delay = 0s retry_delay_max = 1m backoff = linear\n"
    "      compensate = a compensate_input = '$.result' }\n"
    "    step plain { action = a }\n"
    "    step wait { signal = s timeout = 24h on_timeout = 'step:nap' }\n"
    "    step nap { sleep = 0s when = '$.state.x == 1' }\n"
    "    step child { workflow = 'two.w' result = y }\n"
    "    step back { goto = end } }\n"
    "  workflow w { sql = one.run retention = 0s }\n"
    "}\n";

static struct conf *
parse(void)
{
	char path[] = "/tmp/test_conf_workflow.XXXXXX";
	int fd = mkstemp(path);
	struct conf *conf;
	struct err err;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fd_write_all(fd, process, strlen(process)), 0);
	fd_close(&fd);
	conf = conf_parse(path, &err);
	unlink(path);
	ck_assert_msg(conf != NULL, "%s", err.message);
	return conf;
}

START_TEST(steps_in_json_have_what_is_set)
{
	static const char expected[] =
	    "\"workflows\":["
	    "{\"name\":\"w\",\"version\":2,\"initial\":\"one.initial\","
	    "\"max_attempts\":3,\"retry_delay_ms\":1000,"
	    "\"retry_delay_max_ms\":3600000,\"backoff\":\"exponential\","
	    "\"timeout_ms\":30000,\"concurrency\":4,\"group\":1,"
	    "\"retention_ms\":2592000000,\"max_transitions\":100,"
	    "\"steps\":["
	    "{\"name\":\"call\",\"kind\":\"action\",\"action\":\"a\","
	    "\"input\":\"{\\\"id\\\": \\\"$.input.id\\\"}\","
	    "\"result\":\"x\",\"state\":\"one.state\","
	    "\"backoff\":\"linear\",\"compensate\":\"a\","
	    "\"compensate_input\":\"$.result\",\"timeout_ms\":10000,"
	    "\"max_attempts\":1,\"retry_delay_ms\":0,"
	    "\"retry_delay_max_ms\":60000},"
	    "{\"name\":\"plain\",\"kind\":\"action\",\"action\":\"a\"},"
	    "{\"name\":\"wait\",\"kind\":\"signal\",\"signal\":\"s\","
	    "\"on_timeout\":\"step:nap\",\"timeout_ms\":86400000},"
	    "{\"name\":\"nap\",\"kind\":\"sleep\","
	    "\"when\":\"$.state.x == 1\",\"sleep_ms\":0},"
	    "{\"name\":\"child\",\"kind\":\"workflow\","
	    "\"workflow\":\"two.w\",\"result\":\"y\","
	    "\"on_timeout\":\"fail\"},"
	    "{\"name\":\"back\",\"kind\":\"goto\",\"goto\":\"end\"}]},"
	    "{\"name\":\"w\",\"version\":1,\"sql\":\"one.run\","
	    "\"max_attempts\":5,\"retry_delay_ms\":1000,"
	    "\"retry_delay_max_ms\":3600000,\"backoff\":\"exponential\","
	    "\"timeout_ms\":0,\"concurrency\":0,\"group\":32,"
	    "\"retention_ms\":0,\"max_transitions\":10000,\"steps\":[]}]";
	struct conf *conf = parse(), *copy;
	char *json = conf_to_json(conf);
	struct err err;

	copy = conf_from_json(json, &err);
	ck_assert_msg(copy != NULL, "%s", err.message);
	mem_free(&json);
	json = conf_apps_json(copy);
	ck_assert_msg(strstr(json, expected) != NULL, "%s", json);
	mem_free(&json);
	conf_free(&copy);
	conf_free(&conf);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("conf_workflow");
	TCase *t = tcase_create("workflows");

	tcase_add_test(t, steps_in_json_have_what_is_set);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

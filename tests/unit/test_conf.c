/*
 * The configuration beneath its golden files (tests/conf): the hand-over to
 * the master, and what roles get.
 */
#include "common/conf/conf.h"
#include "common/conf/conf_budget.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <check.h>

/* A file of the given text; one at a time. */
static const char *
file_of(const char *text)
{
	static char path[64];
	int fd;

	snprintf(path, sizeof(path), "/tmp/test_conf.XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
	fd_close(&fd);
	return path;
}

static struct conf *
parse(const char *text)
{
	struct err err;
	const char *path = file_of(text);
	struct conf *conf = conf_parse(path, &err);

	unlink(path);
	ck_assert_msg(conf != NULL, "%s", err.message);
	return conf;
}

static const char full[] =
    "node = \"n\"\n"
    "database { url = \"postgres://u:p@h/d\" }\n"
    "http { listen = { \"h:1\", \"unix:/s\" } }\n"
    "worker a { queues = { \"x.*\" } concurrency = 3 }\n"
    "worker b { processes = 5 }\n"
    "subscriber { processes = 2 }\n"
    "app one {\n"
    "  action alias { action = real }\n"
    "  action real { sql = one.real args = \"id: integer\""
    "    readonly = true }\n"
    "  route \"GET /x/{id}\" { action = alias }\n"
    "  route \"POST /x\" { sql = one.create status = 201 }\n"
    "  queue q { action = real timeout = 5s retry_delay = 250ms"
    "    dead_letter = d priority = -1 concurrency = 2"
    "    key_concurrency = 3 rate = \"100/1m\" group = 1"
    "    unique_for = 1h retention = 0s retention_dead = 365d"
    "    max_ready = 1000 }\n"
    "  queue d { sql = one.dead }\n"
    "  subscription s { event = \"a.*\" sql = one.on }\n"
    "  cron c { schedule = \"* * * * *\" sql = one.tick"
    "    misfire = \"all(3)\" jitter = 1m }\n"
    "}\n"
    "app two { }\n";

/* -------------------------------------------------------- the hand-over */

START_TEST(json_hands_over_everything)
{
	struct conf *conf = parse(full), *copy;
	char *one = conf_to_json(conf), *other;
	struct err err;

	copy = conf_from_json(one, &err);
	ck_assert_msg(copy != NULL, "%s", err.message);
	other = conf_to_json(copy);
	ck_assert_str_eq(one, other);
	mem_free(&other);

	ck_assert_str_eq(copy->database.url, "postgres://u:p@h/d");
	ck_assert(copy->http.present);
	ck_assert_int_eq(copy->http.listen.count, 2);
	ck_assert_str_eq(copy->http.listen.items[1], "unix:/s");
	ck_assert_ptr_null(copy->http.listen.items[2]);
	ck_assert(!copy->cron.present);
	ck_assert_int_eq(copy->cron.processes, 0);
	ck_assert_uint_eq(copy->n_workers, 2);
	ck_assert_str_eq(copy->workers[1].name, "b");
	ck_assert_uint_eq(copy->n_apps, 2);
	ck_assert_str_eq(copy->apps[0].dir, "/tmp");
	ck_assert_int_eq(copy->apps[0].queues[0].timeout_ms, 5000);
	ck_assert_int_eq(copy->apps[0].queues[0].rate.count, 100);
	ck_assert_int_eq(copy->apps[0].queues[0].rate.window_ms, 60000);
	ck_assert_int_eq(copy->apps[0].queues[1].rate.count, 0);
	ck_assert(copy->background_workers);

	mem_free(&one);
	conf_free(&copy);
	conf_free(&conf);
	ck_assert_ptr_null(conf);
}
END_TEST

static const char *const broken_json[] = {"", "{", "[]", "{}", "{\"node\": 1}"};

START_TEST(broken_json_is_an_error)
{
	struct err err;

	ck_assert_ptr_null(conf_from_json(broken_json[_i], &err));
	ck_assert_ptr_nonnull(strstr(err.message, "handed over"));
}
END_TEST

/* Each member of a whole hand-over is needed. */
START_TEST(json_without_a_key_is_an_error)
{
	struct conf *conf = parse(full);
	char *json = conf_to_json(conf), *key;
	struct err err;

	key = strstr(json, "\"wait_max\"");
	ck_assert_ptr_nonnull(key);
	key[1] = 'W';
	ck_assert_ptr_null(conf_from_json(json, &err));
	ck_assert_str_eq(err.message,
	    "configuration handed over: "
	    "http.wait_max is missing or of another type");
	mem_free(&json);
	conf_free(&conf);
}
END_TEST

START_TEST(a_rate_that_is_no_rate_is_not_taken_over)
{
	struct conf *conf = parse(full);
	char *json = conf_to_json(conf), *member;
	struct err err;

	member = strstr(json, "\"window_ms\"");
	ck_assert_ptr_nonnull(member);
	member[1] = 'W';
	ck_assert_ptr_null(conf_from_json(json, &err));
	ck_assert_str_eq(err.message,
	    "configuration handed over: "
	    "route.rate is missing or of another type");
	mem_free(&json);
	conf_free(&conf);
}
END_TEST

START_TEST(load_gives_what_parse_gives)
{
	const char *path = file_of(full);
	struct err err;
	struct conf *parsed = conf_parse(path, &err);
	struct conf *loaded = conf_load(path, &err);
	char *one = conf_to_json(parsed), *other = conf_to_json(loaded);

	unlink(path);
	ck_assert_str_eq(one, other);
	mem_free(&one);
	mem_free(&other);
	conf_free(&parsed);
	conf_free(&loaded);
}
END_TEST

START_TEST(load_brings_message_and_hint)
{
	const char *path = file_of("\nnode = \"n\"\nlog { level = x }\n");
	struct err err;
	char begin[96];

	ck_assert_ptr_null(conf_load(path, &err));
	unlink(path);
	snprintf(begin, sizeof(begin), "%s:3: log.level: must be ", path);
	ck_assert_msg(
	    strncmp(err.message, begin, strlen(begin)) == 0, "%s", err.message);
	ck_assert_str_ne(err.hint, "");
}
END_TEST

START_TEST(load_leaves_no_process_and_no_blocked_signal)
{
	const char *path = file_of(full);
	sigset_t before, after;
	struct err err;
	struct conf *conf;

	sigprocmask(SIG_SETMASK, NULL, &before);
	conf = conf_load(path, &err);
	unlink(path);
	ck_assert_ptr_nonnull(conf);
	sigprocmask(SIG_SETMASK, NULL, &after);
	for (int i = 1; i < NSIG; i++)
		ck_assert_int_eq(
		    sigismember(&before, i), sigismember(&after, i));
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	conf_free(&conf);
}
END_TEST

static const struct {
	const char *path;
	const char *reason;
} unreadable[] = {
    {"/nonexistent/chimpd.conf", "No such file"},
    {"/tmp", "it is a folder"},
    {"/dev/zero", "it is not a regular file"},
};

START_TEST(unreadable_files_are_named)
{
	struct err err;

	ck_assert_ptr_null(conf_load(unreadable[_i].path, &err));
	ck_assert_ptr_nonnull(strstr(err.message, unreadable[_i].path));
	ck_assert_ptr_nonnull(strstr(err.message, unreadable[_i].reason));
}
END_TEST

START_TEST(a_parse_after_a_failed_one_is_clean)
{
	static const char *const bad[] = {"node = \"n", "http {",
	    "http { x = 1 }", "node = = x", "worker { }",
	    "app a { queue q { sql = a.b"};
	struct err err;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *path = file_of(bad[i]);
		struct conf *conf = conf_parse(path, &err);

		unlink(path);
		ck_assert_ptr_null(conf);
		conf = parse(full);
		conf_free(&conf);
	}
}
END_TEST

/* ----------------------------------------------------- what roles get */

START_TEST(handlers_are_resolved_in_place)
{
	struct conf *conf = parse(full);
	const struct conf_app *app = &conf->apps[0];

	ck_assert_str_eq(app->actions[0].handler.sql, "one.real");
	ck_assert_str_eq(app->actions[0].args, "id: integer");
	ck_assert_str_eq(app->routes[0].handler.sql, "one.real");
	ck_assert_str_eq(app->routes[0].handler.action, "alias");
	ck_assert_str_eq(app->routes[0].args, "id: integer");
	ck_assert(app->routes[0].readonly);
	ck_assert_str_eq(app->routes[1].args, "");
	ck_assert(!app->routes[1].readonly);
	ck_assert_str_eq(app->queues[0].handler.sql, "one.real");
	conf_free(&conf);
}
END_TEST

START_TEST(apps_json_is_what_register_apps_takes)
{
	static const char expected[] =
	    "{\"apps\":[{\"name\":\"one\",\"actions\":["
	    "{\"name\":\"alias\",\"sql\":\"one.real\","
	    "\"args\":\"id: integer\",\"readonly\":true},"
	    "{\"name\":\"real\",\"sql\":\"one.real\","
	    "\"args\":\"id: integer\",\"readonly\":true}],"
	    "\"routes\":["
	    "{\"pattern\":\"GET /x/{id}\",\"sql\":\"one.real\"},"
	    "{\"pattern\":\"POST /x\",\"sql\":\"one.create\"}],"
	    "\"queues\":["
	    "{\"name\":\"q\",\"sql\":\"one.real\",\"timeout_ms\":5000,"
	    "\"dead_letter\":\"d\",\"priority\":-1,\"max_attempts\":5,"
	    "\"retry_delay_ms\":250,\"retry_delay_max_ms\":3600000,"
	    "\"backoff\":\"exponential\","
	    "\"concurrency\":2,\"key_concurrency\":3,"
	    "\"rate_count\":100,\"rate_ms\":60000,\"group\":1,"
	    "\"unique_for_ms\":3600000,\"retention_ms\":0,"
	    "\"retention_dead_ms\":31536000000,\"max_ready\":1000},"
	    "{\"name\":\"d\",\"sql\":\"one.dead\",\"timeout_ms\":0,"
	    "\"dead_letter\":\"\",\"priority\":0,\"max_attempts\":5,"
	    "\"retry_delay_ms\":1000,\"retry_delay_max_ms\":3600000,"
	    "\"backoff\":\"exponential\","
	    "\"concurrency\":0,\"key_concurrency\":1,"
	    "\"rate_count\":0,\"rate_ms\":0,\"group\":32,"
	    "\"unique_for_ms\":0,\"retention_ms\":86400000,"
	    "\"retention_dead_ms\":2592000000,\"max_ready\":0}],"
	    "\"subscriptions\":["
	    "{\"name\":\"s\",\"event\":\"a.*\",\"sql\":\"one.on\","
	    "\"lanes\":1,\"mode\":\"each\",\"batch\":100,\"from\":\"now\","
	    "\"on_failure\":\"park\",\"max_attempts\":5,"
	    "\"retry_delay_ms\":1000,\"retry_delay_max_ms\":3600000,"
	    "\"backoff\":\"exponential\"}],"
	    "\"schedules\":["
	    "{\"name\":\"c\",\"schedule\":\"* * * * *\","
	    "\"timezone\":\"UTC\",\"sql\":\"one.tick\","
	    "\"misfire\":\"all(3)\",\"overlap\":\"skip\","
	    "\"jitter_ms\":60000}],\"workflows\":[]},"
	    "{\"name\":\"two\",\"actions\":[],\"routes\":[],\"queues\":[],"
	    "\"subscriptions\":[],\"schedules\":[],\"workflows\":[]}],"
	    "\"event_retention_ms\":604800000,"
	    "\"cache_max_bytes\":67108864,"
	    "\"telemetry_retention_ms\":604800000}";
	struct conf *conf = parse(full);
	char *json = conf_apps_json(conf);

	ck_assert_str_eq(json, expected);
	mem_free(&json);
	conf_free(&conf);
}
END_TEST

/* clang-format off */
static const struct {
	const char *now; /* NULL: a start */
	const char *next;
	const char *text;
} budgets[] = {
	{ NULL, full,
	  "http 2 x 9 + worker/a 2 x 5 + worker/b 5 x 18"
	  " + subscriber 2 x 10 + replacing 33 + short-lived 1 = 172" },
	/* Of the other roles, one process at a time: the largest counts. */
	{ NULL, "http { processes = 2 } worker default { processes = 2 }"
		"cron {} subscriber {}",
	  "http 2 x 9 + worker/default 2 x 18 + cron 1 x 2 + subscriber 1 x 10"
	  " + replacing 28 + short-lived 1 = 95" },
	{ NULL, "cron {}", "cron 1 x 2 + replacing 2 + short-lived 1 = 5" },
	{ NULL, "log {}", "replacing 0 + short-lived 1 = 1" },
	{ NULL, "http { processes = 0 } worker w { processes = 0 }",
	  "replacing 0 + short-lived 1 = 1" },
	/* Reloads: nothing differs. */
	{ "http {}", "http {}", "http 2 x 9 + replacing 9 + short-lived 1 = 28" },
	/* More and fewer processes: what is too many stays for long. */
	{ "http { processes = 2 }", "http { processes = 5 }",
	  "http 5 x 9 + replacing 9 + short-lived 1 = 55" },
	{ "http { processes = 5 }", "http { processes = 2 }",
	  "http 5 x 9 + replacing 9 + short-lived 1 = 55" },
	/* Connections of each: the larger, whichever came first. */
	{ "database { pool_max = 3 } http {}", "database { pool_max = 5 } http {}",
	  "http 2 x 6 + replacing 6 + short-lived 1 = 19" },
	{ "database { pool_max = 5 } http {}", "database { pool_max = 3 } http {}",
	  "http 2 x 6 + replacing 6 + short-lived 1 = 19" },
	/* One class for another. */
	{ "worker a { processes = 3  concurrency = 4 }",
	  "worker b { processes = 1  concurrency = 8 }",
	  "worker/b 1 x 10 + worker/a 3 x 6 + replacing 16 + short-lived 1"
	  " = 45" },
	/* A role that goes, a role that comes; pool_max of one without. */
	{ "cron {}", "subscriber {}",
	  "cron 1 x 2 + subscriber 1 x 10 + replacing 10 + short-lived 1 = 23" },
	{ "database { pool_max = 50 } cron {}",
	  "database { pool_max = 5 } http { processes = 1 } cron {}",
	  "http 1 x 6 + cron 1 x 2 + replacing 6 + short-lived 1 = 15" },
};
/* clang-format on */

START_TEST(budget_counts_every_connection)
{
	struct conf *next = parse(budgets[_i].next);
	struct conf *now =
	    parse(budgets[_i].now != NULL ? budgets[_i].now : budgets[_i].next);
	struct conf_budget b;
	char *text;

	if (budgets[_i].now == NULL)
		conf_budget(next, &b);
	else
		conf_budget_of_reload(now, next, &b);
	text = conf_budget_text(&b);
	ck_assert_str_eq(text, budgets[_i].text);
	ck_assert_int_eq(b.total, atoi(strrchr(text, ' ') + 1));
	ck_assert_int_eq(conf_budget_reload(now, next), b.total);
	/* Both ends of the way have their place in it. */
	ck_assert_int_ge(b.total, conf_budget_reload(now, now));
	ck_assert_int_ge(b.total, conf_budget_reload(next, next));
	free(text);
	conf_budget_done(&b);
	conf_free(&now);
	conf_free(&next);
}
END_TEST

START_TEST(node_is_the_host_name_by_default)
{
	struct conf *conf = parse("log {}");
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	ck_assert_str_eq(conf->node, host);
	conf_free(&conf);
}
END_TEST

START_TEST(embedded_socket_lies_beside_the_data)
{
	struct conf *conf = parse("database { data_dir = \"/a/b/\" }");
	char *dir = conf_embedded_socket_dir(conf);

	ck_assert_str_eq(dir, "/a/b.sock");
	ck_assert_str_eq(
	    conf->database.url, "host='/a/b.sock' dbname=chimp user=chimp");
	mem_free(&dir);
	conf_free(&conf);
}
END_TEST

/* One run of the test for each row of the table. */
#define ADD_ROWS(tcase, test, table) \
	tcase_add_loop_test(         \
	    tcase, test, 0, (int)(sizeof(table) / sizeof((table)[0])))

static Suite *
suite(void)
{
	Suite *s = suite_create("conf");
	TCase *t = tcase_create("hand-over");
	tcase_add_test(t, json_hands_over_everything);
	ADD_ROWS(t, broken_json_is_an_error, broken_json);
	tcase_add_test(t, json_without_a_key_is_an_error);
	tcase_add_test(t, a_rate_that_is_no_rate_is_not_taken_over);
	tcase_add_test(t, load_gives_what_parse_gives);
	tcase_add_test(t, load_brings_message_and_hint);
	tcase_add_test(t, load_leaves_no_process_and_no_blocked_signal);
	ADD_ROWS(t, unreadable_files_are_named, unreadable);
	tcase_add_test(t, a_parse_after_a_failed_one_is_clean);
	suite_add_tcase(s, t);

	t = tcase_create("roles");
	tcase_add_test(t, handlers_are_resolved_in_place);
	tcase_add_test(t, apps_json_is_what_register_apps_takes);
	ADD_ROWS(t, budget_counts_every_connection, budgets);
	tcase_add_test(t, node_is_the_host_name_by_default);
	tcase_add_test(t, embedded_socket_lies_beside_the_data);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner;
	int failed;

	/* The environment of whoever runs the tests is not part of them. */
	clearenv();
	runner = srunner_create(suite());
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

/*
 * The routes that collections stand for, after the hand-over to the master.
 * What is refused: tests/conf/cases/collection-*.
 */
#include "common/conf/conf.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

static const char served[] =
    "app one {\n"
    "  collection r { path = \"/r\"  filters = { \"a.b\", 'say \"x\"' } }\n"
    "  collection w { path = \"/w\"  writable = { \"*\" } }\n"
    "}\n";

static struct conf *
parse(void)
{
	char path[] = "/tmp/test_conf_collection.XXXXXX";
	int fd = mkstemp(path);
	struct conf *conf, *copy;
	struct err err;
	char *json;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fd_write_all(fd, served, strlen(served)), 0);
	fd_close(&fd);
	conf = conf_parse(path, &err);
	unlink(path);
	ck_assert_msg(conf != NULL, "%s", err.message);
	json = conf_to_json(conf);
	copy = conf_from_json(json, &err);
	ck_assert_msg(copy != NULL, "%s", err.message);
	mem_free(&json);
	conf_free(&conf);
	return copy;
}

START_TEST(one_without_writable_members_has_routes_that_read)
{
	struct conf_route routes[CONF_COLLECTION_ROUTES];
	struct conf *conf = parse();
	const struct conf_collection *c = &conf->apps[0].collections[0];

	ck_assert_uint_eq(conf_collection_routes(c, conf->arena, routes), 2);
	ck_assert_str_eq(routes[0].pattern, "GET /r");
	ck_assert_str_eq(routes[1].pattern, "GET /r/{id}");
	ck_assert_str_eq(routes[1].handler.sql, "chimp.rest_get");
	ck_assert(routes[0].readonly && routes[1].readonly);
	ck_assert(routes[0].etag && routes[1].etag);
	ck_assert_str_eq(routes[0].collection,
	    "{\"name\":\"r\",\"path\":\"/r\","
	    "\"filters\":[\"a.b\",\"say \\\"x\\\"\"],\"writable\":[]}");
	ck_assert_ptr_nonnull(strstr(routes[0].at, "test_conf_collection"));
	conf_free(&conf);
}
END_TEST

START_TEST(their_routes_are_registered_with_the_apps)
{
	struct conf *conf = parse();
	char *json = conf_apps_json(conf);

	ck_assert_msg(
	    strstr(json,
		"\"routes\":["
		"{\"pattern\":\"GET /r\",\"sql\":\"chimp.rest_list\"},"
		"{\"pattern\":\"GET /r/{id}\","
		"\"sql\":\"chimp.rest_get\"},"
		"{\"pattern\":\"GET /w\",\"sql\":\"chimp.rest_list\"},"
		"{\"pattern\":\"GET /w/{id}\","
		"\"sql\":\"chimp.rest_get\"},"
		"{\"pattern\":\"POST /w\",\"sql\":\"chimp.rest_post\"},"
		"{\"pattern\":\"PATCH /w/{id}\","
		"\"sql\":\"chimp.rest_patch\"},"
		"{\"pattern\":\"DELETE /w/{id}\","
		"\"sql\":\"chimp.rest_delete\"}]") != NULL,
	    "%s", json);
	mem_free(&json);
	conf_free(&conf);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("conf_collection");
	TCase *t = tcase_create("collections");

	tcase_add_test(t, one_without_writable_members_has_routes_that_read);
	tcase_add_test(t, their_routes_are_registered_with_the_apps);
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

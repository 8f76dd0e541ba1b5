/*
 * Listen addresses and their options.
 */
#include "common/base/address.h"
#include "common/base/err.h"

#include <stdlib.h>
#include <string.h>

#include <check.h>

static const struct {
	const char *text;
	const char *host, *port, *path;
	unsigned mode;
	bool tls;
} good[] = {
    {"a.test:443", "a.test", "443", "", ADDRESS_MODE, false},
    {"*:443 tls", "", "443", "", ADDRESS_MODE, true},
    {"[::1]:443 \ttls ", "::1", "443", "", ADDRESS_MODE, true},
    {"unix:/s", "", "", "/s", ADDRESS_MODE, false},
    {"unix:/s tls", "", "", "/s", ADDRESS_MODE, true},
    {"unix:/s mode=660 tls", "", "", "/s", 0660, true},
    {"unix:/s tls mode=660", "", "", "/s", 0660, true},
};

static const struct {
	const char *text;
	const char *says;
} bad[] = {
    {"*:443 ssl", "\"ssl\" is no option of a TCP socket"},
    {"*:443 tls=1", "is no option of a TCP socket"},
    {"*:443 tlss", "is no option of a TCP socket"},
    {"*:443 mode=660", "is no option of a TCP socket"},
    {"*:443tls", "the port must be"},
    {"*: tls", "the port must be"},
    {"*:70000 tls", "the port must be"},
    {"unix:/s tls=on", "is no option of a socket"},
};

START_TEST(an_address_is_read_with_its_options)
{
	struct address a;
	struct err err;

	ck_assert_int_eq(address_parse(good[_i].text, &a, &err), 0);
	ck_assert_str_eq(a.host, good[_i].host);
	ck_assert_str_eq(a.port, good[_i].port);
	ck_assert_str_eq(a.unix_path, good[_i].path);
	ck_assert_uint_eq(a.mode, good[_i].mode);
	ck_assert_int_eq(a.tls, good[_i].tls);
}
END_TEST

START_TEST(an_option_that_is_none_is_refused_by_name)
{
	struct address a;
	struct err err;

	ck_assert_int_eq(address_parse(bad[_i].text, &a, &err), -1);
	ck_assert_msg(
	    strstr(err.message, bad[_i].says) != NULL, "%s", err.message);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("address");
	TCase *tc = tcase_create("address");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, an_address_is_read_with_its_options, 0,
	    sizeof(good) / sizeof(good[0]));
	tcase_add_loop_test(tc, an_option_that_is_none_is_refused_by_name, 0,
	    sizeof(bad) / sizeof(bad[0]));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

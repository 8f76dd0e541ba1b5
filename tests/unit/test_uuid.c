/*
 * base/uuid: the form, and that nobody gets another's.
 */
#include "common/base/uuid.h"

#include <check.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UUIDS = 1000 };

START_TEST(test_version_4)
{
	char text[UUID_TEXT_BYTES];

	for (int i = 0; i < UUIDS; i++) {
		uuid_random(text);
		ck_assert_uint_eq(strlen(text), UUID_TEXT_BYTES - 1);
		ck_assert_uint_eq(
		    strspn(text, "0123456789abcdef-"), UUID_TEXT_BYTES - 1);
		ck_assert(text[8] == '-' && text[13] == '-' &&
			  text[18] == '-' && text[23] == '-');
		ck_assert(text[14] == '4' && strchr("89ab", text[19]) != NULL);
	}
}
END_TEST

START_TEST(test_no_two_are_equal)
{
	static char texts[UUIDS][UUID_TEXT_BYTES];

	for (int i = 0; i < UUIDS; i++)
		uuid_random(texts[i]);
	for (int i = 0; i < UUIDS; i++)
		for (int j = i + 1; j < UUIDS; j++)
			ck_assert_str_ne(texts[i], texts[j]);
}
END_TEST

/* Bytes that a parent has in store are not its child's. */
START_TEST(test_a_child_makes_its_own)
{
	char ours[UUID_TEXT_BYTES], child[UUID_TEXT_BYTES];
	int fds[2];
	pid_t pid;

	uuid_random(ours);
	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		uuid_random(child);
		_exit(write(fds[1], child, sizeof(child)) != sizeof(child));
	}
	ck_assert_int_eq(read(fds[0], child, sizeof(child)), sizeof(child));
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	for (int i = 0; i < 100; i++) {
		uuid_random(ours);
		ck_assert_str_ne(ours, child);
	}
	close(fds[0]);
	close(fds[1]);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("uuid");
	TCase *tc = tcase_create("uuid");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_version_4);
	tcase_add_test(tc, test_no_two_are_equal);
	tcase_add_test(tc, test_a_child_makes_its_own);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

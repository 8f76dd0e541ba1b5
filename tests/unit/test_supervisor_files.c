/*
 * What the supervisor promises of files, in a temporary folder: locks, the
 * embedded PostgreSQL's data folder.
 */
#include "common/base/err.h"
#include "common/base/fd.h"
#include "supervisor/lockfile.h"
#include "supervisor/pgdata.h"

#include <check.h>

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAJOR = 15 };

static char folder[] = "/tmp/chimp-test-XXXXXX";
static char path[128]; /* FOLDER/thing */
static struct err err;

static void
write_file(const char *name, const char *text)
{
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

static void
setup(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/thing", folder);
}

static int
remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static void
teardown(void)
{
	nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* lockfile_take in another process: 0, 1 or -1; checks the error's words. */
static int
take_elsewhere(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct lockfile lock = LOCKFILE_NONE;
		char holder[32];
		int rc = lockfile_take(&lock, path, &err);

		snprintf(holder, sizeof(holder), "pid %d", (int)getppid());
		if (rc == 1 && strstr(err.message, holder) == NULL)
			_exit(9);
		_exit(rc & 0xff);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(test_lock_is_held_for_life)
{
	struct lockfile lock = LOCKFILE_NONE;
	char text[32] = "";

	ck_assert_int_eq(lockfile_take(&lock, path, &err), 0);
	ck_assert_int_gt(pread(lock.fd, text, sizeof(text) - 1, 0), 0);
	ck_assert_int_eq(atoi(text), getpid());
	ck_assert_int_eq(take_elsewhere(), 1);
	lockfile_release(&lock);
	ck_assert_int_ne(access(path, F_OK), 0);
	lockfile_release(&lock);
	ck_assert_int_eq(take_elsewhere(), 0);
}
END_TEST

START_TEST(test_lock_of_a_dead_process_is_free)
{
	struct lockfile lock = LOCKFILE_NONE;

	/* It exits without lockfile_release. */
	ck_assert_int_eq(take_elsewhere(), 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(lockfile_take(&lock, path, &err), 0);
	lockfile_release(&lock);
}
END_TEST

START_TEST(test_lock_in_no_folder)
{
	struct lockfile lock = LOCKFILE_NONE;

	snprintf(path, sizeof(path), "%s/absent/thing", folder);
	ck_assert_int_eq(lockfile_take(&lock, path, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, path));
}
END_TEST

START_TEST(test_data_absent_and_empty_can_be_made)
{
	bool exists = true;

	ck_assert_int_eq(pgdata_check(path, MAJOR, &exists, &err), 0);
	ck_assert(!exists);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	exists = true;
	ck_assert_int_eq(pgdata_check(path, MAJOR, &exists, &err), 0);
	ck_assert(!exists);
}
END_TEST

START_TEST(test_data_parent_is_made_once)
{
	bool exists;

	snprintf(path, sizeof(path), "%s/one/thing", folder);
	ck_assert_int_eq(pgdata_check(path, MAJOR, &exists, &err), 0);
	snprintf(path, sizeof(path), "%s/two/three/thing", folder);
	ck_assert_int_eq(pgdata_check(path, MAJOR, &exists, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, path));
}
END_TEST

START_TEST(test_data_of_other_files_is_refused)
{
	bool exists;

	write_file("notes.txt", "mine\n");
	ck_assert_int_eq(pgdata_check(folder, MAJOR, &exists, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "not empty"));
}
END_TEST

START_TEST(test_data_of_another_version_is_refused)
{
	bool exists = false;

	write_file("PG_VERSION", "15\n");
	ck_assert_int_eq(pgdata_check(folder, 15, &exists, &err), 0);
	ck_assert(exists);
	ck_assert_int_eq(pgdata_check(folder, 16, &exists, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "PostgreSQL 15,"));
	ck_assert_ptr_nonnull(strstr(err.message, "PostgreSQL 16"));
}
END_TEST

START_TEST(test_data_open_to_others_is_refused)
{
	bool exists;

	write_file("PG_VERSION", "15\n");
	ck_assert_int_eq(chmod(folder, 0755), 0);
	ck_assert_int_eq(pgdata_check(folder, 15, &exists, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.hint, "chmod 0700"));
	ck_assert_int_eq(chmod(folder, 0750), 0);
	ck_assert_int_eq(pgdata_check(folder, 15, &exists, &err), 0);
}
END_TEST

START_TEST(test_relative_data_is_refused)
{
	bool exists;

	ck_assert_int_eq(pgdata_check("data", MAJOR, &exists, &err), -1);
}
END_TEST

START_TEST(test_socket_folder_is_closed_to_others)
{
	struct stat st;

	ck_assert_int_eq(mkdir(path, 0755), 0);
	ck_assert_int_eq(pgdata_make_socket_dir(path, &err), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0700);
	ck_assert_int_eq(pgdata_make_socket_dir(path, &err), 0);
}
END_TEST

START_TEST(test_socket_folder_is_no_link)
{
	ck_assert_int_eq(symlink(folder, path), 0);
	ck_assert_int_eq(pgdata_make_socket_dir(path, &err), -1);
}
END_TEST

START_TEST(test_socket_path_fits)
{
	char name[108];

	/* With "/.s.PGSQL.5432" 107 bytes are the most. */
	snprintf(name, sizeof(name), "%s/%0*d", folder,
	    93 - (int)strlen(folder) - 1, 0);
	ck_assert_int_eq(pgdata_make_socket_dir(name, &err), 0);
	snprintf(name, sizeof(name), "%s/%0*d", folder,
	    94 - (int)strlen(folder) - 1, 0);
	ck_assert_int_eq(pgdata_make_socket_dir(name, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.message, "107"));
}
END_TEST

/* A living process whose working folder is `cwd`. */
static pid_t
start_sleeper(const char *cwd)
{
	int ready[2];
	char c;
	pid_t pid;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (chdir(cwd) != 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void
end_sleeper(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

START_TEST(test_postmaster_is_believed_only_in_its_folder)
{
	struct pgdata_postmaster found;
	pid_t pid = start_sleeper(folder);
	char text[32];

	snprintf(text, sizeof(text), "%d\n", (int)pid);
	write_file("postmaster.pid", text);
	pgdata_find_postmaster(folder, &found);
	ck_assert_int_eq(found.pid, pid);
	end_sleeper(pid);
	/* Dead: nobody, and the file stays for PostgreSQL's own checks. */
	pgdata_find_postmaster(folder, &found);
	ck_assert_int_eq(found.pid, 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	/* The number of some other program: the file goes. */
	pid = start_sleeper("/");
	snprintf(text, sizeof(text), "%d\n", (int)pid);
	write_file("postmaster.pid", text);
	pgdata_find_postmaster(folder, &found);
	ck_assert_int_eq(found.pid, 0);
	ck_assert_int_ne(access(path, F_OK), 0);
	end_sleeper(pid);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("supervisor files");
	TCase *tc = tcase_create("files");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_lock_is_held_for_life);
	tcase_add_test(tc, test_lock_of_a_dead_process_is_free);
	tcase_add_test(tc, test_lock_in_no_folder);
	tcase_add_test(tc, test_data_absent_and_empty_can_be_made);
	tcase_add_test(tc, test_data_parent_is_made_once);
	tcase_add_test(tc, test_data_of_other_files_is_refused);
	tcase_add_test(tc, test_data_of_another_version_is_refused);
	tcase_add_test(tc, test_data_open_to_others_is_refused);
	tcase_add_test(tc, test_relative_data_is_refused);
	tcase_add_test(tc, test_socket_folder_is_closed_to_others);
	tcase_add_test(tc, test_socket_folder_is_no_link);
	tcase_add_test(tc, test_socket_path_fits);
	tcase_add_test(tc, test_postmaster_is_believed_only_in_its_folder);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

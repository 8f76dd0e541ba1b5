/*
 * The ways in which a fake process ends, or does not. See fake.h.
 */
#include "tests/fake/fake.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int
fake_exit(struct fake *fake, const char *args)
{
	(void)fake;
	_exit(atoi(args));
}

int
fake_die(struct fake *fake, const char *args)
{
	int number = atoi(args);

	(void)fake;
	if (number <= 0)
		return -1;
	/* Not from inside: a sanitizer would make it another end. */
	signal(number, SIG_DFL);
	kill(getpid(), number);
	return 0;
}

int
fake_spin(struct fake *fake, const char *args)
{
	volatile bool on = true;

	(void)fake;
	(void)args;
	while (on)
		continue;
	return 0;
}

int
fake_block(struct fake *fake, const char *args)
{
	(void)fake;
	(void)args;
	for (;;)
		pause();
}

/*
 * Its heart beats, and nothing else: neither the master's messages nor signals
 * (they are blocked, and read from a descriptor) reach it.
 */
int
fake_deaf(struct fake *fake, const char *args)
{
	const struct timespec second = {.tv_sec = 1};
	struct msg msg;

	(void)args;
	for (;;) {
		fake_heartbeat(fake, &msg);
		msg_send(fake->child->birth->master_fd, &msg);
		nanosleep(&second, NULL);
	}
}

static volatile sig_atomic_t ends_status;

static void
ends_on_abrt(int number)
{
	(void)number;
	_exit(ends_status);
}

int
fake_on_abrt(struct fake *fake, const char *args)
{
	(void)fake;
	if (strcmp(args, "ignore") == 0) {
		signal(SIGABRT, SIG_IGN);
		return 0;
	}
	ends_status = atoi(args);
	signal(SIGABRT, ends_on_abrt);
	return 0;
}

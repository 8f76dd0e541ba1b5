/*
 * The fake role: its birth, its orders while it runs, its end. See fake.h.
 */
#include "tests/fake/fake.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAKE_ORDERS_BYTES = 4096 };

static void
fake_path(const struct fake *fake, char *path, size_t size, const char *what,
    int number)
{
	const char *folder = fake->child->birth->conf->fake.control;

	if (number < 0)
		snprintf(path, size, "%s/%s", folder, what);
	else
		snprintf(path, size, "%s/%s%d", folder, what, number);
}

/* Obey a file; one that is not there is no orders. */
static int
fake_obey_file(struct fake *fake, const char *path, struct err *err)
{
	char text[FAKE_ORDERS_BYTES] = "";
	FILE *file = fopen(path, "re");
	size_t n;

	if (file == NULL && errno == ENOENT)
		return 0;
	if (file == NULL)
		return err_set(err, "%s: %s", path, strerror(errno));
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	fclose(file);
	return fake_obey(fake, text, err);
}

static int
fake_obey_birth(struct fake *fake, struct err *err)
{
	const struct birth *birth = fake->child->birth;
	char path[512];

	if (fake_obey(fake, birth->conf->fake.behaviour, err) != 0)
		return -1;
	if (birth->conf->fake.control[0] == '\0')
		return 0;
	fake_path(fake, path, sizeof(path), "birth", -1);
	if (fake_obey_file(fake, path, err) != 0)
		return -1;
	fake_path(fake, path, sizeof(path), "birth-", birth->index);
	return fake_obey_file(fake, path, err);
}

static void
fake_on_poll(struct loop_timer *timer, void *arg)
{
	struct fake *fake = arg;
	char path[512], taken[512];
	struct err err;

	loop_timer_start(timer, FAKE_POLL_MS);
	fake_path(fake, path, sizeof(path), "", (int)getpid());
	fake_path(fake, taken, sizeof(taken), "taken-", (int)getpid());
	/* Away with it first: the order may be the last one. */
	if (rename(path, taken) != 0)
		return;
	if (fake_obey_file(fake, taken, &err) != 0)
		log_err(LOG_LEVEL_ERROR, &err);
}

static void
fake_on_ready(struct loop_timer *timer, void *arg)
{
	struct fake *fake = arg;

	(void)timer;
	loop_stop(fake->child->loop);
}

/*
 * READY is the common birth's to send, as soon as start returns: so it returns
 * late. Heartbeats go out and orders come in meanwhile.
 */
static void
fake_wait_ready(struct fake *fake)
{
	if (fake->ready_after_ms == 0)
		return;
	if (fake->ready_after_ms > 0)
		loop_timer_start(&fake->ready, fake->ready_after_ms);
	loop_run(fake->child->loop);
	loop_timer_stop(&fake->ready);
	/* The loop was stopped by the end of a drain. */
	if (fake->child->draining)
		exit(0);
}

static void
fake_on_drained(struct loop_timer *timer, void *arg)
{
	struct fake *fake = arg;

	(void)timer;
	fake->busy = 0;
	child_finished(fake->child);
}

static int
fake_start(struct child *child, struct err *err)
{
	struct fake *fake = mem_zalloc(sizeof(*fake));

	child->state = fake;
	fake->child = child;
	loop_timer_init(&fake->poll, child->loop, fake_on_poll, fake);
	loop_timer_init(&fake->ready, child->loop, fake_on_ready, fake);
	loop_timer_init(&fake->drain, child->loop, fake_on_drained, fake);
	snprintf(fake->said, sizeof(fake->said), "pretending");
	fake->starting = true;
	if (fake_obey_birth(fake, err) != 0)
		return -1;
	if (child->birth->conf->fake.control[0] != '\0')
		loop_timer_start(&fake->poll, 0);
	fake_wait_ready(fake);
	fake->starting = false;
	return 0;
}

static void
fake_drain(struct child *child, int64_t deadline_ms)
{
	struct fake *fake = child->state;
	struct err err;

	(void)deadline_ms;
	if (fake_obey(fake, fake->on_drain, &err) != 0)
		log_err(LOG_LEVEL_ERROR, &err);
	if (fake->drain_ms == 0) {
		child_finished(child);
		return;
	}
	fake->busy = 1;
	if (fake->drain_ms > 0)
		loop_timer_start(&fake->drain, fake->drain_ms);
}

static void
fake_status(struct child *child, struct msg *heartbeat)
{
	const struct fake *fake = child->state;

	heartbeat->busy = fake->busy;
	heartbeat->capacity = 1;
	heartbeat->done = fake->done;
	snprintf(heartbeat->text, sizeof(heartbeat->text), "%s", fake->said);
}

void
fake_heartbeat(const struct fake *fake, struct msg *msg)
{
	const struct birth *birth = fake->child->birth;

	*msg = (struct msg){.version = MSG_VERSION,
	    .type = MSG_HEARTBEAT,
	    .slot = birth->slot,
	    .generation = birth->generation,
	    .state = fake->starting ? MSG_STATE_STARTING : MSG_STATE_SERVING};
	fake_status(fake->child, msg);
}

static void
fake_done(struct child *child)
{
	struct fake *fake = child->state;

	loop_timer_done(&fake->poll);
	loop_timer_done(&fake->ready);
	loop_timer_done(&fake->drain);
	mem_free(&fake);
	child->state = NULL;
}

const struct role role_fake = {
    .name = "fake",
    .loop_new = loop_event_new,
    .start = fake_start,
    .drain = fake_drain,
    .status = fake_status,
    .done = fake_done,
};

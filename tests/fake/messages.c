/*
 * Messages to the master that a good process would not send. See fake.h.
 */
#include "tests/fake/fake.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Twice as much as the master expects. */
struct message {
	struct msg msg;
	char more[sizeof(struct msg)];
	size_t size;
};

static void
message_valid(struct message *m)
{
	(void)m;
}

static void
message_ready(struct message *m)
{
	m->msg.type = MSG_READY;
}

static void
message_garbage(struct message *m)
{
	memset(&m->msg, 0xa5, sizeof(m->msg));
}

static void
message_short(struct message *m)
{
	m->size = 1;
}

static void
message_long(struct message *m)
{
	m->size = sizeof(m->msg) + sizeof(m->more);
}

static void
message_version(struct message *m)
{
	m->msg.version = MSG_VERSION + 1;
}

static void
message_type(struct message *m)
{
	m->msg.type = 999;
}

/* What only the master says. */
static void
message_order(struct message *m)
{
	m->msg.type = MSG_DRAIN;
}

static void
message_slot(struct message *m)
{
	m->msg.slot++;
}

static void
message_generation(struct message *m)
{
	m->msg.generation--;
}

/* READY of the slot's last process. */
static void
message_old_ready(struct message *m)
{
	m->msg.type = MSG_READY;
	m->msg.generation--;
}

/* No text ends, and no number is small. */
static void
message_huge(struct message *m)
{
	m->msg.state = m->msg.busy = m->msg.capacity = UINT32_MAX;
	m->msg.done = UINT64_MAX;
	memset(m->msg.text, 'x', sizeof(m->msg.text));
	memset(m->msg.birth, 'x', sizeof(m->msg.birth));
}

/* clang-format off */
static const struct {
	const char *kind;
	void (*spoil)(struct message *m);
} messages[] = {
	{ "valid", message_valid },
	{ "ready", message_ready },
	{ "garbage", message_garbage },
	{ "short", message_short },
	{ "long", message_long },
	{ "version", message_version },
	{ "type", message_type },
	{ "order", message_order },
	{ "slot", message_slot },
	{ "generation", message_generation },
	{ "old-ready", message_old_ready },
	{ "huge", message_huge },
};
/* clang-format on */

static int
message_make(const struct fake *fake, const char *kind, struct message *m)
{
	memset(m, 0, sizeof(*m));
	fake_heartbeat(fake, &m->msg);
	m->size = sizeof(m->msg);
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		if (strcmp(messages[i].kind, kind) == 0) {
			messages[i].spoil(m);
			return 0;
		}
	return -1;
}

/* Wait for room, so that each of them arrives. */
static void
message_send(const struct fake *fake, const struct message *m)
{
	struct pollfd p = {
	    .fd = fake->child->birth->master_fd, .events = POLLOUT};

	while (send(p.fd, m, m->size, MSG_NOSIGNAL) < 0 &&
	       (errno == EAGAIN || errno == EINTR))
		poll(&p, 1, -1);
}

int
fake_send(struct fake *fake, const char *args)
{
	struct message m;
	char kind[32];
	int n;

	if (sscanf(args, "%31s %d", kind, &n) != 2 ||
	    message_make(fake, kind, &m) != 0)
		return -1;
	while (n-- > 0)
		message_send(fake, &m);
	return 0;
}

int
fake_flood(struct fake *fake, const char *args)
{
	struct message m;

	if (message_make(fake, args, &m) != 0)
		return -1;
	for (;;)
		message_send(fake, &m);
}

/*
 * To the master it looks closed. The number stays in use, by a pair that
 * nobody else knows: else the child would see its master gone, or another
 * descriptor would get the number.
 */
int
fake_close(struct fake *fake, const char *args)
{
	int pair[2];

	(void)args;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
		0, pair) != 0)
		return -1;
	dup2(pair[0], fake->child->birth->master_fd);
	close(pair[0]);
	return 0;
}

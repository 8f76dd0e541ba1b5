/*
 * Messages between the master and its children. See msg.h.
 */
#include "common/base/msg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

bool
msg_send(int fd, const struct msg *msg)
{
	struct msg m = *msg;
	ssize_t n;

	m.version = MSG_VERSION;
	do
		n = send(fd, &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(m);
}

int
msg_receive(int fd, struct msg *msg)
{
	ssize_t n;

	do
		n = recv(fd, msg, sizeof(*msg), MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
	if (n == 0)
		return -1;
	if (n != (ssize_t)sizeof(*msg) || msg->version != MSG_VERSION)
		return -2;
	msg->birth[sizeof(msg->birth) - 1] = '\0';
	msg->text[sizeof(msg->text) - 1] = '\0';
	msg->crash.how[sizeof(msg->crash.how) - 1] = '\0';
	return 1;
}

/*
 * Payloads. See payload.h.
 */
#include "chimpctl/payload.h"

#include "chimpctl/command.h"
#include "chimpctl/say.h"
#include "common/base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAYLOAD_MAX = 64 << 20 }; /* bytes */

/* In a buffer that the caller frees; NULL after an error, which was told. */
static char *
payload_read_stdin(void)
{
	size_t size;
	char *text = fd_read_all(STDIN_FILENO, PAYLOAD_MAX, &size);

	if (text == NULL)
		say_error("cannot read the payload from standard input",
		    strerror(errno), NULL);
	else if (strlen(text) != size) {
		say_error("the payload holds a zero byte", NULL,
		    "A payload is one JSON value in UTF-8.");
		free(text);
		text = NULL;
	}
	return text;
}

int
payload_send(struct ctl_call *call, const char *argument,
    int (*send)(struct ctl_call *call, const char *payload))
{
	char *text;
	int status;

	if (argument == NULL || strcmp(argument, "-") != 0)
		return send(call, argument);
	text = payload_read_stdin();
	if (text == NULL)
		return CTL_FAILED;
	status = send(call, text);
	free(text);
	return status;
}

/*
 * Payloads from standard input. See payload.h.
 */
#include "chimpctl/payload.h"

#include "chimpctl/say.h"
#include "common/base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAYLOAD_MAX = 64 << 20 }; /* bytes */

char *
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

/*
 * Raw bodies. See raw.h.
 */
#include "roles/http/raw.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "roles/http/input.h"
#include "roles/http/url.h"

static void
raw_member(
    struct input *input, const char *name, const char *value, size_t length)
{
	input_member(input, INPUT_RAW, name, value, length);
}

static void
raw_base64(struct input *input, const char *body, size_t length)
{
	char *text = mem_alloc((length + 2) / 3 * 4 + 1);
	int n = EVP_EncodeBlock(
	    (unsigned char *)text, (const unsigned char *)body, (int)length);

	raw_member(input, "body", text, (size_t)n);
	free(text);
}

void
raw_body(struct input *input, const char *body, size_t length, const char *type,
    size_t type_length)
{
	bool text = length == 0 || (memchr(body, '\0', length) == NULL &&
				       url_utf8_valid(body, length));

	if (text)
		raw_member(input, "body", length > 0 ? body : "", length);
	else
		raw_base64(input, body, length);
	if (text)
		raw_member(input, "bodyEncoding", "text", strlen("text"));
	else
		raw_member(input, "bodyEncoding", "base64", strlen("base64"));
	/* No media type has other characters than ASCII's. */
	if (type != NULL && url_utf8_valid(type, type_length))
		raw_member(input, "contentType", type, type_length);
}

/*
 * Entity tags. See etag.h.
 */
#include "roles/http/etag.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ETAG_HASH_BYTES = 16 };

/* Looked up once: that costs as much as hashing a KiB. */
static const EVP_MD *
etag_hash(void)
{
	static EVP_MD *sha256;

	if (sha256 == NULL)
		sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	return sha256;
}

void
etag_of(const void *body, size_t length, char out[ETAG_BYTES])
{
	static const char hex[] = "0123456789abcdef";
	static EVP_MD_CTX *context;
	unsigned char hash[EVP_MAX_MD_SIZE];
	char *p = out;

	if (context == NULL)
		context = EVP_MD_CTX_new();
	if (context == NULL ||
	    EVP_DigestInit_ex(context, etag_hash(), NULL) != 1 ||
	    EVP_DigestUpdate(context, body, length) != 1 ||
	    EVP_DigestFinal_ex(context, hash, NULL) != 1)
		abort(); /* out of memory */
	*p++ = 'W';
	*p++ = '/';
	*p++ = '"';
	for (int i = 0; i < ETAG_HASH_BYTES; i++) {
		*p++ = hex[hash[i] >> 4];
		*p++ = hex[hash[i] & 0xf];
	}
	*p++ = '"';
	*p = '\0';
}

/* --- If-None-Match --- */

struct etag_text {
	const char *text;
	size_t length;
};

static bool
etag_is_char(char c)
{
	unsigned char u = (unsigned char)c;

	return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

/* Take one tag off the list, without its W/; false if there is none. */
static bool
etag_take(struct etag_text *list, struct etag_text *tag)
{
	const char *p = list->text, *end = p + list->length;

	if (end - p > 2 && p[0] == 'W' && p[1] == '/')
		p += 2;
	tag->text = p;
	if (p == end || *p++ != '"')
		return false;
	while (p < end && etag_is_char(*p))
		p++;
	if (p == end || *p++ != '"')
		return false;
	tag->length = (size_t)(p - tag->text);
	list->length = (size_t)(end - p);
	list->text = p;
	return true;
}

static void
etag_skip(struct etag_text *list)
{
	while (list->length > 0 && strchr(", \t", list->text[0]) != NULL &&
	       list->text[0] != '\0') {
		list->text++;
		list->length--;
	}
}

bool
etag_listed(
    const char *list, size_t length, const char *etag, size_t etag_length)
{
	struct etag_text rest = {list, length}, tag;
	struct etag_text whole = {etag, etag_length}, wanted;

	etag_skip(&rest);
	if (rest.length > 0 && rest.text[0] == '*')
		return true;
	if (!etag_take(&whole, &wanted))
		return false;
	while (etag_take(&rest, &tag)) {
		if (tag.length == wanted.length &&
		    memcmp(tag.text, wanted.text, tag.length) == 0)
			return true;
		etag_skip(&rest);
	}
	return false;
}

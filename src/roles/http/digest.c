/*
 * SHA-256 of several texts. See digest.h.
 */
#include "roles/http/digest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

static void
digest_add(EVP_MD_CTX *ctx, const void *data, size_t length)
{
	if (EVP_DigestUpdate(ctx, data, length) != 1)
		abort(); /* memory is out */
}

static void
digest_part(EVP_MD_CTX *ctx, const struct digest_part *part)
{
	uint64_t length = part->text != NULL ? part->length : UINT64_MAX;

	digest_add(ctx, &length, sizeof(length));
	if (part->text != NULL)
		digest_add(ctx, part->text, part->length);
}

void
digest_text(
    const struct digest_part *parts, size_t n, char out[DIGEST_TEXT_BYTES])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int size = 0;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		abort();
	for (size_t i = 0; i < n; i++)
		digest_part(ctx, &parts[i]);
	if (EVP_DigestFinal_ex(ctx, md, &size) != 1)
		abort();
	EVP_MD_CTX_free(ctx);
	assert(size * 2 + 3 == DIGEST_TEXT_BYTES);
	out[0] = '\\';
	out[1] = 'x';
	for (unsigned int i = 0; i < size; i++)
		snprintf(out + 2 + (size_t)i * 2, 3, "%02x", md[i]);
}

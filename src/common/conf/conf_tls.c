/*
 * The tls sections of http: reads their files, so that nobody else has to. What
 * is in them is judged by the http role, which knows OpenSSL.
 */
#include "common/conf/conf_draft.h"
#include "common/conf/conf_perm.h"
#include "common/base/address.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <string.h>
#include <sys/stat.h>

enum { TLS_FILE_BYTES_MAX = 1 << 20 };

/* The text of a PEM file; the error never holds what is in it. */
static int
tls_read(const struct conf_draft *d, const struct conf_tls *tls,
    const char *key, const char *path, char **text, struct err *err)
{
	struct err fault;
	size_t n;
	char *data;

	if (*path == '\0')
		return conf_draft_err(
		    d, tls, key, err, "must be given: a PEM file");
	data = fd_read_file(path, TLS_FILE_BYTES_MAX, &n, &fault);
	if (data == NULL) {
		conf_draft_err(d, tls, key, err, "%s", fault.message);
		return err_hint(err, "the start reads it as whoever starts "
				     "chimpd, a reload as the user that it "
				     "becomes");
	}
	/* What is not ASCII is a remark between the PEM blocks. */
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)data[i] >= 0x80 || data[i] == '\0')
			data[i] = '?';
	*text = arena_strdup(d->conf->arena, data);
	explicit_bzero(data, n);
	mem_free(&data);
	return 0;
}

static void
tls_warn_public(struct conf_draft *d, const struct conf_tls *tls)
{
	struct stat st;
	char *text;

	if (stat(tls->key, &st) != 0 || !conf_perm_public(&st))
		return;
	text = mem_printf("%s: tls.key: everybody may read \"%s\"; run: "
			  "chmod o-r %s",
	    tls->at, tls->key, tls->key);
	conf_strings_add(&d->conf->warnings, d->conf->arena, text);
	mem_free(&text);
}

static int
tls_section(struct conf_draft *d, struct conf_tls *tls, struct err *err)
{
	tls->at = arena_strdup(d->conf->arena, conf_draft_node(d, tls)->where);
	if (tls_read(d, tls, "certificate", tls->certificate,
		&tls->certificate_pem, err) < 0)
		return -1;
	if (tls_read(d, tls, "key", tls->key, &tls->key_pem, err) < 0)
		return -1;
	tls_warn_public(d, tls);
	return 0;
}

/* Of an address that was found to be good before. */
static bool
tls_wanted(const char *listen)
{
	struct address address;
	struct err err;

	return address_parse(listen, &address, &err) == 0 && address.tls;
}

int
conf_check_tls(struct conf_draft *d, struct err *err)
{
	struct conf_http *http = &d->conf->http;

	for (size_t i = 0; i < http->n_tls; i++)
		if (tls_section(d, &http->tls[i], err) < 0)
			return -1;
	for (int i = 0; i < http->listen.count && http->n_tls == 0; i++) {
		if (!tls_wanted(http->listen.items[i]))
			continue;
		conf_draft_err(d, http, "listen", err,
		    "\"%s\" speaks TLS, and there is no certificate",
		    http->listen.items[i]);
		return err_hint(err,
		    "add to the http section: tls \"NAME\" { "
		    "certificate = \"FILE\"  key = \"FILE\" }");
	}
	return 0;
}

/*
 * TLS by OpenSSL. See tls.h.
 */
#include "roles/http/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf.h"

/* TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325, 4.2).
 * Those of TLS 1.3 are all of that kind. */
#define TLS_CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

struct tls {
	SSL_CTX **contexts; /* one for each section, the default first */
	size_t n;
};

/* --- which certificate --- */

static SSL_CTX *
tls_find(const struct tls *tls, const char *name, unsigned flags)
{
	for (size_t i = 0; i < tls->n; i++) {
		X509 *own = SSL_CTX_get0_certificate(tls->contexts[i]);

		if (X509_check_host(own, name, 0,
			flags | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
			    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
			NULL) == 1)
			return tls->contexts[i];
	}
	return NULL;
}

/* The exact name first, then a wildcard, else the default. */
static int
tls_on_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls *tls = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	SSL_CTX *found;

	(void)alert;
	if (name == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	found = tls_find(tls, name, X509_CHECK_FLAG_NO_WILDCARDS);
	if (found == NULL)
		found = tls_find(tls, name, 0);
	if (found == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	SSL_set_SSL_CTX(ssl, found);
	return SSL_TLSEXT_ERR_OK;
}

/* --- certificates and keys --- */

/* OpenSSL's reason, which holds nothing of what it read. */
static int
tls_fault(const struct conf_tls *conf, const char *key, const char *path,
    struct err *err)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	err_set(err, "%s: tls \"%s\": %s: \"%s\": %s", conf->at, conf->name,
	    key, path, reason != NULL ? reason : "not as OpenSSL wants it");
	ERR_clear_error();
	return -1;
}

/* Nobody is there to be asked for a passphrase. */
static int
tls_no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* The certificates behind the first one: who signed it. */
static int
tls_add_chain(SSL_CTX *context, BIO *in)
{
	X509 *next;

	while ((next = PEM_read_bio_X509(in, NULL, tls_no_passphrase, NULL)) !=
	       NULL)
		if (SSL_CTX_add0_chain_cert(context, next) != 1) {
			X509_free(next);
			return -1;
		}
	/* The end of the file. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return -1;
	ERR_clear_error();
	return 0;
}

static int
tls_use_chain(SSL_CTX *context, const struct conf_tls *conf, struct err *err)
{
	BIO *in = BIO_new_mem_buf(conf->certificate_pem, -1);
	X509 *own = PEM_read_bio_X509_AUX(in, NULL, tls_no_passphrase, NULL);
	int rc = -1;

	if (own != NULL && SSL_CTX_use_certificate(context, own) == 1)
		rc = tls_add_chain(context, in);
	X509_free(own);
	BIO_free(in);
	if (rc == 0)
		return 0;
	tls_fault(conf, "certificate", conf->certificate, err);
	return err_hint(err, "it must be a PEM file with the server's own "
			     "certificate first, then those that signed it");
}

static int
tls_use_key(SSL_CTX *context, const struct conf_tls *conf, struct err *err)
{
	BIO *in = BIO_new_mem_buf(conf->key_pem, -1);
	EVP_PKEY *key =
	    PEM_read_bio_PrivateKey(in, NULL, tls_no_passphrase, NULL);
	X509 *own = SSL_CTX_get0_certificate(context);
	int rc = 0;

	if (key == NULL) {
		tls_fault(conf, "key", conf->key, err);
		rc = err_hint(err, "it must be a PEM file with a private key "
				   "and no passphrase");
	} else if (X509_check_private_key(own, key) != 1) {
		tls_fault(conf, "key", conf->key, err);
		rc = err_hint(err,
		    "it must be the key of the first "
		    "certificate in \"%s\"",
		    conf->certificate);
	} else if (SSL_CTX_use_PrivateKey(context, key) != 1) {
		rc = tls_fault(conf, "key", conf->key, err);
	}
	EVP_PKEY_free(key);
	BIO_free(in);
	return rc;
}

/* --- contexts --- */

static void
tls_options(SSL_CTX *context, const struct conf_http *conf, struct tls *tls)
{
	bool only_1_3 = strcmp(conf->tls_min, "1.3") == 0;

	SSL_CTX_set_min_proto_version(
	    context, only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(context, TLS_CIPHERS);
	/* A phone without AES in hardware may say that it prefers ChaCha. */
	SSL_CTX_set_options(context,
	    SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 0);
	/* An idle connection keeps no buffers. */
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_tlsext_servername_callback(context, tls_on_name);
	SSL_CTX_set_tlsext_servername_arg(context, tls);
}

static int
tls_add(struct tls *tls, const struct conf_http *conf,
    const struct conf_tls *section, struct err *err)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	if (context == NULL)
		return tls_fault(section, "OpenSSL", "", err);
	tls->contexts[tls->n++] = context;
	tls_options(context, conf, tls);
	if (tls_use_chain(context, section, err) != 0)
		return -1;
	return tls_use_key(context, section, err);
}

struct tls *
tls_new(const struct conf_http *conf, struct err *err)
{
	struct tls *tls = mem_zalloc(sizeof(*tls));

	tls->contexts = mem_zalloc(conf->n_tls * sizeof(SSL_CTX *));
	ERR_clear_error();
	for (size_t i = 0; i < conf->n_tls && tls != NULL; i++)
		if (tls_add(tls, conf, &conf->tls[i], err) != 0)
			tls_free(&tls);
	return tls;
}

void
tls_free(struct tls **tls)
{
	if (*tls == NULL)
		return;
	for (size_t i = 0; i < (*tls)->n; i++)
		SSL_CTX_free((*tls)->contexts[i]);
	free((*tls)->contexts);
	mem_free(tls);
}

SSL_CTX *
tls_context(const struct tls *tls)
{
	return tls->contexts[0];
}

/* --- the check --- */

static void
tls_warn(SSL_CTX *context, const struct conf_tls *conf)
{
	X509 *own = SSL_CTX_get0_certificate(context);

	if (X509_cmp_current_time(X509_get0_notAfter(own)) < 0)
		log_warn("%s: tls \"%s\": the certificate \"%s\" has expired: "
			 "clients refuse it; renew it, then reload",
		    conf->at, conf->name, conf->certificate);
	if (X509_cmp_current_time(X509_get0_notBefore(own)) > 0)
		log_warn("%s: tls \"%s\": the certificate \"%s\" is not valid "
			 "yet: clients refuse it; is the clock right?",
		    conf->at, conf->name, conf->certificate);
}

int
tls_check(const struct conf_http *conf, struct err *err)
{
	struct tls *tls;

	if (conf->n_tls == 0)
		return 0;
	tls = tls_new(conf, err);
	if (tls == NULL)
		return -1;
	for (size_t i = 0; i < tls->n; i++)
		tls_warn(tls->contexts[i], &conf->tls[i]);
	tls_free(&tls);
	return 0;
}

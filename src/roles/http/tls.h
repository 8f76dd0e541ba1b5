/*
 * TLS 1.2 and 1.3 by OpenSSL: certificates of the configuration, the choice
 * among them by name (SNI).
 *
 * Sessions are not resumed: tickets would need keys that all processes share
 * and somebody changes, or forward secrecy is lost; a client that keeps its
 * connection needs none. HTTP/2 is not offered (see server.c), nor is
 * renegotiation, compression or early data.
 */
#ifndef CHIMP_HTTP_TLS_H
#define CHIMP_HTTP_TLS_H

#include <openssl/ssl.h>

struct conf_http;
struct err;
struct tls;

/*
 * Of the sections of http, at least one. NULL with an error that names the
 * section and the file, and holds nothing of a key.
 */
struct tls *tls_new(const struct conf_http *conf, struct err *err);
void tls_free(struct tls **tls);

/* For h2o's accept; it lives as long as `tls`. */
SSL_CTX *tls_context(const struct tls *tls);

/* As tls_new, of any number of sections; and warn in the log of certificates
 * that clients will refuse because of the time. */
int tls_check(const struct conf_http *conf, struct err *err);

#endif

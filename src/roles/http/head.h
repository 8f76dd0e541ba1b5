/*
 * The head of a request, byte by byte: what h2o 2.2 reads one way and a proxy
 * in front of us may read another way. Where they differ about the end of a
 * request, a client can make the proxy send us a second one that the proxy has
 * never seen (request smuggling). Pure.
 */
#ifndef CHIMP_HTTP_HEAD_H
#define CHIMP_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

struct request;

struct head {
	bool chunked; /* the body was framed by Transfer-Encoding */
};

/*
 * The head at the beginning of `bytes`, behind at most one empty line; what
 * follows is not looked at. NULL if there is only one way to read it, by RFC
 * 9112, else what is wrong, for the client.
 */
const char *head_check(const char *bytes, size_t size, struct head *head);

/* The first step of a request: false if it was refused, with 400 and the end of
 * the connection. */
bool head_step(struct request *r);

#endif

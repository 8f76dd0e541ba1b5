/*
 * Looking up the hosts of a connection in threads. See resolve.h.
 *
 * A thread shares no memory with the loop. It owns its task (a copy of the
 * name and one end of a socket pair), sends one message and frees the task.
 * The look-up, which owns the other end, is the loop's alone: whoever comes
 * too late writes into a socket, never into memory that may be gone. So there
 * is no lock here.
 *
 *	link -- pg_resolve -- wait(s) -> lookup <= socket pair => task, thread
 */
#include "common/pg/resolve.h"

#include <libpq-fe.h>

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/list.h"
#include "common/base/loop.h"
#include "common/base/mem.h"
#include "common/base/strbuf.h"

/* The thread's message: its first byte, then addresses or the words why. */
enum { ANSWER_FOUND = '=', ANSWER_FAILED = '!' };
enum { ANSWER_MAX = 4096 }; /* some 100 addresses */

/* What a thread owns. */
struct task {
	int fd;
	char *name;
};

/* A name that is being looked up; the loop's. At most one of each name. */
struct lookup {
	struct list node; /* lookups */
	char *name;
	int fd;            /* where the answer comes */
	struct loop_io io; /* watched while somebody waits */
	struct list waits;
	int64_t begun_ms; /* CLOCK_MONOTONIC */
};

/* The look-ups of this process. A process has one loop, and only that comes
 * here. */
static struct list lookups = {&lookups, &lookups};

/* One name of one connection. */
struct wait {
	struct list node; /* lookup->waits; on none when answered */
	struct pg_resolve *owner;
	struct lookup *lookup; /* NULL when answered */
	struct pg_host *host;
	char *failure; /* in words; NULL = none */
};

struct pg_resolve {
	struct pg_hosts hosts;
	struct wait *waits; /* one per host */
	size_t n_pending;
	bool said_done;
	void (*done)(void *arg);
	void *arg;
};

/* --- in the thread --- */

static void
task_found(struct strbuf *answer, const struct addrinfo *found)
{
	char addr[NI_MAXHOST];

	for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, addr, sizeof(addr),
			NULL, 0, NI_NUMERICHOST) != 0 ||
		    answer->length + strlen(addr) + 1 > ANSWER_MAX)
			continue;
		strbuf_putc(answer, answer->length == 0 ? ANSWER_FOUND : ',');
		strbuf_puts(answer, addr);
	}
}

static void *
task_main(void *arg)
{
	struct task *task = arg;
	/* As libpq asks. */
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	struct strbuf answer = STRBUF_EMPTY;
	int rc = getaddrinfo(task->name, NULL, &hints, &found);

	if (rc == 0)
		task_found(&answer, found);
	if (answer.length == 0)
		strbuf_printf(&answer, "%c%s", ANSWER_FAILED,
		    rc == 0            ? "it has no address"
		    : rc == EAI_SYSTEM ? strerror(errno)
				       : gai_strerror(rc));
	if (rc == 0)
		freeaddrinfo(found);
	/* Nobody may be there any more: no matter. */
	(void)send(task->fd, strbuf_str(&answer), answer.length, MSG_NOSIGNAL);
	strbuf_done(&answer);
	fd_close(&task->fd);
	free(task->name);
	free(task);
	return NULL;
}

/* 0, or an errno. The thread takes no signals: they are the loop's. */
static int
task_start(struct task *task)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, task_main, task);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* --- look-ups --- */

static void
lookup_free(struct lookup *l)
{
	list_remove(&l->node);
	loop_io_done(&l->io);
	fd_close(&l->fd);
	free(l->name);
	free(l);
}

/* NULL with errno. */
static struct lookup *
lookup_new(const char *name)
{
	struct lookup *l;
	struct task *task;
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return NULL;
	l = mem_zalloc(sizeof(*l));
	l->name = mem_strdup(name);
	l->fd = pair[0];
	l->begun_ms = clock_mono_ms();
	list_init(&l->waits);
	list_append(&lookups, &l->node);
	task = mem_zalloc(sizeof(*task));
	task->fd = pair[1];
	task->name = mem_strdup(name);
	rc = task_start(task);
	if (rc == 0)
		return l;
	fd_close(&task->fd);
	free(task->name);
	free(task);
	lookup_free(l);
	errno = rc;
	return NULL;
}

/* Is there an answer that nobody waited for? It may be of yesterday. */
static bool
lookup_is_stale(const struct lookup *l)
{
	char c;

	return list_empty(&l->waits) &&
	       recv(l->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

static struct lookup *
lookup_of(const char *name)
{
	struct list *n;

	LIST_FOREACH (n, &lookups) {
		struct lookup *l = LIST_ENTRY(n, struct lookup, node);

		if (strcmp(l->name, name) != 0)
			continue;
		if (!lookup_is_stale(l))
			return l;
		lookup_free(l);
		break;
	}
	return lookup_new(name);
}

static void
wait_answer(struct wait *w, const char *answer)
{
	w->lookup = NULL;
	if (answer[0] == ANSWER_FOUND)
		w->host->found = mem_strdup(answer + 1);
	else
		w->failure = mem_strdup(answer + 1);
	w->owner->n_pending--;
}

/* Twice the same name in one list ends at once, and is one end. */
static void
resolve_advance(struct pg_resolve *r)
{
	if (r->n_pending > 0 || r->said_done)
		return;
	r->said_done = true;
	r->done(r->arg);
}

static void
lookup_on_answer(struct loop_io *io, int events, void *arg)
{
	struct lookup *l = arg;
	char answer[ANSWER_MAX + 1];
	ssize_t n = recv(l->fd, answer, ANSWER_MAX, MSG_DONTWAIT);
	struct list waits, *node;

	(void)io;
	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	answer[n > 0 ? n : 0] = '\0';
	if (n <= 0)
		snprintf(answer, sizeof(answer), "%cits look-up was aborted",
		    ANSWER_FAILED);
	list_init(&waits);
	while ((node = list_shift(&l->waits)) != NULL) {
		wait_answer(LIST_ENTRY(node, struct wait, node), answer);
		list_append(&waits, node);
	}
	lookup_free(l);
	/* A callback may begin anew with the same name, and free any owner:
	 * its waits leave this list. */
	while ((node = list_shift(&waits)) != NULL)
		resolve_advance(LIST_ENTRY(node, struct wait, node)->owner);
}

static void
wait_start(struct wait *w, struct loop *loop)
{
	struct lookup *l = lookup_of(w->host->host);

	if (l == NULL) {
		w->failure = mem_strdup(strerror(errno));
		return;
	}
	if (list_empty(&l->waits)) {
		loop_io_init(&l->io, loop, l->fd, lookup_on_answer, l);
		loop_io_set(&l->io, LOOP_READ);
	}
	list_append(&l->waits, &w->node);
	w->lookup = l;
	w->owner->n_pending++;
}

/* The look-up stays: its thread may hang, and is not to get a brother. */
static void
wait_stop(struct wait *w)
{
	struct lookup *l = w->lookup;

	list_remove(&w->node);
	if (l != NULL && list_empty(&l->waits))
		loop_io_done(&l->io);
	free(w->failure);
}

/* --- the public face --- */

/*
 * Only libpq knows how URL, service file and environment come together, and
 * what it says of a connection that it refuses at once, for a bad sslmode, is
 * that.
 */
static void
resolve_hosts(struct pg_hosts *hosts, const char *conninfo)
{
	const char *keywords[] = {"dbname", "sslmode", NULL};
	const char *values[] = {conninfo, "only to look at the options", NULL};
	const char *host = NULL, *hostaddr = NULL, *port = NULL;
	PGconn *conn = PQconnectStartParams(keywords, values, 1);
	PQconninfoOption *options = PQconninfo(conn);

	for (PQconninfoOption *o = options; o && o->keyword != NULL; o++) {
		if (strcmp(o->keyword, "host") == 0)
			host = o->val;
		else if (strcmp(o->keyword, "hostaddr") == 0)
			hostaddr = o->val;
		else if (strcmp(o->keyword, "port") == 0)
			port = o->val;
	}
	pg_hosts_init(hosts, host, hostaddr, port);
	PQconninfoFree(options);
	PQfinish(conn);
}

struct pg_resolve *
pg_resolve_new(
    struct loop *loop, const char *conninfo, void (*done)(void *arg), void *arg)
{
	struct pg_resolve *r = mem_zalloc(sizeof(*r));

	r->done = done;
	r->arg = arg;
	resolve_hosts(&r->hosts, conninfo);
	r->waits = mem_zalloc((r->hosts.n + 1) * sizeof(*r->waits));
	for (size_t i = 0; i < r->hosts.n; i++) {
		r->waits[i].owner = r;
		r->waits[i].host = &r->hosts.at[i];
		if (pg_host_is_name(&r->hosts.at[i]))
			wait_start(&r->waits[i], loop);
	}
	return r;
}

bool
pg_resolve_pending(const struct pg_resolve *r)
{
	return r->n_pending > 0;
}

void
pg_resolve_free(struct pg_resolve **rp)
{
	struct pg_resolve *r = *rp;

	if (r == NULL)
		return;
	for (size_t i = 0; i < r->hosts.n; i++)
		wait_stop(&r->waits[i]);
	free(r->waits);
	pg_hosts_done(&r->hosts);
	mem_free(rp);
}

static void
wait_explain(const struct wait *w, struct strbuf *why)
{
	if (w->lookup == NULL && w->failure == NULL)
		return;
	strbuf_printf(why,
	    "%scannot resolve \"%s\": ", why->length > 0 ? "; " : "",
	    w->host->host);
	if (w->failure != NULL)
		strbuf_puts(why, w->failure);
	else
		strbuf_printf(why, "no answer for %lld s",
		    (long long)(clock_mono_ms() - w->lookup->begun_ms) / 1000);
}

int
pg_resolve_answer(
    const struct pg_resolve *r, struct pg_hosts_text *text, struct err *err)
{
	struct strbuf why = STRBUF_EMPTY;

	memset(text, 0, sizeof(*text));
	if (r->hosts.n == 0 || pg_hosts_expand(&r->hosts, text))
		return 0;
	for (size_t i = 0; i < r->hosts.n; i++)
		wait_explain(&r->waits[i], &why);
	err_set(err, "%s", strbuf_str(&why));
	strbuf_done(&why);
	return -1;
}

/*
 * chimpctl node: signals to a chimpd on this machine. The only noun that needs
 * no database: the pid file of the configuration, or --pid, says which process.
 *
 * A pid alone is never believed: the process must hold the pid file locked, or
 * have the title of a master. It is held by a pidfd while that is looked at, so
 * that no other can have taken its number when the signal is sent.
 */
#include "chimpctl/command.h"
#include "chimpctl/human.h"
#include "chimpctl/say.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/conf/conf.h"
#include "common/conf/conf_value.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

enum {
	NODE_STOP_TIMEOUT_MS = 30000, /* where no configuration is read */
	NODE_STOP_GRACE_MS = 15000,   /* the embedded PostgreSQL has 10 s */
	NODE_TITLE_BYTES = 4 << 20    /* as long as arguments may be */
};

/* A graceful stop takes as long as the work; never reached, never overflows. */
#define NODE_FOR_EVER_MS (INT64_MAX / 2)

/* The first option of every verb. */
#define NODE_PID_OPTION                                             \
	{                                                           \
		"pid", '\0', "N",                                   \
		    "this process, and not the one of the pid file" \
	}
enum { NODE_PID, NODE_GRACEFUL, NODE_TIMEOUT, NODE_NO_WAIT };

struct node {
	pid_t pid;
	int fd;             /* pidfd; -1 = none */
	int64_t timeout_ms; /* for a stop, unless --timeout is given */
};

/* Which process ------------------------------------------------------------*/

/* Who holds the pid file locked. */
static int
node_lock_holder(const char *path, pid_t *pid, struct err *err)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0 && errno == ENOENT)
		return err_set(
		    err, "chimpd does not run: there is no \"%s\"", path);
	if (fd < 0)
		return err_set(
		    err, "cannot read \"%s\": %s", path, strerror(errno));
	rc = fcntl(fd, F_GETLK, &fl);
	fd_close(&fd);
	if (rc != 0)
		return err_set(err, "cannot tell who has locked \"%s\": %s",
		    path, strerror(errno));
	if (fl.l_type == F_UNLCK)
		return err_set(err,
		    "chimpd does not run: nobody holds \"%s\" locked", path);
	if (fl.l_pid > 0) {
		*pid = fl.l_pid;
		return 0;
	}
	err_set(
	    err, "\"%s\" is locked by a process that has no pid here", path);
	return err_hint(err, "Run chimpctl in the container, or on the "
			     "machine, where chimpd runs.");
}

static int
node_open(struct node *node, struct err *err)
{
	node->fd = pidfd_open(node->pid, 0);
	if (node->fd >= 0)
		return 0;
	if (errno == ESRCH)
		return err_set(
		    err, "no process has the pid %d", (int)node->pid);
	return err_set(err, "pid %d: %s", (int)node->pid, strerror(errno));
}

static int
node_by_pid_file(struct node *node, const struct conf *conf, struct err *err)
{
	pid_t holder;

	if (conf->pid_file[0] == '\0') {
		err_set(err, "%s sets no pid_file", conf->path);
		return err_hint(err,
		    "Say chimpctl node ... --pid N (under systemd: systemctl "
		    "show -P MainPID chimpd), or set pid_file and restart "
		    "chimpd.");
	}
	if (node_lock_holder(conf->pid_file, &node->pid, err) != 0 ||
	    node_open(node, err) != 0 ||
	    node_lock_holder(conf->pid_file, &holder, err) != 0)
		return -1;
	if (holder != node->pid)
		return err_set(
		    err, "chimpd, pid %d, has just ended", (int)node->pid);
	return 0;
}

/* The process must call itself a master. */
static int
node_check_title(const struct node *node, struct err *err)
{
	static const char master[] = "chimpd: master";
	char path[64], *title;
	size_t length = 0;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)node->pid);
	title = fd_read_file(path, NODE_TITLE_BYTES, &length, err);
	if (title == NULL)
		return -1;
	if (strcmp(title, master) != 0) {
		err_set(err, "pid %d is \"%.100s\", no master of chimpd",
		    (int)node->pid, title);
		free(title);
		return -1;
	}
	free(title);
	return 0;
}

static int
node_find(struct node *node, struct ctl_call *call, struct err *err)
{
	const bool by_pid = call->values[NODE_PID] != NULL;
	const struct conf *conf;

	if (!by_pid || call->where.arg_conf != NULL) {
		if (where_conf(&call->where, err) != 0)
			return err->hint[0] != '\0'
				   ? -1
				   : err_hint(err, "With --pid N, and without "
						   "-c, none is needed.");
		conf = call->where.conf;
		node->timeout_ms = conf->stop_timeout_ms + NODE_STOP_GRACE_MS;
		if (!by_pid)
			return node_by_pid_file(node, conf, err);
	}
	if (node_open(node, err) != 0)
		return -1;
	return node_check_title(node, err);
}

/* Arguments ----------------------------------------------------------------*/

static int
node_arguments(struct node *node, const struct ctl_call *call)
{
	const char *pid = call->values[NODE_PID];
	char *end;
	long n;

	if (call->where.arg_url != NULL)
		return say_usage("Say -c with its chimpd.conf, or --pid.",
		    "-d names a database, and no node");
	if (pid == NULL)
		return CTL_OK;
	errno = 0;
	n = strtol(pid, &end, 10);
	if (end == pid || *end != '\0' || errno != 0 || n < 1 || n > INT_MAX)
		return say_usage(NULL, "--pid %s: not a pid", pid);
	node->pid = (pid_t)n;
	return CTL_OK;
}

/* Signals ------------------------------------------------------------------*/

static int
node_signal(const struct node *node, int number, struct err *err)
{
	if (pidfd_send_signal(node->fd, number, NULL, 0) == 0)
		return 0;
	if (errno == ESRCH)
		return err_set(
		    err, "chimpd, pid %d, has just ended", (int)node->pid);
	err_set(err, "cannot send a signal to chimpd, pid %d: %s",
	    (int)node->pid, strerror(errno));
	return err_hint(err, "Run chimpctl as the user that chimpd runs as, or "
			     "as root.");
}

/* Find the node, signal it; an exit status, errors have been told. */
static int
node_tell(struct node *node, struct ctl_call *call, int number)
{
	struct err err;
	int status;

	*node = (struct node){
	    .fd = -1, .timeout_ms = NODE_STOP_TIMEOUT_MS + NODE_STOP_GRACE_MS};
	log_set_level(LOG_LEVEL_ERROR);
	status = node_arguments(node, call);
	if (status != CTL_OK)
		return status;
	if (node_find(node, call, &err) == 0 &&
	    node_signal(node, number, &err) == 0)
		return CTL_OK;
	say_err(&err);
	fd_close(&node->fd);
	return CTL_FAILED;
}

static void
node_print(const struct node *node, const struct ctl_call *call,
    const char *number, const char *what)
{
	if (call->json)
		printf("{\"pid\": %d, \"signal\": \"%s\", \"ended\": false}\n",
		    (int)node->pid, number);
	else
		printf("told chimpd, pid %d, to %s\n", (int)node->pid, what);
}

static int
node_reload(struct ctl_call *call)
{
	struct node node;
	int status = node_tell(&node, call, SIGHUP);

	if (status == CTL_OK)
		node_print(&node, call, "HUP",
		    "read its configuration anew; its log says how that went");
	fd_close(&node.fd);
	return status;
}

static int
node_reopen_logs(struct ctl_call *call)
{
	struct node node;
	int status = node_tell(&node, call, SIGUSR1);

	if (status == CTL_OK)
		node_print(&node, call, "USR1", "reopen its logs");
	fd_close(&node.fd);
	return status;
}

/* Until the process is gone; false if it is not in time. */
static bool
node_wait(const struct node *node, int64_t timeout_ms)
{
	struct pollfd pfd = {.fd = node->fd, .events = POLLIN};
	int64_t until_ms = clock_mono_ms() + timeout_ms, left;
	int n;

	do {
		left = until_ms - clock_mono_ms();
		if (left < 0)
			left = 0;
		n = poll(&pfd, 1, left < INT_MAX ? (int)left : INT_MAX);
	} while (n <= 0 && left > 0);
	return n > 0;
}

static int
node_await_end(const struct node *node, const struct ctl_call *call,
    const char *number, int64_t timeout_ms)
{
	int64_t begun_ms = clock_mono_ms(), took_ms;
	struct err err;

	if (!node_wait(node, timeout_ms)) {
		err_set(&err, "chimpd, pid %d, still runs after %s",
		    (int)node->pid, human_duration(timeout_ms).text);
		err_hint(&err, "It goes on stopping; its log says what it "
			       "waits for. Another chimpctl node stop makes "
			       "it stop at once.");
		say_err(&err);
		return CTL_FAILED;
	}
	took_ms = clock_mono_ms() - begun_ms;
	if (call->json)
		printf("{\"pid\": %d, \"signal\": \"%s\", \"ended\": true, "
		       "\"took_ms\": %" PRId64 "}\n",
		    (int)node->pid, number, took_ms);
	else
		printf("chimpd, pid %d, has ended after %s\n", (int)node->pid,
		    human_duration(took_ms).text);
	return CTL_OK;
}

static int
node_stop(struct ctl_call *call)
{
	const bool graceful = call->values[NODE_GRACEFUL] != NULL;
	const char *timeout = call->values[NODE_TIMEOUT];
	const char *number = graceful ? "QUIT" : "TERM";
	struct node node = {.fd = -1};
	int64_t timeout_ms = NODE_FOR_EVER_MS;
	int status;

	if (timeout != NULL && conf_duration_parse(timeout, &timeout_ms) != 0)
		return say_usage("A time has a unit: 500ms, 30s, 5m.",
		    "--timeout %s: not a time", timeout);
	status = node_tell(&node, call, graceful ? SIGQUIT : SIGTERM);
	if (status == CTL_OK && call->values[NODE_NO_WAIT] != NULL)
		node_print(&node, call, number,
		    graceful ? "stop when its work is done" : "stop");
	else if (status == CTL_OK)
		status = node_await_end(&node, call, number,
		    timeout != NULL || graceful ? timeout_ms : node.timeout_ms);
	fd_close(&node.fd);
	return status;
}

static const struct ctl_option node_options[] = {
    [NODE_PID] = NODE_PID_OPTION,
    {0},
};

static const struct ctl_option node_stop_options[] = {
    [NODE_PID] = NODE_PID_OPTION,
    [NODE_GRACEFUL] = {"graceful", '\0', NULL,
	"let running work take its time"},
    [NODE_TIMEOUT] = {"timeout", '\0', "TIME",
	"wait so long for the end; else stop_timeout + 15s, or"
	" without limit if graceful"},
    [NODE_NO_WAIT] = {"no-wait", '\0', NULL, "do not wait for the end"},
    {0},
};

static const struct ctl_verb node_verbs[] = {
    {"reload", "",
	"have it read its configuration anew (HUP); an error in that changes\n"
	"nothing and stands in its log",
	0, 0, node_options, node_reload},
    {"stop", "", "stop it (TERM), and wait until it has ended", 0, 0,
	node_stop_options, node_stop},
    {"reopen-logs", "", "have it reopen its logs (USR1)", 0, 0, node_options,
	node_reopen_logs},
    {0},
};

const struct ctl_noun noun_node = {
    .name = "node",
    .help = "signal the chimpd that runs on this machine",
    .verbs = node_verbs,
};

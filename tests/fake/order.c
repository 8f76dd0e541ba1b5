/*
 * What a fake process can be told: the table of orders. See fake.h.
 */
#include "tests/fake/fake.h"
#include "common/base/err.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
order_say(struct fake *fake, const char *args)
{
	snprintf(fake->said, sizeof(fake->said), "%s", args);
	return 0;
}

static int
order_busy(struct fake *fake, const char *args)
{
	return sscanf(args, "%" SCNu32, &fake->busy) == 1 ? 0 : -1;
}

static int
order_work(struct fake *fake, const char *args)
{
	uint64_t n;

	if (sscanf(args, "%" SCNu64, &n) != 1)
		return -1;
	fake->done += n;
	return 0;
}

static int
order_ready_after(struct fake *fake, const char *args)
{
	return sscanf(args, "%" SCNd64, &fake->ready_after_ms) == 1 ? 0 : -1;
}

/* Also from "never" to "now". */
static int
order_ready(struct fake *fake, const char *args)
{
	(void)args;
	fake->ready_after_ms = 0;
	loop_timer_start(&fake->ready, 0);
	return 0;
}

static int
order_never_ready(struct fake *fake, const char *args)
{
	(void)args;
	fake->ready_after_ms = -1;
	return 0;
}

static int
order_drain_for(struct fake *fake, const char *args)
{
	return sscanf(args, "%" SCNd64, &fake->drain_ms) == 1 ? 0 : -1;
}

static int
order_drain_never(struct fake *fake, const char *args)
{
	(void)args;
	fake->drain_ms = -1;
	return 0;
}

static int
order_on_drain(struct fake *fake, const char *args)
{
	snprintf(fake->on_drain, sizeof(fake->on_drain), "%s", args);
	return 0;
}

/* clang-format off */
static const struct {
	const char *name;
	int (*obey)(struct fake *fake, const char *args);
} orders[] = {
	/* What it says of itself. */
	{ "say", order_say },                 /* TEXT of its heartbeats */
	{ "busy", order_busy },               /* N things in work */
	{ "work", order_work },               /* N more are done */
	/* Its beginning. */
	{ "ready-after", order_ready_after }, /* MS */
	{ "never-ready", order_never_ready },
	{ "ready", order_ready },             /* "never" is over */
	/* Its end, when it is told to. */
	{ "drain-for", order_drain_for },     /* busy for MS, then it ends */
	{ "drain-never", order_drain_never }, /* until its time is over */
	{ "on-drain", order_on_drain },       /* ORDER for that moment */
	{ "deaf", fake_deaf },      /* now: beats, and hears nothing more */
	/* Other ends. */
	{ "exit", fake_exit },      /* STATUS */
	{ "die", fake_die },        /* of signal NUMBER */
	{ "spin", fake_spin },      /* hang in a loop */
	{ "block", fake_block },    /* hang asleep */
	{ "on-abrt", fake_on_abrt },/* "ignore", or STATUS to exit with */
	/* The pipe to the master. */
	{ "send", fake_send },      /* KIND N, then go on */
	{ "flood", fake_flood },    /* KIND, as fast as it can, for ever */
	{ "close", fake_close },    /* and live on */
	/* What it takes. */
	{ "leak", fake_leak },      /* N MiB */
	{ "fork", fake_fork },      /* plain|setsid|double [deaf] */
};
/* clang-format on */

static int
order_obey(struct fake *fake, const char *order, struct err *err)
{
	size_t length = strcspn(order, " ");
	const char *args = order + length + strspn(order + length, " ");

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (strlen(orders[i].name) != length ||
		    strncmp(orders[i].name, order, length) != 0)
			continue;
		log_debug("obeys: %s", order);
		if (orders[i].obey(fake, args) == 0)
			return 0;
		break;
	}
	return err_set(err, "\"%s\" is no order for a fake process", order);
}

/* Without the blanks at both ends. */
static char *
order_trim(char *order)
{
	char *end = order + strlen(order);

	while (end > order && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return order + strspn(order, " \t\r");
}

/* Past "@N "; NULL if it is for another generation. */
static const char *
order_for_us(const struct fake *fake, const char *order)
{
	uint32_t generation;
	int n = 0;

	if (order[0] != '@')
		return order;
	if (sscanf(order, "@%" SCNu32 " %n", &generation, &n) != 1 || n == 0)
		return order;
	return generation == fake->child->birth->generation ? order + n : NULL;
}

int
fake_obey(struct fake *fake, const char *text, struct err *err)
{
	char *copy = mem_strdup(text), *rest = copy, *order;
	int rc = 0;

	while (rc == 0 && (order = strsep(&rest, ";\n")) != NULL) {
		const char *ours = order_for_us(fake, order_trim(order));

		if (ours != NULL && ours[0] != '\0')
			rc = order_obey(fake, ours, err);
	}
	mem_free(&copy);
	return rc;
}

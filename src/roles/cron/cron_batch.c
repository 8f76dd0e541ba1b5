/*
 * The slots that a round fires together. See cron_batch.h.
 */
#include "roles/cron/cron_batch.h"

#include <inttypes.h>

void
cron_batch_params(
    const struct cron_batch *batch, struct strbuf params[CRON_BATCH_PARAMS])
{
	for (int i = 0; i < batch->count; i++) {
		const struct cron_shot *s = &batch->shots[i];
		char before = i == 0 ? '{' : ',';

		for (int p = 0; p < CRON_BATCH_PARAMS; p++)
			strbuf_putc(&params[p], before);
		strbuf_printf(&params[0], "%" PRId64, s->schedule);
		strbuf_printf(&params[1], "%" PRId64, s->revision);
		strbuf_printf(&params[2], "%" PRId64, s->due_ms);
		strbuf_printf(&params[3], "%" PRId64, s->slot_s * 1000);
		if (s->ends)
			strbuf_puts(&params[4], "NULL");
		else
			strbuf_printf(&params[4], "%" PRId64, s->next_s * 1000);
	}
	for (int p = 0; p < CRON_BATCH_PARAMS; p++)
		strbuf_puts(&params[p], batch->count == 0 ? "{}" : "}");
}

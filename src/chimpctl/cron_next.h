/*
 * chimpctl cron next: the slots of a schedule, or of any expression.
 */
#ifndef CHIMP_CHIMPCTL_CRON_NEXT_H
#define CHIMP_CHIMPCTL_CRON_NEXT_H

#include "chimpctl/command.h"

extern const struct ctl_option cron_next_options[];

/* The verb: see struct ctl_verb. */
int cron_next_run(struct ctl_call *call);

#endif

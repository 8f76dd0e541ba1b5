/*
 * chimpctl event tail: the end of the stream, and what comes.
 */
#ifndef CHIMP_CHIMPCTL_EVENT_TAIL_H
#define CHIMP_CHIMPCTL_EVENT_TAIL_H

#include "chimpctl/command.h"

extern const struct ctl_option event_tail_options[];

/* The verb: see struct ctl_verb. */
int event_tail_run(struct ctl_call *call);

#endif

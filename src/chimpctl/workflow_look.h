/*
 * chimpctl workflow list and show: runs, and what they have gone through.
 */
#ifndef CHIMP_CHIMPCTL_WORKFLOW_LOOK_H
#define CHIMP_CHIMPCTL_WORKFLOW_LOOK_H

#include "chimpctl/command.h"

extern const struct ctl_option workflow_list_options[];

/* The verbs: see struct ctl_verb. */
int workflow_list_run(struct ctl_call *call);
int workflow_show_run(struct ctl_call *call);

#endif

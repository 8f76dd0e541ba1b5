/*
 * chimpctl workflow check: what a configuration would change about workflows.
 */
#ifndef CHIMP_CHIMPCTL_WORKFLOW_CHECK_H
#define CHIMP_CHIMPCTL_WORKFLOW_CHECK_H

struct ctl_call;

/* The verb: see struct ctl_verb. CTL_FAILED too when something is breaking. */
int workflow_check_run(struct ctl_call *call);

#endif

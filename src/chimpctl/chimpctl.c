/*
 * chimpctl: the operator's client. It talks to the database only (the noun node
 * aside); no chimpd needs to run, and one on another machine is served as well.
 */
#include "chimpctl/command.h"

#include "common/base/log.h"

const struct ctl_noun *const ctl_nouns[] = {
    &noun_status,
    &noun_migrate,
    &noun_queue,
    &noun_job,
    &noun_dead,
    &noun_cron,
    &noun_event,
    &noun_subscription,
    &noun_workflow,
    &noun_kv,
    &noun_why,
    &noun_node,
    NULL,
};

int
main(int argc, char **argv)
{
	/* What the shared code logs (a migration's progress) is for people. */
	log_init(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_set_process("chimpctl");
	return command_run(argc, argv);
}

/*
 * The restart policy. See policy.h.
 */
#include "supervisor/policy.h"

#include <signal.h>
#include <sys/wait.h>

static bool
policy_exited(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

bool
policy_own_fault(int status, bool hung)
{
	if (!WIFSIGNALED(status))
		return false;
	switch (WTERMSIG(status)) {
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGABRT:
		return true;
	default:
		return hung;
	}
}

struct policy_verdict
policy_after_death(const struct policy_death *death, struct backoff *backoff,
    int64_t delay_max_ms)
{
	struct policy_verdict v = {.next = POLICY_RESTART};

	/* Only a process that exits with 0 has given everything back. */
	v.rescue = !policy_exited(death->status, 0);
	if (death->stopping || death->leaving || death->replaced ||
	    death->predecessor)
		v.next = POLICY_NOTHING;
	else if (policy_exited(death->status, POLICY_EXIT_CONFIG))
		v.next = POLICY_FAIL;
	else
		v.delay_ms =
		    backoff_next_ms(backoff, death->healthy_ms, delay_max_ms);
	return v;
}

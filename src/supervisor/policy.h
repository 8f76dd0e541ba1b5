/*
 * What follows when a process of a slot has ended. Pure: everything that it
 * depends on is passed in.
 */
#ifndef CHIMP_SUPERVISOR_POLICY_H
#define CHIMP_SUPERVISOR_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/backoff.h"

struct policy_death {
	int status;         /* of wait(2) */
	bool stopping;      /* the master stops */
	bool leaving;       /* its place is not wanted any more */
	bool replaced;      /* its successor has been started */
	bool predecessor;   /* the process that it was to replace lives */
	int64_t healthy_ms; /* of good service; 0 = it never was ready */
};

enum policy_next {
	POLICY_NOTHING, /* the place stays empty */
	POLICY_FAIL,    /* it refused its configuration: no restart */
	POLICY_RESTART  /* after delay_ms */
};

struct policy_verdict {
	enum policy_next next;
	int64_t delay_ms; /* POLICY_RESTART; 0 = at once */
	bool rescue;      /* it may have left claims and lanes behind */
};

/*
 * G7: true if a process that ended with this status of wait(2) died by its own
 * fault: SEGV, BUS, ILL, FPE, ABRT, or of anything after it hung. KILL and TERM
 * come from outside; the kernel's, when memory is out, cannot be told apart.
 */
bool policy_own_fault(int status, bool hung);

/* Status 78 of sysexits, EX_CONFIG: "bad configuration, do not restart me". */
enum { POLICY_EXIT_CONFIG = 78 };

/*
 * The restart policy (G35): a stop or a replacement leaves the place empty,
 * status 78 closes it, and everything else is restarted: at once, then with
 * a delay that doubles to delay_max_ms until a life was long enough.
 */
struct policy_verdict policy_after_death(const struct policy_death *death,
    struct backoff *backoff, int64_t delay_max_ms);

#endif

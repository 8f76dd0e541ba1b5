/*
 * Payloads: an argument, or standard input.
 */
#ifndef CHIMP_CHIMPCTL_PAYLOAD_H
#define CHIMP_CHIMPCTL_PAYLOAD_H

struct ctl_call;

/*
 * Call `send` with the payload: what `argument` says, or all of standard input
 * where that is "-". NULL is passed on: none was given. Returns an exit status;
 * an error has been told.
 */
int payload_send(struct ctl_call *call, const char *argument,
    int (*send)(struct ctl_call *call, const char *payload));

#endif

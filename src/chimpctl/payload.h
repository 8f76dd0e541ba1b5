/*
 * Payloads from standard input.
 */
#ifndef CHIMP_CHIMPCTL_PAYLOAD_H
#define CHIMP_CHIMPCTL_PAYLOAD_H

/* All of it, in a buffer that the caller frees; NULL after an error, which the
 * user has been told. */
char *payload_read_stdin(void);

#endif

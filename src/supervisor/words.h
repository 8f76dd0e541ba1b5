/*
 * Durations and ends of processes in words, for log and status lines. Pure.
 */
#ifndef CHIMP_SUPERVISOR_WORDS_H
#define CHIMP_SUPERVISOR_WORDS_H

#include <stdint.h>

/* Room for the longest of these texts. */
#define WORDS_BYTES 96

/* "200 ms", "1.5 s", "42 s", "12 min", "3 h", "5 days". Returns `buf`. */
const char *words_duration(int64_t ms, char buf[WORDS_BYTES]);

/* A status of wait(2): "exited with status 1", "killed by signal 9
 * (Killed)", "… , core dumped". Returns `buf`. */
const char *words_exit(int status, char buf[WORDS_BYTES]);

#endif

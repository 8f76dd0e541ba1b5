/*
 * A set of listeners in a temporary folder, for test_listen.c and
 * test_listen_rights.c.
 */
#ifndef CHIMP_TESTS_LISTEN_SET_H
#define CHIMP_TESTS_LISTEN_SET_H

#include <stdbool.h>
#include <sys/stat.h>

#include "common/base/err.h"
#include "supervisor/listen.h"

extern struct listeners set;
extern struct err set_err;  /* of the last change */
extern char set_folder[];   /* empty at the begin of each test */
extern char set_path[128];  /* FOLDER/thing */
extern char set_unix[200];  /* unix:FOLDER/thing */
extern char set_other[200]; /* unix:FOLDER/other */

/* A fixture, in the process of each test. */
void set_setup(void);
void set_teardown(void);

/* listen_change to at most three addresses, the rest NULL. */
int set_change(
    struct listeners *s, const char *a, const char *b, const char *c);

/* The same with up to two, committed; it must succeed. */
void set_open(struct listeners *s, const char *a, const char *b);

/* listen_names of the set; overwritten by the next call. */
const char *set_names(void);

/* 0 if a connection to the Unix socket is taken. */
int set_connect(const char *name);

mode_t set_mode_of(const char *name);
bool set_is_open(int fd);

#endif

/*
 * The table of slots: which there are, and which there should be.
 */
#ifndef CHIMP_SUPERVISOR_SLOT_TABLE_H
#define CHIMP_SUPERVISOR_SLOT_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct conf;
struct conf_class;
struct err;
struct master;
struct slot;

/* -1 with an error for a configuration that asks for no process at all. */
int slot_table_check(const struct conf *conf, struct err *err);

/* Make the table from the configuration. */
void slot_table_init(struct master *m);
void slot_table_done(struct master *m);

/* A new empty slot, behind the others; the table owns it. */
struct slot *slot_add(
    struct master *m, const struct conf_class *class, int index);

/* Give up the slots that have left. Never within an event of theirs. */
void slot_sweep(struct master *m);

/* The slot of a place, not one that leaves or succeeds; NULL = none. */
struct slot *slot_find(
    struct master *m, const struct conf_class *class, int index);

/* True if a process drains in that place that was given up earlier: one more
 * would be one too many. */
bool slot_place_is_taken(
    struct master *m, const struct conf_class *class, int index);

/* Connections of the processes that drain in places that are wanted no more. */
int64_t slot_connections_leaving(const struct master *m);

/* The slot of a process; NULL if it is not one of ours. */
struct slot *slot_by_pid(struct master *m, pid_t pid);

/* True if the configuration has its place; its class then, if asked for. */
bool slot_wanted(const struct slot *slot, struct conf_class *class);

/* How many slots have a process. */
int slot_count_alive(const struct master *m);

/* How many places the configuration has. */
int slot_count_wanted(const struct master *m);

#endif

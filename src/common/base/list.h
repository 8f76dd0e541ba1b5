/*
 * Intrusive doubly linked lists. A node is on at most one list; a node that
 * is on none is linked to itself or zeroed.
 */
#ifndef CHIMP_BASE_LIST_H
#define CHIMP_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *next;
	struct list *prev;
};

#define LIST_ENTRY(node, type, member) \
	((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Do not remove `n` inside LIST_FOREACH; LIST_FOREACH_SAFE allows it. */
#define LIST_FOREACH(n, head) for (n = (head)->next; n != (head); n = n->next)
#define LIST_FOREACH_SAFE(n, tmp, head)                    \
	for (n = (head)->next, tmp = n->next; n != (head); \
	     n = tmp, tmp = n->next)

static inline void
list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline bool
list_empty(const struct list *head)
{
	return head->next == head || head->next == NULL;
}

static inline void
list_append(struct list *head, struct list *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}

static inline void
list_prepend(struct list *head, struct list *n)
{
	list_append(head->next, n);
}

/* Takes a node off its list; accepts one that is on none. */
static inline void
list_remove(struct list *n)
{
	if (n->next == NULL)
		return;
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

/* Takes the first node off; NULL if the list is empty. */
static inline struct list *
list_shift(struct list *head)
{
	struct list *n = head->next;

	if (list_empty(head))
		return NULL;
	list_remove(n);
	return n;
}

#endif

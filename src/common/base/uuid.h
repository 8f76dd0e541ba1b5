/*
 * Random UUIDs (version 4, RFC 9562) as text, for ids that must be unique
 * over nodes: a node's birth, a process's birth.
 */
#ifndef CHIMP_BASE_UUID_H
#define CHIMP_BASE_UUID_H

#define UUID_TEXT_BYTES 37 /* 36 characters and the terminator */

void uuid_random(char text[UUID_TEXT_BYTES]);

#endif

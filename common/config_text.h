/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The text of one configuration file: JSON with comments, as jansson's values and as a
 * flat tree of places. Node 0 is the root; the children of node i follow it, and `next`
 * leads past each subtree.
 *
 * The parser is our own, because every message needs the place of its value or key, all
 * repeated keys are to be found, and a number too big is one wrong value, not a broken
 * file; jansson's parser gives none of that, and keeps the last of equal keys in silence.
 *
 * Lines and columns count from 1; a column is a character, not a byte.
 */

/* Bounds on one file: bytes, values, and arrays and objects inside each other. */
#define CONFIG_FILE_MAX  (64UL * 1024 * 1024)
#define CONFIG_NODES_MAX (4UL * 1000 * 1000)
#define CONFIG_DEPTH_MAX 32

struct config_node {
	uint32_t line, column;         /* of the value */
	uint32_t key_line, key_column; /* 0: an array's item, or the root */
	uint32_t key_offset, key_len;  /* the decoded key inside text.bytes */
	uint32_t offset, len;          /* the value as written, inside text.bytes */
	uint32_t next;                 /* index of the first node behind this subtree */
	uint32_t first;                /* not 0: the same key stood at this node before */
	bool replaced;                 /* the same key comes again: the last one counts */
	bool too_big; /* a number beyond 64 bits or a double; its value reads as 0 */
};

struct config_text {
	char *bytes; /* owned, NUL-terminated */
	size_t len;
	struct config_node *nodes;
	size_t node_count, node_room;
	json_t *root;
	json_t *empty; /* what every {} is: a hundred thousand domains need no more */
};

struct config_fault {
	uint32_t line, column;
	char message[200];
};

/*
 * Takes @bytes (malloc'd, with a NUL at @len) whatever happens. Returns 0 and *ret; 1 and
 * *reterr for what is not valid (the first fault only); -ENOMEM.
 */
int config_text_parse(
    char *bytes, size_t len, struct config_text *ret, struct config_fault *reterr);
void config_text_done(struct config_text *text);

/* SPDX-License-Identifier: BSD-2-Clause */
#pragma once

#include "policyd/redis_node.h"

/*
 * The nodes of a Cluster and who has which slot: asked of a node (CLUSTER SLOTS) at the
 * start, when one is lost, and when an error reply says that the map is old. A map that
 * cannot be had anew stays in use: redirections put it right, slot by slot.
 *
 * Bounded: as many masters as REDIS_CLUSTER_NODES, whatever a reply says.
 */

struct event_base;
struct redis_cluster;

#define REDIS_SLOTS         16384
#define REDIS_CLUSTER_NODES 128

/* Pauses between two questions for the map, however many ask for it. */
#define REDIS_CLUSTER_PAUSE_MS 100

struct redis_cluster_settings {
	const struct endpoint *servers; /* some of its nodes */
	size_t count;
	const struct redis_conn_options *options;     /* for masters */
	const struct redis_conn_options *ask_options; /* for asking any node */
	const struct redis_node_events *events;       /* of each node */
	void (*changed)(void *context); /* there is a map, or none to be had */
	void *context;                  /* of both */
};

/* Begins to ask. What @settings point to is the caller's and stays. */
int redis_cluster_new(
    struct event_base *base, const struct redis_cluster_settings *settings,
    struct redis_cluster **ret);
/* Not inside events of its nodes. NULL is fine. */
struct redis_cluster *redis_cluster_free(struct redis_cluster *cluster);

/* The map is old. */
void redis_cluster_refresh(struct redis_cluster *cluster);

/* True once there was a map. */
bool redis_cluster_known(const struct redis_cluster *cluster);
/* Why there is none; NULL: it is being asked for, or there is one. */
const struct redis_fault *redis_cluster_fault(const struct redis_cluster *cluster);

/* NULL: nobody has it, as far as is known. */
struct redis_node *redis_cluster_find(struct redis_cluster *cluster, unsigned slot);
/* The @i-th master that has slots. NULL: there is no such one. */
struct redis_node *redis_cluster_master(struct redis_cluster *cluster, unsigned i);
/* The node at that place, made when it is new. NULL: no memory, or too many. */
struct redis_node *redis_cluster_at(
    struct redis_cluster *cluster, const struct endpoint *endpoint);
/* MOVED: from now on it has that slot. */
void redis_cluster_assign(
    struct redis_cluster *cluster, unsigned slot, struct redis_node *node);

/* CRC16 (XMODEM) of the key, or of what stands in its first {...}, modulo REDIS_SLOTS. */
unsigned redis_key_slot(const char *key, size_t len);

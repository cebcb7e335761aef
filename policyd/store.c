/* SPDX-License-Identifier: BSD-2-Clause */
#include "policyd/store.h"

void store_ask(
    struct store *store, const struct store_request *request, store_answer *answer,
    void *context)
{
	store->ops->ask(store, request, answer, context);
}

void store_read(
    struct store *store, const char *const *keys, size_t count, store_row_seen *seen,
    store_done *done, void *context)
{
	store->ops->read(store, keys, count, seen, done, context);
}

void store_scan(
    struct store *store, store_row_seen *seen, store_done *done, void *context)
{
	store->ops->scan(store, seen, done, context);
}

void store_forget(
    struct store *store, const char *const *keys, size_t count, store_done *done,
    void *context)
{
	store->ops->forget(store, keys, count, done, context);
}

struct store *store_free(struct store *store)
{
	return store ? store->ops->free(store) : NULL;
}

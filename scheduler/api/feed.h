/* SPDX-License-Identifier: Apache-2.0
 * feed.h — what happens, told to those that listen: the catalogue's outbox (jobs, alerts), what
 * running jobs report, and changes in the state of sources and workers and in what needs attention.
 * One thread looks, from the first listener on; with many schedulers each tells its own listeners.
 *
 * An event has a place: a listener that goes on from it misses nothing of the outbox and may hear
 * some of it again. Transactions commit out of the order of their numbers, so the place stands
 * still before a number that is missing, for ten seconds at most. */
#ifndef SCHEDULER_API_FEED_H
#define SCHEDULER_API_FEED_H

#include "common/catalog/catalog_view.h"
#include "scheduler/http/server.h"

typedef struct Feed Feed;

#define FEED_NOW UINT64_MAX /* a place: what happens from now on */

MUST_CHECK bool feed_start(Feed **out, const CatalogParams *catalog, Err *err);
void feed_open(Feed *feed, Server *server); /* where to tell; before the first request */
void feed_stop(Feed *feed);                 /* before the server's end: tells nothing more */
void feed_free(Feed *feed);                 /* after the server's end; NULL is fine, for both */

/* For a handler whose caller wants to hear: fills `begin` with the beginning of its stream. What
 * comes after the place `after` goes on where that ends. *more: that was not all of it, the rest is
 * to be asked for from its last place on. ERR_UNREACHABLE while nothing can be told. */
MUST_CHECK bool feed_begin(Feed *feed, Catalog *catalog, uint64_t after, ServerWish *wish,
                           Buf *begin, bool *more, Err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * catalogue.h — the simulated PostgreSQL: the model behind a server that can be stopped, restarted,
 * lose its tail and tell another time. catalogue*.c implement common/catalog's headers on it. */
#ifndef TESTS_SIM_CATALOGUE_H
#define TESTS_SIM_CATALOGUE_H

#include "tests/sim/model.h"
#include "tests/sim/net.h"

void catalogue_begin(void);
Model *catalogue_model(void);   /* for setting up and for looking; set its clock by _now */
int64_t catalogue_now_us(void); /* the server's clock */

/* Faults. */
void catalogue_down(void);             /* every connection breaks */
void catalogue_up(void);               /* crash recovery: beats of the last moment may be lost */
void catalogue_standby_stops(void);    /* what is committed from now on, a failover loses */
void catalogue_failover(void);         /* the standby is the server now */
void catalogue_skew(int64_t skew_ns);  /* its clock jumps */
void catalogue_busy(unsigned of_1000); /* calls that meet a lock */
bool catalogue_is_up(void);
int64_t catalogue_up_since(void); /* true time */

/* What the checker wants to be told: a change of the tables was made by this process. */
typedef void CatalogueHook(const Process *by, const char *what);
void catalogue_hook(CatalogueHook *hook);

/* Who an operation is done for; the connection's role is the conninfo. */
typedef struct Catalog Catalog;
uint32_t catalogue_worker(const Catalog *c); /* 0: a scheduler */

/* What the next call asks, in case that it reaches the server only after its sender gave up: args
 * is copied, run is called then, and nobody hears the answer. */
typedef void CatalogueGhost(Model *m, uint32_t worker, const void *args);
void catalogue_ghost(Catalog *c, CatalogueGhost *run, const void *args, size_t size);

/* The two halves of every call. False: *err says why, and the call returns false at once. */
bool catalogue_ask(Catalog *c, const char *what, Err *err);
bool catalogue_answer(Catalog *c, bool done, Err *err);

#endif

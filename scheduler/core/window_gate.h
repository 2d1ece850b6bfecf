/* SPDX-License-Identifier: Apache-2.0
 * window_gate.h — keeps the catalogue's word about windows true: which are open for which method of
 * which source, until when. Time is the catalogue's. The leader looks before each dispatch, so that
 * nothing that is due outside gets a ticket; a scheduler that is away opens nothing, because what
 * the catalogue was told ends by itself. */
#ifndef SCHEDULER_CORE_WINDOW_GATE_H
#define SCHEDULER_CORE_WINDOW_GATE_H

#include "common/catalog/catalog.h"

typedef struct WindowGate WindowGate;

WindowGate *window_gate_new(void);
void window_gate_free(WindowGate *gate); /* NULL is fine */

/* One look: windows that opened or closed are told, what is due outside is put off, runs whose
 * policy wants it are asked to stop. Two leaders tell the same. */
MUST_CHECK bool window_gate_look(Catalog *catalog, WindowGate *gate, Err *err);

/* What was told may be gone: after a reconnect, and when another scheduler led. */
void window_gate_forget(WindowGate *gate);

#endif

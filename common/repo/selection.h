/* SPDX-License-Identifier: Apache-2.0
 * selection.h — which entries a walk visits. Pure. */
#ifndef COMMON_REPO_SELECTION_H
#define COMMON_REPO_SELECTION_H

#include "common/repo/reader.h"

/* Is the entry of that path and phase wanted? */
bool selection_takes(const ReaderSelection *selection, Text path, uint8_t phase);
/* May an entry between first and next (next empty: no end) be wanted? */
bool selection_touches(const ReaderSelection *selection, Text first, Text next);
/* '*' any bytes but '/', '?' one of them, "**" any bytes at all; the rest is itself. */
bool selection_glob(Text pattern, Text path);

#endif

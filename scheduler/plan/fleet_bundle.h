/* SPDX-License-Identifier: Apache-2.0
 * fleet_bundle.h — a fleet file and what it includes as one document, as a client sends them:
 * {"files":[{"name":"fleet.yaml","text":"…"},{"name":"fleet.d/web.yaml","text":"…"}]}. The first is
 * the one that includes the others. Names are words of the reader, compared with what `include`
 * says; nothing here or behind it opens a file of that name. Pure. */
#ifndef SCHEDULER_PLAN_FLEET_BUNDLE_H
#define SCHEDULER_PLAN_FLEET_BUNDLE_H

#include "scheduler/plan/fleet.h"

/* The media type of such a body; a fleet file alone is application/yaml. */
#define FLEET_BUNDLE_TYPE "application/vnd.holdfast.fleet+json"

enum { FLEET_BUNDLE_FILES = 1000, FLEET_BUNDLE_NAME = 255 };

typedef struct FleetBundle {
    json_t *owner; /* of every name and text */
    FleetFile *files;
    size_t count;
} FleetBundle;

/* ERR_USAGE policy.bundle: not of that form, no file or too many, a name that is absolute, leads
 * upwards, is too long, holds what moves a terminal, or stands twice. Free it either way. */
MUST_CHECK bool fleet_bundle_read(Text text, FleetBundle *out, Err *err);
void fleet_bundle_free(FleetBundle *bundle);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * files.h — the engine of type `files`: trees of files, and back.
 * Source config: paths (absolute, required), exclude (patterns, see files_glob.h), one_file_system,
 * exclude_caches and exclude_if_present (see files_marks.h), specials (true: fifos, sockets and
 * devices too; what is left out is told).
 * An entry's path is the file's absolute path without the leading slash. Phases: 0 directories,
 * files and special files, 1 hard links to them, 2 symbolic links, 3 hard links to symbolic links;
 * so no link exists while anything is written. Target request: {"target": {"path": P}, "in_place":
 * false, "options": {"owner": true as root, "numeric_owner": false, "devices": false, "setuid":
 * false, "security": false, "sync": true}, "mark": TEXT}. Everything is made beneath P. A target
 * that is not empty is refused unless in_place; one that holds an unfinished restore of the same
 * mark is emptied first. */
#ifndef WORKER_ENGINE_FILES_H
#define WORKER_ENGINE_FILES_H

#include "worker/engine/engine.h"

extern const Engine files_engine;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/engine.h"

#include "worker/engine/files.h"
#include "worker/engine/postgresql.h"

static const Engine *const engines[] = {
    &files_engine,
    &postgresql_engine,
};

enum { ENGINE_COUNT = sizeof engines / sizeof engines[0] };

const Engine *engine_find(Text name)
{
    for (size_t i = 0; i < ENGINE_COUNT; i++)
        if (text_equal(name, text_of(engines[i]->name)))
            return engines[i];
    return NULL;
}

const Engine *const *engine_list(size_t *count)
{
    *count = ENGINE_COUNT;
    return engines;
}

/* SPDX-License-Identifier: Apache-2.0
 * model_world.h — what model_test.c plays with: one catalogue, one model, and how they agree. */
#ifndef TESTS_INTEGRATION_CATALOG_MODEL_WORLD_H
#define TESTS_INTEGRATION_CATALOG_MODEL_WORLD_H

#include "common/base/mem.h"
#include "common/catalog/catalog_policy.h"
#include "tests/harness/virtual_clock.h"
#include "tests/integration/catalog/check.h"
#include "tests/sim/model.h"

#include <inttypes.h>

enum { WORKERS = 3, SOURCES = 4, FENCES = 24, PACKS = 8 };

typedef struct Held {
    Fence fence;
    uint32_t worker;
    uint64_t packs[PACKS];
    size_t pack_count;
    BackupRow row; /* of its last commit */
    bool used;
} Held;

typedef struct World {
    Fleet *fleet;
    Catalog *scheduler;
    Catalog *workers[WORKERS + 1];
    Uuid instances[WORKERS + 1], holders[2];
    Model model;
    Held held[FENCES]; /* the newest ones; a ring */
    size_t held_count;
    ModelSpec specs[SOURCES];
    size_t spec_count;
    uint64_t random, seed;
    int64_t now_ms;
    unsigned step;
    const char *doing;
} World;

static uint64_t draw(World *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % below;
}

static Uuid draw_uuid(World *w)
{
    Uuid id;
    for (size_t i = 0; i < sizeof id.bytes; i++)
        id.bytes[i] = (uint8_t)draw(w, 256);
    return uuid_random(id.bytes);
}

#define SAME(a, b)                                                                                 \
    do {                                                                                           \
        long long said_a = (long long)(a), said_b = (long long)(b);                                \
        if (said_a != said_b)                                                                      \
            fail_msg("seed %" PRIu64 " step %u %s: %s is %lld, the model says %lld", w->seed,      \
                     w->step, w->doing, #a, said_a, said_b);                                       \
    } while (0)

/* Both did it, or both refused it for the same reason; true: both did. */
static bool agree(World *w, bool real, const Err *why, bool modelled, const Err *model_why)
{
    if (real != modelled || (!real && strcmp(why->cause, model_why->cause) != 0))
        fail_msg("seed %" PRIu64 " step %u %s: the catalogue says %s (%s), the model %s", w->seed,
                 w->step, w->doing, real ? "ok" : why->cause, why->text,
                 modelled ? "ok" : model_why->cause);
    return real;
}

#define AGREE(real_call, model_call) agree(w, real_call, &real_err, model_call, &model_err)
#define ERRS                         Err real_err = {0}, model_err = {0}

#endif

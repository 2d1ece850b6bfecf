/* SPDX-License-Identifier: Apache-2.0
 * A bucket of a server of our own as a place for objects. */
#include "tests/harness/s3_server.h"
#include "tests/harness/store_place.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

/* A StorePlace of this kind is a server. */
static S3Server *server_of(StorePlace *place)
{
    return (S3Server *)place;
}

static StorePlace *s3_begin(bool small)
{
    (void)small;
    return (StorePlace *)s3_server_start();
}

static bool s3_open(StorePlace *place, Store **out, Err *err)
{
    StoreS3Params params = s3_server_params(server_of(place));
    if (!store_s3_open(out, &params, err))
        return false;
    store_let_remove(*out);
    return true;
}

static void paths(StorePlace *place, char bucket[128], char aside[128])
{
    const char *top = s3_server_directory(server_of(place));
    snprintf(bucket, 128, "%s/data/backups", top);
    snprintf(aside, 128, "%s/data/away", top);
}

static void s3_away(StorePlace *place, bool away)
{
    char bucket[128], aside[128];
    paths(place, bucket, aside);
    if ((away ? rename(bucket, aside) : rename(aside, bucket)) != 0)
        abort();
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void s3_destroy(StorePlace *place)
{
    char bucket[128], aside[128];
    paths(place, bucket, aside);
    if (nftw(bucket, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
        abort();
}

static bool s3_fill(StorePlace *place, bool full)
{
    s3_server_control(server_of(place), NULL, full ? "\"quota\": 1048576" : NULL);
    return true;
}

static bool s3_freeze(StorePlace *place, bool frozen)
{
    s3_server_control(server_of(place), frozen ? "get,list" : NULL, NULL);
    return true;
}

static void s3_end(StorePlace *place)
{
    s3_server_stop(server_of(place));
}

const StoreKind store_place_s3 = {"s3",       s3_begin, s3_open,   s3_away,
                                  s3_destroy, s3_fill,  s3_freeze, s3_end};

/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/read_back.h"

#include "common/base/rand.h"
#include "common/repo/pack.h"
#include "common/repo/verify.h"

enum { READ_BACK = 3 };

bool read_back(Job *job, Repo *repo, const PackRow *rows, size_t count, size_t *seen, Err *err)
{
    *seen = 0;
    job_phase(job, "verify");
    for (size_t i = 0; i < count; i++) {
        char name[PACK_NAME];
        uint64_t size = 0;
        bool good = false;
        Err why = {0};
        pack_name(&rows[i].object, name);
        if (!store_head(repo_store(repo), name, &good, &size, err))
            return false;
        good = good && size == rows[i].bytes;
        double left = (double)(count - i);
        bool look = good && (i + 1 == count || rand_unit() * left < READ_BACK);
        *seen += look;
        if (look && !verify_stored(repo, &rows[i], &good, &why, err))
            return false;
        if (!good)
            return err_set(err, ERR_IO, "store.lost_write",
                           "%s is not what was written a moment ago: check the store's disk", name);
    }
    return true;
}

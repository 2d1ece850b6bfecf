/* SPDX-License-Identifier: Apache-2.0
 * What every fenced COMMIT answers. */
#include "common/catalog/statement.h"

bool catalog_commit_answer(const Rows *rows, CommitAnswer *answer, char detail[256], Err *err)
{
    Text said = rows_text(rows, 0, 0);
    rows_copy(rows, 0, 1, detail, 256);
    if (text_equal(said, TEXT("ok")))
        *answer = COMMIT_OK;
    else if (text_equal(said, TEXT("already")))
        *answer = COMMIT_ALREADY;
    else if (text_equal(said, TEXT("fenced")))
        *answer = COMMIT_FENCED;
    else if (text_equal(said, TEXT("damaged")))
        *answer = COMMIT_DAMAGED;
    else
        return err_set(err, ERR_BUG, "backup.commit_answer", "an unknown answer to a commit");
    return true;
}

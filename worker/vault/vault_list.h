/* SPDX-License-Identifier: Apache-2.0
 * vault_list.h — what there is of keys, without a secret of any: the files of a directory, and the
 * readers of a repository with what is sealed to each. Private to worker/vault. */
#ifndef WORKER_VAULT_VAULT_LIST_H
#define WORKER_VAULT_VAULT_LIST_H

#include "worker/vault/vault_args.h"

MUST_CHECK bool vault_list(const VaultArgs *args, Err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * vault_put_back.h — an object out of quarantine, back into its place. */
#ifndef WORKER_VAULT_VAULT_PUT_BACK_H
#define WORKER_VAULT_VAULT_PUT_BACK_H

#include "worker/vault/vault_args.h"

/* Without args->object it prints what lies in quarantine. The copy there stays. */
MUST_CHECK bool vault_put_back(const VaultArgs *args, Err *err);

#endif

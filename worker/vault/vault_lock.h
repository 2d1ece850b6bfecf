/* SPDX-License-Identifier: Apache-2.0
 * vault_lock.h — reader files under a passphrase, and kits that were typed in again. Private to
 * worker/vault. */
#ifndef WORKER_VAULT_VAULT_LOCK_H
#define WORKER_VAULT_VAULT_LOCK_H

#include "worker/vault/vault_args.h"

/* The file of before stays until the new one is durable in its place. */
MUST_CHECK bool vault_passphrase(const VaultArgs *args, Err *err);
MUST_CHECK bool vault_recovery_kit(const VaultArgs *args, Err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * vault_keys.h — what the root decides later: rotate, retire, revoke, and a repository told of it.
 * Private to worker/vault. */
#ifndef WORKER_VAULT_VAULT_KEYS_H
#define WORKER_VAULT_VAULT_KEYS_H

#include "common/codec/keyfile.h"
#include "common/codec/keyring.h"
#include "worker/vault/vault_args.h"

MUST_CHECK bool vault_rotate(const VaultArgs *args, Err *err);
MUST_CHECK bool vault_retire(const VaultArgs *args, Err *err);
MUST_CHECK bool vault_revoke(const VaultArgs *args, Err *err);
MUST_CHECK bool vault_rekey(const VaultArgs *args, Err *err);
MUST_CHECK bool vault_check(const VaultArgs *args, Err *err);

/* A keyring of what the kit alone opens. */
MUST_CHECK bool vault_open_with_kit(const Kit *kit, Keyring **keyring, Err *err);

#endif

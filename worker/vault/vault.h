/* SPDX-License-Identifier: Apache-2.0
 * vault.h — `holdfast-worker key …` and `holdfast-worker repo …`: making key sets, enrolling hosts,
 * making repositories, trying a recovery kit. No server is asked. */
#ifndef WORKER_VAULT_VAULT_H
#define WORKER_VAULT_VAULT_H

/* argv[0] is "key" or "repo". Returns an exit code. */
int vault_main(int argc, char **argv);

#endif

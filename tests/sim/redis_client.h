/* SPDX-License-Identifier: Apache-2.0
 * redis_client.h — what the world does to connections to the simulated Redis. */
#ifndef TESTS_SIM_REDIS_CLIENT_H
#define TESTS_SIM_REDIS_CLIENT_H

#include "tests/sim/vm.h"

void redis_client_begin(void);
void redis_client_killed(const Process *process);
void redis_client_server_gone(void); /* after redis_server_down: clients notice one by one */

#endif

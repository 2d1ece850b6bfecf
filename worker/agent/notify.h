/* SPDX-License-Identifier: Apache-2.0
 * notify.h — what systemd wants to hear (sd_notify's datagram); nothing happens without it. */
#ifndef WORKER_AGENT_NOTIFY_H
#define WORKER_AGENT_NOTIFY_H

void notify_ready(void);
void notify_stopping(void);
void notify_alive(void); /* the watchdog; may be called often */

#endif

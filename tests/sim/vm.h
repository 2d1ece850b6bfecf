/* SPDX-License-Identifier: Apache-2.0
 * vm.h — the machine under a simulation: one seed, one clock, one history.
 * Processes have threads; a thread is a coroutine that runs until it blocks, and blocking takes
 * virtual time only. Production code does not know: wraps.c gives it these threads, this clock and
 * this randomness under the names of libc, events.c an event loop under the names of libevent.
 * Nothing here reads the real clock, the real random source or an address, so a seed replays. */
#ifndef TESTS_SIM_VM_H
#define TESTS_SIM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Process Process;
typedef struct Task Task;
typedef void VmCall(void *ctx);

#define VM_US    INT64_C(1000)
#define VM_MS    INT64_C(1000000)
#define VM_S     INT64_C(1000000000)
#define VM_NEVER INT64_MAX

/* Begins a history at instant 0; what was before is forgotten. */
void vm_begin(uint64_t seed);
int64_t vm_now(void); /* true time: no process sees it, each has a clock of its own */
uint64_t vm_draw(uint64_t below);
bool vm_chance(unsigned of_1000);
int64_t vm_between(int64_t least, int64_t most);
void vm_random(void *at, size_t len);

/* Calls from outside of every process, in order of time. */
void vm_at(int64_t when, VmCall *call, void *ctx);
void vm_run(int64_t until);
uint64_t vm_steps(void);
void vm_each_step(VmCall *call); /* after each event that ran; NULL: none */
void vm_halt(void);              /* vm_run returns after this event */

/* The wall clock of a process is true time + wall_skew; its others count from boot_ns. */
Process *vm_process(const char *name, int64_t wall_skew_ns);
const char *vm_name(const Process *process);
void vm_set_skew(Process *process, int64_t wall_skew_ns);
void vm_set_owner(Process *process, void *owner);
void *vm_owner(const Process *process);
void vm_spawn(Process *process, VmCall *main, void *ctx);
void vm_kill(Process *process);     /* SIGKILL: no instruction of it runs any more */
void vm_stop(Process *process);     /* SIGSTOP */
void vm_continue(Process *process); /* SIGCONT */
bool vm_alive(const Process *process);
bool vm_stopped(const Process *process);
int64_t vm_wall(const Process *process);
int64_t vm_mono(const Process *process);
int64_t vm_since_run(const Process *process); /* how long it was stopped last; 0: it was not */

/* What a thread may do; current is NULL outside of every process. */
Task *vm_current(void);
Process *vm_process_of(const Task *task);
Process *vm_current_process(void);
Task *vm_thread(VmCall *main, void *ctx); /* another one of the current process */
void vm_join(Task *task);
/* Until the instant (of true time) or vm_wake, whichever is first; true when it was woken. */
bool vm_block(int64_t until);
void vm_wake(Task *task);
void vm_sleep(int64_t ns);
void vm_exit(void); /* ends the current process by its own will: no thread of it returns */

/* A request that is in other hands: between the two calls time passes for this thread whether its
 * process is stopped, or even killed. vm_inside returns only when the process may run. */
void vm_outside(int64_t ns);
void vm_inside(void);

#endif

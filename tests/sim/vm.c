/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/vm.h"

#include "common/base/mem.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

/* fire.c keeps a batch of a thousand answers on its stack, queue.c a push of 256 tickets. */
enum { STACK_BYTES = 256 << 10, PAGE = 4096, TASKS_MOST = 8 };

typedef struct Task {
    Process *process;
    VmCall *main;
    void *ctx;
    ucontext_t context;
    jmp_buf at;
    uint8_t *stack;
    struct Task *joiner;
    uint64_t turn; /* of its blocking; an event of an older one is stale */
    bool started, over, woken;
    bool outside; /* its request is in other hands */
    bool due;     /* it would run if its process were not stopped */
} Task;

struct Process {
    char name[24];
    int64_t born_ns, wall_skew_ns, stopped_ns, pause_ns;
    bool dead, stopped;
    void *owner;
    Process *older;
    Task *tasks[TASKS_MOST];
    size_t task_count;
};

typedef struct Event {
    int64_t at;
    uint64_t order;
    Task *task; /* or call */
    uint64_t turn;
    VmCall *call;
    void *ctx;
} Event;

static struct {
    int64_t now;
    uint64_t random[2];
    uint64_t order, steps;
    Event *heap;
    size_t count, room;
    Process *processes; /* every one of this history, the youngest first */
    Task *current;
    jmp_buf loop;
    ucontext_t loop_context;
    VmCall *each_step;
    bool halted;
    uint8_t *stacks[512]; /* not in use */
    size_t stack_count;
} vm;

/* --- randomness: xoroshiro128+, seeded by splitmix64 ---------------------------------------- */

static uint64_t mix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint64_t turn_left(uint64_t value, unsigned by)
{
    return value << by | value >> (64 - by);
}

static uint64_t next_random(void)
{
    uint64_t a = vm.random[0], b = vm.random[1];
    uint64_t out = a + b;
    b ^= a;
    vm.random[0] = turn_left(a, 24) ^ b ^ (b << 16);
    vm.random[1] = turn_left(b, 37);
    return out;
}

uint64_t vm_draw(uint64_t below)
{
    return below == 0 ? 0 : next_random() % below;
}

bool vm_chance(unsigned of_1000)
{
    return vm_draw(1000) < of_1000;
}

int64_t vm_between(int64_t least, int64_t most)
{
    return least + (int64_t)vm_draw((uint64_t)(most - least) + 1);
}

void vm_random(void *at, size_t len)
{
    uint8_t *to = at;
    for (size_t i = 0; i < len; i += 8) {
        uint64_t value = next_random();
        memcpy(to + i, &value, len - i < 8 ? len - i : 8);
    }
}

int64_t vm_now(void)
{
    return vm.now;
}

/* --- events: a binary heap by (time, order) -------------------------------------------------- */

static bool before(const Event *a, const Event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(Event event)
{
    if (vm.count == vm.room) {
        vm.room = vm.room == 0 ? 1024 : 2 * vm.room;
        vm.heap = mem_resize(vm.heap, vm.room * sizeof *vm.heap);
    }
    event.order = vm.order++;
    size_t i = vm.count++;
    for (; i > 0 && before(&event, &vm.heap[(i - 1) / 2]); i = (i - 1) / 2)
        vm.heap[i] = vm.heap[(i - 1) / 2];
    vm.heap[i] = event;
}

static Event pop(void)
{
    Event top = vm.heap[0];
    Event last = vm.heap[--vm.count];
    size_t i = 0;
    for (size_t child = 1; child < vm.count; child = 2 * i + 1) {
        if (child + 1 < vm.count && before(&vm.heap[child + 1], &vm.heap[child]))
            child++;
        if (!before(&vm.heap[child], &last))
            break;
        vm.heap[i] = vm.heap[child];
        i = child;
    }
    vm.heap[i] = last;
    return top;
}

void vm_at(int64_t when, VmCall *call, void *ctx)
{
    push((Event){.at = when > vm.now ? when : vm.now, .call = call, .ctx = ctx});
}

/* --- stacks and switches --------------------------------------------------------------------- */

static uint8_t *stack_new(void)
{
    if (vm.stack_count > 0)
        return vm.stacks[--vm.stack_count];
    uint8_t *at = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED || mprotect(at, PAGE, PROT_NONE) != 0)
        abort();
    return at;
}

static void stack_free(Task *task)
{
    if (task->stack == NULL)
        return;
    if (vm.stack_count < sizeof vm.stacks / sizeof vm.stacks[0])
        vm.stacks[vm.stack_count++] = task->stack;
    else
        munmap(task->stack, STACK_BYTES);
    task->stack = NULL;
}

/* ucontext makes a system call for each switch; after the first, setjmp does without. The
 * address sanitizer knows only ucontext. */
#if defined(__SANITIZE_ADDRESS__)
#define SLOW_SWITCH 1
#else
#define SLOW_SWITCH 0
#endif

static void to_loop(Task *task)
{
    if (SLOW_SWITCH)
        swapcontext(&task->context, &vm.loop_context);
    else if (_setjmp(task->at) == 0)
        _longjmp(vm.loop, 1);
}

static void to_task(Task *task)
{
    vm.current = task;
    bool first = !task->started;
    task->started = true;
    if (SLOW_SWITCH)
        swapcontext(&vm.loop_context, &task->context);
    else if (_setjmp(vm.loop) == 0) {
        if (first)
            setcontext(&task->context);
        _longjmp(task->at, 1);
    }
    vm.current = NULL;
}

static void end(Task *task)
{
    task->over = true;
    if (task->joiner != NULL)
        vm_wake(task->joiner);
}

static void begin(void)
{
    Task *task = vm.current;
    task->main(task->ctx);
    end(task);
    to_loop(task);
    abort();
}

/* --- processes and threads ------------------------------------------------------------------- */

Process *vm_process(const char *name, int64_t wall_skew_ns)
{
    Process *process = mem_new(Process);
    snprintf(process->name, sizeof process->name, "%s", name);
    process->born_ns = vm.now;
    process->wall_skew_ns = wall_skew_ns;
    process->older = vm.processes;
    vm.processes = process;
    return process;
}

static Task *add_task(Process *process, VmCall *main, void *ctx)
{
    if (process->task_count == TASKS_MOST)
        abort();
    Task *task = mem_new(Task);
    *task = (Task){.process = process, .main = main, .ctx = ctx, .stack = stack_new()};
    getcontext(&task->context);
    task->context.uc_stack.ss_sp = task->stack;
    task->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&task->context, begin, 0);
    process->tasks[process->task_count++] = task;
    push((Event){.at = vm.now, .task = task, .turn = task->turn});
    return task;
}

void vm_spawn(Process *process, VmCall *main, void *ctx)
{
    add_task(process, main, ctx);
}

Task *vm_thread(VmCall *main, void *ctx)
{
    return add_task(vm.current->process, main, ctx);
}

const char *vm_name(const Process *process)
{
    return process == NULL ? "-" : process->name;
}

void vm_set_skew(Process *process, int64_t wall_skew_ns)
{
    process->wall_skew_ns = wall_skew_ns;
}

void vm_set_owner(Process *process, void *owner)
{
    process->owner = owner;
}

void *vm_owner(const Process *process)
{
    return process->owner;
}

bool vm_alive(const Process *process)
{
    return !process->dead;
}

bool vm_stopped(const Process *process)
{
    return process->stopped;
}

int64_t vm_wall(const Process *process)
{
    /* 2026-01-01: instants look like instants. */
    return INT64_C(1767225600) * VM_S + vm.now + (process == NULL ? 0 : process->wall_skew_ns);
}

int64_t vm_mono(const Process *process)
{
    (void)process;
    return 1000 * VM_S + vm.now;
}

int64_t vm_since_run(const Process *process)
{
    return process->stopped ? vm.now - process->stopped_ns : process->pause_ns;
}

void vm_kill(Process *process)
{
    if (process->dead)
        return;
    process->dead = true;
    for (size_t i = 0; i < process->task_count; i++) {
        Task *task = process->tasks[i];
        if (!task->outside && task != vm.current)
            stack_free(task);
    }
}

void vm_stop(Process *process)
{
    if (!process->stopped)
        process->stopped_ns = vm.now;
    process->stopped = true;
}

void vm_continue(Process *process)
{
    if (!process->stopped)
        return;
    process->stopped = false;
    process->pause_ns = vm.now - process->stopped_ns;
    for (size_t i = 0; i < process->task_count; i++) {
        Task *task = process->tasks[i];
        if (task->due)
            push((Event){.at = vm.now, .task = task, .turn = task->turn});
        task->due = false;
    }
}

Task *vm_current(void)
{
    return vm.current;
}

Process *vm_process_of(const Task *task)
{
    return task->process;
}

Process *vm_current_process(void)
{
    return vm.current == NULL ? NULL : vm.current->process;
}

bool vm_block(int64_t until)
{
    Task *task = vm.current;
    task->turn++;
    task->woken = false;
    if (until != VM_NEVER)
        push((Event){.at = until > vm.now ? until : vm.now, .task = task, .turn = task->turn});
    to_loop(task);
    return task->woken;
}

/* A little later: who is woken first is not who asked first. */
void vm_wake(Task *task)
{
    if (task->over || task->woken)
        return;
    task->woken = true;
    push((Event){.at = vm.now + vm_between(0, 60) * VM_US, .task = task, .turn = task->turn});
}

void vm_join(Task *task)
{
    while (!task->over) {
        task->joiner = vm.current;
        vm_block(VM_NEVER);
    }
}

void vm_sleep(int64_t ns)
{
    int64_t until = vm.now + ns;
    while (vm.now < until)
        vm_block(until);
}

void vm_exit(void)
{
    Task *task = vm.current;
    vm_kill(task->process);
    task->over = true;
    to_loop(task);
    abort();
}

void vm_outside(int64_t ns)
{
    vm.current->outside = true;
    vm_sleep(ns);
}

void vm_inside(void)
{
    Task *task = vm.current;
    task->outside = false;
    if (!task->process->dead && !task->process->stopped)
        return;
    task->turn++;
    push((Event){.at = vm.now, .task = task, .turn = task->turn});
    to_loop(task);
}

/* --- running --------------------------------------------------------------------------------- */

static void run_task(Task *task, uint64_t turn)
{
    Process *process = task->process;
    if (task->over || task->turn != turn || task->stack == NULL)
        return;
    if (!task->outside && process->dead) {
        stack_free(task);
        return;
    }
    if (!task->outside && process->stopped) {
        task->due = true;
        return;
    }
    task->turn++;
    to_task(task);
    if (task->over)
        stack_free(task);
}

void vm_run(int64_t until)
{
    vm.halted = false;
    while (vm.count > 0 && !vm.halted && vm.heap[0].at <= until) {
        Event event = pop();
        vm.now = event.at;
        vm.steps++;
        if (event.task != NULL)
            run_task(event.task, event.turn);
        else
            event.call(event.ctx);
        if (vm.each_step != NULL)
            vm.each_step(NULL);
    }
    if (!vm.halted && vm.now < until)
        vm.now = until;
}

uint64_t vm_steps(void)
{
    return vm.steps;
}

void vm_each_step(VmCall *call)
{
    vm.each_step = call;
}

void vm_halt(void)
{
    vm.halted = true;
}

void vm_begin(uint64_t seed)
{
    while (vm.processes != NULL) {
        Process *process = vm.processes;
        vm.processes = process->older;
        for (size_t k = 0; k < process->task_count; k++) {
            stack_free(process->tasks[k]);
            mem_free(process->tasks[k]);
        }
        mem_free(process);
    }
    vm.count = 0;
    vm.now = 0;
    vm.order = vm.steps = 0;
    vm.each_step = NULL;
    vm.random[0] = mix(&seed);
    vm.random[1] = mix(&seed);
}

/* fiber.h - stacks of their own and the change between them. On x86-64 by hand: ucontext asks the
 * kernel for the signal mask at each change. Knows nothing of kernels. */
#ifndef PX_SIMT_FIBER_H
#define PX_SIMT_FIBER_H

#include <stddef.h>
#include <stdint.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

struct fiber {
#ifdef __x86_64__
    void *top; /* stack pointer while it does not run */
#else
    ucontext_t context;
#endif
};

#ifdef __x86_64__
/* Keeps the registers that a call must keep on the stack of `from`, and goes on where `to` left. */
extern "C" void simt_fiber_switch(void **from, void *to);
asm(R"(
    .text
    .type simt_fiber_switch, @function
simt_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size simt_fiber_switch, .-simt_fiber_switch
)");
#endif

/* Will run entry(), which never returns, on the stack at the first change to it. */
static inline void fiber_start(fiber *f, char *stack, size_t bytes, void (*entry)()) {
#ifdef __x86_64__
    uintptr_t top = ((uintptr_t)stack + bytes) & ~(uintptr_t)63;
    void **at = (void **)top - 2;
    at[0] = (void *)entry; /* where `ret` goes; the stack is then as after a call */
    at[1] = nullptr;
    f->top = at - 6;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stack;
    f->context.uc_stack.ss_size = bytes;
    f->context.uc_link = nullptr;
    makecontext(&f->context, entry, 0);
#endif
}
static inline void fiber_change(fiber *from, fiber *to) {
#ifdef __x86_64__
    simt_fiber_switch(&from->top, to->top);
#else
    swapcontext(&from->context, &to->context);
#endif
}

#endif

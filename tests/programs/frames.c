/* Functions that call each other, and a system call at the end, each with a frame of its own. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not by way of a library: its functions may have no frames. */
__attribute__((noinline)) long inner(void)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_sched_getscheduler), "D"(0) : "rcx", "r11", "memory");
    return result + 1;
}

__attribute__((noinline)) long middle(void) { return inner() + 1; }

__attribute__((noinline)) long outer(void) { return middle() + 1; }

int main(int argc, char **argv)
{
    long result = 0;
    for (int left = argc > 1 ? atoi(argv[1]) : 1; left > 0; left--)
        result += outer();
    /* Its memory stays until its stacks have been looked up. */
    if (argc > 2)
        read(0, &result, 1);
    return 0;
}

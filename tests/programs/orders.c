/* The program that the README asks about its orders. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
struct address { const char *street; unsigned zip; };
struct order { int id; double total; struct address to; struct order *next; };
static int accepted;
__attribute__((noinline)) int accept_order(const struct order *order, int priority)
{
    int fee = priority * 3;
    if (order->total > 1000)
        return -1;
    accepted++;
    return order->id + fee;
}
int main(void)
{
    struct order second = { 18, 2999.5, { "Quay 7", 20457 }, NULL };
    struct order first = { 17, 49.9, { "Main Street 1", 10115 }, &second };
    for (int i = 0; i < 60; i++) {
        for (struct order *order = &first; order; order = order->next)
            printf("%d\n", accept_order(order, 2));
        sleep(1);
    }
    return 0;
}

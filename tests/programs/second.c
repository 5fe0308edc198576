/* A second unit: names that the first one has too, with other meanings, and a struct that the first only declares. */
#include <stddef.h>

#define KEPT __attribute__((noinline, noipa))
#define OPAQUE __asm__ volatile("" ::: "memory")

struct pair {
	char pad[24];
	short a;
	const char *title;
};
enum color { GREEN = 1, WHITE = 5 };
struct elsewhere {
	short pad;
	long secret;
	struct pair *pair;
};

static long hidden = 700;
static struct pair mine = { "pad", 18, "a title" };
static struct elsewhere there = { 1, 4242, &mine };
int shared_array[3] = { 61, 62, 63 };

struct elsewhere *make_elsewhere(void)
{
	return &there;
}

static KEPT int twin(int other)
{
	OPAQUE;
	return other + (int)hidden;
}

KEPT int takes_mine(struct pair *p, enum color color)
{
	static int calls = 500;

	OPAQUE;
	calls++;
	return p->a + (int)color + calls;
}

int second(int seed)
{
	hidden += seed;
	return twin(seed) + takes_mine(&mine, WHITE) + shared_array[1];
}

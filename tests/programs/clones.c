/* Functions that the compiler makes others of: without parameters that nobody needs, for one constant alone. */
#define OPAQUE __asm__ volatile("" ::: "memory")
#define APART __attribute__((noinline))

struct pair {
	int a;
	long b;
	struct pair *next;
};

static APART int by_member(struct pair *p, int unused, int used)
{
	OPAQUE;
	return p->a + used;
}

static APART int with_constant(int a, int always, int b)
{
	OPAQUE;
	return a * always + b;
}

static APART int dead_first(int dead, int live, int other)
{
	OPAQUE;
	return live * 3 + other;
}

APART int exported(int dead, int live)
{
	OPAQUE;
	return live * 3;
}

static APART long no_result(long a, struct pair *p)
{
	OPAQUE;
	p->b += a;
	return a;
}

static APART int seventh(int a, int b, int c, int d, int e, int f, int g, int h)
{
	OPAQUE;
	return a + b * f - g + h;
}

APART int both(int a, int mode)
{
	OPAQUE;
	return mode == 3 ? a : a * mode;
}

int main(int argc, char **argv)
{
	struct pair p = { 7, 8, 0 };
	int sum = by_member(&p, 99, 0x51) + by_member(&p, 98, 0x51 + argc - 1);

	sum += with_constant(0x61 + argc - 1, 5, 0x62) + with_constant(0x63, 5, 0x64 + argc);
	sum += dead_first(argc, 0x71 + argc - 1, 0x72) + dead_first(argc, 0x73, 0x74 + argc) + exported(1, 0x81 + argc - 1);
	no_result(0x91 + argc - 1, &p);
	sum += seventh(0x11 * argc, 0x12, 1, 2, 3, 0x16, 0x17 * argc, 0x18 + argc) + seventh(argc, argc, 5, 6, 7, argc, argc, argc);
	for (int i = 0; i < argc; i++)
		sum += both(i + 0xa1, 3);
	return sum == 0;
}

/* What C has by way of parameters, members and variables, each with a value that no other has. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define KEPT __attribute__((noinline, noipa))
#define OPAQUE __asm__ volatile("" ::: "memory")

enum color { DARK = -2, RED = 1, BLUE = 5 };
typedef enum color color_t;
typedef unsigned int count_t;

struct inner {
	int x;
	char tag[8];
};

struct pair {
	int a;
	long b;
	const char *name;
	struct inner in;
	struct pair *next;
	double weight;
	float ratio;
	unsigned flag : 3;
	int low : 5;
	unsigned long : 0;
	unsigned long wide : 40;
	color_t tint : 4;
	color_t color;
	union {
		int as_int;
		unsigned char as_bytes[4];
	};
	struct {
		short left, right;
	};
	int (*call)(int);
	const unsigned short numbers[4];
	struct inner many[2];
	bool is_set;
	const char *const *words;
	count_t count;
	long double exact;
	struct elsewhere *there;
	float ratios[2];
	struct {
		struct {
			long deep;
		} nested;
	} named;
};

struct elsewhere;
struct small {
	short s;
	int n;
};
struct two {
	long first, last;
};
struct large {
	long numbers[5];
	int end;
};
struct floats {
	float x, y;
};
union either {
	int number;
	char letter;
};

int counter = 41;
static long hidden = 7;
static struct pair *head;
struct two both = { 11, 12 };
const char motto[] = "by the book";
__thread int per_thread = 9;

extern struct elsewhere *make_elsewhere(void);
extern int second(int seed);

KEPT int called(int n)
{
	OPAQUE;
	return n + 1;
}

KEPT int func(int v, struct pair *p, const char *text) /* func */
{
	static int calls = 100;
	int local = v * 2;

	calls++;
	OPAQUE;
	local += called(local); /* after */
	if (p)
		hidden += p->a;
	OPAQUE;
	return local + (text ? *text : 0) + calls;
}

KEPT double mix(double d, int n, float f, long m, long double e, int k)
{
	OPAQUE;
	return d + n + f + m + (double)e + k;
}

KEPT long many(char a, short b, int c, long d, unsigned char e, bool f, int g, const char *h, struct pair *i, double j, short k)
{
	OPAQUE;
	return a + b + c + d + e + f + g + *h + i->a + (long)j + k;
}

KEPT int by_value(struct small s, int n, struct two t, struct large l, struct floats f, union either u, int m)
{
	OPAQUE;
	return s.n + n + (int)t.last + l.end + (int)f.y + u.number + m;
}

KEPT int variadic(const char *format, ...)
{
	va_list arguments;
	int first;

	va_start(arguments, format);
	first = va_arg(arguments, int);
	va_end(arguments);
	OPAQUE;
	return first + *format;
}

KEPT int takes(bool yes, color_t color, int (*call)(int), const struct pair *const p, int numbers[3], volatile short *v)
{
	OPAQUE;
	return yes + (int)color + call(1) + p->a + numbers[2] + *v;
}

KEPT int declared(struct elsewhere *there, void *nothing)
{
	OPAQUE;
	return there != nothing;
}

KEPT struct pair *returns_pair(int n)
{
	OPAQUE;
	return n ? head : NULL;
}

KEPT int returns_int(int n)
{
	OPAQUE;
	return n;
}

KEPT bool returns_bool(int n)
{
	OPAQUE;
	return n > 2;
}

KEPT color_t returns_color(int n)
{
	OPAQUE;
	return n ? BLUE : DARK;
}

KEPT const char *returns_text(int n)
{
	static const char *texts[] = { NULL, "one", "two" };
	OPAQUE;
	return texts[n];
}

KEPT double returns_double(int n)
{
	OPAQUE;
	return n * 1.5;
}

KEPT struct small returns_small(int n)
{
	struct small s = { 3, n };
	OPAQUE;
	return s;
}

KEPT struct two returns_two(int n)
{
	struct two t = { n, n + 1 };
	OPAQUE;
	return t;
}

KEPT struct large returns_large(int n, int m)
{
	struct large l = { { n, 2, 3, 4, 5 }, m };
	OPAQUE;
	return l;
}

KEPT void returns_nothing(int n)
{
	OPAQUE;
}

KEPT signed char returns_char(int n)
{
	OPAQUE;
	return n;
}

KEPT int recursive(int depth, struct pair *p) /* recursive */
{
	int below = 0;

	OPAQUE;
	if (depth)
		below = recursive(depth - 1, p->next ? p->next : p);
	OPAQUE;
	return below + depth; /* deep */
}

static KEPT int twin(int first)
{
	OPAQUE;
	return first;
}

int main(int argc, char **argv)
{
	static const char *const words[] = { "alpha", "beta", NULL };
	int numbers[3] = { 31, 32, 33 }, count = argc > 1 ? atoi(argv[1]) : 1;
	volatile short v = -9;
	struct pair last = { .a = -3, .b = 99, .name = "second", .in = { 6, "tail" }, .weight = 2.5, .color = RED };
	struct pair p = {
		.a = 17, .b = 1L << 40, .name = "first", .in = { 5, "tag" }, .next = &last, .weight = -1.25, .ratio = 0.5f,
		.flag = 6, .low = -7, .wide = 0x1234567890, .tint = RED, .color = BLUE, .as_int = 0x04030201,
		.left = -1, .right = 1000, .call = called, .numbers = { 1, 2, 65535, 4 },
		.many = { { 50, "many0" }, { 51, "many1" } }, .is_set = true, .words = words, .count = 4000000000u,
		.exact = 6.0L, .there = make_elsewhere(), .ratios = { 0.25f, -8.0f }, .named.nested.deep = 123456789,
	};
	struct small s = { -4, 44 };
	struct two t = { 21, 22 };
	struct large l = { { 1, 2, 3, 4, 5 }, 66 };
	struct floats f = { 1.5f, 2.5f };
	union either u = { 70 };
	char *volatile allocated;
	long sum = 0;

	head = &p;
	for (int i = 0; i < count; i++) {
		sum += func(7 + i, &p, "hello");
		sum += func(-8, NULL, NULL);
	}
	sum += (long)mix(1.5, 3, 2.5f, 9, 4.0L, 13);
	sum += many(-1, -2, 3, 1L << 33, 250, true, -77, "eighth", &last, 2.5, -11);
	sum += by_value(s, 45, t, l, f, u, 46);
	sum += variadic("%d", 99);
	sum += takes(true, DARK, called, &p, numbers, &v);
	sum += declared(p.there, &p);
	sum += returns_pair(0) != returns_pair(1);
	sum += returns_int(-5) + returns_bool(2) + returns_bool(3) + returns_color(0) + returns_color(1);
	sum += returns_text(0) == returns_text(1);
	sum += (long)returns_double(3) + returns_small(4).n + returns_two(5).last + returns_large(8, 9).end;
	returns_nothing(1);
	sum += returns_char(-100);
	sum += recursive(3, &p) + twin(81) + second(5) + per_thread;
	allocated = malloc(12345);
	free(allocated);
	return sum == 0;
}

// What C++ has besides C: names with namespaces and templates, references, classes with bases, hidden results.
#include <cstdio>
#include <string>
#include <utility>

#define KEPT __attribute__((noinline, noipa))
#define OPAQUE __asm__ volatile("" ::: "memory")

namespace shop {

struct Base {
	int id;
	virtual ~Base() {}
	virtual int price(int n) { OPAQUE; return n; }
};
struct Named {
	const char *label;
	long stamp;
};

class Item : public Base, public Named {
public:
	enum class Kind : unsigned char { RED = 3, BLUE };
	enum Old { FIRST = 7, SECOND };

	long cost;
	Item *next;
	Kind kind;
	Old old;
	bool sold;
	double weight;
	static int count;
	std::string text;
	struct Nested {
		short depth;
	} nested;

	KEPT Item(int first, const char *named);
	KEPT ~Item() override;
	KEPT long total(int n, const Item &other) const;
	KEPT int price(int n) override;
	KEPT static int made(int more);
	KEPT Item &operator+=(int more);
	KEPT bool operator==(const Item &other) const;
	KEPT explicit operator long() const;
	KEPT int hidden_name(int count);
};

int Item::count = 7;

Item::Item(int first, const char *named)
{
	id = first;
	label = named;
	stamp = 900 + first;
	cost = 5 * first;
	next = nullptr;
	kind = Kind::BLUE;
	old = SECOND;
	sold = true;
	weight = 0.75;
	text = "a text that is too long to be held in place";
	nested.depth = -6;
	OPAQUE;
}
Item::~Item() { OPAQUE; }
long Item::total(int n, const Item &other) const { OPAQUE; return cost * n + other.cost; } /* total */
int Item::price(int n) { OPAQUE; return n + id; }
int Item::made(int more) { OPAQUE; return count += more; }
Item &Item::operator+=(int more) { OPAQUE; cost += more; return *this; }
bool Item::operator==(const Item &other) const { OPAQUE; return id == other.id; }
Item::operator long() const { OPAQUE; return cost; }
int Item::hidden_name(int count) { OPAQUE; return count + id; }

KEPT int over(int a) { OPAQUE; return a + 1; }
KEPT int over(const char *a) { OPAQUE; return a[0]; }
KEPT int over(int a, const Item &item) { OPAQUE; return a + item.id; }

template <class T> KEPT T twice(T value) { OPAQUE; return value + value; }
template <class T, int N> struct Box {
	T content[N];
	KEPT T get(int index) { OPAQUE; return content[index]; }
};

KEPT std::string name_of(const Item &item, int n) { OPAQUE; return std::string(item.label) + std::to_string(n); }
KEPT Item *chosen(Item *item, bool is) { OPAQUE; return is ? item : nullptr; }
KEPT const Item &referred(const Item &item) { OPAQUE; return item; }
KEPT Item::Kind kind_of(const Item &item) { OPAQUE; return item.kind; }
KEPT int by_value(Item item, int after) { OPAQUE; return item.id + after; }
KEPT int moved(Item &&item, Item *&pointer) { OPAQUE; return item.id + pointer->id; }
KEPT int pair_of(std::pair<int, int> pair, int after) { OPAQUE; return pair.second + after; }
KEPT double mix(double d, int n, float f, long m) { OPAQUE; return d + n + f + m; }

namespace deep { namespace deeper {
struct Point {
	int x, y;
};
KEPT int where(Point point, const Point &other) { OPAQUE; return point.x + other.y; }
} }

namespace {
int anonymous_count = 55;
struct Secret {
	int value;
};
KEPT int in_secret(Secret *secret) { OPAQUE; return secret->value + anonymous_count; }
}

static KEPT int just_here(long n) { OPAQUE; return (int)n; }

struct Left { int l; };
struct Right { int r; };
struct Both : Left, Right { int b; };
struct Virtual : virtual Left { int v; };
KEPT int of_both(Both *both, Virtual *odd) { OPAQUE; return both->r + odd->v; }

struct Rated {
	long base;
	virtual int rate(int n) { OPAQUE; return n; }
};
struct Sale : Base, Rated {
	KEPT int rate(int n) override { OPAQUE; return n + id; }
};
KEPT int rate_of(Rated *rated) { OPAQUE; return rated->rate(24); }

union Number {
	int i;
	float f;
};

}

using namespace shop;
extern "C" KEPT int plain_c(Item *item) { OPAQUE; return item->id; }

KEPT int run_lambda(int n)
{
	auto lambda = [n](int more) KEPT { OPAQUE; return n + more; };
	return lambda(12);
}

int main(int argc, char **argv)
{
	Item first(1, "one"), second(2, "two");
	Box<short, 3> box = { { 61, 62, 63 } };
	deep::deeper::Point point = { 31, 32 };
	Secret secret = { 44 };
	Both both;
	Virtual odd;
	Item *pointer = &second;
	Base *base = &second;
	long sum = 0;

	both.l = 71; both.r = 72; both.b = 73;
	odd.l = 74; odd.v = 75;
	first.next = &second;
	second.kind = Item::Kind::RED;
	sum += first.total(argc + 10, second) + base->price(4) + Item::made(3);
	first += 20;
	sum += (first == second) + (long)first + first.hidden_name(17);
	sum += over(argc) + over("text") + over(5, second);
	sum += twice(argc) + (long)twice(1.5) + twice(1L << 40) + box.get(2);
	sum += name_of(second, 9).size() + (chosen(&first, true) == chosen(&first, false));
	sum += referred(second).id + (int)kind_of(first) + by_value(second, 19) + moved(std::move(first), pointer);
	sum += pair_of({ 21, 22 }, 23) + (long)mix(1.5, argc, 2.5f, 7) + deep::deeper::where(point, point);
	Sale sale;
	sale.id = 25;
	sum += rate_of(&sale);
	sum += in_secret(&secret) + just_here(99) + of_both(&both, &odd) + plain_c(&second) + run_lambda(100);
	return sum == 0;
}

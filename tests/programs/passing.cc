// How C++ passes what is not a plain number: behind each such parameter two numbers that a probe is to find.
#include <cstddef>

#define KEPT __attribute__((noinline, noipa))
#define OPAQUE __asm__ volatile("" ::: "memory")
#define TAKES(number, type) KEPT int takes##number(type, int n, int m) { OPAQUE; return n + m; }

struct Plain { long a, b; };
struct Large { long a, b, c; };
struct DefaultDestructor { long a; DefaultDestructor() = default; ~DefaultDestructor() = default; };
struct DefaultCopy { long a, b; DefaultCopy() = default; DefaultCopy(const DefaultCopy &) = default; };
struct Destructor { long a, b; Destructor() = default; ~Destructor(); };
struct Copy { long a, b; Copy() = default; Copy(const Copy &other) : a(other.a) { OPAQUE; } };
struct Move { long a, b; Move() = default; Move(Move &&other) : a(other.a) { OPAQUE; } };
struct NoCopy { long a, b; NoCopy() = default; NoCopy(const NoCopy &) = delete; NoCopy(NoCopy &&) = default; };
struct Virtual { long a; virtual int f(); };
struct HasOne { Destructor inner; };
struct HasSeveral { long first; Destructor inner[2]; };
struct Derived : Copy { long c; };
struct Static { long a, b; static Destructor shared; };
struct VirtualBase : virtual Plain { long c; };
template <class T> struct Box { T a, b; Box() = default; Box(const Box &other) : a(other.a) { OPAQUE; } };
template <class T> struct FromAny { long a, b; FromAny() = default; template <class U> FromAny(U &&) {} FromAny(const FromAny &) = default; };
union Union { Destructor inner; long number; Union() { number = 1; } ~Union() {} };
typedef const Copy ConstCopy;
typedef long long Vector __attribute__((vector_size(16)));
typedef float FloatVector __attribute__((vector_size(16)));
struct Floats { double x; long a; };
struct Empty {};
enum class Kind : short { A, B };

Destructor::~Destructor() { OPAQUE; }
int Virtual::f() { return 1; }
Destructor Static::shared;

TAKES(0, Plain)
TAKES(1, Large)
TAKES(2, DefaultDestructor)
TAKES(3, DefaultCopy)
TAKES(4, Destructor)
TAKES(5, Copy)
TAKES(6, Move)
TAKES(7, NoCopy)
TAKES(8, Virtual)
TAKES(9, HasOne)
TAKES(10, HasSeveral)
TAKES(11, Derived)
TAKES(12, Static)
TAKES(13, VirtualBase)
TAKES(14, Box<long>)
TAKES(15, FromAny<long>)
TAKES(16, Union)
TAKES(17, ConstCopy)
TAKES(18, Vector)
TAKES(19, FloatVector)
TAKES(20, _Complex double)
TAKES(21, _Complex float)
TAKES(22, _Complex long double)
TAKES(23, long Plain::*)
TAKES(24, int (Virtual::*)())
TAKES(25, decltype(nullptr))
TAKES(26, __int128)
TAKES(27, __float128)
TAKES(28, Floats)
TAKES(29, Kind)
TAKES(30, Copy &)
TAKES(31, const Copy &)
TAKES(32, Copy &&)
TAKES(33, bool)
TAKES(34, long double)

#define GIVES(number, type) \
	KEPT type gives##number(int n, int m) { __asm__ volatile("" : : "r"(n), "r"(m) : "memory"); return type(); }
GIVES(0, Plain)
GIVES(1, Large)
GIVES(2, DefaultDestructor)
GIVES(4, Destructor)
GIVES(5, Copy)
GIVES(8, Virtual)
GIVES(9, HasOne)
GIVES(14, Box<long>)
GIVES(28, Floats)

int main()
{
	Copy copy;
	const int n = 0x1111, m = 0x2222;
	int sum = 0;

	sum += takes0(Plain(), n, m);
	sum += takes1(Large(), n, m);
	sum += takes2(DefaultDestructor(), n, m);
	sum += takes3(DefaultCopy(), n, m);
	sum += takes4(Destructor(), n, m);
	sum += takes5(Copy(), n, m);
	sum += takes6(Move(), n, m);
	sum += takes7(NoCopy(), n, m);
	sum += takes8(Virtual(), n, m);
	sum += takes9(HasOne(), n, m);
	sum += takes10(HasSeveral(), n, m);
	sum += takes11(Derived(), n, m);
	sum += takes12(Static(), n, m);
	sum += takes13(VirtualBase(), n, m);
	sum += takes14(Box<long>(), n, m);
	sum += takes15(FromAny<long>(), n, m);
	sum += takes16(Union(), n, m);
	sum += takes17(Copy(), n, m);
	sum += takes18(Vector(), n, m);
	sum += takes19(FloatVector(), n, m);
	sum += takes20(1.5, n, m);
	sum += takes21(1.5f, n, m);
	sum += takes22(1.5L, n, m);
	sum += takes23(&Plain::b, n, m);
	sum += takes24(&Virtual::f, n, m);
	sum += takes25(nullptr, n, m);
	sum += takes26(7, n, m);
	sum += takes27(1.5, n, m);
	sum += takes28(Floats(), n, m);
	sum += takes29(Kind::B, n, m);
	sum += takes30(copy, n, m);
	sum += takes31(copy, n, m);
	sum += takes32(Copy(), n, m);
	sum += takes33(true, n, m);
	sum += takes34(2.5L, n, m);
	gives0(n, m);
	gives1(n, m);
	gives2(n, m);
	gives4(n, m);
	gives5(n, m);
	gives8(n, m);
	gives9(n, m);
	gives14(n, m);
	gives28(n, m);
	return sum == 0;
}

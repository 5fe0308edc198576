"""Probes on programs with DWARF: the values of parameters, members, variables and results are those the program had."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.guest import Guest
from tests.live.helpers import event_lines, running, tracefs_state
from tests.programs import CPP_SOURCES, build, line_of

pytestmark = [
    pytest.mark.kernels("5.10", "6.1", "newest"),
    pytest.mark.skipif(shutil.which("gcc") is None or shutil.which("g++") is None, reason="needs gcc and g++"),
]


@pytest.fixture(autouse=True)
def _nothing_left(guest: Guest) -> Iterator[None]:
    """After each test the kernel is as it was."""
    before = tracefs_state(guest)
    yield
    assert tracefs_state(guest) == before


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the host that guests see."""
    return tmp_path_factory.mktemp("programs_dwarf")


_FUNC = "P {p}:func "
# Each with what its events show, while a program runs once.
_ENTRY = [
    (
        _FUNC + "v a=p->a b=p->b name=p->name text",
        [
            f'v=7 a=17 b={1 << 40} name="first" text="hello"',
            "v=-8 a=<fault> b=<fault> name=<fault> text=<fault>",
        ],
    ),
    (
        _FUNC + "p->in.x p->in.tag p->next->a n=p->next->name tail=p->next->in.tag f:v==7",
        ['x=5 tag="tag" a=-3 n="second" tail="tail"'],
    ),
    (
        _FUNC + "p->weight p->ratio w=p->next->weight p->ratios f:v==7",
        ["weight=-1.25 ratio=0.5 w=2.5 ratios={0.25,-8.0}"],
    ),
    (
        _FUNC
        + "p->flag p->low p->wide p->tint p->color c=p->next->color p->as_int p->as_bytes p->left p->right f:v==7",
        [
            f"flag=6 low=-7 wide={0x1234567890} tint=RED color=BLUE c=RED as_int={0x04030201} as_bytes={{1,2,3,4}} "
            "left=-1 right=1000"
        ],
    ),
    (
        _FUNC + "p->numbers n=p->numbers[2] x=p->many[1].x p->many[0].tag p->is_set w=p->words[1] p->count f:v==7",
        ['numbers={1,2,65535,4} n=65535 x=51 tag="many0" is_set=1 w="beta" count=4000000000'],
    ),
    # What this unit only declares, and what the other one calls a pair; variables of both.
    (
        _FUNC + "p->there->secret title=p->there->pair->title a=p->there->pair->a calls mine=@hidden f:v==7",
        ['secret=4242 title="a title" a=18 calls=100 mine=7'],
    ),
    (
        _FUNC
        + "c=@counter raw=@counter:s32 @both.last m=@motto arr=@shared_array e=@shared_array[2] h=@head->in.x f:v==7",
        ['c=41 raw=41 last=12 m="by the book" arr={61,62,63} e=63 h=5'],
    ),
    (
        _FUNC + "x=(color_t)v y=!(struct two *)p->last z=container_of(&p->in,struct pair,in)->a s=S*(&p->left) "
        "t=(char *)p->in.tag a=%1->a v=X%0 p->named.nested.deep f:v==7",
        [f'x=7 y={1 << 40} z=17 s=-1 t="tag" a=17 v=0x7 deep=123456789'],
    ),
    ("P {p}:takes_mine a=p->a p->title color calls h=@hidden", ['a=18 title="a title" color=WHITE calls=500 h=705']),
    ("P {p}:mix n m k", ["n=3 m=9 k=13"]),
    (
        "P {p}:many a b c d e f g h i->name k",
        [f'a=-1 b=-2 c=3 d={1 << 33} e=250 f=1 g=-77 h="eighth" name="second" k=-11'],
    ),
    ("P {p}:by_value s.s sn=s.n n u.number m t=%dx:s64", ["s=-4 sn=44 n=45 number=70 m=46 t=21"]),
    ("P {p}:variadic format", ['format="%d"']),
    (
        "P {p}:takes yes color p->a last=numbers[2] v=*v all=numbers[0:3]",
        ["yes=1 color=DARK a=17 last=33 v=-9 all={31,32,33}"],
    ),
    ("P {p}:declared there->secret p=!(struct pair *)nothing->a", ["secret=4242 p=17"]),
    (
        "P {p}:recursive depth p->name",
        [f'depth={depth} name="{"first" if depth == 3 else "second"}"' for depth in (3, 2, 1, 0)],
    ),
    ("P {p}:returns_large n m", ["n=8 m=9"]),
    ("P {p}:returns_small n", ["n=4"]),
    (
        "R {p}:returns_pair n=$retval->name a=$retval->next->a w=$retval->weight",
        ["n=<fault> a=<fault> w=<fault>", 'n="first" a=-3 w=-1.25'],
    ),
    ("R {p}:returns_int $retval", ["retval=-5"]),
    ("R {p}:returns_bool $retval", ["retval=0", "retval=1"]),
    ("R {p}:returns_color $retval", ["retval=DARK", "retval=BLUE"]),
    ("R {p}:returns_text $retval", ["retval=<fault>", 'retval="one"']),
    ("R {p}:returns_small n=$retval.n s=$retval.s", ["n=4 s=3"]),
    ("R {p}:returns_two $retval.first last=%dx:s64", ["first=5 last=6"]),
    (
        "R {p}:returns_large end=!(struct large *)%ax->end n=!(struct large *)%ax->numbers",
        ["end=9 n={8,2,3,4,5}"],
    ),
    ("R {p}:returns_char $retval", ["retval=-100"]),
    ("R {p}:recursive $retval", ["retval=0", "retval=1", "retval=3", "retval=6"]),
]
_FILTERS = [
    (_FUNC + "v f:p->a==17", ["v=7"]),
    (_FUNC + "v f:p->a!=17", []),
    (_FUNC + "v f:!(p->a==17)", []),
    (_FUNC + 'v f:p->name=="first"', ["v=7"]),
    (_FUNC + 'v f:!(p->name~"fir*")', []),
    (_FUNC + 'v f:p->in.tag=="tag"&&p->next->in.tag!="tag"', ["v=7"]),
    (_FUNC + "v f:p->low<-6&&p->flag>5&&p->wide>0x1234567888", ["v=7"]),
    (_FUNC + "v f:p->low>-7||p->flag==5", []),
    (_FUNC + "v f:p->color==BLUE&&p->tint==RED&&p->is_set==true", ["v=7"]),
    (_FUNC + "v f:p->color!=BLUE||p->left>0", []),
    (_FUNC + "v f:@counter==41&&v<0", ["v=-8"]),
    (_FUNC + "v f:@counter!=41", []),
    (_FUNC + "v f:calls>100", ["v=-8"]),
    (_FUNC + "v f:calls==100", ["v=7"]),
    (_FUNC + "v f:p->count>=4000000000", ["v=7"]),
    (_FUNC + "v f:p==NULL", ["v=-8"]),
    ('P {p}:many a f:g==-77&&k==-11&&h~"e*"', ["a=-1"]),
    ("P {p}:many a f:g==77||k>0||i->a!=-3", []),
    ("P {p}:takes yes f:color==DARK&&yes==true", ["yes=1"]),
    ("P {p}:takes yes f:color==RED||yes==false", []),
    ("P {p}:by_value n f:s.n==44&&u.number==70", ["n=45"]),
    ("P {p}:by_value n f:s.n!=44", []),
    ("R {p}:returns_pair w=$retval->weight f:$retval->a==17", ["w=-1.25"]),
    ("R {p}:returns_pair w=$retval->weight f:$retval->a!=17", []),
    ("R {p}:returns_int $retval f:$retval<0", ["retval=-5"]),
    ("R {p}:returns_int $retval f:$retval>0", []),
    ("R {p}:returns_bool $retval f:$retval==true", ["retval=1"]),
    ("R {p}:returns_color $retval f:$retval!=BLUE", ["retval=DARK"]),
    ('R {p}:returns_text $retval f:$retval!="two"', ['retval="one"']),
    ("R {p}:returns_small n=$retval.n f:$retval.n==4", ["n=4"]),
    ("R {p}:returns_small n=$retval.n f:$retval.n!=4", []),
]
_LINES = [
    (
        "P {p}:plain.c:{after} local v a=p->a text calls counter=@counter f:v==7",
        ['local=14 v=7 a=17 text="hello" calls=101 counter=41'],
    ),
    ("P {p}:plain.c:{after} local f:local==-16", ["local=-16"]),
    ("P {p}:plain.c:{after} local f:local!=-16&&p->in.x==5", ["local=14"]),
    ("P {p}:plain.c:{after} local f:!(local!=-16)&&calls==102", ["local=-16"]),
    ("P {p}:plain.c:{deep} below depth f:depth==2", ["below=1 depth=2"]),
    ("P {p}:recursive:{down} depth f:below==3", ["depth=3"]),
]


_CPP = [
    (
        "P {p}:Item::total n this->cost own=this->id other->id l=other->label other->kind st=other->stamp",
        ['n=11 cost=5 own=1 id=2 l="two" kind=RED st=902'],
    ),
    (
        "P {p}:total w=this->next->weight o=this->old s=this->sold d=this->nested.depth k=this->kind",
        ["w=0.75 o=SECOND s=1 d=-6 k=BLUE"],
    ),
    ('P {p}:total n f:other->kind==RED&&this->kind==BLUE&&this->sold==true&&other->label=="two"', ["n=11"]),
    ('P {p}:total n f:other->kind==BLUE||this->sold==false||other->label~"o*"', []),
    ("P {p}:shop::Item::price n this->id", ["n=4 id=2"]),
    ("P {p}:Item::made more c=@count m=@_ZN4shop4Item5countE", ["more=3 c=7 m=7"]),
    ('P {p}:"Item::Item(int, const char *)" first named', ['first=1 named="one"', 'first=2 named="two"']),
    ('P {p}:"shop::Item::operator+=" more this->cost', ["more=20 cost=5"]),
    ('P {p}:"operator==" this->cost other->id', ["cost=25 id=2"]),
    ('P {p}:"shop::Item::operator long" this->id', ["id=1"]),
    ("P {p}:Item::hidden_name count this->id", ["count=17 id=1"]),
    ("P {p}:over(int) a", ["a=1"]),
    ('P {p}:"over(char const*)" a', ['a="text"']),
    ('P {p}:"shop::over(int, shop::Item const&)" a item->label', ['a=5 label="two"']),
    ("P {p}:twice<int> value", ["value=1"]),
    ("P {p}:shop::twice<long> value", [f"value={1 << 40}"]),
    ("P {p}:Box<short,3>::get index this->content", ["index=2 content={61,62,63}"]),
    ("P {p}:name_of item->label n", ['label="two" n=9']),
    ("R {p}:name_of s=!(std::string *)%ax->_M_dataplus._M_p", ['s="two9"']),
    ("R {p}:chosen $retval->label", ['label="one"', "label=<fault>"]),
    ("R {p}:referred $retval->label", ['label="two"']),
    ("R {p}:kind_of $retval", ["retval=BLUE"]),
    (
        "P {p}:by_value item->label after item->text._M_dataplus._M_p",
        ['label="two" after=19 _M_p="a text that is too long to be held in place"'],
    ),
    ("P {p}:moved a=item->id b=(*pointer)->id", ["a=1 b=2"]),
    ("P {p}:mix n m", ["n=1 m=7"]),
    ("P {p}:Sale::rate n this->id", ["n=24 id=25"]),
    ("P {p}:deep::deeper::where point.x point.y o=other->y", ["x=31 y=32 o=32"]),
    ("P {p}:in_secret secret->value", ["value=44"]),
    ("P {p}:just_here n", ["n=99"]),
    ("P {p}:of_both both->l both->r both->b odd->v", ["l=71 r=72 b=73 v=75"]),
    ("P {p}:plain_c item->id f:item->stamp==902", ["id=2"]),
    ('P {p}:"run_lambda(int)::{{lambda(int)#1}}::operator()" more', ["more=12"]),
    ("P {p}:shop.cc:{total} n this->cost f:n==11", ["n=11 cost=5"]),
]


def _shown(guest: Guest, program: Path, probes: list[str], *arguments: str) -> list[list[str]]:
    """What the events of each probe show, while the program runs once."""
    with running(guest, *probes, f'P libc:exit status=%0:s32 f:COMM=="{program.name}"') as surftrace:
        guest.run([str(program), *arguments]).expect()
        surftrace.wait_for("status=0")
        surftrace.wait_for("\n")
    lines = event_lines(surftrace.stdout)
    return [[line.values for line in lines if line.name == f"f{number}"] for number in range(len(probes))]


def _check(guest: Guest, program: Path, cases: list[tuple[str, list[str]]], **lines: int) -> None:
    probes = [probe.format(p=program, **lines) for probe, _ in cases]
    for probe, (_, expected), found in zip(probes, cases, _shown(guest, program, probes), strict=True):
        assert found == expected, probe


def test_values_where_functions_begin(guest: Guest, folder: Path) -> None:
    _check(guest, build(folder, "plain0", "-O0", "-fPIE", "-pie"), _ENTRY)


def test_values_of_an_optimised_program(guest: Guest, folder: Path) -> None:
    _check(guest, build(folder, "plain2", "-O2", "-fno-pie", "-no-pie"), [*_ENTRY[::2], *_FILTERS])


def test_variables_at_lines(guest: Guest, folder: Path) -> None:
    program = build(folder, "lines", "-O0")
    deep = line_of("plain.c", "deep")
    start = line_of("plain.c", "recursive")
    _check(guest, program, _LINES, after=line_of("plain.c", "after"), deep=deep, down=deep - start)


def test_values_of_cpp(guest: Guest, folder: Path) -> None:
    program = build(folder, "shop", "-O1", sources=CPP_SOURCES)
    _check(guest, program, _CPP, total=line_of("shop.cc", "total"))


def test_a_library_of_its_own_and_the_c_library(guest: Guest, folder: Path) -> None:
    library = build(folder, "libsecond.so", "-O2", "-shared", "-fPIC", sources=("second.c",))
    program = build(folder, "linked", "-O2", f"-Wl,-rpath,{folder}", str(library), sources=("plain.c",))
    cases = [
        (
            f"P {library}:takes_mine a=p->a p->title color calls h=@hidden",
            ['a=18 title="a title" color=WHITE calls=500 h=705'],
        ),
        (f"P {library}:second seed all=@shared_array", ["seed=5 all={61,62,63}"]),
        (f"R {library}:make_elsewhere $retval->secret $retval->pair->title", ['secret=4242 title="a title"']),
        ('P libc:malloc size=%0 f:COMM=="linked"&&size==12345', ["size=12345"]),
        ("P {p}:func v f:p->a==17", ["v=7"]),
    ]
    _check(guest, program, cases)


def test_many_processes_of_a_program_in_path(guest: Guest, folder: Path) -> None:
    program = build(folder, "tuprobe", "-O1")
    guest.run(["ln", "-s", str(program), "/usr/local/bin/tuprobe"]).expect()
    try:
        with running(
            guest, "-c", "60", "P tuprobe:func v=%0 a=%1->a b=%1->b f:v>0", "R tuprobe:func v=$retval f:v>100"
        ) as surftrace:
            processes = [guest.start(["tuprobe", "10"]) for _ in range(3)]
            for process in processes:
                process.wait().expect()
            result = surftrace.wait()
    finally:
        guest.run(["rm", "/usr/local/bin/tuprobe"]).expect()
    assert result.stderr == ""
    by_process: dict[int, list[str]] = {}
    for line in event_lines(result.stdout):
        by_process.setdefault(line.pid, []).append(f"{line.name} {line.values}")
    # func(v): twice v, called() of that, "h", and how often it was called, twice in each round.
    expected = [
        text
        for n in range(10)
        for text in (f"f0 v={7 + n} a=17 b={1 << 40}", f"f1 v={4 * (7 + n) + 1 + ord('h') + 101 + 2 * n}")
    ]
    assert [each == expected for each in by_process.values()] == [True] * 3

"""drgn's types in, C declarations out: of a variable, a member, a function, under its name."""

from drgn import Qualifiers, TypeKind

from surftrace.btf.signatures import Declarator, joined, pointer_to
from surftrace.kernel.formats import EventField
from surftrace.kernel.types import Type, is_aggregate, is_user, spelled, underlying

_KEYWORDS = {TypeKind.STRUCT: "struct", TypeKind.UNION: "union", TypeKind.CLASS: "class", TypeKind.ENUM: "enum"}
_QUALIFIERS = (
    (Qualifiers.CONST, "const"),
    (Qualifiers.VOLATILE, "volatile"),
    (Qualifiers.RESTRICT, "restrict"),
    (Qualifiers.ATOMIC, "_Atomic"),
)
_PLACES = ("__data_loc ", "__rel_loc ")  # of an array in an event's record


def declared(type_: Type, name: str) -> str:
    """The declaration of a name that is of this type: `void (*destructor)(struct sk_buff *skb)`."""
    return joined(_declarator(type_), name)


def declared_field(field: EventField) -> str:
    """The declaration of a field of a trace event: `char comm[16]`."""
    base, bracket, length = field.type.partition("[")
    for place in _PLACES:
        base = base.removeprefix(place)
    return joined((base.rstrip(), bracket + length), field.name)


def spellings(type_: Type) -> tuple[str, ...]:
    """The ways to write a type without qualifiers, as those of surftrace.btf.signatures."""
    if type_.kind is TypeKind.TYPEDEF:
        target = type_.type
        is_anonymous = target.kind in _KEYWORDS and target.tag is None
        return (*(() if is_user(type_) else (str(type_.name),)), *(() if is_anonymous else spellings(target)))
    if type_.kind is TypeKind.POINTER:
        return tuple(pointer_to(each) for each in spellings(type_.type))
    return (joined(_declarator(type_.unqualified()), ""),)


def taken_as(type_: Type) -> frozenset[str]:
    """The spellings of the parameters that take what somebody calls this type.

    Of a struct it does not matter by which typedef it goes, and a pointer to it does as well. A typedef of a number is
    asked for as what it is: `gfp_t` is not any `unsigned int`.
    """
    inner = underlying(type_)
    while inner.kind is TypeKind.POINTER:
        inner = underlying(inner.type)
    written = spellings(type_)
    spelling = written[-1] if is_aggregate(inner) else written[0]
    return frozenset((spelling, pointer_to(spelling)) if is_aggregate(type_) else (spelling,))


def _declarator(type_: Type) -> Declarator:
    match type_.kind:
        case TypeKind.POINTER:
            before, after = _declarator(type_.type)
            if type_.type.kind in (TypeKind.ARRAY, TypeKind.FUNCTION):
                before, after = f"{before} (*", f"){after}"
            else:
                before = pointer_to(before)
            return before + " ".join(word for each, word in _QUALIFIERS if type_.qualifiers & each), after
        case TypeKind.ARRAY:
            before, after = _declarator(type_.type)
            return before, f"[{'' if type_.length is None else type_.length}]{after}"
        case TypeKind.FUNCTION:
            before, after = _declarator(type_.type)
            texts = [declared(each.type, each.name or "") for each in type_.parameters]
            return before, f"({', '.join([*texts, *(['...'] if type_.is_variadic else [])]) or 'void'}){after}"
        case _:
            return _named(type_), ""


def _named(type_: Type) -> str:
    if type_.kind in _KEYWORDS and type_.tag is None:
        words = [word for each, word in _QUALIFIERS if type_.qualifiers & each]
        return " ".join([*words, _KEYWORDS[type_.kind], "{...}"])
    return spelled(type_)

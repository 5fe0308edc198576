"""Event filters: a text and an event's fields in, a `Filter` out; that and a `Record` in, whether it is let through.

trace_events_filter.c, function by function: process_preds, calc_stack, predicate_parse, parse_pred, the predicates, the
regular expressions and filter_match_preds; and lib/glob.c. A `Refused` has the name of the kernel's FILT_ERR_ constant.
Not modelled: `CPUS{...}`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from tests.kernelmodel import (
    EINVAL,
    ENOENT,
    EPERM,
    ESRCH,
    LINUX_6_1,
    SPACES,
    TASK_COMM_LEN,
    WORD,
    Field,
    Kernel,
    Memory,
    Record,
    Refused,
    Symbols,
    Unmodelled,
    as_bytes,
    as_characters,
    is_alphanumeric,
    is_digit,
    kstrtoll,
    kstrtoull,
)

MAX_FILTER = 4095  # trace_events.c, event_filter_write: less than a page
MAX_FILTER_STR_VAL = 256
NUMBER_BUFFER = 24
USTRING_BUF_SIZE = 1024

# err_text; a reason that is not here leaves no sentence.
SENTENCES = {
    "INVALID_OP": "Invalid operator",
    "TOO_MANY_OPEN": "Too many '('",
    "TOO_MANY_CLOSE": "Too few '('",
    "MISSING_QUOTE": "Missing matching quote",
    "OPERAND_TOO_LONG": "Operand too long",
    "EXPECT_STRING": "Expecting string field",
    "EXPECT_DIGIT": "Expecting numeric field",
    "ILLEGAL_FIELD_OP": "Illegal operation for field type",
    "FIELD_NOT_FOUND": "Field not found",
    "ILLEGAL_INTVAL": "Illegal integer value",
    "TOO_MANY_PREDS": "Too many terms in predicate expression",
    "INVALID_FILTER": "Meaningless filter expression",
    "INVALID_VALUE": "Invalid value (did you forget quotes)?",
    "NO_FUNCTION": "Function not found",
    "NO_FILTER": "No filter found",
}

OPERATORS = ("~", "!=", "==", "<=", "<", ">=", ">", "&")

# trace_events.c: trace_define_generic_fields, trace_define_common_fields
GENERIC_FIELDS = (
    *(Field(name, "int", 0, 0, True) for name in ("CPU", "cpu", "common_cpu")),
    *(Field(name, "char *", 0, 0, True) for name in ("COMM", "comm")),
)
COMMON_FIELDS = (
    Field("common_type", "unsigned short", 0, 2, False),
    Field("common_flags", "unsigned char", 2, 1, False),
    Field("common_preempt_count", "unsigned char", 3, 1, False),
    Field("common_pid", "int", 4, 4, True),
)


class FilterType(Enum):
    """enum of trace.h: what a field's type text makes of it."""

    OTHER = auto()
    STATIC_STRING = auto()
    DYN_STRING = auto()
    RDYN_STRING = auto()
    PTR_STRING = auto()
    CPU = auto()
    COMM = auto()


def filter_type(of: Field) -> FilterType:
    """filter_assign_type; the generic fields have theirs by name."""
    if of in GENERIC_FIELDS:
        return FilterType.COMM if of.type == "char *" else FilterType.CPU
    if "char" not in of.type:
        return FilterType.OTHER
    if "__data_loc" in of.type:
        return FilterType.DYN_STRING
    if "__rel_loc" in of.type:
        return FilterType.RDYN_STRING
    if "[" in of.type:
        return FilterType.STATIC_STRING
    return FilterType.PTR_STRING if of.type in ("char *", "const char *") else FilterType.OTHER


@dataclass(frozen=True, slots=True)
class Predicate:
    """struct filter_pred. The constant is a number, a pattern, or the first and last-plus-one address of a function."""

    field: Field
    operator: str
    constant: int | Pattern | range
    is_user: bool = False

    def matches(self, record: Record) -> bool:
        """filter_pred_fn_call."""
        if isinstance(self.constant, range):
            is_inside = record.number(self.field.byte_offset, WORD) in self.constant
            return is_inside is (self.operator == "==")
        if isinstance(self.constant, int):
            return self._number_matches(record, self.constant)
        found = self.string_of(record)
        if found is None:
            return False
        return self.constant.matches(*found) is not self._is_negated

    @property
    def _is_negated(self) -> bool:
        assert isinstance(self.constant, Pattern)
        return self.operator == "!=" or self.constant.is_negated

    def _number_matches(self, record: Record, constant: int) -> bool:
        if filter_type(self.field) is FilterType.CPU:
            # filter_pred_cpu has an int for the constant, and no '&'.
            constant = (constant + (1 << 31) & 0xFFFF_FFFF) - (1 << 31)
            return self.operator != "&" and _compare(self.operator, record.moment.cpu, constant)
        size = self.field.size
        if size not in (1, 2, 4, 8):
            return False  # FILTER_PRED_FN_NOP: an array that has no number's size matches nothing, not even by '!='
        data = (constant & (1 << 64) - 1).to_bytes(WORD, "little")[:size]
        cut = int.from_bytes(data, "little", signed=self.field.is_signed)
        return _compare(self.operator, record.number(self.field.byte_offset, size, self.field.is_signed), cut)

    def string_of(self, record: Record) -> tuple[bytes, int] | None:
        """The memory from a string's start on and the length that the kernel takes it to have; None for a fault."""
        place = self.field.byte_offset
        location = record.number(place, 4)
        match filter_type(self.field):
            case FilterType.COMM:
                return as_bytes(record.moment.comm)[: TASK_COMM_LEN - 1].ljust(TASK_COMM_LEN, b"\0"), TASK_COMM_LEN
            case FilterType.STATIC_STRING:
                return record.page[place:], self.field.size
            case FilterType.DYN_STRING:
                return record.page[location & 0xFFFF :], location >> 16
            case FilterType.RDYN_STRING:
                return record.page[place + 4 + (location & 0xFFFF) :], location >> 16
        return self._pointed(record.moment.memory, record.number(place, WORD), record)

    def _pointed(self, memory: Memory, address: int, record: Record) -> tuple[bytes, int] | None:
        """filter_pred_pchar: test_string, test_ustring."""
        if self.is_user is not (address < record.moment.machine.task_size):
            return None
        data = memory.readable(address, USTRING_BUF_SIZE)
        if b"\0" not in data and len(data) < USTRING_BUF_SIZE:
            return None
        text = data[: USTRING_BUF_SIZE - 1].partition(b"\0")[0]
        return text + b"\0", len(text) + 1


def _compare(operator: str, value: int, constant: int) -> bool:
    """DEFINE_COMPARISON_PRED, DEFINE_EQUALITY_PRED."""
    return {
        "==": value == constant,
        "!=": value != constant,
        "<": value < constant,
        "<=": value <= constant,
        ">": value > constant,
        ">=": value >= constant,
        "&": bool(value & constant),
    }[operator]


# --- strings


class _How(Enum):
    FULL = auto()
    FRONT = auto()
    MIDDLE = auto()
    END = auto()
    GLOB = auto()


@dataclass(frozen=True, slots=True)
class Pattern:
    """struct regex, as filter_build_regex makes it."""

    text: bytes
    how: _How
    is_negated: bool
    class_matches_end: bool

    def matches(self, memory: bytes, length: int) -> bool:
        """regex_match_full and its like, on memory that may go on behind `length`; a NUL is where memory ends."""
        match self.how:
            case _How.FULL:
                return self._matches_full(memory, length)
            case _How.FRONT:
                is_long_enough = not length or length >= len(self.text)
                return is_long_enough and _strncmp(memory, self.text, len(self.text))
            case _How.MIDDLE:
                # strnstr looks behind a NUL too, up to the length.
                return self.text in (memory[:length] if length else _c_string(memory))
            case _How.END:
                # The NUL is taken to be at the length's end: for COMM, of 16 characters, it is not.
                end = length - 1
                return end >= len(self.text) and memory[end - len(self.text) : end] == self.text
        return _glob_matches(self.text, memory[:length], self.class_matches_end)

    def _matches_full(self, memory: bytes, length: int) -> bool:
        if not length:
            return _c_string(memory) == self.text
        return length >= len(self.text) and _strncmp(memory, self.text, length)


def _c_string(memory: bytes) -> bytes:
    return memory.partition(b"\0")[0]


def _strncmp(memory: bytes, text: bytes, length: int) -> bool:
    """Is strncmp() 0?"""
    return _c_string(memory[:length]) == _c_string(text[:length])


def build_pattern(text: bytes, operator: str, kernel: Kernel) -> Pattern:
    """filter_build_regex; filter_parse_regex for `~`."""
    exact = Pattern(text, _How.FULL, False, kernel.glob_class_matches_end)
    if operator != "~":
        return exact
    is_negated = text[:1] == b"!"
    text = text[1:] if is_negated else text
    exact = replace(exact, text=text, is_negated=is_negated)
    if text[:1].isdigit():
        return exact  # MATCH_INDEX: its wildcards are not looked at
    if _needs_glob(text):
        return replace(exact, how=_How.GLOB)
    starts, ends = text[:1] == b"*", text[-1:] == b"*" and len(text) > 1
    how = _How.MIDDLE if starts and ends else _How.END if starts else _How.FRONT if ends else _How.FULL
    return replace(exact, how=how, text=text[starts : len(text) - ends])


def _needs_glob(text: bytes) -> bool:
    return b"*" in text[1:-1] or any(special in text for special in (b"[", b"?", b"\\"))


def _glob_matches(pattern: bytes, text: bytes, class_matches_end: bool) -> bool:
    """glob_match_len (lib/glob.c): behind the pattern and the text there are NULs."""
    at = place = 0
    back: tuple[int, int] | None = None
    while True:
        character, token = _byte(text, place), _byte(pattern, at)
        place, at = place + 1, at + 1
        if token == ord("?"):
            if not character:
                return False
            continue
        if token == ord("*"):
            if not _byte(pattern, at):
                return True
            place -= 1
            back = at, place
            continue
        found = _class(pattern, at, character) if token == ord("[") else None
        if found and not character and not class_matches_end:
            return False
        if found:
            is_match, after = found
            at = after if is_match else at
        else:
            if token == ord("\\"):
                token, at = _byte(pattern, at), at + 1
            is_match = character == token
            if is_match and not token:
                return True
        if is_match:
            continue
        if not character or back is None:
            return False
        at, place = back[0], back[1] + 1
        back = at, place


def _byte(text: bytes, place: int) -> int:
    return text[place] if place < len(text) else 0


def _class(pattern: bytes, at: int, character: int) -> tuple[bool, int] | None:
    """Is the character in the class whose '[' is before `at`, and where does it end? None: the '[' is a character."""
    is_inverted = _byte(pattern, at) == ord("!")
    at += is_inverted
    is_match = False
    low = _byte(pattern, at)
    at += 1
    while True:
        high = low
        if not low:
            return None
        if _byte(pattern, at) == ord("-") and _byte(pattern, at + 1) != ord("]"):
            high = _byte(pattern, at + 1)
            if not high:
                return None
            at += 2
        is_match |= low <= character <= high
        low = _byte(pattern, at)
        at += 1
        if low == ord("]"):
            return is_match is not is_inverted, at


# --- parsing


@dataclass(slots=True)
class _Entry:
    """struct prog_entry."""

    predicate: Predicate
    is_inverted: bool
    target: int
    branches_when: bool = False


@dataclass(slots=True)
class _Level:
    """A word of predicate_parse's op_stack."""

    is_inverted: bool = False
    processes_and: bool = False
    processes_or: bool = False


@dataclass(slots=True)
class _Parser:
    """predicate_parse: all of its variables."""

    text: str
    fields: Sequence[Field]
    kernel: Kernel
    symbols: Symbols
    at: int = 0
    is_inverted: bool = False
    program: list[_Entry] = field(default_factory=list)
    stack: list[_Level] = field(default_factory=lambda: [_Level()])

    def parse(self) -> list[_Entry]:
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in SPACES:
                self.at += 1
            elif character == "(":
                self.stack.append(_Level(self.is_inverted))
                self.at += 1
            elif character == "!" and self.text[self.at + 1 : self.at + 2] not in ("=", "~"):
                self.is_inverted = not self.is_inverted
                self.at += 1
            else:
                predicate = self._predicate()
                self.program.append(_Entry(predicate, self.is_inverted, len(self.program) - 1))
                if self._after_predicate():
                    return self._finished()
        raise Refused("INVALID_FILTER" if self.program else "NO_FILTER")

    def _after_predicate(self) -> bool:
        """What follows a term, up to the next one; True at the end of all."""
        while True:
            character = self.text[self.at : self.at + 1]
            self.at += 1
            if character and character in SPACES:
                continue
            if character in ("&", "|") and self.text[self.at : self.at + 1] == character:
                self.at += 1
            elif character not in ("", ")"):
                raise Refused("TOO_MANY_PREDS", EPERM)
            top = self.stack[-1]
            self.is_inverted = top.is_inverted
            if top.processes_and:
                self._update(self.is_inverted)
                top.processes_and = False
            if character == "&":
                top.processes_and = True
                return False
            if top.processes_or:
                self._update(not self.is_inverted)
                top.processes_or = False
            if character == "|":
                top.processes_or = True
                return False
            if not character:
                return True
            if len(self.stack) == 1:
                raise Refused("TOO_MANY_CLOSE", EPERM)
            self.stack.pop()

    def _update(self, is_inverted: bool) -> None:
        """update_preds, for the last entry."""
        last = len(self.program) - 1
        target = self.program[last].target
        saved = self.program[target].target
        self.program[target].branches_when = is_inverted
        self.program[target].target = last
        self.program[last].target = saved

    def _finished(self) -> list[_Entry]:
        """The second and the third pass."""
        program = self.program
        if len(self.stack) != 1:
            raise Refused("TOO_MANY_OPEN", EPERM)
        program[-1].target, program[-1].branches_when = len(program), False
        for entry in reversed(program[:-1]):
            target = program[entry.target]
            if entry.branches_when == target.branches_when:
                entry.target = target.target
        for entry in program:
            entry.branches_when ^= entry.is_inverted
        return program

    # --- parse_pred

    def _predicate(self) -> Predicate:
        name = self._take(lambda character: is_alphanumeric(character) or character == "_")
        if not name:
            raise Refused("NONE", EPERM)
        found = _find_field(self.fields, name)
        is_user, is_function = self._suffix(".ustring"), False
        if self.kernel.has_function_filters:
            is_function = self._suffix(".function")
        self._skip_spaces()
        operator = next((each for each in OPERATORS if self.text.startswith(each, self.at)), None)
        if operator is None:
            raise Refused("INVALID_OP")
        self.at += len(operator)
        self._skip_spaces()
        character = self.text[self.at : self.at + 1]
        if is_function:
            return Predicate(found, operator, self._function(found, operator))
        if character == "C" and self.kernel.has_function_filters and self.text.startswith("CPUS", self.at):
            raise Unmodelled("CPUS{}")
        if character in ("'", '"'):
            return Predicate(found, operator, self._pattern(found, operator, character), is_user)
        if is_digit(character) or character == "-":
            return Predicate(found, operator, self._number(found, operator))
        raise Refused("INVALID_VALUE")

    def _take(self, is_part: Callable[[str], bool]) -> str:
        start = self.at
        while self.at < len(self.text) and is_part(self.text[self.at]):
            self.at += 1
        return self.text[start : self.at]

    def _skip_spaces(self) -> None:
        self._take(lambda character: character in SPACES)

    def _suffix(self, suffix: str) -> bool:
        is_there = self.text.startswith(suffix, self.at)
        self.at += len(suffix) * is_there
        return is_there

    def _pattern(self, of: Field, operator: str, quote: str) -> Pattern:
        if operator not in ("!=", "~", "=="):
            raise Refused("ILLEGAL_FIELD_OP")
        if filter_type(of) in (FilterType.OTHER, FilterType.CPU):
            raise Refused("EXPECT_DIGIT")
        end = self.text.find(quote, self.at + 1)
        if end < 0:
            raise Refused("MISSING_QUOTE")
        constant = self.text[self.at + 1 : end]
        if len(constant) >= MAX_FILTER_STR_VAL:
            raise Refused("OPERAND_TOO_LONG")
        self.at = end + 1
        return build_pattern(constant.encode("latin-1"), operator, self.kernel)

    def _number(self, of: Field, operator: str) -> int:
        if filter_type(of) not in (FilterType.OTHER, FilterType.CPU):
            raise Refused("EXPECT_STRING")
        if operator == "~":
            raise Refused("ILLEGAL_FIELD_OP")
        sign = "-" if self._suffix("-") else ""
        number = sign + self._take(is_alphanumeric)
        if len(number) >= NUMBER_BUFFER:
            raise Refused("OPERAND_TOO_LONG")
        try:
            return kstrtoll(number) if of.is_signed else kstrtoull(number)
        except ValueError:
            raise Refused("ILLEGAL_INTVAL") from None

    def _function(self, of: Field, operator: str) -> range:
        """`FIELD.function==NAME`: the name goes on up to white space, `&&` and `)` included."""
        if of.size != WORD:
            raise Refused("ILLEGAL_FIELD_OP")
        if operator not in ("!=", "=="):
            raise Refused("INVALID_OP")
        if is_digit(self.text[self.at : self.at + 1]):
            number = self._take(is_alphanumeric)
            if len(number) >= NUMBER_BUFFER:
                raise Refused("OPERAND_TOO_LONG")
            try:
                address = kstrtoull(number)
            except ValueError:
                raise Refused("INVALID_VALUE") from None
        else:
            name = self._take(lambda character: character not in SPACES)
            address = self.symbols.addresses.get(name, 0)
        covering = self.symbols.covering(address) if address else None
        if covering is None:
            raise Refused("NO_FUNCTION")
        _, start, size = covering
        return range(start, start + size)


def _find_field(fields: Sequence[Field], name: str) -> Field:
    """trace_find_event_field."""
    for each in (*fields, *GENERIC_FIELDS, *COMMON_FIELDS):
        if each.name == name:
            return each
    raise Refused("FIELD_NOT_FOUND")


def _check_parentheses(text: str) -> int:
    """calc_stack: the number of terms; quotes are looked at, so that a parenthesis in a string is none."""
    depth, terms, is_in_term, quote = 1, 0, False, ""
    for place, character in enumerate(text):
        if character in SPACES:
            continue
        if quote:
            quote = "" if character == quote else quote
            continue
        is_connective = character in "&|" and text[place + 1 : place + 2] == character
        if is_connective or character in "()":
            is_in_term = False
            depth += {"(": 1, ")": -1}.get(character, 0)
            if not depth:
                raise Refused("TOO_MANY_CLOSE", EPERM)
            continue
        quote = character if character in "'\"" else ""
        terms += not is_in_term
        is_in_term = True
    if quote:
        raise Refused("MISSING_QUOTE", ESRCH)
    if depth != 1:
        raise Refused("TOO_MANY_OPEN", ENOENT)
    return terms


class Filter:
    """A filter that the kernel has taken."""

    def __init__(
        self, text: str, fields: Sequence[Field], kernel: Kernel = LINUX_6_1, symbols: Symbols | None = None
    ) -> None:
        """Raise Refused where the kernel says no. `0` is no filter at all."""
        if len(as_bytes(text)) > MAX_FILTER:
            raise Refused("FILTER_TOO_LONG", EINVAL)
        text = as_characters(text).strip(SPACES)
        self.program: tuple[_Entry, ...] = ()
        if text == "0":
            return
        if not _check_parentheses(text):
            raise Refused("NONE")
        self.program = tuple(_Parser(text, fields, kernel, symbols or Symbols()).parse())

    def matches(self, record: Record) -> bool:
        """filter_match_preds: does the kernel let the record through?"""
        place = 0
        while place < len(self.program):
            entry = self.program[place]
            if entry.predicate.matches(record) == entry.branches_when:
                place = entry.target
            place += 1
        # Behind the last entry there is one that stands for true, and then one for false.
        return place <= len(self.program)

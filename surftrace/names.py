"""A name that is not there in, the names that may have been meant out, and the hint that offers them."""

from collections.abc import Collection, Iterable


def fresh_name(name: str, taken: Collection[str]) -> str:
    """A name like this one that is not taken."""
    while name in taken:
        name += "_"
    return name


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names that look most like this one, best first; quick enough for all of a kernel's functions."""
    from difflib import get_close_matches

    pairs = {name[i : i + 2] for i in range(len(name) - 1)}
    needed = max(1, len(pairs) // 2)
    plausible = {
        other
        for other in names
        if abs(len(other) - len(name)) <= 3 + len(name) // 4 and sum(pair in other for pair in pairs) >= needed
    }
    return get_close_matches(name, plausible, count, 0.6)


def did_you_mean(names: Iterable[str]) -> tuple[str, ...]:
    """The hint that offers these names; none for no name."""
    quoted = [f"'{name}'" for name in names]
    if not quoted:
        return ()
    head = ", ".join(quoted[:-1])
    return (f"did you mean {head + ' or ' if head else ''}{quoted[-1]}?",)

"""A command line up to the cursor in, its words out as a shell reads them, the last one with its quote still open."""

from surftrace.record import record

# What a backslash takes the meaning of, by the quote that it is in: QUOTING of bash(1), zshmisc(1) and fish-doc(1).
_ESCAPED = {'"': '$`"\\\n', "$'": "'\\", "'": ""}
_FISH_ESCAPED = {'"': '$"\\\n', "'": "'\\"}
# What needs a backslash in no shell, outside of quotes.
_SAFE = frozenset("%+,-./:@_")


@record
class Line:
    """The words before the one at the cursor, and that one: `current` without its quotes, `raw` as it was typed.

    `places` has for each character of `current`, and for its end, where it is in `raw` and in which quote: `'`, `"`,
    `$'` or none.
    """

    words: tuple[str, ...]
    current: str
    raw: str
    places: tuple[tuple[int, str], ...]

    @property
    def quote(self) -> str:
        """The quote that is open at the cursor."""
        return self.places[-1][1]


def split_line(text: str, is_fish: bool = False) -> Line:
    """The words of a command line. Nothing is expanded; whatever is written, there is a last word, maybe empty."""
    escaped = _FISH_ESCAPED if is_fish else _ESCAPED
    words: list[str] = []
    word, places, quote, start, at = "", list[tuple[int, str]](), "", 0, 0
    while at < len(text):
        pair = text[at : at + 2]
        if quote and pair[0] == quote[-1]:
            quote = ""
        elif pair[0] == "\\" and len(pair) == 2 and (not quote or pair[1] in escaped[quote]):
            at += 1
            if pair[1:] != "\n":
                word, places = word + pair[1:], [*places, (at - 1 - start, quote)]
        elif not quote and pair in escaped:
            quote = pair
            at += 1
        elif not quote and pair[0] in escaped:
            quote = pair[0]
        elif not quote and pair[0].isspace():
            words += [word] if at > start else []
            word, places, start = "", [], at + 1
        else:
            word += pair[0]
            places.append((at - start, quote))
        at += 1
    return Line(tuple(words), word, text[start:], (*places, (len(text) - start, quote)))


def quoted(text: str, quote: str) -> str:
    """A text as a POSIX shell has to find it within that quote, or outside of quotes, to read the text itself."""
    match quote:
        case "'":
            return text.replace("'", "'\\''")
        case '"' | "$'":
            return "".join(f"\\{each}" if each in _ESCAPED[quote] else each for each in text)
        case _:
            return "".join(each if each.isalnum() or each in _SAFE else f"\\{each}" for each in text)

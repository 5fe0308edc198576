"""Untrusted text made safe for a terminal and for one line."""

_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\"}


def escape(text: str, quote: str = "") -> str:
    """The text on one line, safe on a terminal: control characters and undecodable bytes as C escapes."""
    if text.isprintable() and "\\" not in text and (not quote or quote not in text):
        return text
    return "".join(_escape_character(char, quote) for char in text)


def _escape_character(char: str, quote: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char == quote:
        return "\\" + char
    if char.isprintable():
        return char
    if 0xDC80 <= ord(char) <= 0xDCFF:  # a byte that is no UTF-8, as surrogateescape keeps it
        return f"\\x{ord(char) - 0xDC00:02x}"
    return "".join(f"\\x{byte:02x}" for byte in char.encode(errors="surrogatepass"))

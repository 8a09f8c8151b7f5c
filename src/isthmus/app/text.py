"""Names from outside as plain text.  Law: whatever a VM owner called a thing, a line stays one line of what it says.

Everything that is printed or logged passes here once: control characters, line ends and the invisible marks that
turn text around are written as escapes, and a name longer than a line is cut with its length said.
"""

from __future__ import annotations

LONGEST = 120


def line(text: str) -> str:
    """`text` as one printable line; what cannot be printed is escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def plain(name: str, longest: int = LONGEST) -> str:
    """A name fit to be shown in a line: escaped, and cut if it is longer than `longest`."""
    if len(name) > longest:
        return f"{line(name[:longest])}...({len(name)} characters)"
    return line(name)


def _escaped(char: str) -> str:
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

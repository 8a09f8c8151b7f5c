"""Port-group names as vCenter takes and gives them.  Law: a name is for people; nothing is identified by it."""

from __future__ import annotations

import hashlib
import re
import unicodedata

LIMIT = 80  # characters, as vCenter keeps the name
# vSphere API, ManagedEntity.name: these three are kept as escape sequences, and come back as such.
ESCAPES = {"%": "%25", "/": "%2f", "\\": "%5c"}
PLAIN = {sequence: char for char, sequence in ESCAPES.items()}
# Bidirectional overrides and marks make a name look like another one; they are of no use in a port group's.
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def written(name: str, identity: str) -> str:
    """`name` as it can be given to vCenter: one printable line, escaped, at most 80 characters.

    A name that had to be cut ends in a hash of `identity`, so that two long names do not become one.
    """
    clean = "".join(" " if unicodedata.category(c) in HIDDEN else c for c in name)
    clean = " ".join(clean.split())
    tail = "-" + hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    if not clean:
        return "network" + tail
    if len(escaped(clean)) <= LIMIT:
        return escaped(clean)
    while len(escaped(clean)) > LIMIT - len(tail):
        spare = len(escaped(clean)) - (LIMIT - len(tail))
        clean = clean[: -max(1, spare // 3)]
    return escaped(clean.rstrip()) + tail


def escaped(name: str) -> str:
    """The characters that vCenter keeps as escape sequences, escaped."""
    return "".join(ESCAPES.get(c, c) for c in name)


def plain(name: str | None) -> str:
    """A name from vCenter, unescaped."""
    return re.sub("%25|%2f|%5c", lambda found: PLAIN[found.group().lower()], name or "", flags=re.IGNORECASE)

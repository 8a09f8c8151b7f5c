"""The owner mark of a port group: the first line of its description says whose it is and for which network.

What `isthmus prepare` made says so in the same place: whose it is, and for which deployment.

Law: what cannot be proved ours is foreign.  So is a mark of a newer schema, which this release cannot judge.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from isthmus.model.ground import MakerMark
from isthmus.model.names import NetworkId
from isthmus.model.observed import OwnerMark
from isthmus.model.tags import Vni

SCHEMA = 1
SENTENCE = "Kept by isthmus, which sets its VLAN and removes it with its network. Do not edit or reuse."
PREPARED = "Made by isthmus prepare."
HANDED_BACK = "Handed back: "
"""Before what was the mark: no mark any more, but it may be taken up again by whom it names."""
MARK = re.compile(r"isthmus/(?P<schema>[0-9]{1,6})(?= |$)(?P<words>.*)")


def described(mark: OwnerMark, description: str = "") -> str:
    """`description` with this mark as its first line; what people wrote below an earlier mark stays."""
    first, _, rest = description.partition("\n")
    below = rest if MARK.match(first.removeprefix(HANDED_BACK)) else description
    return f"{encoded(mark)}\n{below.strip() or SENTENCE}"


def undescribed(mark: OwnerMark, description: str) -> str:
    """`description` with this mark, its first line, handed back; what people wrote below it stays."""
    below = description.partition("\n")[2].strip()
    return "\n".join([HANDED_BACK + encoded(mark), *([] if below in ("", SENTENCE) else [below])])


def handed_back(description: str | None) -> OwnerMark | None:
    """The mark that a description had until it was handed back."""
    first = first_line(description)
    return decoded(first.removeprefix(HANDED_BACK)) if first.startswith(HANDED_BACK) else None


def encoded(mark: OwnerMark) -> str:
    """The line that says so."""
    was = f" was={','.join(str(int(vni)) for vni in mark.was)}" if mark.was else ""
    return f"isthmus/{SCHEMA} owner={_quoted(mark.owner)} network={_quoted(mark.network)} vni={int(mark.vni)}{was}"


def decoded(description: str | None) -> OwnerMark | None:
    """The mark in a description; None if it has none that this release can judge."""
    found = MARK.match(first_line(description))
    if found is None or int(found["schema"]) != SCHEMA:
        return None
    words = dict(word.partition("=")[::2] for word in found["words"].split())
    if words.keys() - {"was"} != {"owner", "network", "vni"}:
        return None
    try:
        was = tuple(Vni(int(vni)) for vni in words.get("was", "").split(",") if vni)
        return OwnerMark(_unquoted(words["owner"]), NetworkId(_unquoted(words["network"])), Vni(int(words["vni"])), was)
    except ValueError:
        return None


def prepared(mark: MakerMark) -> str:
    """The description of what `isthmus prepare` makes."""
    return f"isthmus/{SCHEMA} owner={_quoted(mark.owner)} deployment={_quoted(mark.deployment)}\n{PREPARED}"


def maker(description: str | None) -> MakerMark | None:
    """Who made it and for what; None if it has no mark of that kind that this release can judge."""
    found = MARK.match(first_line(description))
    if found is None or int(found["schema"]) != SCHEMA:
        return None
    words = dict(word.partition("=")[::2] for word in found["words"].split())
    if words.keys() != {"owner", "deployment"}:
        return None
    try:
        return MakerMark(_unquoted(words["owner"]), _unquoted(words["deployment"]))
    except ValueError:
        return None


def newer_schema(description: str | None) -> int | None:
    """The schema version of a mark that a newer release wrote, else None."""
    found = MARK.match(first_line(description))
    return int(found["schema"]) if found and int(found["schema"]) > SCHEMA else None


def first_line(description: str | None) -> str:
    """Where the mark is."""
    return (description or "").partition("\n")[0].rstrip("\r")


def _quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="-._~:")


def _unquoted(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogatepass")

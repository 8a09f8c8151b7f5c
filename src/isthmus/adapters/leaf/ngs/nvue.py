"""Cumulus Linux 5 (NVUE): what is said to it is staged first, and one commit for each stage makes it so.

Law: nothing is committed, and nothing thrown away, but what was said here.  While somebody else's changes are staged
under the same login, or are on trial, or are just being applied, nothing is said, and nothing saved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

from isthmus.adapters.leaf.ngs.commits import InTheWay, Refusal, committed
from isthmus.adapters.leaf.ngs.held import Held
from isthmus.adapters.leaf.ngs.kind import Kind, Say, Words, nonsense, parsed, spelt
from isthmus.adapters.leaf.ngs.nvue_config import BRIDGE, Statement, held, kernel, names, statements, vids
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.statements import without_secret
from isthmus.adapters.leaf.ngs.steps import Join, Leave, Make, Map, Remove, Step, Unmap
from isthmus.model.faults import Retry

WHOLE = " | cat; echo rc=${PIPESTATUS[0]}"
"""To a terminal NVUE shows what is long page by page.  What says nothing, and was not cut, says its status."""
STAGED = "nv config diff -o commands" + WHOLE
REVISIONS = "nv config revision -o json | cat"
APPLY = "nv config apply --assume-no" + WHOLE
"""The library's is --assume-yes.  What NVUE asks about is what it would overwrite, such as files changed by hand."""
DETACH = "nv config detach" + WHOLE
READS = ("nv config show -o json | cat", "ip -j -d link show", "bridge -j vlan show", "bridge -j vlan tunnelshow")
PATIENCE = 180.0
"""Seconds for one command.  To apply something takes five to sixty."""

_TRIAL = "confirm"
_UNDER_WAY = re.compile(r"apply|applying|ays_yes|(check|ready|reload|verify|(auto_)?sav)ing|confirm_yes|ignore_fail")
"""States of a revision that is just being applied.  It is at rest in any other, known here or not."""
_APPLIES_NOTHING = re.compile(r"pending|detached|dry_run_complete|inactive|invalid|checked|ays(_no|_fail)?")
"""States of one that is not applied, and was not: one that is thrown away, say, or a question that nobody answered."""
_MEANWHILE = "somebody else applied, or tries, something meanwhile"
_APPLIED = re.compile(r"^applied(_and_saved)? \[rev_id: \S+\]$", re.MULTILINE)
_SAVED = re.compile(r"^saved \[rev_id: \S+\]$", re.MULTILINE)
_REVISION = re.compile(r"\[rev_id: \S+\]")
_AS_FAR_AS_THE_VNI = len(("set", "port", "vid", "vni", "number"))
_CREATED = re.compile(r"(created \[rev_id: \S+\])?")
_REFUSED = re.compile(r"^invalid|invalid config|config invalid", re.IGNORECASE | re.MULTILINE)


def _read(say: Say, settings: NgsSettings) -> Held:
    """All that is applied and carried; what a session that broke left staged is thrown away."""
    trial = _trial(say)
    theirs = _not_ours(_cleared(say, settings), settings)
    config, *now = map(say, READS)
    return held(statements(config), kernel(*now), settings, [*trial, *theirs])


def _words(device: Any, step: Step) -> list[str]:
    subports = [{"segmentation_id": int(step.vid)}]
    match step:
        case Make(vid):
            return list(device._format_commands(device.ADD_NETWORK, segmentation_id=int(vid)))
        case Remove(vid):
            return list(device._format_commands(device.DELETE_NETWORK, segmentation_id=int(vid)))
        case Map(vid, vni):
            return spelt(device, lambda device: device.plug_switch_to_network(int(vni), int(vid)))
        case Unmap(vid, vni):
            said = spelt(device, lambda device: device.unplug_switch_from_network(int(vni), int(vid)))
            return [f"{word} {int(vni)}" for word in said]  # the library's takes off whatever VNI is there by then
        case Join(_, _, port):
            said = spelt(device, lambda device: device.add_subports_on_trunk({}, port, subports))
            return [word for word in said if not word.endswith(" access")]  # one that is an access port joins nothing
        case Leave(_, port):
            return spelt(device, lambda device: device.del_subports_on_trunk({}, port, subports))


def _tell(say: Say, steps: Sequence[Words], settings: NgsSettings, revision: str) -> list[str]:
    if in_the_way := [*_trial(say), *_not_ours(_cleared(say, settings), settings)]:
        return in_the_way
    return committed(partial(_commit, say), _vlan, steps)


def _commit(say: Say, steps: Sequence[Words]) -> Refusal | None:
    """Commit them all at once.  Raises Retry, and ends the session, if it does not say what became of it."""
    said = [word for words in steps for word in words]
    before = _revisions(say)
    answers = [(word, answer) for word in said if (answer := _staged(say, word))]
    staged = _diff(say)
    if strange := [line for line in staged if not _within(line, said)]:
        if _revisions(say) == before:
            raise InTheWay(_remedy(strange))
        _detach(say)  # it is what somebody applied meanwhile, which ours would take away again
        raise InTheWay(_MEANWHILE)
    if answers:
        _detach(say)
        return Refusal([f"{word}: {_line(answer)}" for word, answer in answers], frozenset(a for _, a in answers))
    if not staged:  # it is so already; what would be staged next would stand on what is applied now
        _detach(say)
        return None
    if _revisions(say) != before:
        _detach(say)
        raise InTheWay(_MEANWHILE)
    answer = say(APPLY)
    if _APPLIED.search(answer) and _status(answer) == 0:
        return None
    if _status(answer) is None:
        raise Retry(f"it does not say that it applied what it was told; it says {_line(answer)[:200]!r}")
    _detach(say)
    if not _REFUSED.search(answer):
        raise InTheWay(_line(answer) or "it does not say that it applied what it was told")
    return Refusal([_line(answer)], frozenset([_REVISION.sub("", answer)]))


def _staged(say: Say, word: str) -> str:
    """Stage one word.  Returns what the switch complained of."""
    answer = say(word).strip()
    return "" if _CREATED.fullmatch(answer) else answer


def _save(say: Say, words: Words) -> list[str]:
    if trial := _trial(say):
        return [f"not saved: {why}" for why in trial]
    answer = "\n".join(say(word + WHOLE) for word in words)
    return [] if _SAVED.search(answer) and _status(answer) == 0 else [_line(answer) or "it does not say that it saved"]


# What others do


def _revisions(say: Say) -> dict[str, str]:
    """The state of each revision that is, was or may soon be applied.  Raises Retry while one is just being applied."""
    answer = say(REVISIONS)
    document = parsed(answer)
    try:
        states = {str(revision): str(found["state"]) for revision, found in document.items() if "state" in found}
    except (AttributeError, TypeError) as wrong:
        raise nonsense(answer) from wrong
    for revision, state in states.items():
        if _UNDER_WAY.fullmatch(state):
            raise Retry(f"revision {revision} is in state {state!r}: it is waited for until that is over")
    return {revision: state for revision, state in states.items() if not _APPLIES_NOTHING.fullmatch(state)}


def _trial(say: Say) -> list[str]:
    on_trial = [revision for revision, state in _revisions(say).items() if state == _TRIAL]
    return [f"revision {revision} is on trial, and may be rolled back: confirm it, or wait" for revision in on_trial]


def _cleared(say: Say, settings: NgsSettings) -> list[str]:
    """What is staged under this login, after what is ours of it alone was thrown away."""
    staged = _diff(say)
    if staged and not _not_ours(staged, settings):
        _detach(say)
        staged = _diff(say)
    return staged


def _not_ours(staged: Sequence[str], settings: NgsSettings) -> list[str]:
    """Why something that is staged is not ours to throw away; empty if it is, or nothing is."""
    strange = [line for line in staged if not _could_be_ours(line, settings)]
    return [_remedy(strange)] if strange else []


def _remedy(strange: Sequence[str]) -> str:
    return (
        f"somebody has staged other changes under this login ({_path(strange[0])}): apply them, or 'nv config detach'"
    )


def _diff(say: Say) -> list[str]:
    answer = say(STAGED)
    if _status(answer) != 0:
        raise nonsense("; ".join(map(_path, answer.strip().splitlines())))
    return [line.strip() for line in answer.splitlines()[:-1] if line.strip()]


def _detach(say: Say) -> None:
    answer = say(DETACH)
    if _status(answer) != 0:
        raise nonsense(answer)


def _status(answer: str) -> int | None:
    """The status at the end of an answer; None if it was cut."""
    lines = answer.rstrip().splitlines()
    found = re.fullmatch(r"rc=(\d+)", lines[-1].strip()) if lines else None
    return int(found[1]) if found else None


def _line(answer: str) -> str:
    lines = (line.strip() for line in answer.splitlines())
    return without_secret("; ".join(line for line in lines if line and not line.startswith("rc=")))[:300]


def _path(line: str) -> str:
    """What a line of `nv` is about, without the value."""
    words = line.split()
    return without_secret(" ".join((*words[:-1], "...") if words[:1] == ["nv"] else words))


# Words, one by one


def _singly(line: str) -> Iterator[Statement]:
    """A line of `nv`, for each port and VLAN that it names; nothing if it is of a kind that is not said here."""
    match line.split():
        case ["nv", ("set" | "unset") as verb, "bridge", "domain", domain, "vlan", said, *rest] if domain == BRIDGE:
            if rest[:1] in ([], ["vni"]):
                yield from ((verb, "", str(int(vid)), *rest) for vid in vids(said) or ())
        case ["nv", ("set" | "unset") as verb, "interface", ports, "bridge", "domain", domain, "vlan", said]:
            if domain == BRIDGE:
                yield from ((verb, port, str(int(vid))) for port in names(ports) for vid in vids(said) or ())


def _could_be_ours(line: str, settings: NgsSettings) -> bool:
    ours = {"", *settings.members}
    single = list(_singly(line))
    return bool(single) and all(port in ours and int(vid) in settings.vids for _, port, vid, *_ in single)


def _within(line: str, said: Iterable[str]) -> bool:
    """It says no more than was said."""
    unset, begun = _given(tuple(said))
    single = list(_singly(line))
    return bool(single) and all(
        shown[:_AS_FAR_AS_THE_VNI] in begun or any(shown[:many] in unset for many in range(1, 5)) for shown in single
    )


@lru_cache(maxsize=1)
def _given(said: tuple[str, ...]) -> tuple[frozenset[Statement], frozenset[Statement]]:
    """What is taken away by what was said, with all below it, and all beginnings of what is set.

    Of a VLAN that had one VNI it may be shown that it has none now; what is set of how it floods has another form in
    each release.
    """
    given = {statement for word in said for statement in _singly(word)}
    unset = frozenset(one[:4] for one in given if one[0] == "unset")
    return unset, frozenset(one[:many] for one in given if one[0] != "unset" for many in range(1, len(one) + 1))


def _vlan(words: Words) -> str:
    return next((vid for word in words for _, _, vid, *_ in _singly(word)), "")


NVUE = Kind(_read, _words, _tell, _save, as_root=False, commits=True, patience=PATIENCE)

"""Junos (ELS switches): each stage is said to a private candidate, checked, and committed, which also saves it.

Law: nothing is committed but what was said here, to what stood there when it was said.  A commit confirms whatever is
on trial, and so does a mere check: while anything is, nothing is checked, and nothing committed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from isthmus.adapters.leaf.ngs.commits import InTheWay, Refusal, committed
from isthmus.adapters.leaf.ngs.held import Held
from isthmus.adapters.leaf.ngs.junos_config import text, understood
from isthmus.adapters.leaf.ngs.kind import Kind, Say, Words, first_words, nonsense, parsed, spelt
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.statements import without_secret
from isthmus.adapters.leaf.ngs.steps import Join, Leave, Make, Map, Remove, Step, Unmap
from isthmus.model.faults import Retry

CONFIG = "show configuration | display set"
IN_FORCE = "show configuration | display inheritance no-comments | display set"
"""With what groups and interface ranges add, which the plain configuration shows at these alone."""
VLANS = "show vlans extensive | display json"
TUNNELS = r'show ethernet-switching vxlan-tunnel-end-point source | match "\+[0-9]"'
HISTORY = "show system commit | display json"
UPTIME = "show system uptime | display json"
ENTER = "configure private"
CANDIDATE = "show | display set"
CHECK, COMMIT = "commit check", "commit"
DROP, LEAVE = "rollback 0", "exit configuration-mode"
LAST, COUNT = " | last 3", " | count"
"""An answer in text has no end of its own: how it ends is asked for once more, or how many lines it has."""
PATIENCE = 180.0
"""Seconds for one command.  To commit something takes up to a minute."""

_LATE = 120.0
"""Seconds by which what was tried may be rolled back late."""
_MEANWHILE = "somebody else committed something meanwhile"
_DECOR = re.compile(r"#.*|\[edit\]|\{(master|backup|linecard|primary|secondary)(:\S+)?\}")
"""What stands around an answer."""
_HIDDEN = re.compile(r"(^|\s)(ACCESS-DENIED|(## |/\* ).*\bdenied)\b", re.IGNORECASE | re.MULTILINE)
"""What stands in the place of what a login is not shown."""
_LOCKED = re.compile(r"error: .*configuration database (locked|modified)")


def _read(say: Say, settings: NgsSettings) -> Held:
    begun, trial = _latest(say)
    plain, in_force = _whole(say, CONFIG), _whole(say, IN_FORCE)
    vlans, tunnels = _bare(say(VLANS)), _counted(say, TUNNELS)
    held = understood(plain, in_force, vlans, tunnels, settings, trial)
    return replace(held, revision=begun[0])  # who commits something meanwhile keeps ours from being committed to this


def _words(device: Any, step: Step) -> list[str]:
    vid = int(step.vid)
    name = device._get_network_name(f"{vid:032x}", vid)
    device._get_vlan_name_by_id = lambda vid: name  # it would ask the switch
    subports = [{"segmentation_id": vid}]
    match step:
        case Make():
            return list(device._format_commands(device.ADD_NETWORK, segmentation_id=vid, network_name=name))
        case Remove():
            return list(device._format_commands(device.DELETE_NETWORK, network_name=name))
        case Map(_, vni):
            return spelt(device, lambda device: device.plug_switch_to_network(int(vni), vid))
        case Unmap(_, vni):
            mapped = spelt(device, lambda device: device.plug_switch_to_network(int(vni), vid))
            said = spelt(device, lambda device: device.unplug_switch_from_network(int(vni), vid))
            # With their values, since the library's take off whatever is there by then.
            return [f"delete {word.removeprefix('set ')}" for off in said for word in mapped if _takes_off(off, word)]
        case Join(_, _, port):
            return spelt(device, lambda device: device.add_subports_on_trunk({}, port, subports))
        case Leave(_, port):
            return spelt(device, lambda device: device.del_subports_on_trunk({}, port, subports))


def _takes_off(off: str, word: str) -> bool:
    return word.startswith(f"set {off.removeprefix('delete ')} ")


def _tell(say: Say, steps: Sequence[Words], settings: NgsSettings, revision: str) -> list[str]:
    heard: list[str] = []
    said = committed(partial(_commit, say, heard, [revision]), _vlan, steps)
    return list(dict.fromkeys([*heard, *said]))


def _commit(say: Say, heard: list[str], base: list[str], steps: Sequence[Words]) -> Refusal | None:
    """Commit them all at once, to what was read, or to our own commits since: `base` is the newest of these.

    Raises Retry, and ends the session, if it does not say what became of it.
    """
    _undisturbed(say, "", base[0])
    _enter(say)
    spoken = [word for words in steps for word in words]
    stands = frozenset(_whole(say, CANDIDATE))
    words = [word for word in spoken if not _is_so(word, stands)]
    late = {word: why for word in words if (why := _too_late(word, stands))}
    heard += (f"{word}: {why} by now" for word, why in late.items())
    words = [word for word in words if word not in late]
    if not words:
        _leave(say)
        return None
    if answers := [(word, answer) for word in words if (answer := "; ".join(_lines(say(word))))]:
        _drop(say)
        complaints = [f"{word}: {without_secret(answer)}" for word, answer in answers]
        return Refusal(complaints, frozenset(answer for _, answer in answers))
    for command, done in ((CHECK, "configuration check succeeds"), (COMMIT, "commit complete")):
        try:
            _undisturbed(say, "run ", base[0])
        except InTheWay:
            _drop(say)
            raise
        if refusal := _refusal(say, command, done):
            return refusal
    _leave(say)
    (newest, previous), _ = _latest(say)
    base[0] = newest if previous == base[0] else ""  # else somebody came right after us, and no more is said
    return None


def _refusal(say: Say, command: str, done: str) -> Refusal | None:
    answer = say(command)
    lines = _lines(answer)
    if lines[-1:] == [done] and not any(line.startswith("error:") for line in lines):
        return None
    if not any(line.startswith("error:") for line in lines):
        raise Retry(f"it does not say what became of '{command}'; it says {_shown(lines)!r}")
    _drop(say)
    if _LOCKED.search(answer):
        raise InTheWay(_locked(lines))
    return Refusal([_shown(lines)], frozenset(lines))


def _save(say: Say, words: Words) -> list[str]:
    return []  # what is committed is kept


# The private candidate


def _enter(say: Say) -> None:
    lines = _lines(say(ENTER))
    if "Entering configuration mode" in lines:
        return
    if any(line.startswith("error:") for line in lines):
        raise InTheWay(_locked(lines))
    raise Retry(f"it does not let anybody configure it; it says {_shown(lines)!r}")


def _drop(say: Say) -> None:
    """Forget what was said, and leave."""
    lines = _lines(say(DROP))
    if "load complete" not in lines:
        raise nonsense("; ".join(lines))
    _leave(say)


def _leave(say: Say) -> None:
    lines = _lines(say(LEAVE))
    if "Exiting configuration mode" not in lines:
        raise nonsense("; ".join(lines))


def _is_so(word: str, candidate: Collection[str]) -> bool:
    """What is to be set stands there, or what is to go does not: a name stands there in whatever is below it."""
    match word.split():
        case ["delete", "vlans", name]:
            return not any(line.startswith(f"set vlans {name} ") for line in candidate)
        case ["delete", *path]:
            return f"set {' '.join(path)}" not in candidate
    return word in candidate


def _too_late(word: str, candidate: Collection[str]) -> str:
    """What stands there that was not there when the word was thought of: it would be taken away, or be replaced."""
    match word.split():
        case ["delete", "vlans", name]:
            ours = re.compile(
                rf"set vlans {re.escape(name)}( vlan-id \d+| vxlan( ingress-node-replication)?| description .*)?"
            )
        case ["set", "vlans", name, "vlan-id", _]:
            ours = re.compile(re.escape(word))
        case ["set", "vlans", name, *path, _]:
            about = re.escape(f"set vlans {name} {' '.join(path)} ")
            ours = re.compile(rf"(?!{about}).*")
        case _:
            return ""
    strange = (line for line in sorted(candidate) if line.split()[1:3] == ["vlans", name] and not ours.fullmatch(line))
    return next((f"there is {without_secret(line)!r}" for line in strange), "")


def _vlan(words: Words) -> str:
    """The VLAN that a step is about, by its name or its number, as all steps of a stage have it."""
    found = re.search(r" (?:members|vlans) (\S+)", words[0])
    return found[1] if found else ""


# What others do


def _undisturbed(say: Say, run: str, base: str) -> None:
    """Raise InTheWay if anybody committed anything since, or tries something."""
    (newest, _), trial = _latest(say, run)
    if trial:
        raise InTheWay("; ".join(trial))
    if newest != base:
        raise InTheWay(_MEANWHILE)


def _latest(say: Say, run: str = "") -> tuple[tuple[str, str], list[str]]:
    """The newest commit and the one before, and what of commits is still to come."""
    document = parsed(_bare(say(run + HISTORY)))
    try:
        [information] = document["commit-information"]
        [newest] = [found for found in information["commit-history"] if text(found, "sequence-number") == "0"]
        before = [found for found in information["commit-history"] if text(found, "sequence-number") == "1"]
        since = _seconds(newest)
        told_newest, told_before = _identity(newest), "".join(map(_identity, before))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as wrong:
        raise nonsense(f"{type(wrong).__name__}: {wrong}") from wrong
    told = list(_texts(newest))
    waiting: list[str] = []
    if "rollback pending" in told or _is_young(say, run, told, since):
        waiting.append("a commit is on trial, and may be rolled back: confirm it ('commit'), or wait")
    if information.keys() - {"attributes", "commit-history"}:
        waiting.append("a commit is to come at a set time: wait, or 'clear system commit'")
    return (told_newest, told_before), waiting


def _identity(commit: Any) -> str:
    said = (text(commit, word) for word in ("date-time", "user", "client"))
    return " ".join((*said, str(_seconds(commit))))


def _is_young(say: Say, run: str, told: Collection[str], since: int | None) -> bool:
    """It was on trial, and its time may not be over: not every release says that it still is."""
    found = next(filter(None, (re.search(r"commit confirmed, rollback in (\d+)\s*min", said) for said in told)), None)
    if found is None:
        return False
    document = parsed(_bare(say(run + UPTIME)))
    try:
        [[now], *_] = _below(document, "current-time")
        clock = _seconds(now)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as wrong:
        raise nonsense(f"{type(wrong).__name__}: {wrong}") from wrong
    return clock is None or since is None or clock < since + 60 * int(found[1]) + _LATE


def _seconds(entry: Any) -> int | None:
    """When that was; None if it is said in words alone."""
    [found] = entry["date-time"]
    said = found.get("attributes", {}).get("junos:seconds")
    return None if said is None else int(said)


def _below(document: Any, word: str) -> Iterator[Any]:
    """What stands below a word, wherever that is: the switches of a stack answer one by one."""
    for at, below in document.items() if isinstance(document, dict) else enumerate(document):
        if at == word:
            yield below
        elif isinstance(below, dict | list):
            yield from _below(below, word)


def _texts(document: Any) -> Iterator[str]:
    for below in document.values() if isinstance(document, dict) else document:
        if isinstance(below, str):
            yield below
        elif isinstance(below, dict | list):
            yield from _texts(below)


def _locked(lines: Sequence[str]) -> str:
    said = _shown(lines)
    if "configuration database modified" in said:
        return (
            f"somebody has changes in the shared candidate that are not committed: commit them, or 'rollback' ({said})"
        )
    return f"somebody keeps others from configuring it: have him leave configuration mode ({said})"


# Answers


def _lines(answer: str) -> list[str]:
    lines = (re.sub(r"\s*## .*$", "", " ".join(line.split())) for line in answer.splitlines())
    return [line for line in lines if line and not _DECOR.fullmatch(line)]


def _bare(answer: str) -> str:
    """An answer in JSON, without what stands around it."""
    return "\n".join(line for line in answer.splitlines() if not _DECOR.fullmatch(line.strip()))


def _shown(lines: Sequence[str]) -> str:
    return without_secret("; ".join(lines))[:300]


def _whole(say: Say, command: str) -> list[str]:
    """A configuration as statements.  Raises Retry unless it begins and ends as one does."""
    answer, last = say(command), _lines(say(command + LAST))
    lines = _lines(answer)
    if _HIDDEN.search(answer):
        raise Retry("this login is not shown all of its configuration: give it a class that may view everything")
    if wrong := next((line for line in lines if line.startswith("error:")), ""):
        raise nonsense(wrong)
    if not lines or not lines[0].startswith("set version ") or not last or lines[-len(last) :] != last:
        raise nonsense(first_words(lines[-1]) if lines else "")
    return lines


def _counted(say: Say, command: str) -> list[str]:
    """The rows of a table.  Raises Retry unless they are as many as the switch says."""
    lines, count = _lines(say(command)), _lines(say(command + COUNT))
    if count != [f"Count: {len(lines)} lines"]:
        raise nonsense("; ".join([*count, *lines[:1]]))
    return lines


def _prompts(prompt: str) -> str:
    """What ends an answer: the prompt, or that of configuration mode."""
    return rf"{re.escape(prompt[:-1])}[>#]\s*$"


JUNOS = Kind(_read, _words, _tell, _save, as_root=False, commits=True, patience=PATIENCE, prompts=_prompts)

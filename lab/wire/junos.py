"""The command line of a Junos switch (ELS) in memory: candidates, commits, and what then is shown of VLANs.

Law: nothing is so before it is committed; a private candidate commits what was changed in it and nothing else; whoever
commits, or only checks, confirms what is on trial.  What it shows of a VLAN is who hears it, whatever put him there.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lab.wire.modal import Complaint

Path: TypeAlias = tuple[str, ...]
Lines: TypeAlias = dict[Path, None]
"""Statements, in the order in which they came."""

USER = "isthmus"
_SINGLE = frozenset(
    ("vlan-id", "vni", "interface-mode", "native-vlan-id", "l3-interface", "vrf-target", "mtu", "version", "host-name")
)
"""Words that have one value, which the next takes the place of."""
_TOP = frozenset(
    (
        *("apply-groups", "chassis", "class-of-service", "firewall", "forwarding-options", "groups", "interfaces"),
        *("policy-options", "protocols", "routing-instances", "routing-options", "snmp", "switch-options", "system"),
        *("version", "vlans"),
    )
)
_SWITCHED = ("unit", "0", "family", "ethernet-switching")
_PORT = re.compile(r"(xe|ge|et)-\d+/\d+/\d+|ae\d+")


def fresh(ports: Iterable[str] = ("xe-0/0/1", "xe-0/0/2", "xe-0/0/3")) -> Lines:
    """EVPN and VXLAN are set up; these ports are trunks that carry a VLAN which is nobody's."""
    lines: Lines = {}
    for line in (
        "version 21.4R3.15",
        "system host-name leaf1",
        "system root-authentication encrypted-password $6$HIDDEN",
        *(f"interfaces {port} unit 0 family ethernet-switching interface-mode trunk" for port in ports),
        *(f"interfaces {port} unit 0 family ethernet-switching vlan members 4" for port in ports),
        "interfaces xe-0/0/48 unit 0 family inet address 192.0.2.1/31",
        "protocols bgp group OVERLAY family evpn signaling",
        "protocols evpn encapsulation vxlan",
        "protocols evpn extended-vni-list all",
        "protocols rstp interface all",
        "switch-options vtep-source-interface lo0.0",
        "switch-options route-distinguisher 192.0.2.101:1",
        "switch-options vrf-target target:65000:1",
        "vlans default vlan-id 1",
        "vlans v4 vlan-id 4",
    ):
        lines[tuple(line.split())] = None
    return lines


@dataclass(slots=True)
class Commit:
    """One of the past."""

    at: int
    user: str
    note: str = ""
    pending: bool = False


@dataclass(slots=True)
class Candidate:
    """A private one: what it began with, and what it is now."""

    base: Lines
    lines: Lines
    off: set[Path]


@dataclass(slots=True)
class JunosSwitch:
    """`changed` is called after each commit."""

    active: Lines = field(default_factory=fresh)
    off: set[Path] = field(default_factory=set)
    """What is deactivated."""
    candidate: Candidate | None = None
    """That of the one who is logged in here."""
    history: list[Commit] = field(default_factory=lambda: [Commit(1_000, "root")])
    """Newest first."""
    before_trial: Lines | None = None
    """What a commit that nobody confirms is rolled back to."""
    clock: int = 10_000
    tells_of_trial: bool = True
    """This release says that a rollback is pending."""
    at_a_time: str = ""
    """A commit that is to come."""
    exclusive: str = ""
    """Who keeps all others from committing."""
    shared: list[str] = field(default_factory=list)
    """What others have said to the shared candidate, and not committed."""
    refuses: frozenset[int] = frozenset()
    """VIDs that no commit may name."""
    declines: str = ""
    """What it says of whatever is to be committed."""
    slow: bool = False
    """What is committed does not come about."""
    leaves_bare: bool = False
    """What is empty stays, as a statement of its own."""
    dynamic: dict[int, str] = field(default_factory=dict)
    """A port that something other than the configuration put into each VLAN."""
    now: Lines = field(default_factory=fresh)
    """What came about of it."""
    _carried: tuple[Lines, frozenset[Path], Lines] = field(default=({}, frozenset(), {}), repr=False)
    """What is in force of what came about, and of what that was made."""
    changed: Callable[[], None] = lambda: None

    @property
    def prompt(self) -> str:
        """Of the mode."""
        return f"{USER}@leaf1{'#' if self.candidate else '>'}"

    @property
    def saved(self) -> bool:
        """There is nothing else than what is committed."""
        return True

    def log_out(self) -> None:
        """A private candidate goes with its session."""
        self.candidate = None

    def run(self, line: str) -> str:
        """Give a command.  Returns what it prints."""
        command, *pipes = (part.strip() for part in re.split(r" \| (?=[a-z])", line))
        configuring = self.candidate is not None
        try:
            if command.startswith("run ") and configuring:
                said = self._operational(command.removeprefix("run "), pipes)
            elif configuring:
                said = self._configure(command, pipes)
            else:
                said = self._operational(command, pipes)
        except Complaint as complaint:
            said = str(complaint)
        for pipe in pipes:
            said = _piped(said, pipe)
        return f"{said}\n\n[edit]" if self.candidate is not None else said

    # What others do

    def by_hand(self, *lines: str, user: str = "admin") -> None:
        """Somebody says this, and commits it."""
        self._commit(self._with(self.active, lines), user)

    def tries(self, *lines: str, minutes: int = 10, user: str = "admin") -> None:
        """Somebody commits this, to be rolled back unless it is confirmed."""
        before = dict(self.active)
        self._commit(self._with(self.active, lines), user)
        self.before_trial = before
        self.history[0].note, self.history[0].pending = f"commit confirmed, rollback in {minutes}mins", True

    def roll_back(self) -> None:
        """Nobody confirmed what was tried."""
        assert self.before_trial is not None
        self._commit(self.before_trial, "root")

    def deactivate(self, *paths: str) -> None:
        """Somebody leaves this where it is, and out of force."""
        self.off |= {tuple(path.split()) for path in paths}
        self._commit(dict(self.active), "admin")

    def _with(self, lines: Lines, said: Iterable[str]) -> Lines:
        lines = dict(lines)
        for line in said:
            verb, *path = line.split()
            (_put if verb == "set" else self._take)(lines, tuple(path))
        return lines

    def _take(self, lines: Lines, path: Path) -> bool:
        gone = [line for line in lines if line[: len(path)] == path]
        for line in gone:
            del lines[line]
        if self.leaves_bare and len(gone) == 1 and path[-2:-1] == ("vni",):
            lines[path[:-2]] = None
        return bool(gone)

    # Commits

    def _commit(self, lines: Lines, user: str) -> None:
        self.before_trial = None
        self.clock += 1
        for commit in self.history:
            commit.pending = False
        self.history.insert(0, Commit(self.clock, user))
        self.active = lines
        if not self.slow:
            self.comes_about()
        self.changed()

    def comes_about(self) -> None:
        """What is committed is so."""
        self.now = dict(self.active)

    def _configure(self, command: str, pipes: list[str]) -> str:
        candidate = self.candidate
        assert candidate is not None
        match command.split():
            case ["show"] if "display set" in pipes:
                return self._set_lines(candidate.lines, candidate.off)
            case ["set", top, *path] if top in _TOP:
                _put(candidate.lines, (top, *path))
                return ""
            case ["delete", top, *path] if top in _TOP:
                return "" if self._take(candidate.lines, (top, *path)) else "warning: statement not found"
            case ["commit", "check"]:
                self._check(self._merged(candidate))
                self._confirm()
                return "configuration check succeeds"
            case ["commit"]:
                lines = self._merged(candidate)
                self._check(lines)
                self._commit(lines, USER)
                self.candidate = Candidate(dict(lines), dict(lines), set(self.off))
                return "commit complete"
            case ["rollback", "0"]:
                self.candidate = Candidate(dict(self.active), dict(self.active), set(self.off))
                return "load complete"
            case ["exit", "configuration-mode"]:
                if candidate.lines != candidate.base:
                    return "Discard uncommitted changes? [yes,no] (yes)"
                self.candidate = None
                return "Exiting configuration mode"
        raise Complaint("                 ^\nsyntax error, expecting <statement>.")

    def _confirm(self) -> None:
        self.before_trial = None
        self.history[0].pending = False

    def _merged(self, candidate: Candidate) -> Lines:
        """The active configuration with what this candidate changes."""
        if self.exclusive:
            raise Complaint(self._locked())
        lines = dict(self.active)
        for path in candidate.base.keys() - candidate.lines.keys():
            lines.pop(path, None)
        for path in candidate.lines:
            if path not in candidate.base:
                strange = [old for old in lines if _replaces(path, old) and old not in candidate.base]
                if strange:
                    at = " ".join(path[:-2])
                    raise Complaint(
                        f"[edit {at}]\n  '{' '.join(path[-2:])}'\n    warning: statement does not match patch\n"
                        "error: commit failed: (statements do not match)"
                    )
                _put(lines, path)
        return lines

    def _locked(self) -> str:
        return (
            "error: configuration database locked by:\n"
            f"  {self.exclusive} terminal p0 (pid 4681) on since 2026-09-02 09:31:02 UTC\n      exclusive [edit]"
        )

    def _check(self, lines: Lines) -> None:
        for at, what, why in self._wrong(self._in_force(lines)):
            raise Complaint(f"[edit {at}]\n  '{what}'\n    {why}\nerror: configuration check-out failed")

    def _wrong(self, lines: Lines) -> Iterator[tuple[str, str, str]]:
        if self.declines:
            yield "protocols evpn", "encapsulation", self.declines
        seen: dict[tuple[str, str], str] = {}
        for path in lines:
            match path:
                case ("vlans", name, "vlan-id", vid):
                    if vid.isdigit() and int(vid) in self.refuses:
                        yield f"vlans {name}", f"vlan-id {vid}", "this VLAN cannot be configured"
                    if seen.setdefault(("vlan-id", vid), name) != name:
                        yield f"vlans {name}", f"vlan-id {vid}", "more than one VLAN has this vlan-id"
                case ("vlans", name, "vxlan", "vni", vni):
                    if seen.setdefault(("vni", vni), name) != name:
                        yield f"vlans {name}", f"vni {vni}", "more than one VLAN has this vni"
        for port, (mode, members) in _trunks(lines).items():
            if mode == "trunk" and not members:
                why = "For trunk interface, please ensure either vlan members is configured"
                yield f"interfaces {port} unit 0 family", "ethernet-switching", why
            if ("interfaces", port, "ether-options", "802.3ad") in {path[:-1] for path in lines}:
                yield f"interfaces {port}", "unit", "a member of an aggregate has no units"

    # What it shows

    def _operational(self, command: str, pipes: list[str]) -> str:
        match command:
            case "configure private":
                return self._enter()
            case "show configuration" if "display inheritance no-comments" in pipes:
                return self._set_lines(self._inherited(self.active), self.off)
            case "show configuration":
                return self._set_lines(self.active, self.off)
            case "show vlans extensive":
                return _json("l2ng-l2ald-vlan-instance-information", "l2ng-l2ald-vlan-instance-group", self._vlans())
            case "show ethernet-switching vxlan-tunnel-end-point source":
                return "\n".join(self._tunnels())
            case "show system commit":
                return self._history()
            case "show system uptime":
                now = {"date-time": [{"data": "now", "attributes": {"junos:seconds": str(self.clock)}}]}
                return _json("system-uptime-information", "current-time", [now])
        raise Complaint("        ^\nsyntax error.")

    def _enter(self) -> str:
        if self.exclusive:
            raise Complaint(self._locked())
        if self.shared:
            raise Complaint("error: shared configuration database modified")
        self.candidate = Candidate(dict(self.active), dict(self.active), set(self.off))
        return "warning: uncommitted changes will be discarded on exit\nEntering configuration mode"

    def _history(self) -> str:
        entries: list[dict[str, Any]] = []
        for number, commit in enumerate(self.history):
            told = {"sequence-number": str(number), "user": commit.user, "client": "cli"}
            entry: dict[str, Any] = {word: [{"data": said}] for word, said in told.items()}
            entry["date-time"] = [{"data": "2026-09-20 UTC", "attributes": {"junos:seconds": str(commit.at)}}]
            if commit.note:
                entry["comment"] = [{"data": commit.note}]
            if commit.pending and self.tells_of_trial:
                entry["commit-confirmed"] = [{"data": "rollback pending"}]
            entries.append(entry)
        more = {"commit-at": [{"data": self.at_a_time}]} if self.at_a_time else {}
        return json.dumps({"commit-information": [{"commit-history": entries, **more}]}, indent=4)

    def _set_lines(self, lines: Lines, off: set[Path]) -> str:
        version = [path for path in lines if path[0] == "version"]
        rest = sorted(path for path in lines if path[0] != "version")
        said = [f"set {_shown(path)}" for path in (*version, *rest)]
        gone = (path for path in sorted(off) if any(line[: len(path)] == path for line in lines))
        return "\n".join([*said, *(f"deactivate {' '.join(path)}" for path in gone)])

    def _inherited(self, lines: Lines) -> Lines:
        """With what groups and interface ranges add, and without these."""
        found = {path: None for path in lines if path[0] not in ("groups", "apply-groups")}
        ports = {path[1] for path in found if path[0] == "interfaces"}
        for applied in [path[1] for path in lines if path[0] == "apply-groups"]:
            for path in lines:
                if path[:2] == ("groups", applied):
                    named = ports if path[3:4] == ("<*>",) else {path[3]} if len(path) > 3 else {""}
                    for name in sorted(named):
                        _put_below(found, (path[2], *((name,) if name else ()), *path[4:]))
        ranges = [path for path in found if path[:2] == ("interfaces", "interface-range")]
        for path in ranges:
            del found[path]
        for path in ranges:
            for member in ranges:
                if path[3] != "member" and member[2:4] == (path[2], "member"):
                    _put_below(found, ("interfaces", member[4], *path[3:]))
        return found

    def _in_force(self, lines: Lines) -> Lines:
        return {p: None for p in self._inherited(lines) if not any(p[: len(off)] == off for off in self.off)}

    @property
    def carried(self) -> Lines:
        """What is in force of what came about."""
        now, off, carried = self._carried
        if now is not self.now or off != self.off:
            carried = self._in_force(self.now)
            self._carried = (self.now, frozenset(self.off), carried)
        return carried

    @property
    def vlans(self) -> dict[int, str]:
        """The names of those that there are, by VID."""
        lines = self.carried
        found: dict[int, str] = {}
        for path in lines:
            match path:
                case ("vlans", name, "vlan-id", vid) if vid.isdigit():
                    found[int(vid)] = name
                case ("vlans", name, "vlan-id-list", vids):
                    found |= {vid: f"{name}-vlan-{vid:04}" for vid in _vids(vids)}
        return found

    @property
    def maps(self) -> dict[int, int]:
        """VNIs by VID."""
        lines, names = self.carried, {name: vid for vid, name in self.vlans.items()}
        return {
            names[p[1]]: int(p[4]) for p in lines if p[0] == "vlans" and p[2:4] == ("vxlan", "vni") and p[1] in names
        }

    @property
    def svis(self) -> set[int]:
        """VLANs that are routed here."""
        names = {name: vid for vid, name in self.vlans.items()}
        return {names[p[1]] for p in self.carried if p[2:3] == ("l3-interface",) and p[1] in names}

    def members(self, vid: int) -> dict[str, str]:
        """How each port is in a VLAN, if there is one, up or down."""
        if vid not in self.vlans:
            return {}
        lines, found = self.carried, dict[str, str]()
        lags = {p[1] for p in lines if p[0] == "interfaces" and p[3:4] == ("802.3ad",)}
        for port, (mode, members) in _trunks(lines).items():
            if port in lags or not _PORT.fullmatch(port) or not any(self._names(word, vid) for word in members):
                continue
            native = ("interfaces", port, "native-vlan-id", str(vid)) in lines
            found[port] = "tagged" if mode == "trunk" and not native else "untagged"
        for path in lines:
            match path:
                case ("interfaces", port, "unit", unit, "vlan-id", said) if said == str(vid):
                    found[f"{port}.{unit}"] = "tagged"
                case ("vlans", name, "interface", port) if name == self.vlans[vid]:
                    found[port.removesuffix(".0")] = "tagged"
        return found | ({self.dynamic[vid]: "untagged"} if vid in self.dynamic else {})

    def _names(self, word: str, vid: int) -> bool:
        return word in ("all", self.vlans[vid]) or vid in _vids(word)

    def _vlans(self) -> Iterator[dict[str, Any]]:
        yield from (self._vlan("default-switch", vid, name) for vid, name in sorted(self.vlans.items()))
        for path in self.carried:
            match path:
                case ("routing-instances", instance, "vlans", name, "vlan-id", vid):
                    yield _told(instance, name, vid)

    def _vlan(self, instance: str, vid: int, name: str) -> dict[str, Any]:
        told = _told(instance, name, str(vid))
        if vid in self.svis:
            told["l2ng-l2rtb-vlan-l3-interface"] = [{"data": f"irb.{vid}"}]
        members = {f"{port}.0*" if "." not in port else port: how for port, how in self.members(vid).items()}
        members |= {"vtep.32769*": "tagged"} if vid in self.maps else {}
        told["l2ng-l2rtb-vlan-member"] = [
            {
                "l2ng-l2rtb-vlan-member-interface": [{"data": port}],
                "l2ng-l2rtb-vlan-member-tagness": [{"data": how}],
                "l2ng-l2rtb-vlan-member-interface-mode": [{"data": "trunk"}],
            }
            for port, how in members.items()
        ] or [{"l2ng-l2rtb-vlan-member-interface": [{}]}]
        return told

    def _tunnels(self) -> Iterator[str]:
        yield "Logical System Name       Id  SVTEP-IP         IFL   L3-Idx    SVTEP-Mode    ELP-SVTEP-IP"
        yield "<default>                 0   192.0.2.101      lo0.0    0"
        yield "    L2-RTT                   Bridge Domain              VNID     Translation-VNID    MC-Group-IP"
        for vid, vni in sorted(self.maps.items()):
            name = f"{self.vlans[vid]}+{vid}"
            yield f"    default-switch           {name:<26} {vni:<28} 0.0.0.0             vtep.32768"


def _told(instance: str, name: str, vid: str) -> dict[str, Any]:
    words = {"l2ng-l2rtb-name": instance, "l2ng-l2rtb-vlan-name": name, "l2ng-l2rtb-vlan-tag": vid}
    return {word: [{"data": said}] for word, said in words.items()}


def _json(outer: str, inner: str, entries: Iterable[dict[str, Any]]) -> str:
    return json.dumps({outer: [{inner: list(entries)}]}, indent=4)


def _piped(said: str, pipe: str) -> str:
    lines = said.splitlines()
    if pipe == "count":
        return f"Count: {len(lines)} lines"
    if found := re.fullmatch(r"last (\d+)", pipe):
        return "\n".join(lines[-int(found[1]) :])
    if found := re.fullmatch(r'match "(.*)"', pipe):
        return "\n".join(line for line in lines if re.search(found[1], line))
    return said


def _shown(path: Path) -> str:
    secret = " ## SECRET-DATA" if "encrypted-password" in path else ""
    return " ".join(path) + secret


def _vids(word: str) -> range:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
    return range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)


def _replaces(path: Path, old: Path) -> bool:
    return len(path) == len(old) and path[:-1] == old[:-1] and len(path) > 1 and path[-2] in _SINGLE and path != old


def _put(lines: Lines, path: Path) -> None:
    for old in [old for old in lines if _replaces(path, old) or old == path[: len(old)]]:
        del lines[old]
    lines[path] = None


def _put_below(lines: Lines, path: Path) -> None:
    """What stands there by itself goes before what a group says."""
    if not any(_replaces(path, old) for old in lines):
        lines.setdefault(path)


def _trunks(lines: Lines) -> dict[str, tuple[str, list[str]]]:
    """The mode of each switched port, and what its list names."""
    modes: dict[str, str] = {}
    members: defaultdict[str, list[str]] = defaultdict(list)
    for path in lines:
        match path:
            case ("interfaces", port, "unit", "0", "family", "ethernet-switching", *rest) if port != "interface-range":
                modes.setdefault(port, "access")
                if rest[:1] == ["interface-mode"]:
                    modes[port] = rest[1]
                elif rest[:2] == ["vlan", "members"]:
                    members[port] += rest[2:]
    return {port: (mode, members[port]) for port, mode in modes.items()}

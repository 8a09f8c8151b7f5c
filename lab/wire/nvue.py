"""The command line of a Cumulus Linux 5 switch in memory: NVUE's revisions, and what the kernel's bridge then carries.

Law: nothing is so before it is applied, and what the kernel carries follows from all that is applied, whoever said it.
Where documentation leaves it open what becomes of a revision that is older than what it replaces, the worst is done:
it replaces the whole, and what others applied meanwhile is gone.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeAlias

Tree: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str, ...]

BRIDGE = "br_default"
_VXLAN = "vxlan48"
_SETTINGS = frozenset(
    (
        "access",
        "encap",
        "description",
        "untagged",
        "type",
        "enable",
        "state",
        "base-interface",
        "mode",
        "vlan-vni-offset",
    )
)
"""Words that have a value; the others have things of a name below them."""
_COLLECTIONS = frozenset(("vlan", "vni", "member", "interface", "domain"))
_ROOTS = frozenset(
    ("acl", "bridge", "evpn", "interface", "mlag", "nve", "platform", "qos", "router", "service", "system", "vrf")
)
_FRAMED = re.compile(r"(.*?)( \| cat)?(; echo rc=\$\{PIPESTATUS\[0\]\})?")
_PAGE = 23
"""Lines that a terminal is shown before it must press a key."""


class Complaint(Exception):
    """What the switch says instead of doing it."""


@dataclass(slots=True)
class Candidate:
    """What somebody has staged."""

    revision: str
    tree: Tree


def fresh() -> Tree:
    """VXLAN and EVPN are set up; host-facing ports are trunks that carry a VLAN which is nobody's."""
    tree: Tree = {}
    for line in (
        "bridge domain br_default type vlan-aware",
        "bridge domain br_default vlan 4",
        "interface swp1-3 bridge domain br_default vlan 4",
        "interface swp1-3 bridge domain br_default untagged none",
        "nve vxlan enable on",
        "evpn enable on",
    ):
        _put(tree, line.split())
    return tree


PAIR = (
    "set interface peerlink type peerlink",
    "set interface peerlink bond member swp4-5",
    "set mlag mac-address 44:38:39:BE:EF:AA",
    "set interface peerlink.4094 base-interface peerlink",
)
"""What makes it one of a pair.  The link between the two is bridged by itself: no word says so."""


@dataclass(slots=True)
class NvueSwitch:
    """`changed` is called after each revision that was applied."""

    ports: tuple[str, ...] = ("swp1", "swp2", "swp3", "swp4", "swp5")
    applied: Tree = field(default_factory=fresh)
    startup: Tree = field(default_factory=fresh)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    """By user."""
    states: dict[str, str] = field(default_factory=lambda: {"1": "applied"})
    """Of each revision."""
    before_trial: Tree | None = None
    """What an unconfirmed revision is rolled back to."""
    dropped: list[tuple[str, ...]] = field(default_factory=list)
    """Lines of each candidate that was detached."""
    refuses: frozenset[int] = frozenset()
    """VIDs that no revision may name."""
    declines: str = ""
    """What it says of whatever is to be applied."""
    warns: str = ""
    """What it asks about before it applies anything."""
    slow_kernel: bool = False
    """What is applied does not reach the kernel."""
    carried: Tree = field(default_factory=fresh)
    changed: Callable[[], None] = lambda: None

    def run(self, line: str, user: str = "isthmus") -> str:
        """Give a command.  Returns what it prints."""
        framed = _FRAMED.fullmatch(line)
        assert framed is not None
        said, code = self._run(framed[1], user)
        lines = said.splitlines()
        if line.startswith("nv ") and not framed[2] and len(lines) > _PAGE:
            return "\n".join([*lines[:_PAGE], ":"])
        return f"{said}\nrc={code}".lstrip("\n") if framed[3] else said

    def _run(self, line: str, user: str) -> tuple[str, int]:
        words = line.split()
        try:
            match words:
                case ["nv", "set", *what]:
                    return self._stage(user, what, _put), 0
                case ["nv", "unset", *what]:
                    return self._stage(user, what, _take), 0
                case ["nv", "config", *what]:
                    return self._config(what, user), 0
                case ["ip", "-j", "-d", "link", "show"]:
                    return json.dumps(list(self._links())), 0
                case ["bridge", "-j", "vlan", "show"]:
                    return json.dumps(list(self._vlans())), 0
                case ["bridge", "-j", "vlan", "tunnelshow"]:
                    return json.dumps(list(self._tunnels())), 0
        except Complaint as said:
            return str(said), 1
        return f"-bash: {words[0]}: command not found", 127

    def by_hand(self, *lines: str, user: str = "admin") -> None:
        """Somebody says this, and applies it."""
        for line in lines:
            said, code = self._run(f"nv {line}", user)
            assert not code, said
        if lines:
            said, code = self._run("nv config apply --assume-yes", user)
            assert not code, said

    def roll_back(self) -> None:
        """Nobody confirmed what was tried."""
        assert self.before_trial is not None
        self.applied, self.before_trial = self.before_trial, None
        for revision, state in self.states.items():
            if state == "confirm":
                self.states[revision] = "confirm_fail"
        self._carry()

    # What is staged and applied

    def _stage(self, user: str, words: Sequence[str], how: Callable[[Tree, Sequence[str]], None]) -> str:
        if not words or words[0] not in _ROOTS:
            raise Complaint(f"Error: '{' '.join(words[:1])}' is not one of {sorted(_ROOTS)}")
        said, candidate = "", self.candidates.get(user)
        if candidate is None:
            revision = str(max(map(int, self.states)) + 1)
            candidate = self.candidates[user] = Candidate(revision, deepcopy(self.applied))
            self.states[revision] = "pending"
            said = f"created [rev_id: {revision}]"
        how(candidate.tree, words)
        return said

    def _config(self, words: Sequence[str], user: str) -> str:
        match words:
            case ["show", "-o", "json"]:
                header = {"model": "VX", "nvue-api-version": "nvue_v1", "rev-id": 1.0}
                return json.dumps([{"header": header}, {"set": _folded(self.applied)}], indent=2)
            case ["diff", "-o", "commands"]:
                return "\n".join(self.staged(user))
            case ["revision", "-o", "json"]:
                shown: Tree = {revision: {"state": state} for revision, state in self.states.items()}
                return json.dumps(shown | {"empty": {}, "startup": {"message": "as it starts"}}, indent=2)
            case ["detach"]:
                if user in self.candidates:
                    self.dropped.append(self.staged(user))
                    self.states[self.candidates.pop(user).revision] = "detached"
                return ""
            case ["apply", ("--assume-yes" | "--assume-no") as answer]:
                return self._apply(user, agrees=answer == "--assume-yes")
            case ["apply", "--confirm", _, "--assume-yes"]:
                before, tried = deepcopy(self.applied), self.candidates.get(user)
                self._apply(user, agrees=True)
                assert tried is not None
                self.before_trial, self.states[tried.revision] = before, "confirm"
                return "confirm"
            case ["save"]:
                self.startup = deepcopy(self.applied)
                return "saved [rev_id: applied]"
        raise Complaint("Error: Invalid parameter")

    def staged(self, user: str) -> tuple[str, ...]:
        """What a user's candidate would change, as it is shown."""
        candidate = self.candidates.get(user)
        return () if candidate is None else tuple(_difference(self.applied, candidate.tree))

    def _apply(self, user: str, *, agrees: bool) -> str:
        candidate = self.candidates.get(user)
        if candidate is None:
            raise Complaint("Error: Nothing to apply")
        revision, tree = candidate.revision, candidate.tree
        if self.warns and not agrees:
            self.states[revision] = "ays_fail"
            raise Complaint(f"Warning: {self.warns}\n\nAre you sure? [y/N] N\nays_fail [rev_id: {revision}]")
        if wrong := next(self._wrong(tree), ""):
            self.states[revision] = "invalid"
            raise Complaint(f"Invalid config [rev_id: {revision}]\n  {wrong}")
        del self.candidates[user]
        self.applied = tree
        self.states |= {earlier: "previous" for earlier, state in self.states.items() if state.startswith("applied")}
        saves = at(tree, "system", "config", "auto-save", "enable") == "on"
        if saves:
            self.startup = deepcopy(tree)
        self.states[revision] = "applied_and_saved" if saves else "applied"
        self._carry()
        return f"{self.states[revision]} [rev_id: {revision}]"

    def _carry(self) -> None:
        if not self.slow_kernel:
            self.carried = deepcopy(self.applied)
        self.changed()

    def _wrong(self, tree: Tree) -> Iterator[str]:
        if self.declines:
            yield self.declines
        seen: set[str] = set()
        for _, vid, vlan in _domain_vlans(tree):
            if int(vid) in self.refuses:
                yield f"bridge domain vlan {vid}: this VLAN cannot be configured"
            for vni in vlan.get("vni", {}):
                if vni in seen and vni != "auto":
                    yield f"VNI {vni} is on more than one VLAN"
                seen.add(vni)
        members = _bond_members(tree)
        for port, domain, how in _bridged(tree):
            if "access" in how and "vlan" in how:
                yield f"interface {port} bridge domain {domain}: access and vlan exclude each other"
            if port in members:
                yield f"interface {port} is a member of {members[port]}"

    # What the kernel then carries

    @property
    def members(self) -> dict[int, dict[str, str]]:
        """What is in each VLAN of the bridge, "tagged" or "untagged", beside the tunnel."""
        found: defaultdict[int, dict[str, str]] = defaultdict(dict)
        for port, domain, _ in self._there():
            if domain == BRIDGE:
                for vid, bare in self._carries(port):
                    found[vid][port] = "untagged" if bare else "tagged"
        return dict(found)

    @property
    def maps(self) -> dict[int, int]:
        """VNIs by VID."""
        if at(self.carried, "nve", "vxlan", "enable") != "on":
            return {}
        maps = {int(vid): int(vni) for _, vid, vlan in _domain_vlans(self.carried) for vni in vlan.get("vni", {})}
        routed = (vni for vrf in self.carried.get("vrf", {}).values() for vni in (at(vrf, "evpn", "vni") or {}))
        return maps | {4000 + number: int(vni) for number, vni in enumerate(routed)}

    def _there(self) -> Iterator[tuple[str, str, Tree]]:
        bonds = set(_bond_members(self.carried).values())
        return ((port, d, how) for port, d, how in _bridged(self.carried) if port in bonds or port in self.ports)

    def _carries(self, port: str) -> Iterator[tuple[int, bool]]:
        [(domain, how)] = [(domain, how) for name, domain, how in self._there() if name == port]
        shared = at(self.carried, "bridge", "domain", domain) or {}
        if "access" in how:
            yield int(how["access"]), True
            return
        bare = how.get("untagged", shared.get("untagged", "1"))
        listed = set(how.get("vlan", {"all": {}}))
        vids = {int(vid) for vid in (set(shared.get("vlan", {})) if "all" in listed else set()) | (listed - {"all"})}
        if bare != "none":
            yield int(bare), True
            vids.discard(int(bare))
        yield from ((vid, False) for vid in sorted(vids))

    def _vlans(self) -> Iterator[Tree]:
        for port, _, _ in self._there():
            entries = [
                {"vlan": vid, "flags": ["PVID", "Egress Untagged"]} if bare else {"vlan": vid}
                for vid, bare in self._carries(port)
            ]
            if entries:
                yield {"ifname": port, "vlans": entries}
        if self.maps:
            yield {"ifname": _VXLAN, "vlans": [{"vlan": vid} for vid in sorted(self.maps)]}
        for domain in at(self.carried, "bridge", "domain") or {}:
            own = {1, *(vid for _, base, vid in self._upper() if base == domain)}
            yield {"ifname": domain, "vlans": [{"vlan": vid} for vid in sorted(own)]}

    def _tunnels(self) -> Iterator[Tree]:
        if self.maps:
            tunnels = [{"vlan": vid, "tunid": vni} for vid, vni in sorted(self.maps.items())]
            yield {"ifname": _VXLAN, "tunnels": tunnels}

    def _links(self) -> Iterator[Tree]:
        bonds, bridged = _bond_members(self.carried), {port: domain for port, domain, _ in self._there()}
        for port in ("lo", "eth0", *self.ports):
            link: Tree = {"ifname": port, "link_type": "ether"}
            if port in bonds:
                link |= {"master": bonds[port], "linkinfo": {"info_slave_kind": "bond"}}
            elif port in bridged:
                link |= {"master": bridged[port], "linkinfo": {"info_slave_kind": "bridge"}}
            yield link
        for bond in sorted(set(bonds.values())):
            link = {"ifname": bond, "link_type": "ether", "linkinfo": {"info_kind": "bond"}}
            yield link | ({"master": bridged[bond]} if bond in bridged else {})
        for domain, how in (at(self.carried, "bridge", "domain") or {}).items():
            aware = how.get("type", "vlan-aware") == "vlan-aware"
            data = {"vlan_filtering": int(aware), "vlan_protocol": how.get("encap", "802.1Q")}
            yield {"ifname": domain, "link_type": "ether", "linkinfo": {"info_kind": "bridge", "info_data": data}}
        if self.maps:
            info = {"info_kind": "vxlan", "info_data": {"external": True, "vnifilter": True}}
            yield {"ifname": _VXLAN, "master": BRIDGE, "linkinfo": info | {"info_slave_kind": "bridge"}}
        for name, base, vid in self._upper():
            info = {"info_kind": "vlan", "info_data": {"protocol": "802.1Q", "id": vid, "flags": []}}
            yield {"ifname": name, "link": base, "link_type": "ether", "linkinfo": info}

    def _upper(self) -> Iterator[tuple[str, str, int]]:
        """Interfaces that stand on a VLAN of a bridge, or of a port."""
        for name, how in self.carried.get("interface", {}).items():
            if found := re.fullmatch(r"vlan(\d+)", name):
                yield name, how.get("base-interface", BRIDGE), int(found[1])
            elif found := re.fullmatch(r"(\S+)\.(\d+)", name):
                yield name, found[1], int(found[2])
            elif "vlan" in how:
                yield name, how.get("base-interface", BRIDGE), int(how["vlan"])


# Trees


def at(tree: Tree, *path: str) -> Any:
    """What is there; None if nothing is."""
    found: Any = tree
    for word in path:
        found = found.get(word) if isinstance(found, dict) else None
    return found


def _domain_vlans(tree: Tree) -> Iterator[tuple[str, str, Tree]]:
    for domain, how in (at(tree, "bridge", "domain") or {}).items():
        for vid, vlan in how.get("vlan", {}).items():
            yield domain, vid, vlan


def _bridged(tree: Tree) -> Iterator[tuple[str, str, Tree]]:
    for port, how in tree.get("interface", {}).items():
        domains = at(how, "bridge", "domain") or {}
        if not domains and (port == "peerlink" or how.get("type") == "peerlink"):
            domains = {BRIDGE: {}}  # by itself
        for domain, bridged in domains.items():
            yield port, domain, bridged


def _bond_members(tree: Tree) -> dict[str, str]:
    bonds = tree.get("interface", {}).items()
    return {port: bond for bond, how in bonds for port in (at(how, "bond", "member") or {})}


def _paths(words: Sequence[str]) -> Iterator[Path]:
    """The words, for each single port and VLAN that they name."""
    choices = []
    for number, word in enumerate(words):
        before = words[number - 1] if number else ""
        if before in ("interface", "member") and number > 0:
            choices.append(list(_names(word)))
        elif before == "vlan" and word[0].isdigit():
            choices.append(list(_numbers(word)))
        else:
            choices.append([word])
    return (tuple(chosen) for chosen in product(*choices))


def _numbers(said: str) -> Iterator[str]:
    for part in said.split(","):
        first, _, last = part.partition("-")
        if not (first.isdigit() and (not last or last.isdigit())):
            raise Complaint(f"Error: Invalid parameter\n  '{said}' is not a list of VLANs")
        yield from map(str, range(int(first), int(last or first) + 1))


def _names(said: str) -> Iterator[str]:
    stem = ""
    for part in said.split(","):
        found = re.fullmatch(r"(.*?[^\d-])?(\d+)-(\d+)", part)
        if found:
            stem = found[1] or stem
            yield from (f"{stem}{number}" for number in range(int(found[2]), int(found[3]) + 1))
        else:
            yield f"{stem}{part}" if part.isdigit() else part
            stem = re.sub(r"\d+$", "", part) or stem


def _put(tree: Tree, words: Sequence[str]) -> None:
    for path in _paths(words):
        at, rest = tree, list(path)
        while rest:
            word = rest.pop(0)
            if rest and (word in _SETTINGS or (word == "vlan" and path[0] == "interface" and len(path) == 4)):
                at[word] = rest.pop(0)
            else:
                at = at.setdefault(word, {})


def _take(tree: Tree, words: Sequence[str]) -> None:
    for path in _paths(words):
        at, trail = tree, []
        for word in path[:-1]:
            if not isinstance(at.get(word), dict):
                break
            trail.append((at, word))
            at = at[word]
        else:
            at.pop(path[-1], None)
            for above, word in reversed(trail):
                if above[word] or word not in _COLLECTIONS:
                    break
                del above[word]


def _leaves(tree: Tree, above: Path = ()) -> Iterator[Path]:
    for word, below in tree.items():
        if isinstance(below, dict) and below:
            yield from _leaves(below, (*above, word))
        else:
            yield (*above, word) if isinstance(below, dict) else (*above, word, str(below))


def _prefixes(paths: Iterable[Path]) -> set[Path]:
    return {path[:length] for path in paths for length in range(1, len(path) + 1)}


def _difference(old: Tree, new: Tree) -> Iterator[str]:
    had, has = _prefixes(_leaves(old)), _prefixes(_leaves(new))
    gone = [path for path in sorted(had - has) if path[:-1] not in had - has]
    came = [path for path in sorted(_leaves(new)) if path not in had]
    yield from (f"nv unset {line}" for line in _listed(gone))
    yield from (f"nv set {line}" for line in _listed(came))


def _listed(paths: Iterable[Path]) -> Iterator[str]:
    """The paths as they are shown: what differs by one VLAN or port only is one line."""
    lines = [tuple(path) for path in paths]
    for word in ("vlan", "interface"):
        grouped: defaultdict[tuple[Path, Path], list[str]] = defaultdict(list)
        for path in lines:
            at = next((n + 1 for n, w in enumerate(path[:-1]) if w == word), None)
            plain = at is None or not re.fullmatch(r"\d+|[a-z]+\d+", path[at])
            key = (path, ()) if plain or at is None else (path[:at], path[at + 1 :])
            grouped[key].append("" if plain or at is None else path[at])
        lines = [(*a, *([_range(names)] if names != [""] else []), *b) for (a, b), names in grouped.items()]
    return (" ".join(line) for line in lines)


def _range(names: Sequence[str]) -> str:
    """``swp1-3,5``."""
    found = [re.fullmatch(r"(\D*)(\d+)", name) for name in names]
    if len({match[1] for match in found if match}) != 1 or None in found:
        return ",".join(names)
    stem, parts = found[0][1] if found[0] else "", []
    numbers = sorted(int(match[2]) for match in found if match)
    first = last = numbers[0]
    for number in [*numbers[1:], -1]:
        if number == last + 1:
            last = number
            continue
        parts.append(f"{first}" if first == last else f"{first}-{last}")
        first = last = number
    return stem + ",".join(parts)


def _folded(tree: Tree) -> Tree:
    """As it is shown: what is alike, below one word, stands once for a range of names."""
    shown: Tree = {}
    for word, below in tree.items():
        shown[word] = _folded(below) if isinstance(below, dict) else below
        if word in ("vlan", "interface") and isinstance(below, dict):
            alike: dict[str, list[str]] = {}
            for name, how in shown[word].items():
                alike.setdefault(json.dumps(how, sort_keys=True), []).append(name)
            plain = [name for name in shown[word] if not re.fullmatch(r"\d+|(swp|bond)\d+", name)]
            shown[word] = {
                part: json.loads(how)
                for how, names in alike.items()
                for part in (
                    *([_range([n for n in names if n not in plain])] if set(names) - set(plain) else []),
                    *(n for n in names if n in plain),
                )
            }
    return shown

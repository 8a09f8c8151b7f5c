"""What must be made in a vCenter before a deployment can stand on one of its switches.

Law: only what carries our own mark is changed, and nothing is ever taken away: no host or NIC off a switch, no NIC
from another switch, nothing that passes the uplinks from who may use it.  What is there and will do is left as it is,
whoever made it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from isthmus.model.ground import (
    Carried,
    Ground,
    GroupFound,
    HostFound,
    JoinHost,
    MakeSwitch,
    MakeTrunk,
    NarrowUplinks,
    NicUse,
    Preparation,
    Preparing,
    SetSwitch,
    SetTrunk,
    Step,
    SwitchFound,
    SwitchWanted,
    UplinkFound,
    WidenUplinks,
)
from isthmus.model.names import DvsId
from isthmus.model.observed import MOST_LEARNED, MacLearning, Trunk
from isthmus.model.tags import NO_VIDS, VidSet

FEWEST_UPLINKS = 4  # what vCenter itself gives a new switch: room for another NIC later
ABSENT = "it does not exist"
UUID = re.compile(r"[0-9a-f]{2}( [0-9a-f]{2}){7}-[0-9a-f]{2}( [0-9a-f]{2}){7}")


@dataclass(frozen=True, slots=True)
class _Gap:
    """Something that is not as wanted.  `does` None: isthmus never does that by itself."""

    what: str
    remedy: str
    does: Preparing | None = None
    needed: bool = True
    """Else the deployment works without it: it is put right on a switch of ours only."""
    of_host: bool = False
    """It is about a single host; the switch will do for others."""


def prepare(wanted: SwitchWanted, ground: Ground) -> Preparation:
    """What is to be done for one switch."""
    place = f"distributed switch '{wanted.name}'"
    same = [switch for switch in ground.switches if wanted.name in (switch.name, switch.id)]
    if len(same) > 1:
        ids = ", ".join(sorted(switch.id for switch in same))
        return Preparation((), (f"{place}: exists {len(same)} times: use a uuid of {ids}",))
    if not same and UUID.fullmatch(wanted.name):
        return Preparation((), (f"{place}: there is none of this uuid, which no name makes: write a name",))
    hosts, refusals = _hosts(wanted, ground)
    if not hosts:
        return Preparation((), (*refusals, f"{place}: none of its hosts is there, so there is nothing to begin with"))
    centers = sorted({host.datacenter for host in hosts.values()})
    if len(centers) > 1:
        what = f"{place}: its hosts lie in {len(centers)} datacenters ({', '.join(centers)}), a switch lies in one"
        return Preparation((), (*refusals, f"{what}: make a deployment for each"))
    if not same:
        return _resolved(place, wanted, None, [*_new(wanted, hosts, centers[0])], refusals)
    [switch] = same
    if switch.datacenter != centers[0]:
        what = f"{place}: lies in datacenter {switch.datacenter}, its hosts in {centers[0]}"
        return Preparation((), (*refusals, f"{what}: name it otherwise, or correct the hosts"))
    return _resolved(place, wanted, switch, [*_gaps(wanted, switch, hosts, ground)], refusals)


def _resolved(
    place: str, wanted: SwitchWanted, switch: SwitchFound | None, gaps: list[_Gap], refusals: list[str]
) -> Preparation:
    """Gaps as steps where isthmus may close them, else in words."""
    ours = switch is None or (switch.maker is not None and switch.maker.owner == wanted.mark.owner)
    steps, unfit = [], bool(refusals) and not ours
    for gap in gaps:
        trunk = isinstance(gap.does, MakeTrunk | SetTrunk)
        if trunk and unfit:
            continue  # once the switch will do; until then nothing of ours is put there
        # A port group of our own is nothing that changes the switch.
        if gap.does is not None and (ours or trunk):
            dvs: DvsId | None = None if switch is None else switch.id
            steps.append(Step(wanted.name, dvs, wanted.mark.owner, gap.does, gap.what))
        elif gap.needed:
            theirs = "" if ours else " (isthmus did not make this switch, so it leaves it as it is)"
            refusals.append(f"{place}: {gap.what}: {gap.remedy}{theirs}")
            unfit = unfit or not ours or not gap.of_host
    if switch is None and not any(isinstance(step.does, JoinHost) for step in steps):
        steps = []  # a switch without a host is of use to nobody
    return Preparation(tuple(steps), tuple(refusals))


def _hosts(wanted: SwitchWanted, ground: Ground) -> tuple[dict[str, HostFound], list[str]]:
    """The hosts by name, and what is to be said of those that cannot be told."""
    found: dict[str, HostFound] = {}
    refusals = []
    for name in wanted.nics:
        match [host for host in ground.hosts if host.name == name]:
            case [host]:
                found[name] = host
            case []:
                refusals.append(f"host '{name}': does not exist in this vCenter: write its name as vCenter does")
            case several:
                refusals.append(f"host '{name}': exists {len(several)} times in this vCenter: rename one")
    return found, refusals


def _new(wanted: SwitchWanted, hosts: Mapping[str, HostFound], datacenter: str) -> Iterator[_Gap]:
    uplinks = max([FEWEST_UPLINKS, *map(len, wanted.nics.values())]) if wanted.wired else 1
    carries = Carried(wanted.vids) if wanted.wired else None  # nobody is there yet who would send untagged
    yield _Gap(ABSENT, "", MakeSwitch(datacenter, wanted.mark, wanted.mtu, uplinks, carries))
    yield from _members(wanted, None, hosts, uplinks)
    if not wanted.wired:
        yield _Gap(ABSENT, "", MakeTrunk(_trunk_name(wanted), wanted.mark, wanted.vids))


def _gaps(wanted: SwitchWanted, switch: SwitchFound, hosts: Mapping[str, HostFound], ground: Ground) -> Iterator[_Gap]:
    yield from _settings(wanted, switch)
    yield from _uplinks(wanted, switch) if wanted.wired else _closed(wanted, switch)
    yield from _members(wanted, switch, hosts, switch.uplinks)
    if wanted.wired:
        yield from _strangers(wanted, switch, ground)
    else:
        yield from _trunk(wanted, switch)


def _settings(wanted: SwitchWanted, switch: SwitchFound) -> Iterator[_Gap]:
    mtu = max(wanted.mtu, switch.mtu)
    if switch.mtu < wanted.mtu:
        what = f"its MTU is {switch.mtu}, {wanted.mtu} is needed"
        yield _Gap(what, f"set it to {wanted.mtu} or more", SetSwitch(mtu))
    elif wanted.wired and not switch.lldp:
        yield _Gap("it does not listen to LLDP and speak it", "", SetSwitch(mtu), needed=False)


def _uplinks(wanted: SwitchWanted, switch: SwitchFound) -> Iterator[_Gap]:
    """Each uplink port group carries the deployment's VIDs, and more only where somebody may be using it."""
    lets = Carried(wanted.vids)
    users = switch.users_beside(wanted.mark.owner, wanted.vids)
    if not switch.uplink_groups:
        yield _Gap("it has no uplink port group", "add uplinks to the switch")
    for group in switch.uplink_groups:
        here = _uplinks_of(group, switch)
        missing, more = lets - group.carries, group.carries - lets
        exactly = more and not users
        does = NarrowUplinks(group.key, lets) if exactly else WidenUplinks(group.key, lets)
        if not group.trunk:
            yield _Gap(f"{here} are no VLAN trunk", f"make their port group a trunk that carries {lets}")
        elif missing:
            beside = f", and carry {more} for nobody" if exactly else ""
            yield _Gap(f"{here} do not carry {missing}{beside}", "add them to the uplink port group's trunk", does)
        elif exactly:
            yield _Gap(f"{here} carry {more} for nobody", "", does, needed=False)


def _uplinks_of(group: UplinkFound, switch: SwitchFound) -> str:
    return "its uplinks" if len(switch.uplink_groups) == 1 else f"its uplinks in port group '{group.name}'"


def _closed(wanted: SwitchWanted, switch: SwitchFound) -> Iterator[_Gap]:
    """On a wire the hosts' tags would meet."""
    passing = VidSet.joined(piece for group in switch.uplink_groups for piece in group.carries.vids.ranges)
    carried = passing & wanted.vids
    if carried and any(switch.members.values()):
        what = f"physical NICs are on it, and its uplinks carry VIDs {carried}, so hosts would hear each other's tags"
        yield _Gap(what, "take the NICs off it, or these VIDs off the uplink port group's trunk")


def _members(
    wanted: SwitchWanted, switch: SwitchFound | None, hosts: Mapping[str, HostFound], room: int
) -> Iterator[_Gap]:
    for host in hosts.values():
        yield from (replace(gap, of_host=True) for gap in _member(wanted, switch, host, room))


def _member(wanted: SwitchWanted, switch: SwitchFound | None, host: HostFound, room: int) -> Iterator[_Gap]:
    """A host is a member, with the physical NICs that it is to bring."""
    had = None if switch is None else switch.members.get(host.id)
    named = wanted.nics[host.name]
    nics = (*(had or ()), *(nic for nic in named if nic not in (had or ())))
    here = f"host '{host.name}'"
    if wanted.wired and not nics:
        yield _Gap(f"{here} brings no physical NIC", "say which in 'nics' of its table")
        return
    if named and (more := [nic for nic in had or () if nic not in named]):
        what = f"{here} brings {', '.join(more)}, which 'nics' of its table does not name"
        yield _Gap(what, "name it there, or take it off the switch")
    if had is not None and len(nics) == len(had):
        return
    new = ", ".join(nics[len(had or ()) :])
    refused = [*_why_not(switch, host, nics[len(had or ()) :])]
    if len(nics) > room:
        refused.append(_Gap(f"{here} needs {len(nics)} uplinks, it has {room}", "add uplinks to the switch"))
    if not host.connected:
        refused.append(_Gap(f"{here} is not connected to vCenter", "connect it, then run this again"))
    if refused:
        yield from refused
    elif had is None:
        yield _Gap(f"{here} is no member", f"add it{f' with {new}' if new else ''}", JoinHost(host.id, host.name, nics))
    else:
        does = JoinHost(host.id, host.name, nics, had)
        yield _Gap(f"{here} does not bring {new}", f"add {new} to its uplinks", does)


def _why_not(switch: SwitchFound | None, host: HostFound, nics: tuple[str, ...]) -> Iterator[_Gap]:
    """Why these NICs cannot be taken: a NIC that carries anything else is never touched."""
    for nic in nics:
        here = f"NIC {nic} of host '{host.name}'"
        if nic not in host.nics:
            there = ", ".join(sorted(host.nics)) or "none that vCenter tells of"
            yield _Gap(f"{here} does not exist; there are: {there}", "correct 'nics' of its table")
        elif (use := host.nics[nic]) is not None and (switch is None or use.dvs != switch.id):
            yield _Gap(f"{here} is in use: {_used(use)}", "name a free one, or take it off there first")


def _used(use: NicUse) -> str:
    text = f"it is {'the only' if use.last else 'an'} uplink of {use.switch}"
    if use.management:
        return f"{text}, by which the host is managed ({', '.join(use.management)})"
    return f"{text}, on which {', '.join(use.vmkernel)} of the host stand" if use.vmkernel else text


def _strangers(wanted: SwitchWanted, switch: SwitchFound, ground: Ground) -> Iterator[_Gap]:
    names = {host.id: host.name for host in ground.hosts}
    for name in sorted(names.get(member, member) for member in switch.members):
        if name not in wanted.nics:
            what = f"host '{name}' is a member, and the configuration does not say below which leaf it is"
            yield _Gap(what, "give it a table with leaf and ports, or take it off the switch")


# --- the appliances' trunk ----------------------------------------------------------------------------------------


def _trunk_name(wanted: SwitchWanted) -> str:
    return wanted.trunk or f"{wanted.name}-trunk"


def _trunk(wanted: SwitchWanted, switch: SwitchFound) -> Iterator[_Gap]:
    name = _trunk_name(wanted)
    named = next((group for group in switch.groups if group.state.name == name), None)
    if wanted.trunk is None and named is None and any(not _flaws(group, wanted.vids) for group in switch.groups):
        return
    if named is None:
        what = f"there is no port group '{name}' for the appliances' trunk"
        yield _Gap(what, "", MakeTrunk(name, wanted.mark, wanted.vids))
    elif flaws := _flaws(named, wanted.vids):
        ours = named.maker is not None and named.maker.owner == wanted.mark.owner
        what = f"port group '{name}': {'; '.join(flaws)}"
        does = SetTrunk(named.state.key, name, wanted.vids) if ours else None
        yield _Gap(what, "set it so, since isthmus did not make it, or name another one", does)


def _flaws(group: GroupFound, vids: VidSet) -> list[str]:
    """Why an appliance cannot do its work in a port group."""
    state, flaws = group.state, []
    carried = state.vlan.vids if isinstance(state.vlan, Trunk) else NO_VIDS
    if missing := vids - carried:
        flaws.append(f"its trunk lacks VIDs {missing}")
    if state.blocked:
        flaws.append("its ports are blocked")
    if not state.forged_transmits:
        flaws.append("it rejects forged transmits")
    if not state.promiscuous:
        flaws += _unlearned(state.mac_learning)
    return flaws


def _unlearned(learning: MacLearning | None) -> Iterator[str]:
    """What a port that is not promiscuous does not hear, or not send."""
    if learning is None:
        yield "it neither learns MACs nor is promiscuous"
        return
    if not learning.unicast_flooding:
        yield "its MAC learning floods no unicast"
    if learning.drops and learning.limit < MOST_LEARNED:
        yield f"its MAC learning drops frames beyond the first {learning.limit} MACs"

"""A town of two hosts on one switch, just big enough to think a shard of design `ovsvapp` through.

States are values here and changes are applied by hand, so that a test can stop between any two of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from isthmus.core.design import OVSVAPP
from isthmus.core.flows import mapped
from isthmus.core.reconcile import reconcile
from isthmus.core.view import switch_target
from isthmus.model.change import (
    AlterPortGroup,
    Change,
    CreatePortGroup,
    Forget,
    Gate,
    Learn,
    Reconciled,
    RemovePortGroup,
    SetDvPort,
)
from isthmus.model.intent import Intent, Network, Peer, Port
from isthmus.model.inventory import Dvs, Host, Inventory, LeftOut, Move, Nic
from isthmus.model.names import DvsId, HostId, NetworkId, NicId, PortId, VmId, mac
from isthmus.model.nve import NveEntry, NveKey
from isthmus.model.observed import (
    AS_IT_IS,
    Access,
    DvPortState,
    Mirror,
    NoVlan,
    NveMirror,
    Observed,
    OwnerMark,
    PortGroupState,
    Security,
    SwitchMirror,
    TargetId,
    Unknown,
)
from isthmus.model.scope import HostScope
from isthmus.model.shard import Duty, Shard, VidPool, World
from isthmus.model.tags import Vid, VidSet, Vni

DVS = DvsId("dvs")
SWITCH = switch_target(DVS)
ESX1, ESX2 = HostId("vc/esx1"), HostId("vc/esx2")
HOSTS = {ESX1: Host(ESX1, "esx1", vtep="192.0.2.1"), ESX2: Host(ESX2, "esx2", vtep="192.0.2.2")}


@dataclass
class Town:
    """Networks named "red", "blue" ... with VNIs from 5001 on, and VMs in them."""

    pool: VidPool = field(default_factory=lambda: VidPool(VidSet.of("100-109")))
    networks: dict[NetworkId, Network] = field(default_factory=dict)
    listed: dict[PortId, Port] = field(default_factory=dict)
    groups: dict[str, PortGroupState] = field(default_factory=dict)
    ports: dict[str, DvPortState] = field(default_factory=dict)
    nics: dict[NicId, Nic] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    peers: tuple[Peer, ...] = ()
    flows: dict[HostId, dict[NveKey, NveEntry]] = field(default_factory=lambda: {ESX1: {}, ESX2: {}})
    unknown: set[TargetId] = field(default_factory=set)
    never_read: set[TargetId] = field(default_factory=set)
    fresh: bool = True
    duties: Duty = Duty.TAGS
    security: Security = AS_IT_IS

    def network(self, name: str) -> Town:
        """Want a network; its port group exists already."""
        vni = Vni(5001 + len(self.networks))
        network = Network(NetworkId(name), vni, name)
        self.networks[network.id] = network
        mark = OwnerMark("isthmus", network.id, vni)
        self.groups[f"pg-{name}"] = PortGroupState(f"pg-{name}", name, NoVlan(), True, "0", mark, True, True)
        return self

    def vm(self, name: str, network: str, on: HostId = ESX1) -> Town:
        """A powered-on VM with one NIC in a network's port group."""
        number = len(self.nics) + 1
        nic_id = NicId(VmId(name), 4000)
        address = mac(f"00:50:56:00:00:{number:02x}")
        self.nics[nic_id] = Nic(nic_id, address, on, True, DVS, f"pg-{network}", name, number, vm_name=name)
        self.ports[name] = DvPortState(
            name, f"pg-{network}", "0", NoVlan(), True, nic=nic_id, host=on, cookie=number, connected=True
        )
        return self

    def nic(self, vm: str, **changes: object) -> None:
        """Change the VM's NIC."""
        nic_id = NicId(VmId(vm), 4000)
        self.nics[nic_id] = replace(self.nics[nic_id], **changes)  # type: ignore[arg-type]

    def move(self, vm: str, to: HostId) -> None:
        """The VM is on another host now; its port went along."""
        self.nic(vm, host=to)
        self.ports[vm] = replace(self.ports[vm], host=to)

    def tag(self, vm: str, vid: int | None, *, blocked: bool) -> None:
        """Write a port's override by hand."""
        vlan = NoVlan() if vid is None else Access(Vid(vid))
        self.ports[vm] = replace(self.ports[vm], vlan=vlan, vlan_own=vid is not None, blocked=blocked, blocked_own=True)

    def think(self, host: HostId = ESX1) -> Reconciled:
        """Think the shard of a host through."""
        return reconcile(OVSVAPP, *self.seen(host))

    def seen(self, host: HostId = ESX1) -> tuple[World, Observed, VidPool, float]:
        """What the shard of a host goes by."""
        target = TargetId("ovs", host)
        shard = Shard(host, HostScope(host, DVS), (DVS,), frozenset({host}), {host: target}, self.duties)
        shard = replace(shard, security=self.security)
        switches = {DVS: Dvs(DVS, "tenant", 1600, frozenset(HOSTS))}
        inventory = Inventory(HOSTS, switches, dict(self.nics), self.moves, self.left_out)
        intent = Intent(dict(self.networks), dict(self.listed), self.peers, fresh=self.fresh)
        world = World(shard, intent, inventory)
        mirrors: dict[TargetId, Mirror | Unknown[Mirror]] = {
            SWITCH: SwitchMirror(DVS, dict(self.groups), dict(self.ports)),
            target: NveMirror(target, dict(self.flows[host])),
        }
        for gone in self.unknown & mirrors.keys():
            mirrors[gone] = Unknown("unplugged", mirrors[gone])  # type: ignore[arg-type]
        for unseen in self.never_read:
            mirrors[unseen] = Unknown("no answer")
        return world, Observed(mirrors), self.pool, 0.0

    def make(self, change: Change, host: HostId = ESX1) -> None:
        """Make one change."""
        match change.action:
            case SetDvPort(_, key, _, _, gate, vid):
                self.tag(key, vid, blocked=gate is not Gate.OPEN)
            case Learn(entries):
                self.flows[host] |= {entry.key: entry for entry in entries}
            case Forget(entries):
                for entry in entries:
                    del self.flows[host][entry.key]
            case CreatePortGroup(_, spec):
                key = f"new-{spec.mark.network}"
                self.groups[key] = PortGroupState(key, spec.name, NoVlan(), True, "0", spec.mark, True, True)
            case AlterPortGroup(_, key, _, spec):
                mended = {"vlan": NoVlan(), "blocked": True, "vlan_override": True, "block_override": True}
                mended["handed_back"] = None  # type: ignore[assignment]
                for flag in ("forged_transmits", "promiscuous", "mac_changes"):
                    if (asked := getattr(spec.security, flag)) is not None:
                        mended[flag] = asked
                self.groups[key] = replace(self.groups[key], mark=spec.mark, **mended)  # type: ignore[arg-type]
            case RemovePortGroup(_, key, _):
                del self.groups[key]

    def settle(self, host: HostId = ESX1, passes: int = 6) -> int:
        """Think and make, until there is nothing to do; how many passes that took."""
        for done in range(passes):
            plan = self.think(host).plan
            if not plan:
                return done
            for change in plan.changes:
                self.make(change, host)
        raise AssertionError(f"no rest after {passes} passes: {self.think(host).plan}")

    def open_with(self, vm: str) -> int | None:
        """The VID of a VM's port if it is open, else None."""
        state = self.ports[vm]
        assert not (state.blocked is False and isinstance(state.vlan, NoVlan)), f"{vm} is open without a tag"
        return int(state.vlan.vid) if not state.blocked and isinstance(state.vlan, Access) else None

    def maps(self, host: HostId = ESX1) -> set[tuple[int, int]]:
        """What a host's NVE maps: (VID, VNI)."""
        return {(int(vid), int(vni)) for vid, vni in mapped(self.flows[host].values())}


def gates(thought: Reconciled) -> list[tuple[str, str]]:
    """The DV-port writes of a plan as (port, gate), in its order."""
    return [(c.action.key, c.action.gate.value) for c in thought.plan.changes if isinstance(c.action, SetDvPort)]


def kinds(thought: Reconciled) -> list[str]:
    """The kinds of a plan's changes, in its order."""
    return [type(change.action).__name__ for change in thought.plan.changes]

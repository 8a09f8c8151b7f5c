"""Finds what the configuration names in an inventory: its switch, its hosts, and so its shards.

Names become ids anew each round: a host may join, or be renamed, at any time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from isthmus.app.config import Config, DeploymentConfig
from isthmus.app.keeper import Placed
from isthmus.app.text import plain
from isthmus.core.design import NveKind, TagScope
from isthmus.model.faults import Refused
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.names import HostId, LeafId
from isthmus.model.observed import Security, TargetId
from isthmus.model.scope import FabricScope, HostScope, LeafScope, Scope
from isthmus.model.shard import Duty, Shard, VidPool
from isthmus.model.tags import NO_VIDS

SPLIT = "give each a cluster of its own, or use design 'ovsvapp'"


def scope_of(name: str, deployment: DeploymentConfig) -> Scope:
    """The tag scope of a deployment with leaves: its one leaf, or all of them."""
    if deployment.design.scope is TagScope.LEAF:
        return LeafScope(LeafId(next(iter(deployment.leaf))))
    return FabricScope(name)


@dataclass(frozen=True, slots=True)
class Placing:
    """How one deployment's shards are found in an inventory."""

    config: Config
    name: str
    deployment: DeploymentConfig
    _where: dict[str, tuple[str | None, LeafId | None]] = field(init=False, repr=False, compare=False)
    """The VTEP and the leaf of each host of any deployment on this vCenter; asked for in every round."""

    def __post_init__(self) -> None:
        where: dict[str, tuple[str | None, LeafId | None]] = {}
        for _, deployment in self._deployments():
            for host, settings in deployment.host.items():
                leaf = None if settings.leaf is None else LeafId(settings.leaf)
                where.setdefault(host, (deployment.vtep_of(host), leaf))
        object.__setattr__(self, "_where", where)

    @property
    def vcenter(self) -> str:
        """The name of its vCenter."""
        return self.config.vcenter_of(self.deployment)

    def other_switches(self, inventory: Inventory) -> list[Dvs]:
        """Where networks may have more members, and VNIs: their port groups say so.  These are read, never written."""
        names = {dvs for name, other in self._deployments() if name != self.name for dvs in other.dvs}
        return [dvs for dvs in inventory.switches.values() if dvs.name in names or dvs.id in names]

    def port_groups(self, inventory: Inventory) -> Placed:
        """The shard that writes the switch's port groups."""
        (dvs,) = self.switches(inventory)
        return self._placed(inventory, f"{self.name}/port-groups", None, (dvs,), dvs.hosts, {}, Duty.PORT_GROUPS)

    def tags(self, name: str, inventory: Inventory) -> Placed:
        """The shard that writes the tags and the NVE of one host."""
        (dvs,), host = self.switches(inventory), self.host(inventory, name)
        if host.id not in dvs.hosts:
            raise Refused(
                f"host '{plain(name)}' is not a member of dvs '{plain(dvs.name)}': add it there, or serve others"
            )
        self._must_be_alone(inventory, host)
        nves = {str(host.id): TargetId(self.deployment.design.nve.value, host.id)}
        scope = HostScope(host.id, dvs.id)
        here = frozenset({host.id})
        return self._placed(inventory, f"{self.name}/{plain(name)}", scope, (dvs,), here, nves, Duty.TAGS)

    def fabric(self, inventory: Inventory) -> Placed:
        """The shard whose NVEs are leaves: it writes the port groups of all its switches, and every leaf."""
        switches = self.switches(inventory)
        self._must_be_below_our_leaves(inventory, switches)
        members = frozenset(host for dvs in switches for host in dvs.hosts)
        self.refuse_torn_clusters(inventory, members)
        leaves = self.deployment.leaf
        nves = {leaf: TargetId("leaf", leaf) for leaf in self.deployment.own_leaves}
        scope = scope_of(self.name, self.deployment)
        placed = self._placed(inventory, self.name, scope, switches, members, nves, Duty.PORT_GROUPS | Duty.TAGS)
        return replace(placed, shard=replace(placed.shard, beyond=frozenset(leaves) - frozenset(nves)))

    def switches(self, inventory: Inventory) -> tuple[Dvs, ...]:
        """The deployment's switches."""
        found = tuple(self._dvs(wanted, inventory) for wanted in self.deployment.dvs)
        if len({dvs.id for dvs in found}) < len(found):
            raise Refused(f"deployment '{self.name}' names a dvs twice, by name and by uuid: take one out")
        return found

    def unattached(self, inventory: Inventory, dvs: Dvs) -> list[str]:
        """The members of a switch of which the configuration does not say where they are."""
        names = [host.name if (host := inventory.hosts.get(member)) else member for member in dvs.hosts]
        return sorted(plain(name) for name in names if name not in self.deployment.host)

    def below(self, inventory: Inventory, leaf: str) -> frozenset[HostId]:
        """The hosts below a leaf."""
        names = {name for name, settings in self.deployment.host.items() if settings.leaf == leaf}
        return frozenset(host.id for host in inventory.hosts.values() if host.name in names)

    def _dvs(self, wanted: str, inventory: Inventory) -> Dvs:
        """A switch by name or uuid."""
        found = [dvs for dvs in inventory.switches.values() if wanted in (dvs.name, dvs.id)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(sorted(dvs.id for dvs in found))
            raise Refused(
                f"dvs '{plain(wanted)}' exists {len(found)} times in vCenter '{self.vcenter}': use a uuid of {ids}"
            )
        names = ", ".join(sorted(plain(dvs.name) for dvs in inventory.switches.values())) or "none"
        raise Refused(f"dvs '{plain(wanted)}' does not exist in vCenter '{self.vcenter}'; there are: {names}")

    def _must_be_closed(self, dvs: Dvs) -> None:
        """Nothing is written while the uplinks carry our VIDs: on a wire they would meet those of another host."""
        ours = self.deployment.vids - self.deployment.reserved
        carried = (dvs.uplink_vids or NO_VIDS) & ours
        if carried and self.deployment.design.nve.on_each_host:
            raise Refused(
                f"the uplinks of dvs '{plain(dvs.name)}' carry VIDs {carried} of deployment '{self.name}': "
                "take the uplinks off it, or leave these VIDs out of their trunk range or of 'vids'"
            )

    def neighbours(self, inventory: Inventory, host: Host) -> list[str]:
        """The other hosts of a host's cluster, where there must be none.

        A nova-compute stands for a cluster, and a Neutron agent is that of one nova-compute: of a VM that DRS or HA
        put on another host of the cluster the agent there would be told nothing.
        """
        if self.deployment.design.nve is not NveKind.STOCK_OVS or host.cluster is None:
            return []
        others = (other for other in inventory.hosts.values() if other.cluster == host.cluster and other.id != host.id)
        return sorted(plain(other.name) for other in others)

    def _must_be_alone(self, inventory: Inventory, host: Host) -> None:
        """Raises Refused for a host that shares its cluster where it must not."""
        if others := self.neighbours(inventory, host):
            raise Refused(
                f"host '{plain(host.name)}' is in one cluster with {', '.join(others)}, and design "
                f"'{self.deployment.design.name}' needs a cluster, and a nova-compute, for each host: {SPLIT}"
            )

    def _must_be_below_our_leaves(self, inventory: Inventory, switches: tuple[Dvs, ...]) -> None:
        """Nothing is written while a member is elsewhere: port groups take their VIDs to it, and what these mean at
        a leaf that we do not tell, or tell of other networks, nobody knows.  Its VMs would reach nobody, or others."""
        for dvs in switches:
            if missing := self.unattached(inventory, dvs):
                raise Refused(
                    f"dvs '{plain(dvs.name)}' has members below no leaf of deployment '{self.name}': "
                    f"{', '.join(missing)}: a port group has its VID on them, too.  Give each a table "
                    f'[deployment.{self.name}.host."HOST"] with leaf and ports, or take it off the switch'
                )

    def refuse_torn_clusters(self, inventory: Inventory, members: frozenset[HostId]) -> None:
        """DRS and HA move VMs within a cluster unasked, and their port group has one VID.  Raises Refused.

        `members` are the hosts on this deployment's switches, or those that are to be.
        """
        homes = {host: name for name, other in self._deployments() if other.leaf for host in other.host}
        known = [host for host in inventory.hosts.values() if host.cluster is not None and host.name in homes]
        ours = {host.cluster: host.name for host in known if host.id in members}
        for host in sorted(known, key=lambda host: host.name):
            if host.cluster in ours and homes[host.name] != self.name:
                raise Refused(
                    f"hosts '{plain(ours[host.cluster])}' and '{plain(host.name)}' are in one cluster, and in "
                    f"deployments '{self.name}' and '{homes[host.name]}', where VIDs mean other networks: "
                    "DRS and HA would move VMs between them.  Make two clusters, or one deployment"
                )

    def _deployments(self) -> Iterator[tuple[str, DeploymentConfig]]:
        """All deployments on this vCenter, this one first."""
        yield self.name, self.deployment
        for name, other in self.config.deployment.items():
            if name != self.name and self.config.vcenter_of(other) == self.vcenter:
                yield name, other

    def host(self, inventory: Inventory, name: str) -> Host:
        """A host by its name in vCenter."""
        found = [host for host in inventory.hosts.values() if host.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise Refused(f"host '{plain(name)}' exists {len(found)} times in vCenter '{self.vcenter}'")
        names = ", ".join(sorted(plain(host.name) for host in inventory.hosts.values())[:20]) or "none"
        raise Refused(f"host '{plain(name)}' does not exist in vCenter '{self.vcenter}'; there are: {names}")

    def _placed(
        self,
        inventory: Inventory,
        name: str,
        scope: Scope | None,
        switches: tuple[Dvs, ...],
        hosts: frozenset[HostId],
        nves: Mapping[str, TargetId],
        duties: Duty,
    ) -> Placed:
        for dvs in switches:
            self._must_be_closed(dvs)
        ids = tuple(dvs.id for dvs in switches)
        owner = self.config.installation
        said = self.deployment.security
        security = Security(said.forged_transmits, said.promiscuous, said.mac_changes)
        shard = Shard(name, scope, ids, hosts, nves, duties, owner, deployment=self.name, security=security)
        pool = VidPool(
            self.deployment.vids,
            self.deployment.reserved,
            {
                HostScope(host.id, dvs): settings.reserved
                for dvs in ids
                for host in inventory.hosts.values()
                if (settings := self.deployment.host.get(host.name)) and settings.reserved
            },
            self.deployment.reuse,
        )
        return Placed(shard, pool, replace(inventory, hosts=self._reached(inventory)))

    def _reached(self, inventory: Inventory) -> dict[HostId, Host]:
        """The hosts, each with its VTEP and its leaf.  Networks have members in other deployments, too."""
        found = dict(inventory.hosts)
        for host in inventory.hosts.values():
            if host.name in self._where:
                vtep, leaf = self._where[host.name]
                found[host.id] = replace(host, vtep=vtep, leaf=leaf)
        return found

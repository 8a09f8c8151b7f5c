"""Finds what the configuration names in an inventory: its switch, its hosts, and so its shards.

Names become ids anew each round: a host may join, or be renamed, at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from isthmus.app.config import Config, DeploymentConfig
from isthmus.app.keeper import Placed
from isthmus.app.text import plain
from isthmus.model.faults import Refused
from isthmus.model.inventory import Dvs, Host, Inventory
from isthmus.model.names import HostId
from isthmus.model.observed import TargetId
from isthmus.model.scope import HostScope, Scope
from isthmus.model.shard import Duty, Shard, VidPool
from isthmus.model.tags import NO_VIDS


@dataclass(frozen=True, slots=True)
class Placing:
    """How one deployment's shards are found in an inventory."""

    config: Config
    name: str
    deployment: DeploymentConfig

    @property
    def vcenter(self) -> str:
        """The name of its vCenter."""
        return self.config.vcenter_of(self.deployment)

    def other_switches(self, inventory: Inventory) -> list[Dvs]:
        """Where networks may have more members, and VNIs: their port groups say so.  These are read, never written."""
        names = {
            other.dvs
            for name, other in self.config.deployment.items()
            if name != self.name and self.config.vcenter_of(other) == self.vcenter
        }
        return [dvs for dvs in inventory.switches.values() if dvs.name in names or dvs.id in names]

    def port_groups(self, inventory: Inventory) -> Placed:
        """The shard that writes the switch's port groups."""
        dvs = self.dvs(inventory)
        return self._placed(inventory, f"{self.name}/port-groups", None, dvs, dvs.hosts, {}, Duty.PORT_GROUPS)

    def tags(self, name: str, inventory: Inventory) -> Placed:
        """The shard that writes the tags and the NVE of one host."""
        dvs, host = self.dvs(inventory), self.host(inventory, name)
        if host.id not in dvs.hosts:
            raise Refused(
                f"host '{plain(name)}' is not a member of dvs '{plain(dvs.name)}': add it there, or serve others"
            )
        nves = {str(host.id): TargetId("ovs", host.id)}
        scope = HostScope(host.id, dvs.id)
        return self._placed(inventory, f"{self.name}/{plain(name)}", scope, dvs, frozenset({host.id}), nves, Duty.TAGS)

    def dvs(self, inventory: Inventory) -> Dvs:
        """The deployment's switch, by name or uuid."""
        wanted = self.deployment.dvs
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
        dvs: Dvs,
        hosts: frozenset[HostId],
        nves: Mapping[str, TargetId],
        duties: Duty,
    ) -> Placed:
        self._must_be_closed(dvs)
        shard = Shard(name, scope, (dvs.id,), hosts, nves, duties, self.config.installation)
        known = {
            host.id: replace(host, vtep=settings.vtep) if (settings := self.deployment.host.get(host.name)) else host
            for host in inventory.hosts.values()
        }
        pool = VidPool(
            self.deployment.vids,
            self.deployment.reserved,
            {
                HostScope(host.id, dvs.id): settings.reserved
                for host in inventory.hosts.values()
                if (settings := self.deployment.host.get(host.name)) and settings.reserved
            },
            self.deployment.reuse,
        )
        return Placed(shard, pool, replace(inventory, hosts=known))

"""What the hosts of a deployment hear of its leaves, against what the configuration says; looked at seldom.

Law: what was heard last counts until something else is heard; only NICs that are uplinks of its switches count.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from isthmus.app.config import DeploymentConfig
from isthmus.app.keeper import Remark
from isthmus.app.placing import Placing
from isthmus.app.reading import Source
from isthmus.app.text import plain
from isthmus.core.cabling import Cabled, agrees
from isthmus.model.faults import Refused, Retry
from isthmus.model.inventory import Inventory, Neighbour
from isthmus.model.names import HostId

log = logging.getLogger("isthmus")
SELDOM, AGAIN = 1800.0, 60.0
"""Seconds between looks: cables are plugged by hand, and each look asks every host; and after one that failed."""
Heard = Mapping[tuple[str, str], Neighbour]
"""By name of the host and device of the NIC."""
REMEDY = "correct 'leaf' and 'ports', or 'lldp_name' and 'lldp_ports' if only the names differ, or the cabling"


class Ear(Protocol):
    """A vCenter that can be asked what its hosts' physical NICs hear."""

    def neighbours(self, nics: frozenset[tuple[HostId, str]]) -> Mapping[HostId, Mapping[str, Neighbour]]: ...


class Cabling:
    """One deployment's.  Looked at by one thread, asked by any."""

    def __init__(self, placing: Placing, inventory: Source[Inventory], vcenter: Ear) -> None:
        self._placing, self._inventory, self._vcenter = placing, inventory, vcenter
        self.heard: Heard = {}

    def look(self) -> None:
        """Ask anew.  Raises Retry or Refused if nobody can be asked; then what was heard stays."""
        inventory = self._inventory.read().value
        names = {host.id: host.name for host in inventory.hosts.values()}
        wired = frozenset(nic for dvs in self._placing.switches(inventory) for nic in dvs.uplink_nics)
        nics = frozenset((host, nic) for host, nic in wired if names.get(host) in self._placing.deployment.host)
        told = self._vcenter.neighbours(nics)
        heard = {}
        for host, nic in nics:
            at = names[host], nic
            if (now := told.get(host, {}).get(nic) or self.heard.get(at)) is not None:
                heard[at] = now
        self.heard = heard

    def disagreements(self) -> Iterator[tuple[str, str]]:
        """The hosts of which the configuration says something else than their NICs hear, and what."""
        deployment = self._placing.deployment
        for (host, nic), heard in sorted(self.heard.items()):
            if (cabled := cabled_of(deployment, host)) is not None and not agrees(cabled, heard):
                ports = ", ".join(sorted(cabled.ports))
                what = f"{nic} hears {plain(str(heard), 200)}, the configuration says {ports} of {cabled.leaf}"
                yield host, what

    def remarks(self) -> Sequence[Remark]:
        """The same, for conditions."""
        return [Remark(f"host '{host}'", f"{what}: {REMEDY}") for host, what in self.disagreements()]


def cabled_of(deployment: DeploymentConfig, host: str) -> Cabled | None:
    """Where a host is connected, in words of LLDP; None if the configuration does not say."""
    settings = deployment.host[host]
    if settings.leaf is None:
        return None
    leaf = deployment.leaf[settings.leaf]
    if len(leaf.addresses) > 1 and not leaf.lldp_name:
        return None  # each member of a pair has a name of its own, which nobody told us
    ports = frozenset(settings.lldp_ports or settings.ports)
    return Cabled(settings.leaf, frozenset(leaf.lldp_name or (settings.leaf, *leaf.names)), ports) if ports else None


def keep_looking(cablings: Iterable[Cabling], news: Callable[[], None], done: threading.Event) -> None:
    """Look at all of them at once and then seldom, until `done`; `news` is called when something changed."""
    while not done.is_set():
        patience = SELDOM
        for cabling in cablings:
            before = cabling.remarks()
            try:
                cabling.look()
            except (Retry, Refused) as fault:
                log.debug("what hosts hear cannot be read: %s", fault)
                patience = AGAIN
            except Exception:  # as for a shard: a bug here waits, the rest of the process goes on
                log.exception("what hosts hear: a bug")
            if cabling.remarks() != before:
                news()
        done.wait(patience)

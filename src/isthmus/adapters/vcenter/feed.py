"""The property updates of one log-in, page by page, into a mirror that starts empty.

Law: a feed dies with its session; a new one starts from "" with a new mirror, and nothing is carried over.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter import facts
from isthmus.adapters.vcenter.faults import SessionLost
from isthmus.adapters.vcenter.mirror import Mirror
from isthmus.adapters.vcenter.moves import EventReader
from isthmus.adapters.vcenter.pages import wait_for_updates
from isthmus.adapters.vcenter.reading import gone, properties

log = logging.getLogger(__name__)
Collector = vmodl.query.PropertyCollector
PAGE = 250  # objects per answer; vCenter may send fewer
FABRIC = {
    vim.HostSystem: facts.HOST_PATHS,
    vim.ClusterComputeResource: ("name",),
    vim.DistributedVirtualSwitch: facts.SWITCH_PATHS,
    vim.dvs.DistributedVirtualPortgroup: facts.GROUP_PATHS,
}


@dataclass(slots=True)
class News:
    """What one answer said: hosts (morefs) and port groups it concerns, or everything; and whether events wait."""

    hosts: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    everywhere: bool = False
    events: bool = False
    page: list[Any] = field(default_factory=list)
    """The latest events, if vCenter sent them along."""
    more: bool = False

    @property
    def any(self) -> bool:
        """Something happened."""
        return bool(self.hosts or self.everywhere or self.events or self.more)


class Feed:
    """Filters on a collector of our own, and the mirror they fill."""

    def __init__(
        self,
        content: Any,
        epoch: int,
        only: frozenset[str] | None = None,
        machines: frozenset[str] = frozenset(),
        *,
        reads_guests: bool = False,
    ) -> None:
        self.epoch = epoch
        self.mirror = Mirror(content.about.instanceUuid, only, machines)
        self.whole = False
        self.events: EventReader | None = None
        self._content = content
        self._version = ""
        self._uplinks: dict[str, str] = {}  # uplink port group -> configVersion that was read
        self._groups: dict[str, dict[str, Any]] = {}
        self._collector = content.propertyCollector.CreatePropertyCollector()
        self._watch({vim.VirtualMachine: facts.VM_PATHS}, partial=True)
        # Switches keep their host members in an array whose partial updates are not worth following.
        self._watch(FABRIC, partial=False)
        if reads_guests:  # an array without keys, of which partial updates would say nothing
            self._watch({vim.VirtualMachine: (facts.GUEST_NICS,)}, partial=False)

    def read_events(self, server_time: Any, look_back: float) -> None:
        """Begin to hear events.  A user who may not read them loses only their speed."""
        try:
            self.events = EventReader(self._content, server_time, look_back)
            self._filter(
                Collector.ObjectSpec(obj=self.events.collector), {vim.event.EventHistoryCollector: ["latestPage"]}
            )
        except SessionLost:
            raise
        except vmodl.MethodFault as fault:
            log.warning("vCenter events cannot be read, so moves are not known before they happen: %s", fault)
            self.events = None

    def wait(self, patience: float) -> Any:
        """vCenter's next answer, to be given to `take`; None if nothing happened for `patience` seconds."""
        options = Collector.WaitOptions(maxWaitSeconds=int(patience), maxObjectUpdates=PAGE)
        return wait_for_updates(self._collector, self._version, options)

    def take(self, answer: Any) -> News:
        """Take an answer into the mirror."""
        news = News()
        if answer is not None:
            for filter_update in answer.filterSet:
                for update in filter_update.objectSet:
                    self._take(update, news)
            self._version = answer.version
            # The version of a truncated answer is good for the very next call only, which is what it gets.
            news.more = bool(answer.truncated)
        self.whole |= not news.more
        return news

    def read_uplinks(self) -> Mapping[str, Any] | None:
        """The settings of the uplink port groups, if they may have changed: few, so they alone are read."""
        wanted = {group for switch in self.mirror.switches.values() for group in switch.uplinks}
        now = {group: str(self._groups.get(group, {}).get("config.configVersion")) for group in wanted}
        if now == self._uplinks:
            return None
        kind: Any = vim.dvs.DistributedVirtualPortgroup
        stub: Any = self._collector._stub
        objects: list[Any] = [kind(group, stub) for group in sorted(wanted)]
        read = properties(self._content, objects, {kind: ["config.defaultPortConfig"]})
        self._uplinks = now
        return {group._GetMoId(): found.get("config.defaultPortConfig") for group, found in read.items()}

    def _watch(self, wanted: Any, *, partial: bool) -> None:
        content = self._content
        view = content.viewManager.CreateContainerView(content.rootFolder, list(wanted), True)
        walk = Collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
        self._filter(Collector.ObjectSpec(obj=view, skip=True, selectSet=[walk]), wanted, partial=partial)

    def _filter(self, start: Any, wanted: Any, *, partial: bool = False) -> None:
        kinds = [Collector.PropertySpec(type=kind, pathSet=list(names)) for kind, names in wanted.items()]
        self._collector.CreateFilter(Collector.FilterSpec(objectSet=[start], propSet=kinds), partial)

    def _take(self, update: Any, news: News) -> None:
        managed = update.obj
        if gone(managed, update.missingSet) and update.kind != "leave":
            return  # its leave follows
        moref, changes = managed._GetMoId(), None if update.kind == "leave" else update.changeSet
        match managed:
            case vim.VirtualMachine():
                hosts, groups = self.mirror.change_vm(moref, changes)
                news.hosts |= hosts
                news.groups |= groups
            case vim.HostSystem():
                news.hosts |= self.mirror.change_host(moref, changes)
            case vim.DistributedVirtualSwitch():
                news.everywhere |= self.mirror.change_switch(moref, changes)
            case vim.dvs.DistributedVirtualPortgroup():
                news.everywhere |= self._change_group(moref, changes)
            case vim.ClusterComputeResource():
                self._change_cluster(moref, changes)
            case vim.event.EventHistoryCollector():
                news.events = True
                for change in changes or ():
                    news.page = list(change.val or ())

    def _change_group(self, moref: str, changes: Any) -> bool:
        before = self._groups.get(moref)
        if changes is None:
            self._groups.pop(moref, None)
        else:
            self._groups[moref] = {**(before or {}), **{change.name: change.val for change in changes}}
        if self._groups.get(moref) == before:
            return False
        self.mirror.told.everything()
        return True

    def _change_cluster(self, moref: str, changes: Any) -> None:
        if changes is None:
            self.mirror.clusters.pop(moref, None)
        for change in changes or ():
            self.mirror.clusters[moref] = change.val or ""
        self.mirror.generation += 1

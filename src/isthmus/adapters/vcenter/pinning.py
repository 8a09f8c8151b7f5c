"""What may take a VM off its host: DRS and HA, unless the cluster's rules or the VM's own settings keep it there.

Law: only reads.  vSphere Resource Management, "VM-Host Affinity Rules": a rule that VMs *must* follow binds HA, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyVmomi import vim

from isthmus.adapters.vcenter.reading import properties

Pins = Mapping[str, tuple[str, ...]]
"""What may move a VM, in words, by its moref."""


def movers(content: Any, places: Mapping[str, str]) -> Pins:
    """What may move VMs (morefs) off the hosts where they are (morefs)."""
    stub = content.propertyCollector._stub
    hosts = [vim.HostSystem(host, stub) for host in sorted(set(places.values()))]
    parents = {
        host._GetMoId(): found["parent"]
        for host, found in properties(content, hosts, {vim.HostSystem: ["parent"]}).items()
    }
    cluster_type: Any = vim.ClusterComputeResource
    clusters = list({parent for parent in parents.values() if isinstance(parent, cluster_type)})
    configs = properties(content, clusters, {cluster_type: ["configurationEx"]})
    return {
        vm: tuple(movers_in(configs[parents[host]]["configurationEx"], vm, host))
        for vm, host in places.items()
        if parents.get(host) in configs
    }


def movers_in(config: Any, vm: str, host: str) -> Iterator[str]:
    """The same in one cluster, by its ClusterConfigInfoEx."""
    if _is_kept(config, vm, host):
        return
    drs, das = config.drsConfig, config.dasConfig
    if drs is not None and drs.enabled and _drs_moves(config, vm):
        yield "DRS may move it to another host"
    if das is not None and das.enabled and _ha_restarts(config, vm):
        yield "HA may start it on another host"


def _is_kept(config: Any, vm: str, host: str) -> bool:
    """A rule says that it must run on this host, and names no other."""
    groups = {group.name: group for group in config.group or ()}
    for rule in config.rule or ():
        if isinstance(rule, vim.cluster.VmHostRuleInfo) and rule.enabled and rule.mandatory:
            vms = _ids(getattr(groups.get(rule.vmGroupName), "vm", ()))
            if vm in vms and _ids(getattr(groups.get(rule.affineHostGroupName), "host", ())) == {host}:
                return True
    return False


def _drs_moves(config: Any, vm: str) -> bool:
    own = next((one for one in config.drsVmConfig or () if one.key._GetMoId() == vm), None)
    if own is not None and config.drsConfig.enableVmBehaviorOverrides is not False:
        if own.enabled is False:
            return False
        if own.behavior is not None:
            return bool(own.behavior != "manual")
    return bool(config.drsConfig.defaultVmBehavior != "manual")


def _ha_restarts(config: Any, vm: str) -> bool:
    own = next((one.dasSettings for one in config.dasVmConfig or () if one.key._GetMoId() == vm), None)
    for settings in (own, config.dasConfig.defaultVmSettings):
        priority = getattr(settings, "restartPriority", None)
        if priority not in (None, "clusterRestartPriority"):
            return bool(priority != "disabled")
    return True


def _ids(objects: Any) -> set[str]:
    return {managed._GetMoId() for managed in objects or ()}

"""The vCenter simulator of the lab: what it holds, how it is built, how it runs."""

from lab.vcenter.process import NotBuilt, Simulator, binary, build
from lab.vcenter.topology import (
    Cluster,
    Datacenter,
    Dvs,
    Host,
    MacLearning,
    Member,
    Nic,
    Overrides,
    Pnic,
    PortGroup,
    Pvlan,
    PvlanEntry,
    Security,
    Topology,
    Trunk,
    Vm,
)

__all__ = [
    "Cluster",
    "Datacenter",
    "Dvs",
    "Host",
    "MacLearning",
    "Member",
    "Nic",
    "NotBuilt",
    "Overrides",
    "Pnic",
    "PortGroup",
    "Pvlan",
    "PvlanEntry",
    "Security",
    "Simulator",
    "Topology",
    "Trunk",
    "Vm",
    "binary",
    "build",
]

"""The vCenter simulator of the lab: what it holds, how it is built, how it runs."""

from lab.vcenter.control import ControlError
from lab.vcenter.faults import Delay, Drop, Fault, Faults, Hang, Unavailable
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
    "ControlError",
    "Datacenter",
    "Delay",
    "Drop",
    "Dvs",
    "Fault",
    "Faults",
    "Hang",
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
    "Unavailable",
    "Vm",
    "binary",
    "build",
]

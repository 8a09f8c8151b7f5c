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
    Neighbour,
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
from lab.vcenter.users import READ_ONLY, Grant

__all__ = [
    "READ_ONLY",
    "Cluster",
    "ControlError",
    "Datacenter",
    "Delay",
    "Drop",
    "Dvs",
    "Fault",
    "Faults",
    "Grant",
    "Hang",
    "Host",
    "MacLearning",
    "Member",
    "Neighbour",
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

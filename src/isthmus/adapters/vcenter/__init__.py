"""vCenter: session, inventory mirror, port groups, DV ports, events.  pyVmomi stays behind this door."""

from isthmus.adapters.vcenter.connection import Vcenter
from isthmus.adapters.vcenter.preflight import Finding
from isthmus.adapters.vcenter.session import VcenterSettings

__all__ = ["Finding", "Vcenter", "VcenterSettings"]

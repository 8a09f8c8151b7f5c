"""Which VM of vCenter's this very machine is, as its firmware says."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

DMI = Path("/sys/class/dmi/id")
"""What Linux shows of the firmware's tables."""


def bios_uuids(dmi: Path = DMI) -> frozenset[str]:
    """What vCenter may call this machine's BIOS UUID; empty if it is no VM of vSphere's, or that cannot be read.

    From virtual hardware 13 on the first three fields are shown with their bytes the other way round, by a kernel that
    takes SMBIOS at its word (SMBIOS 3.0, section 7.2.1), so both are given.
    """
    try:
        if not (dmi / "sys_vendor").read_text().startswith("VMware"):
            return frozenset()
        shown = UUID((dmi / "product_uuid").read_text().strip())
    except (OSError, ValueError):
        return frozenset()
    return frozenset({str(shown), str(UUID(bytes_le=shown.bytes))})

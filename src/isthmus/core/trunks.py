"""Whether appliances hear a VID at all: a trunk port group of the switch must carry it to them.

Law: which NIC is an appliance's trunk no inventory says, so only what no trunk port group carries is called unheard.
"""

from __future__ import annotations

from isthmus.core.view import View
from isthmus.model.observed import Trunk
from isthmus.model.tags import Vid


def unheard(view: View, vid: Vid) -> str:
    """Why no appliance on the shard's switches can hear `vid`; empty if one may."""
    trunks = [
        group
        for dvs in view.shard.switches
        if (mirror := view.switches.get(dvs)) is not None
        for group in mirror.port_groups.values()
        if isinstance(group.vlan, Trunk) and not group.is_uplink
    ]
    if not trunks or any(vid in group.vlan.vids for group in trunks if isinstance(group.vlan, Trunk)):
        return ""
    keys = ", ".join(sorted(group.key for group in trunks)[:3])
    return f"no trunk port group of the switch carries VID {int(vid)} to the appliances ({keys}): add it there"

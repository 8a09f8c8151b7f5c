"""Whether appliances hear a VID at all: a trunk port group of the switch must carry it to them.

Law: which NIC is an appliance's trunk no inventory says, so only what no trunk port group carries is called unheard.
"""

from __future__ import annotations

from isthmus.core.view import View
from isthmus.model.observed import Trunk
from isthmus.model.tags import Vid


def unheard(view: View, vid: Vid) -> str:
    """Why no appliance on the shard's switches can hear `vid`; empty if one may."""
    if not view.trunks or any(isinstance(group.vlan, Trunk) and vid in group.vlan.vids for group in view.trunks):
        return ""
    keys = ", ".join(sorted(group.key for group in view.trunks)[:3])
    return f"no trunk port group of the switch carries VID {int(vid)} to the appliances ({keys}): add it there"

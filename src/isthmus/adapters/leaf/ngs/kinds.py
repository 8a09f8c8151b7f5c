"""The device types that are driven, by the names that networking-generic-switch has for them."""

from __future__ import annotations

from collections.abc import Mapping

from isthmus.adapters.leaf.ngs.eos import EOS
from isthmus.adapters.leaf.ngs.junos import JUNOS
from isthmus.adapters.leaf.ngs.kind import Kind
from isthmus.adapters.leaf.ngs.nvue import NVUE
from isthmus.adapters.leaf.ngs.nxos import NXOS
from isthmus.adapters.leaf.ngs.sonic import SONIC

KINDS: Mapping[str, Kind] = {
    "netmiko_sonic": SONIC,
    "netmiko_arista_eos": EOS,
    "netmiko_cisco_nxos": NXOS,
    "netmiko_cumulus_nvue": NVUE,
    "netmiko_juniper": JUNOS,
}

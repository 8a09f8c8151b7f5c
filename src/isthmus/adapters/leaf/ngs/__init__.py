"""Leaf switches that learn by BGP EVPN, told by networking-generic-switch what a VID means."""

from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.target import NgsTarget

__all__ = ["NgsSettings", "NgsTarget"]

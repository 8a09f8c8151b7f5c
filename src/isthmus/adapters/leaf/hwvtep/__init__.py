"""Leaf switches that keep what they do in an OVSDB of schema hardware_vtep."""

from isthmus.adapters.leaf.hwvtep.settings import HwvtepSettings
from isthmus.adapters.leaf.hwvtep.target import HwvtepTarget

__all__ = ["HwvtepSettings", "HwvtepTarget"]

"""Open vSwitch on an appliance: bridges by OVSDB, flows by atomic OpenFlow bundles."""

from isthmus.adapters.ovs.plugger import PluggerTarget
from isthmus.adapters.ovs.settings import OvsSettings
from isthmus.adapters.ovs.target import OvsTarget

__all__ = ["OvsSettings", "OvsTarget", "PluggerTarget"]

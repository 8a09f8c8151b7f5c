"""Open vSwitch on an appliance: bridges by OVSDB, flows by atomic OpenFlow bundles."""

"""Joins VMware vSphere networks to overlay SDNs: a VLAN tag is a local name, in a scope, for a network or a port."""

// FetchDVPorts and FetchDVPortKeys: the criteria of vCenter, each of which narrows the answer.

package main

import (
	"slices"

	"github.com/vmware/govmomi/vim25/types"
)

func (n *network) fetch(sw *dvSwitch, c *types.DistributedVirtualSwitchPortCriteria) []*dvPort {
	if c == nil {
		c = &types.DistributedVirtualSwitchPortCriteria{}
	}
	var found []*dvPort
	consider := func(p *dvPort) {
		if p.meets(c) {
			found = append(found, p)
		}
	}
	if len(c.PortKey) > 0 {
		asked := map[string]bool{}
		for _, key := range c.PortKey {
			if p := sw.ports[key]; p != nil && !asked[key] {
				asked[key] = true
				consider(p)
			}
		}
		return sortedPorts(found)
	}
	for _, g := range sw.groups {
		for _, p := range g.ports {
			consider(p)
		}
	}
	return sortedPorts(found)
}

func (p *dvPort) meets(c *types.DistributedVirtualSwitchPortCriteria) bool {
	if c.Connected != nil && *c.Connected != (p.connectee != nil) {
		return false
	}
	if c.Active != nil && *c.Active != p.linkUp {
		return false
	}
	if c.UplinkPort != nil && *c.UplinkPort != p.group.uplink {
		return false
	}
	if c.NsxPort != nil && *c.NsxPort {
		return false // there is no NSX here
	}
	// vSphere API: portgroupKey is ignored unless inside is set.
	if c.Inside != nil && len(c.PortgroupKey) > 0 && slices.Contains(c.PortgroupKey, p.group.key) != *c.Inside {
		return false
	}
	if len(c.Host) > 0 && (p.host == nil || !slices.Contains(c.Host, *p.host)) {
		return false
	}
	// Scope: our ports have none, which is to say any entity's.
	return true
}

// Conflict ports: what a host makes for a NIC when it cannot ask the vCenter for a port.
// Law: a conflict port keeps no settings, and is gone when its VM stops.

package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// conflict puts NICs of a VM on ports that its host made because it could not ask the vCenter.
func (w *World) conflict(ctx *simulator.Context, vm *simulator.VirtualMachine, chosen func(*dvPort) bool) int {
	made := 0
	news := newWiring()
	ctx.WithLock(vm.Self, func() {
		w.net.mu.Lock()
		for _, device := range vm.Config.Hardware.Device {
			card, ok := device.(types.BaseVirtualEthernetCard)
			if !ok {
				continue
			}
			nic := card.GetVirtualEthernetCard()
			if p := w.net.nics[vm.Self][nic.Key]; p != nil && chosen(p) {
				w.net.makeConflict(p, nic, news)
				made++
			}
		}
		w.net.mu.Unlock()
	})
	w.hub.touch(vm.Self, "config.hardware.device")
	w.net.tell(ctx, news)
	return made
}

// makeConflict gives a NIC a conflict port in place of its own; the network's mutex and the VM's lock are held.
func (n *network) makeConflict(p *dvPort, nic *types.VirtualEthernetCard, news *wiring) {
	group := p.group
	made := group.sw.addPort(group)
	delete(group.sw.ports, made.key)
	made.key, made.conflicts = "c-"+made.key, p.key
	group.sw.ports[made.key] = made
	n.cookie++
	made.cookie, made.vm, made.nicKey, made.host, made.linkUp, made.mac = n.cookie, p.vm, p.nicKey, p.host, p.linkUp, p.mac
	connectee := *p.connectee
	made.connectee = &connectee
	vm := p.vm
	group.gain(vm)
	n.unplugPort(p, news)
	if n.nics[vm] == nil {
		n.nics[vm] = map[int32]*dvPort{}
	}
	n.nics[vm][made.nicKey] = made
	backing := nic.Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo)
	backing.Port.PortKey, backing.Port.ConnectionCookie = made.key, made.cookie
	news.groups[group.ref] = group
	news.created[group.sw.ref] = append(news.created[group.sw.ref], made.key)
	news.connected = append(news.connected, connectedTo(made))
}

// onConflictPort says whether a VM has a NIC on one: vCenter migrates no such VM.
func (n *network) onConflictPort(vm ref) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.nics[vm] {
		if p.conflicts != "" {
			return true
		}
	}
	return false
}

// What the guests tell of themselves through their tools: the addresses of their NICs.
// Law: a guest that does not run tells nothing.

package main

import (
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// noToolsKey in a VM's extraConfig says that its guest runs no tools.
const noToolsKey = "isthmus.lab.no-tools"

// guestAddresses are the addresses that the guests use, by VM and NIC key.
type guestAddresses struct {
	mu sync.Mutex
	of map[ref]map[int32][]string
}

func newGuestAddresses() *guestAddresses {
	return &guestAddresses{of: map[ref]map[int32][]string{}}
}

func (g *guestAddresses) set(vm ref, nic int32, ips []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.of[vm] == nil {
		g.of[vm] = map[int32][]string{}
	}
	g.of[vm][nic] = slices.Clone(ips)
}

func (g *guestAddresses) get(vm ref, nic int32) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.of[vm][nic])
}

func (g *guestAddresses) forget(vm ref) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.of, vm)
}

// showGuest writes guest.net as the tools would tell it; the caller holds the VM's lock.
func (w *World) showGuest(vm *simulator.VirtualMachine) {
	if vm.Guest == nil {
		return
	}
	var nics []types.GuestNicInfo
	on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	for _, device := range vm.Config.Hardware.Device {
		card, ok := device.(types.BaseVirtualEthernetCard)
		if !ok || !on || extraConfig(vm, noToolsKey) == "true" {
			continue
		}
		nic := card.GetVirtualEthernetCard()
		info := types.GuestNicInfo{
			Network: w.networkName(nic), MacAddress: strings.ToLower(nic.MacAddress), DeviceConfigId: nic.Key,
			Connected: nic.Connectable == nil || nic.Connectable.Connected, IpAddress: w.addresses.get(vm.Self, nic.Key),
		}
		for _, ip := range info.IpAddress {
			if info.IpConfig == nil {
				info.IpConfig = &types.NetIpConfigInfo{}
			}
			length := int32(24)
			if strings.Contains(ip, ":") {
				length = 64
			}
			info.IpConfig.IpAddress = append(info.IpConfig.IpAddress, types.NetIpConfigInfoIpAddress{IpAddress: ip, PrefixLength: length, State: "preferred"})
		}
		nics = append(nics, info)
	}
	if len(nics) == 0 && len(vm.Guest.Net) == 0 {
		return
	}
	vm.Guest.Net = nics
	w.hub.touch(vm.Self, "guest.net")
}

func (w *World) networkName(nic *types.VirtualEthernetCard) string {
	switch backing := nic.Backing.(type) {
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		if pg, ok := w.reg.Get(ref{Type: "DistributedVirtualPortgroup", Value: backing.Port.PortgroupKey}).(*simulator.DistributedVirtualPortgroup); ok {
			return pg.Name
		}
	case *types.VirtualEthernetCardNetworkBackingInfo:
		return backing.DeviceName
	}
	return ""
}

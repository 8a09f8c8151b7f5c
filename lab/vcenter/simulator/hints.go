// What a host's physical NICs hear from the switches at the other end of their cables, by LLDP or CDP.

package main

import (
	"fmt"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type hostNetworkMethods struct{ *simulator.HostNetworkSystem }

// QueryNetworkHint answers for the devices asked for, or for all.
func (h *hostNetworkMethods) QueryNetworkHint(_ *simulator.Context, req *types.QueryNetworkHint) soap.HasFault {
	if h.Host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected {
		return &methods.QueryNetworkHintBody{Fault_: faultBody(&types.HostNotConnected{})}
	}
	var hints []types.PhysicalNicHintInfo
	for _, hint := range h.QueryNetworkHintResponse.Returnval {
		if len(req.Device) == 0 || slices.Contains(req.Device, hint.Device) {
			hints = append(hints, hint)
		}
	}
	return &methods.QueryNetworkHintBody{Res: &types.QueryNetworkHintResponse{Returnval: hints}}
}

// hintsOf is what a host's physical NICs have heard from the switches at the other end.
func hintsOf(spec *hostSpec) ([]types.PhysicalNicHintInfo, error) {
	var hints []types.PhysicalNicHintInfo
	for _, pnic := range spec.Pnics {
		hint, err := hintOf(pnic.Device, pnic.Neighbour)
		if err != nil {
			return nil, err
		}
		hints = append(hints, hint)
	}
	return hints, nil
}

func hintOf(device string, n *neighbourSpec) (types.PhysicalNicHintInfo, error) {
	hint := types.PhysicalNicHintInfo{Device: device}
	if n == nil {
		return hint, nil
	}
	switch n.Protocol {
	case "lldp":
		hint.LldpInfo = &types.LinkLayerDiscoveryProtocolInfo{
			ChassisId: n.Chassis, PortId: n.Port, TimeToLive: 120,
			Parameter: []types.KeyAnyValue{{Key: "System Name", Value: n.System}, {Key: "Port Description", Value: n.Port}, {Key: "Vlan ID", Value: n.VLAN}},
		}
	case "cdp":
		hint.ConnectedSwitchPort = &types.PhysicalNicCdpInfo{
			CdpVersion: 2, Timeout: 60, Ttl: 120, DevId: n.System, SystemName: n.System, PortId: n.Port, Vlan: n.VLAN, FullDuplex: types.NewBool(true),
		}
	default:
		return hint, fmt.Errorf("pnic %q: neighbour protocol %q is neither lldp nor cdp", device, n.Protocol)
	}
	return hint, nil
}

// hear puts what a physical NIC hears from now on, or nothing, into the place of what it heard.
func (w *World) hear(host *simulator.HostSystem, device string, n *neighbourSpec) error {
	hint, err := hintOf(device, n)
	if err != nil {
		return err
	}
	network := w.reg.Get(*host.ConfigManager.NetworkSystem).(*simulator.HostNetworkSystem)
	hints := slices.Clone(network.QueryNetworkHintResponse.Returnval)
	at := slices.IndexFunc(hints, func(h types.PhysicalNicHintInfo) bool { return h.Device == device })
	if at < 0 {
		return fmt.Errorf("host %q has no physical NIC %q", host.Name, device)
	}
	hints[at] = hint
	w.context().WithLock(network.Self, func() { network.QueryNetworkHintResponse.Returnval = hints })
	return nil
}

// Hosts: connected or not, in maintenance or not, alive or not; and where their VMs go.
// Law: a host that the vCenter does not reach keeps running its VMs; only a dead one loses them.

package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// pinnedKey in a VM's extraConfig keeps DRS from moving it, as an agent VM is kept on its host.
const pinnedKey = "isthmus.lab.pinned"

type hostMethods struct {
	*simulator.HostSystem
	w *World
}

func (w *World) connected(host ref) bool {
	h := w.host(host)
	return h != nil && h.Runtime.ConnectionState == types.HostSystemConnectionStateConnected
}

func (w *World) hostEvent(host *simulator.HostSystem) types.HostEvent {
	argument := w.hostArgument(host)
	event := types.Event{Host: &argument, Datacenter: w.datacenterArgument(host)}
	if cr := w.computeOf(host); cr != nil {
		event.ComputeResource = &types.ComputeResourceEventArgument{ComputeResource: cr.Self, EntityEventArgument: types.EntityEventArgument{Name: cr.Name}}
	}
	return types.HostEvent{Event: event}
}

// setConnection changes what the vCenter knows of a host: the host, its VMs, its membership of switches.
func (w *World) setConnection(ctx *simulator.Context, host *simulator.HostSystem, state types.HostSystemConnectionState) {
	w.update(ctx, host, set("runtime.connectionState", state))
	w.hub.touch(host.Self, "summary.runtime")
	on := state == types.HostSystemConnectionStateConnected
	vmState, member := types.VirtualMachineConnectionStateConnected, "up"
	if !on {
		vmState, member = types.VirtualMachineConnectionStateDisconnected, "disconnected"
	}
	for _, ref := range slices.Clone(host.Vm) {
		if vm := w.vm(ref); vm != nil {
			w.update(ctx, vm, set("runtime.connectionState", vmState), set("summary.runtime.connectionState", vmState))
			if on {
				w.events.post(ctx, &types.VmConnectedEvent{VmEvent: w.vmEvent(vm)})
			} else {
				w.events.post(ctx, &types.VmDisconnectedEvent{VmEvent: w.vmEvent(vm)})
			}
		}
	}
	for _, dvs := range w.switchesOf(host.Self) {
		w.setMember(ctx, dvs, host.Self, member)
	}
}

func (w *World) switchesOf(host ref) []*simulator.DistributedVirtualSwitch {
	w.net.mu.Lock()
	var refs []ref
	for r := range w.net.byRef {
		refs = append(refs, r)
	}
	w.net.mu.Unlock()
	var list []*simulator.DistributedVirtualSwitch
	for _, r := range refs {
		if dvs, ok := w.reg.Get(r).(*simulator.DistributedVirtualSwitch); ok && slices.Contains(dvs.Summary.HostMember, host) {
			list = append(list, dvs)
		}
	}
	return list
}

func (h *hostMethods) DisconnectHostTask(ctx *simulator.Context, _ *types.DisconnectHost_Task) soap.HasFault {
	host, w := h.HostSystem, h.w
	task := w.run(ctx, host, "DisconnectHost_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		if host.Runtime.ConnectionState == types.HostSystemConnectionStateDisconnected {
			return nil, &types.InvalidState{}
		}
		w.setConnection(ctx, host, types.HostSystemConnectionStateDisconnected)
		w.events.post(ctx, &types.HostDisconnectedEvent{HostEvent: w.hostEvent(host), Reason: "userRequest"})
		return nil, nil
	})
	return &methods.DisconnectHost_TaskBody{Res: &types.DisconnectHost_TaskResponse{Returnval: task}}
}

func (h *hostMethods) ReconnectHostTask(ctx *simulator.Context, _ *types.ReconnectHost_Task) soap.HasFault {
	host, w := h.HostSystem, h.w
	task := w.run(ctx, host, "ReconnectHost_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		switch host.Runtime.ConnectionState {
		case types.HostSystemConnectionStateConnected:
			return nil, &types.InvalidState{}
		case types.HostSystemConnectionStateNotResponding:
			return nil, &types.HostNotReachable{}
		}
		w.setConnection(ctx, host, types.HostSystemConnectionStateConnected)
		w.events.post(ctx, &types.HostConnectedEvent{HostEvent: w.hostEvent(host)})
		return nil, nil
	})
	return &methods.ReconnectHost_TaskBody{Res: &types.ReconnectHost_TaskResponse{Returnval: task}}
}

func (h *hostMethods) EnterMaintenanceModeTask(ctx *simulator.Context, req *types.EnterMaintenanceMode_Task) soap.HasFault {
	host, w := h.HostSystem, h.w
	task := w.run(ctx, host, "EnterMaintenanceMode_Task", func(ctx *simulator.Context, task *simulator.Task) (any, types.BaseMethodFault) {
		if !w.connected(host.Self) {
			return nil, &types.HostNotConnected{}
		}
		if host.Runtime.InMaintenanceMode {
			return nil, &types.InvalidState{}
		}
		w.events.post(ctx, &types.EnteringMaintenanceModeEvent{HostEvent: w.hostEvent(host)})
		evacuateOff := req.EvacuatePoweredOffVms != nil && *req.EvacuatePoweredOffVms
		if fault := w.evacuate(ctx, task, host, evacuateOff, time.Duration(req.Timeout)*time.Second); fault != nil {
			return nil, fault
		}
		w.update(ctx, host, set("runtime.inMaintenanceMode", true))
		w.hub.touch(host.Self, "summary.runtime")
		w.events.post(ctx, &types.EnteredMaintenanceModeEvent{HostEvent: w.hostEvent(host)})
		return nil, nil
	})
	return &methods.EnterMaintenanceMode_TaskBody{Res: &types.EnterMaintenanceMode_TaskResponse{Returnval: task}}
}

func (h *hostMethods) ExitMaintenanceModeTask(ctx *simulator.Context, _ *types.ExitMaintenanceMode_Task) soap.HasFault {
	host, w := h.HostSystem, h.w
	task := w.run(ctx, host, "ExitMaintenanceMode_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		if !host.Runtime.InMaintenanceMode {
			return nil, &types.InvalidState{}
		}
		w.update(ctx, host, set("runtime.inMaintenanceMode", false))
		w.hub.touch(host.Self, "summary.runtime")
		w.events.post(ctx, &types.ExitMaintenanceModeEvent{HostEvent: w.hostEvent(host)})
		return nil, nil
	})
	return &methods.ExitMaintenanceMode_TaskBody{Res: &types.ExitMaintenanceMode_TaskResponse{Returnval: task}}
}

// evacuate has DRS move what runs on a host, and waits for the rest to stop or go.
func (w *World) evacuate(ctx *simulator.Context, task *simulator.Task, host *simulator.HostSystem, alsoOff bool, patience time.Duration) types.BaseMethodFault {
	started := time.Now()
	for {
		var moving sync.WaitGroup
		left := 0
		for _, r := range slices.Clone(host.Vm) {
			vm := w.vm(r)
			if vm == nil || !alsoOff && vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
				continue
			}
			left++
			to := w.placeFor(vm)
			if to == nil || extraConfig(vm, pinnedKey) == "true" {
				continue
			}
			moving.Add(1)
			go func() {
				defer moving.Done()
				_ = w.drs(vm, to.Self)
			}()
		}
		moving.Wait()
		if left == 0 {
			return nil
		}
		var stop bool
		ctx.WithLock(task, func() { stop = cancelled(task) })
		switch {
		case stop:
			return &types.RequestCanceled{}
		case patience > 0 && time.Since(started) > patience:
			return &types.Timedout{}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// placeFor is the host of the VM's cluster that may run it and has the fewest VMs.
func (w *World) placeFor(vm *simulator.VirtualMachine) *simulator.HostSystem {
	var best *simulator.HostSystem
	from := w.host(*vm.Runtime.Host)
	if from == nil || from.Parent == nil {
		return nil
	}
	for _, r := range w.hostsOf(*from.Parent) {
		host := w.host(r)
		if host == nil || host == from || !w.connected(r) || host.Runtime.InMaintenanceMode || !w.networksReach(vm, r) {
			continue
		}
		if best == nil || len(host.Vm) < len(best.Vm) {
			best = host
		}
	}
	return best
}

func (w *World) networksReach(vm *simulator.VirtualMachine, host ref) bool {
	for _, g := range w.net.groupsOf(vm.Self, nil) {
		if dvs, ok := w.reg.Get(g.sw.ref).(*simulator.DistributedVirtualSwitch); !ok || !slices.Contains(dvs.Summary.HostMember, host) {
			return false
		}
	}
	return true
}

// drs moves a VM by vCenter's own decision and waits for the end.
func (w *World) drs(vm *simulator.VirtualMachine, to ref) types.BaseMethodFault {
	ctx := w.context()
	done := make(chan types.BaseMethodFault, 1)
	w.runThen(ctx, vm, "MigrateVM_Task", func(ctx *simulator.Context, task *simulator.Task) (any, types.BaseMethodFault) {
		return nil, w.move(ctx, task, vm, journey{to: to, drs: true})
	}, func(fault types.BaseMethodFault) { done <- fault }, to)
	return <-done
}

// die is the death of a host; HA starts the VMs that ran there on others, and says so unless nobody hears it.
func (w *World) die(host *simulator.HostSystem, restart bool) []string {
	ctx := w.context()
	w.setConnection(ctx, host, types.HostSystemConnectionStateNotResponding)
	w.events.post(ctx, &types.HostConnectionLostEvent{HostEvent: w.hostEvent(host)})
	restarted := []string{}
	for _, r := range slices.Clone(host.Vm) {
		vm := w.vm(r)
		if vm == nil || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			continue
		}
		w.net.dark(vm.Self)
		to := w.placeFor(vm)
		if !restart || to == nil {
			continue
		}
		if !w.appear(ctx, vm, to) {
			continue
		}
		connected := types.VirtualMachineConnectionStateConnected
		w.update(ctx, vm, set("runtime.connectionState", connected), set("summary.runtime.connectionState", connected),
			set("runtime.bootTime", time.Now()), set("summary.runtime.bootTime", time.Now()))
		if w.events.isMuted() {
			w.conflict(ctx, vm, func(p *dvPort) bool { return p.group.ephemeral })
		}
		event := w.vmEvent(vm).Event
		event.FullFormattedMessage = fmt.Sprintf("vSphere HA restarted virtual machine %s on host %s", vm.Name, to.Name)
		w.events.post(ctx, &types.EventEx{
			Event: event, EventTypeId: "com.vmware.vc.ha.VmRestartedByHAEvent", Severity: "warning",
			ObjectId: vm.Self.Value, ObjectType: "VirtualMachine", ObjectName: vm.Name,
		}, &types.VmPoweredOnEvent{VmEvent: w.vmEvent(vm)})
		restarted = append(restarted, vm.Name)
	}
	return restarted
}

// dark takes the link from the ports of a VM whose host has died; the next plugging brings it back.
func (n *network) dark(vm ref) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.nics[vm] {
		p.linkUp, p.changed = false, time.Now()
	}
}

type vmAndHost struct {
	VM   string `json:"vm"`
	Host string `json:"host"`
}

func (w *World) hostCalled(name string) (*simulator.HostSystem, error) {
	for _, r := range w.called(name) {
		if host := w.host(r); host != nil {
			return host, nil
		}
	}
	return nil, fmt.Errorf("there is no host %q", name)
}

func (w *World) vmCalled(name string) (*simulator.VirtualMachine, error) {
	for _, r := range w.called(name) {
		if vm := w.vm(r); vm != nil {
			return vm, nil
		}
	}
	return nil, fmt.Errorf("there is no VM %q", name)
}

// moving finds both ends of a move and makes it.
func (w *World) moving(move func(*simulator.VirtualMachine, *simulator.HostSystem) error) act {
	return doing(func(asked vmAndHost) (any, error) {
		vm, err := w.vmCalled(asked.VM)
		if err != nil {
			return nil, err
		}
		host, err := w.hostCalled(asked.Host)
		if err != nil {
			return nil, err
		}
		return nil, move(vm, host)
	})
}

func (w *World) hostActs() map[string]act {
	type host struct {
		Host    string `json:"host"`
		Restart bool   `json:"restart"`
	}
	onHost := func(do func(*simulator.HostSystem, host) (any, error)) act {
		return doing(func(asked host) (any, error) {
			found, err := w.hostCalled(asked.Host)
			if err != nil {
				return nil, err
			}
			return do(found, asked)
		})
	}
	return map[string]act{
		"hosts.lose": onHost(func(h *simulator.HostSystem, _ host) (any, error) {
			ctx := w.context()
			w.setConnection(ctx, h, types.HostSystemConnectionStateNotResponding)
			w.events.post(ctx, &types.HostConnectionLostEvent{HostEvent: w.hostEvent(h)})
			return nil, nil
		}),
		"hosts.find": onHost(func(h *simulator.HostSystem, _ host) (any, error) {
			ctx := w.context()
			w.setConnection(ctx, h, types.HostSystemConnectionStateConnected)
			w.events.post(ctx, &types.HostConnectedEvent{HostEvent: w.hostEvent(h)})
			return nil, nil
		}),
		"hosts.die": onHost(func(h *simulator.HostSystem, asked host) (any, error) { return w.die(h, asked.Restart), nil }),
		"hosts.hear": doing(func(asked struct {
			Host      string         `json:"host"`
			Device    string         `json:"device"`
			Neighbour *neighbourSpec `json:"neighbour"`
		}) (any, error) {
			found, err := w.hostCalled(asked.Host)
			if err != nil {
				return nil, err
			}
			return nil, w.hear(found, asked.Device, asked.Neighbour)
		}),
		"ports.conflict": doing(func(asked struct {
			VM  string `json:"vm"`
			NIC int32  `json:"nic"`
		}) (any, error) {
			vm, err := w.vmCalled(asked.VM)
			if err != nil {
				return nil, err
			}
			if w.conflict(w.context(), vm, func(p *dvPort) bool { return p.nicKey == asked.NIC }) == 0 {
				return nil, fmt.Errorf("NIC %d of %q has no port", asked.NIC, asked.VM)
			}
			return nil, nil
		}),
		"vms.drs": w.moving(func(vm *simulator.VirtualMachine, to *simulator.HostSystem) error {
			if fault := w.drs(vm, to.Self); fault != nil {
				return errors.New(faultName(fault))
			}
			return nil
		}),
		"vms.appear": w.moving(func(vm *simulator.VirtualMachine, to *simulator.HostSystem) error {
			w.appear(w.context(), vm, to)
			return nil
		}),
		"vms.addresses": doing(func(asked struct {
			VM  string   `json:"vm"`
			NIC int32    `json:"nic"`
			IPs []string `json:"ips"`
		}) (any, error) {
			vm, err := w.vmCalled(asked.VM)
			if err != nil {
				return nil, err
			}
			w.addresses.set(vm.Self, asked.NIC, asked.IPs)
			w.context().WithLock(vm.Self, func() { w.showGuest(vm) })
			return nil, nil
		}),
	}
}

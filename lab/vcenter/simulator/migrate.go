// Moving VMs between hosts, with the duration of a real migration and its events in vCenter's order.
// Law: a VM is on one host at any moment; its ports, their settings and their cookies move with it.

package main

import (
	"slices"
	"strconv"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Keys of a VM's extraConfig with which a test steers its migrations.
const (
	migrateForKey  = "isthmus.lab.migrate-ms"
	migrateFailKey = "isthmus.lab.migrate-fail"
)

// busy refuses an operation on a VM that is being moved.
func (w *World) busy(vm ref) types.BaseMethodFault {
	w.movesMu.Lock()
	defer w.movesMu.Unlock()
	if task, moving := w.moves[vm]; moving {
		return &types.TaskInProgress{Task: task}
	}
	return nil
}

func (v *vmMethods) MigrateVMTask(ctx *simulator.Context, req *types.MigrateVM_Task) soap.HasFault {
	task := v.w.run(ctx, v.VirtualMachine, "MigrateVM_Task", func(ctx *simulator.Context, task *simulator.Task) (any, types.BaseMethodFault) {
		host := req.Host
		if host == nil && req.Pool != nil {
			host = v.w.otherHost(v.VirtualMachine, *req.Pool)
		}
		if host == nil {
			return nil, &types.InvalidArgument{InvalidProperty: "host"}
		}
		if req.State != "" && req.State != v.Runtime.PowerState {
			return nil, &types.InvalidPowerState{RequestedState: req.State, ExistingState: v.Runtime.PowerState}
		}
		return nil, v.w.move(ctx, task, v.VirtualMachine, *host, req.Pool)
	}, given(req.Host)...)
	return &methods.MigrateVM_TaskBody{Res: &types.MigrateVM_TaskResponse{Returnval: task}}
}

// given is the reference as a list, empty for none.
func given(r *ref) []ref {
	if r == nil {
		return nil
	}
	return []ref{*r}
}

func (w *World) otherHost(vm *simulator.VirtualMachine, pool ref) *ref {
	if rp, ok := w.reg.Get(pool).(*simulator.ResourcePool); ok {
		for _, h := range w.hostsOf(rp.Owner) {
			if h != *vm.Runtime.Host {
				return &h
			}
		}
	}
	return nil
}

// RelocateVMTask moves the VM if a host is given; upstream does the rest of the spec (datastore, folder, devices).
func (v *vmMethods) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	vm, w := v.VirtualMachine, v.w
	task := w.run(ctx, vm, "RelocateVM_Task", func(ctx *simulator.Context, task *simulator.Task) (any, types.BaseMethodFault) {
		spec := &req.Spec
		if fault := w.checkRelocation(ctx, vm, spec); fault != nil {
			return nil, fault
		}
		if spec.Host != nil && *spec.Host != *vm.Runtime.Host {
			if fault := w.move(ctx, task, vm, *spec.Host, spec.Pool); fault != nil {
				return nil, fault
			}
		}
		spec.Host, spec.Pool = nil, nil
		if spec.Datastore == nil && spec.Folder == nil && len(spec.DeviceChange) == 0 {
			return nil, nil
		}
		return w.through(ctx, func(ctx *simulator.Context) (ref, *soap.Fault) {
			return vm.RelocateVMTask(ctx, req).(*methods.RelocateVM_TaskBody).Res.Returnval, nil
		})
	}, given(req.Spec.Host)...)
	return &methods.RelocateVM_TaskBody{Res: &types.RelocateVM_TaskResponse{Returnval: task}}
}

func (w *World) checkRelocation(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.VirtualMachineRelocateSpec) (fault types.BaseMethodFault) {
	if spec.Datastore != nil {
		if _, ok := w.reg.Get(*spec.Datastore).(*simulator.Datastore); !ok {
			return &types.ManagedObjectNotFound{Obj: *spec.Datastore}
		}
	}
	if spec.Folder != nil {
		if _, ok := w.reg.Get(*spec.Folder).(*simulator.Folder); !ok {
			return &types.ManagedObjectNotFound{Obj: *spec.Folder}
		}
	}
	ctx.WithLock(vm.Self, func() { fault = w.prepareDevices(w.datacenterOf(vm), spec.DeviceChange, vm) })
	return fault
}

// move is the whole of a migration, run inside its task.
func (w *World) move(ctx *simulator.Context, task *simulator.Task, vm *simulator.VirtualMachine, to ref, pool *ref) types.BaseMethodFault {
	host, fault := w.checkDestination(vm, to, pool)
	if fault != nil {
		return fault
	}
	w.movesMu.Lock()
	if other, moving := w.moves[vm.Self]; moving {
		w.movesMu.Unlock()
		return &types.TaskInProgress{Task: other}
	}
	w.moves[vm.Self] = task.Self
	w.movesMu.Unlock()
	defer func() {
		w.movesMu.Lock()
		delete(w.moves, vm.Self)
		w.movesMu.Unlock()
	}()

	source := w.host(*vm.Runtime.Host)
	on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	duration, fails := w.migrateFor, false
	ctx.WithLock(vm.Self, func() {
		if ms, err := strconv.Atoi(extraConfig(vm, migrateForKey)); err == nil && ms >= 0 {
			duration = time.Duration(ms) * time.Millisecond
		}
		fails = extraConfig(vm, migrateFailKey) == "true"
	})
	destination := w.hostArgument(host)
	if on {
		w.events.post(ctx, &types.VmBeingHotMigratedEvent{VmEvent: w.vmEvent(vm), DestHost: destination, DestDatacenter: w.datacenterArgument(host), DestDatastore: w.datastoreArgument(vm)})
	} else {
		w.events.post(ctx, &types.VmBeingMigratedEvent{VmEvent: w.vmEvent(vm), DestHost: destination, DestDatacenter: w.datacenterArgument(host), DestDatastore: w.datastoreArgument(vm)})
	}
	failed := func(reason types.BaseMethodFault) types.BaseMethodFault {
		w.events.post(ctx, &types.VmFailedMigrateEvent{
			VmEvent: w.vmEvent(vm), DestHost: destination, DestDatacenter: w.datacenterArgument(host), DestDatastore: w.datastoreArgument(vm),
			Reason: types.LocalizedMethodFault{Fault: reason, LocalizedMessage: faultName(reason)},
		})
		return reason
	}
	if fault := w.transfer(ctx, task, duration*9/10); fault != nil {
		return failed(fault)
	}
	if fails {
		return failed(&types.MigrationFault{})
	}
	if on {
		w.events.post(ctx, &types.VmEmigratingEvent{VmEvent: w.vmEvent(vm)})
	}
	time.Sleep(duration / 10)
	if w.vm(vm.Self) == nil {
		return failed(&types.ManagedObjectNotFound{Obj: vm.Self})
	}
	if _, fault := w.checkDestination(vm, to, pool); fault != nil {
		return failed(fault)
	}
	w.land(ctx, vm, source, host, pool)
	w.events.post(ctx, &types.VmMigratedEvent{
		VmEvent: w.vmEvent(vm), SourceHost: w.hostArgument(source), SourceDatacenter: w.datacenterArgument(source), SourceDatastore: w.datastoreArgument(vm),
	})
	return nil
}

// transfer is the long part of a migration, during which the task can be cancelled.
func (w *World) transfer(ctx *simulator.Context, task *simulator.Task, duration time.Duration) types.BaseMethodFault {
	for end := time.Now().Add(duration); ; {
		var stop bool
		ctx.WithLock(task, func() { stop = cancelled(task) })
		if stop {
			return &types.RequestCanceled{}
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		time.Sleep(min(left, 20*time.Millisecond))
	}
}

// land puts the VM onto its new host; ports follow through the update of runtime.host.
func (w *World) land(ctx *simulator.Context, vm *simulator.VirtualMachine, source, host *simulator.HostSystem, pool *ref) {
	ctx.WithLock(source.Self, func() { source.Vm = without(source.Vm, vm.Self) })
	ctx.WithLock(host.Self, func() { host.Vm = union(host.Vm, []ref{vm.Self}) })
	changes := []types.PropertyChange{set("runtime.host", host.Self), set("summary.runtime.host", host.Self)}
	newPool := pool
	if newPool == nil && source.Parent != nil && host.Parent != nil && *source.Parent != *host.Parent {
		if cr := w.computeOf(host); cr != nil {
			newPool = cr.ResourcePool
		}
	}
	if newPool != nil && (vm.ResourcePool == nil || *newPool != *vm.ResourcePool) {
		if old, ok := w.reg.Get(*vm.ResourcePool).(*simulator.ResourcePool); ok {
			ctx.WithLock(old.Self, func() { old.Vm = without(old.Vm, vm.Self) })
			w.hub.touch(old.Self, "vm")
		}
		if rp, ok := w.reg.Get(*newPool).(*simulator.ResourcePool); ok {
			ctx.WithLock(rp.Self, func() { rp.Vm = union(rp.Vm, []ref{vm.Self}) })
			w.hub.touch(rp.Self, "vm")
		}
		changes = append(changes, set("resourcePool", *newPool))
	}
	w.update(ctx, vm, changes...)
	w.hub.touch(source.Self, "vm")
	w.hub.touch(host.Self, "vm")
}

// checkDestination refuses a host that cannot run the VM with its networks.
func (w *World) checkDestination(vm *simulator.VirtualMachine, to ref, pool *ref) (*simulator.HostSystem, types.BaseMethodFault) {
	host := w.host(to)
	if host == nil {
		return nil, &types.ManagedObjectNotFound{Obj: to}
	}
	if pool != nil {
		if _, ok := w.reg.Get(*pool).(*simulator.ResourcePool); !ok {
			return nil, &types.ManagedObjectNotFound{Obj: *pool}
		}
	}
	switch {
	case *vm.Runtime.Host == to:
		return nil, &types.InvalidArgument{InvalidProperty: "host"}
	case host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected:
		return nil, &types.HostNotConnected{}
	case host.Runtime.InMaintenanceMode:
		return nil, &types.InvalidState{}
	}
	w.net.mu.Lock()
	var groups []*portGroup
	for _, p := range w.net.nics[vm.Self] {
		groups = append(groups, p.group)
	}
	w.net.mu.Unlock()
	for _, g := range groups {
		dvs, ok := w.reg.Get(g.sw.ref).(*simulator.DistributedVirtualSwitch)
		if !ok || !slices.Contains(dvs.Summary.HostMember, to) {
			network := g.ref
			return nil, &types.CannotAccessNetwork{Network: &network}
		}
	}
	return host, nil
}

func extraConfig(vm *simulator.VirtualMachine, key string) string {
	for _, option := range vm.Config.ExtraConfig {
		if v := option.GetOptionValue(); v != nil && v.Key == key {
			text, _ := v.Value.(string)
			return text
		}
	}
	return ""
}

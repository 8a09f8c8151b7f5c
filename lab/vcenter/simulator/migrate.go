// Moving VMs between hosts, with the duration of a real migration and its events in vCenter's order.
// Law: a VM is on one host at any moment; its ports, their settings and their cookies move with it.

package main

import (
	"cmp"
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

// journey says where a VM goes and what changes on the way.
type journey struct {
	to        ref
	pool      *ref
	datastore *ref
	rewire    []types.BaseVirtualDeviceConfigSpec // NICs that get another port group, perhaps on another switch
	drs       bool                                // vCenter's own decision
}

func (v *vmMethods) MigrateVMTask(ctx *simulator.Context, req *types.MigrateVM_Task) soap.HasFault {
	task := v.w.run(ctx, v.VirtualMachine, "MigrateVM_Task", func(ctx *simulator.Context, task *simulator.Task) (any, types.BaseMethodFault) {
		host := req.Host
		if host == nil && req.Pool != nil {
			host = v.w.firstFit(v.VirtualMachine, *req.Pool, nil)
		}
		if host == nil {
			return nil, &types.InvalidArgument{InvalidProperty: "host"}
		}
		if req.State != "" && req.State != v.Runtime.PowerState {
			return nil, &types.InvalidPowerState{RequestedState: req.State, ExistingState: v.Runtime.PowerState}
		}
		return nil, v.w.move(ctx, task, v.VirtualMachine, journey{to: *host, pool: req.Pool})
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

// hostsBelow lists the hosts that a resource pool draws from, by name.
func (w *World) hostsBelow(pool ref) []*simulator.HostSystem {
	rp, ok := w.reg.Get(pool).(*simulator.ResourcePool)
	if !ok {
		return nil
	}
	var hosts []*simulator.HostSystem
	for _, h := range w.hostsOf(rp.Owner) {
		if host := w.host(h); host != nil {
			hosts = append(hosts, host)
		}
	}
	slices.SortFunc(hosts, func(a, b *simulator.HostSystem) int { return cmp.Compare(a.Name, b.Name) })
	return hosts
}

// firstFit is vCenter's choice where the client names a pool and no host: the first other host, by name, that can take the VM.
func (w *World) firstFit(vm *simulator.VirtualMachine, pool ref, rewire []types.BaseVirtualDeviceConfigSpec) *ref {
	for _, host := range w.hostsBelow(pool) {
		if host.Self == *vm.Runtime.Host {
			continue
		}
		if _, fault := w.checkDestination(vm, journey{to: host.Self, rewire: rewire}); fault == nil {
			return &host.Self
		}
	}
	return nil
}

// checkPool refuses a pool that does not draw from the host.
func (w *World) checkPool(host ref, pool *ref) types.BaseMethodFault {
	if pool == nil {
		return nil
	}
	if _, ok := w.reg.Get(*pool).(*simulator.ResourcePool); !ok {
		return &types.ManagedObjectNotFound{Obj: *pool}
	}
	if !slices.ContainsFunc(w.hostsBelow(*pool), func(h *simulator.HostSystem) bool { return h.Self == host }) {
		return &types.InvalidArgument{InvalidProperty: "pool"}
	}
	return nil
}

// RelocateVMTask changes host, datastore and networks together; upstream does the rest of the spec (folder, other devices).
func (v *vmMethods) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	vm, w := v.VirtualMachine, v.w
	task := w.run(ctx, vm, "RelocateVM_Task", func(ctx *simulator.Context, task *simulator.Task) (any, types.BaseMethodFault) {
		spec := &req.Spec
		if fault := w.checkRelocation(ctx, vm, spec); fault != nil {
			return nil, fault
		}
		to, fault := w.destination(vm, spec)
		if fault != nil {
			return nil, fault
		}
		j := journey{to: to, pool: spec.Pool, rewire: spec.DeviceChange}
		if spec.Datastore != nil && !slices.Contains(vm.Datastore, *spec.Datastore) {
			j.datastore = spec.Datastore
		}
		if j.to != *vm.Runtime.Host || j.datastore != nil {
			if fault := w.move(ctx, task, vm, j); fault != nil {
				return nil, fault
			}
		} else if len(j.rewire) > 0 {
			if fault := w.rewire(ctx, vm, j.rewire); fault != nil {
				return nil, fault
			}
		}
		if spec.Pool != nil {
			w.changePool(ctx, vm, *spec.Pool)
		}
		if spec.Folder == nil {
			return nil, nil
		}
		return w.through(ctx, func(ctx *simulator.Context) (ref, *soap.Fault) {
			folder := w.reg.Get(*spec.Folder).(*simulator.Folder)
			return folder.MoveIntoFolderTask(ctx, &types.MoveIntoFolder_Task{This: folder.Self, List: []ref{vm.Self}}).(*methods.MoveIntoFolder_TaskBody).Res.Returnval, nil
		})
	}, given(req.Spec.Host)...)
	return &methods.RelocateVM_TaskBody{Res: &types.RelocateVM_TaskResponse{Returnval: task}}
}

// destination is the host that a relocation means: the one it names, else one that its pool draws from, best the present one.
func (w *World) destination(vm *simulator.VirtualMachine, spec *types.VirtualMachineRelocateSpec) (ref, types.BaseMethodFault) {
	to := *vm.Runtime.Host
	if spec.Host != nil {
		to = *spec.Host
	}
	if w.host(to) == nil {
		return to, &types.ManagedObjectNotFound{Obj: to}
	}
	fault := w.checkPool(to, spec.Pool)
	if _, elsewhere := fault.(*types.InvalidArgument); !elsewhere || spec.Host != nil {
		return to, fault
	}
	if chosen := w.firstFit(vm, *spec.Pool, spec.DeviceChange); chosen != nil {
		return *chosen, nil
	}
	return to, &types.NoCompatibleHost{}
}

// changePool moves a VM to another pool of the hosts that it may run on, unless its journey has brought it there.
func (w *World) changePool(ctx *simulator.Context, vm *simulator.VirtualMachine, pool ref) {
	ctx.WithLock(vm.Self, func() {
		old := *vm.ResourcePool
		changes := w.repool(ctx, vm, pool)
		if changes == nil {
			return
		}
		w.update(ctx, vm, changes...)
		w.events.post(ctx, &types.VmResourcePoolMovedEvent{VmEvent: w.vmEvent(vm), OldParent: w.poolArgument(old), NewParent: w.poolArgument(pool)})
	})
}

func (w *World) poolArgument(pool ref) types.ResourcePoolEventArgument {
	argument := types.ResourcePoolEventArgument{ResourcePool: pool}
	if rp, ok := w.reg.Get(pool).(*simulator.ResourcePool); ok {
		argument.Name = rp.Name
	}
	return argument
}

// repool puts a VM, whose lock is held, on another pool's list; what it returns is still to be told of the VM.
func (w *World) repool(ctx *simulator.Context, vm *simulator.VirtualMachine, pool ref) []types.PropertyChange {
	if *vm.ResourcePool == pool {
		return nil
	}
	if old, ok := w.reg.Get(*vm.ResourcePool).(*simulator.ResourcePool); ok {
		ctx.WithLock(old.Self, func() { old.Vm = without(old.Vm, vm.Self) })
		w.hub.touch(old.Self, "vm")
	}
	if rp, ok := w.reg.Get(pool).(*simulator.ResourcePool); ok {
		ctx.WithLock(rp.Self, func() { rp.Vm = union(rp.Vm, []ref{vm.Self}) })
		w.hub.touch(rp.Self, "vm")
	}
	return []types.PropertyChange{set("resourcePool", pool)}
}

// rewire gives NICs their new port groups.
func (w *World) rewire(ctx *simulator.Context, vm *simulator.VirtualMachine, changes []types.BaseVirtualDeviceConfigSpec) types.BaseMethodFault {
	_, fault := w.through(ctx, func(ctx *simulator.Context) (ref, *soap.Fault) {
		return vm.ReconfigVMTask(ctx, &types.ReconfigVM_Task{This: vm.Self, Spec: types.VirtualMachineConfigSpec{DeviceChange: changes}}).(*methods.ReconfigVM_TaskBody).Res.Returnval, nil
	})
	return fault
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
func (w *World) move(ctx *simulator.Context, task *simulator.Task, vm *simulator.VirtualMachine, j journey) types.BaseMethodFault {
	host, fault := w.checkDestination(vm, j)
	if fault != nil {
		return fault
	}
	end, fault := w.beginMove(vm.Self, task.Self)
	if fault != nil {
		return fault
	}
	defer end()
	source, from := w.host(*vm.Runtime.Host), w.datastoreArgument(vm)
	duration, fails := w.migrateFor, false
	ctx.WithLock(vm.Self, func() {
		if ms, err := strconv.Atoi(extraConfig(vm, migrateForKey)); err == nil && ms >= 0 {
			duration = time.Duration(ms) * time.Millisecond
		}
		fails = extraConfig(vm, migrateFailKey) == "true"
	})
	story := w.storyOf(vm, host, j)
	w.events.post(ctx, story.begins())
	failed := func(reason types.BaseMethodFault) types.BaseMethodFault {
		w.events.post(ctx, story.fails(reason))
		return reason
	}
	if fault := w.transfer(ctx, task, duration*9/10); fault != nil {
		return failed(fault)
	}
	if fails {
		return failed(&types.MigrationFault{})
	}
	if story.hot && j.to != source.Self {
		w.events.post(ctx, &types.VmEmigratingEvent{VmEvent: w.vmEvent(vm)})
	}
	time.Sleep(duration / 10)
	if fault := w.arrive(ctx, vm, source, host, j); fault != nil {
		return failed(fault)
	}
	if j.datastore != nil {
		w.changeDatastore(ctx, vm, *j.datastore, max(duration/10, 50*time.Millisecond))
	}
	w.events.post(ctx, story.ends(w.vmEvent(vm), source, from))
	return nil
}

// arrive ends a move as one step, unless the VM has gone another way meanwhile.
func (w *World) arrive(ctx *simulator.Context, vm *simulator.VirtualMachine, source, host *simulator.HostSystem, j journey) (fault types.BaseMethodFault) {
	ctx.WithLock(vm.Self, func() {
		switch {
		case w.vm(vm.Self) == nil:
			fault = &types.ManagedObjectNotFound{Obj: vm.Self}
			return
		case *vm.Runtime.Host != source.Self:
			fault = &types.MigrationFault{}
			return
		}
		if _, fault = w.checkDestination(vm, j); fault != nil {
			return
		}
		if len(j.rewire) > 0 {
			// The NICs get their ports as those of the new host: a port on the new switch has never a proxy on the old host.
			vm.Runtime.Host = &host.Self
			fault = w.rewire(ctx, vm, j.rewire)
			vm.Runtime.Host = &source.Self
		}
		if fault == nil && j.to != source.Self {
			w.land(ctx, vm, host, j.pool)
		}
	})
	return fault
}

// beginMove books a VM for one move; the function that it returns gives it free.
func (w *World) beginMove(vm, task ref) (func(), types.BaseMethodFault) {
	w.movesMu.Lock()
	defer w.movesMu.Unlock()
	if other, moving := w.moves[vm]; moving {
		return nil, &types.TaskInProgress{Task: other}
	}
	w.moves[vm] = task
	return func() {
		w.movesMu.Lock()
		defer w.movesMu.Unlock()
		delete(w.moves, vm)
	}, nil
}

// story tells a migration in vCenter's events: one for its beginning, one for its end.
type story struct {
	w         *World
	vm        *simulator.VirtualMachine
	host      *simulator.HostSystem
	datastore *types.DatastoreEventArgument
	hot       bool
	storage   bool // the datastore changes and the host does not
	drs       bool
}

func (w *World) storyOf(vm *simulator.VirtualMachine, host *simulator.HostSystem, j journey) story {
	s := story{w: w, vm: vm, host: host, datastore: w.datastoreArgument(vm), drs: j.drs}
	s.hot = vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	s.storage = j.to == *vm.Runtime.Host
	if j.datastore != nil {
		if ds, ok := w.reg.Get(*j.datastore).(*simulator.Datastore); ok {
			s.datastore = &types.DatastoreEventArgument{Datastore: ds.Self, EntityEventArgument: types.EntityEventArgument{Name: ds.Name}}
		}
	}
	return s
}

func (s story) begins() types.BaseEvent {
	event, to, dc := s.w.vmEvent(s.vm), s.w.hostArgument(s.host), s.w.datacenterArgument(s.host)
	switch {
	case s.storage:
		return &types.VmBeingRelocatedEvent{VmRelocateSpecEvent: types.VmRelocateSpecEvent{VmEvent: event}, DestHost: to, DestDatacenter: dc, DestDatastore: s.datastore}
	case s.hot:
		return &types.VmBeingHotMigratedEvent{VmEvent: event, DestHost: to, DestDatacenter: dc, DestDatastore: s.datastore}
	}
	return &types.VmBeingMigratedEvent{VmEvent: event, DestHost: to, DestDatacenter: dc, DestDatastore: s.datastore}
}

func (s story) fails(fault types.BaseMethodFault) types.BaseEvent {
	event, to, dc := s.w.vmEvent(s.vm), s.w.hostArgument(s.host), s.w.datacenterArgument(s.host)
	reason := types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultName(fault)}
	if s.storage {
		return &types.VmRelocateFailedEvent{
			VmRelocateSpecEvent: types.VmRelocateSpecEvent{VmEvent: event}, DestHost: to, DestDatacenter: dc, DestDatastore: s.datastore, Reason: reason,
		}
	}
	return &types.VmFailedMigrateEvent{VmEvent: event, DestHost: to, DestDatacenter: dc, DestDatastore: s.datastore, Reason: reason}
}

func (s story) ends(event types.VmEvent, source *simulator.HostSystem, from *types.DatastoreEventArgument) types.BaseEvent {
	origin, dc := s.w.hostArgument(source), s.w.datacenterArgument(source)
	if s.storage {
		return &types.VmRelocatedEvent{VmRelocateSpecEvent: types.VmRelocateSpecEvent{VmEvent: event}, SourceHost: origin, SourceDatacenter: dc, SourceDatastore: from}
	}
	migrated := types.VmMigratedEvent{VmEvent: event, SourceHost: origin, SourceDatacenter: dc, SourceDatastore: from}
	if s.drs {
		return &types.DrsVmMigratedEvent{VmMigratedEvent: migrated}
	}
	return &migrated
}

// changeDatastore moves the VM's files, and shows for a while the name under which the new host finds them.
func (w *World) changeDatastore(ctx *simulator.Context, vm *simulator.VirtualMachine, to ref, odd time.Duration) {
	store := w.reg.Get(to).(*simulator.Datastore)
	for _, d := range vm.Datastore {
		if old, ok := w.reg.Get(d).(*simulator.Datastore); ok {
			ctx.WithLock(d, func() { old.Vm = without(old.Vm, vm.Self) })
			w.hub.touch(d, "vm")
		}
	}
	ctx.WithLock(to, func() { store.Vm = union(store.Vm, []ref{vm.Self}) })
	w.hub.touch(to, "vm")
	name, parent := vm.Name, *vm.Parent
	odder := escapeName("/vmfs/volumes/" + store.Name + "/" + name + "/" + name + ".vmx")
	w.names.reserve(parent, name, vm.Self) // nobody takes the name meanwhile
	w.update(ctx, vm, append(named(odder), set("datastore", []ref{to}))...)
	time.Sleep(odd)
	if vm.Name == odder {
		w.update(ctx, vm, named(name)...)
	} else {
		w.names.unclaim(parent, name)
	}
}

func named(name string) []types.PropertyChange {
	return []types.PropertyChange{set("name", name), set("config.name", name), set("summary.config.name", name)}
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

// appear puts a VM onto another host at once, whatever else is under way; false if either is gone or nothing changes.
func (w *World) appear(ctx *simulator.Context, vm *simulator.VirtualMachine, host *simulator.HostSystem) (moved bool) {
	ctx.WithLock(vm.Self, func() {
		if moved = w.vm(vm.Self) != nil && *vm.Runtime.Host != host.Self; moved {
			w.land(ctx, vm, host, nil)
		}
	})
	return moved
}

// land puts the VM, whose lock is held, onto its new host; ports follow through the update of runtime.host.
func (w *World) land(ctx *simulator.Context, vm *simulator.VirtualMachine, host *simulator.HostSystem, pool *ref) {
	source := w.host(*vm.Runtime.Host)
	ctx.WithLock(source.Self, func() { source.Vm = without(source.Vm, vm.Self) })
	ctx.WithLock(host.Self, func() { host.Vm = union(host.Vm, []ref{vm.Self}) })
	changes := []types.PropertyChange{set("runtime.host", host.Self), set("summary.runtime.host", host.Self)}
	newPool := pool
	if newPool == nil && source.Parent != nil && host.Parent != nil && *source.Parent != *host.Parent {
		if cr := w.computeOf(host); cr != nil {
			newPool = cr.ResourcePool
		}
	}
	if newPool != nil {
		changes = append(changes, w.repool(ctx, vm, *newPool)...)
	}
	w.update(ctx, vm, changes...)
	w.hub.touch(source.Self, "vm")
	w.hub.touch(host.Self, "vm")
}

// checkDestination refuses a host that cannot run the VM with its networks.
func (w *World) checkDestination(vm *simulator.VirtualMachine, j journey) (*simulator.HostSystem, types.BaseMethodFault) {
	host := w.host(j.to)
	if host == nil {
		return nil, &types.ManagedObjectNotFound{Obj: j.to}
	}
	if fault := w.checkPool(j.to, j.pool); fault != nil {
		return nil, fault
	}
	switch {
	case *vm.Runtime.Host == j.to && j.datastore == nil:
		return nil, &types.InvalidArgument{InvalidProperty: "host"}
	case !w.connected(j.to), !w.connected(*vm.Runtime.Host):
		return nil, &types.HostNotConnected{}
	case host.Runtime.InMaintenanceMode:
		return nil, &types.InvalidState{}
	case j.to != *vm.Runtime.Host && w.net.onConflictPort(vm.Self):
		return nil, &types.MigrationFault{}
	}
	for _, g := range w.net.groupsOf(vm.Self, j.rewire) {
		dvs, ok := w.reg.Get(g.sw.ref).(*simulator.DistributedVirtualSwitch)
		if !ok || !slices.Contains(dvs.Summary.HostMember, j.to) {
			network := g.ref
			return nil, &types.CannotAccessNetwork{Network: &network}
		}
	}
	return host, nil
}

// groupsOf lists the port groups of a VM's NICs as they are after the changes.
func (n *network) groupsOf(vm ref, changes []types.BaseVirtualDeviceConfigSpec) []*portGroup {
	n.mu.Lock()
	defer n.mu.Unlock()
	groups := map[int32]*portGroup{}
	for key, p := range n.nics[vm] {
		groups[key] = p.group
	}
	for _, change := range changes {
		card, ok := change.GetVirtualDeviceConfigSpec().Device.(types.BaseVirtualEthernetCard)
		if !ok {
			continue
		}
		nic := card.GetVirtualEthernetCard()
		delete(groups, nic.Key)
		backing, ok := nic.Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo)
		if !ok || change.GetVirtualDeviceConfigSpec().Operation == types.VirtualDeviceConfigSpecOperationRemove {
			continue
		}
		if sw := n.switches[backing.Port.SwitchUuid]; sw != nil && sw.groups[backing.Port.PortgroupKey] != nil {
			groups[nic.Key] = sw.groups[backing.Port.PortgroupKey]
		}
	}
	var list []*portGroup
	for _, g := range groups {
		list = append(list, g)
	}
	return list
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

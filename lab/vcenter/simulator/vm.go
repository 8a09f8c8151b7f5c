// Virtual machines: what vCenter checks and fills in before a VM operation starts.
// Law: a request that cannot succeed is refused before upstream changes anything.

package main

import (
	"fmt"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type vmMethods struct {
	*simulator.VirtualMachine
	w *World
}

type folderMethods struct {
	*simulator.Folder
	w *World
}

// trueNames are names that upstream would spoil on the way: it escapes twice and makes files of them.
// The VM is born under a plain name and gets its own before anyone sees it.
var trueNames sync.Map

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._()+-]*$`)

func (w *World) giveTrueName(vm *simulator.VirtualMachine) {
	if name, ok := trueNames.Load(vm.Name); ok {
		vm.Name, vm.Config.Name, vm.Summary.Config.Name = name.(string), name.(string), name.(string)
	}
}

// bornAs is the name under which upstream may create the VM.
func bornAs(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	plain := "vm-" + uuid.NewString()
	trueNames.Store(plain, name)
	return plain
}

// through runs an upstream task inside one of ours, so that checks come first and clean-up last.
func (w *World) through(ctx *simulator.Context, call func(*simulator.Context) (ref, *soap.Fault)) (any, types.BaseMethodFault) {
	inner, refused := call(ctx)
	if refused != nil {
		fault, _ := refused.VimFault().(types.BaseMethodFault)
		if fault == nil {
			fault = &types.SystemError{Reason: refused.String}
		}
		return nil, fault
	}
	task, ok := w.reg.Get(inner).(*simulator.Task)
	if !ok {
		return nil, &types.SystemError{Reason: "task vanished"}
	}
	task.Wait()
	if task.Info.Error != nil {
		return nil, task.Info.Error.Fault
	}
	return task.Info.Result, nil
}

func (f *folderMethods) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	task := f.w.run(ctx, f.Folder, "CreateVM_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		return f.w.createVM(ctx, f.Folder, req)
	})
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: task}}
}

func (w *World) createVM(ctx *simulator.Context, folder *simulator.Folder, req *types.CreateVM_Task) (any, types.BaseMethodFault) {
	spec := &req.Config
	name, fault := checkedName(spec.Name, nil)
	if fault != nil {
		return nil, fault
	}
	if !slices.Contains(folder.ChildType, "VirtualMachine") {
		return nil, &types.NotSupported{}
	}
	pool, ok := w.reg.Get(req.Pool).(*simulator.ResourcePool)
	if !ok {
		return nil, &types.ManagedObjectNotFound{Obj: req.Pool}
	}
	if fault := w.chooseHost(pool, req); fault != nil {
		return nil, fault
	}
	if fault := w.chooseDatastore(folder, spec); fault != nil {
		return nil, fault
	}
	if fault := w.prepareDevices(w.datacenterOf(folder), spec.DeviceChange, nil); fault != nil {
		return nil, fault
	}
	if spec.Uuid == "" {
		spec.Uuid = uuid.NewString()
	}
	if spec.InstanceUuid == "" {
		spec.InstanceUuid = uuid.NewString()
	}
	if other, free := w.names.claim(folder.Self, name, folder.Self); !free {
		return nil, &types.DuplicateName{Name: name, Object: other}
	}
	defer w.names.unclaim(folder.Self, name)
	spec.Name = bornAs(name)
	defer trueNames.Delete(spec.Name)
	return w.through(ctx, func(ctx *simulator.Context) (ref, *soap.Fault) {
		res := folder.CreateVMTask(ctx, req).(*methods.CreateVM_TaskBody)
		if res.Fault_ != nil {
			return ref{}, res.Fault_
		}
		return res.Res.Returnval, nil
	})
}

// chooseHost takes the wished host, or the connected one of the cluster with the fewest VMs, as DRS would.
func (w *World) chooseHost(pool *simulator.ResourcePool, req *types.CreateVM_Task) types.BaseMethodFault {
	if req.Host != nil {
		if w.host(*req.Host) == nil {
			return &types.ManagedObjectNotFound{Obj: *req.Host}
		}
		if !w.connected(*req.Host) {
			return &types.HostNotConnected{}
		}
		return nil
	}
	var best *simulator.HostSystem
	for _, h := range w.hostsOf(pool.Owner) {
		host := w.host(h)
		if host == nil || host.Runtime.InMaintenanceMode || host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected {
			continue
		}
		if best == nil || len(host.Vm) < len(best.Vm) {
			best = host
		}
	}
	if best == nil {
		return &types.NoCompatibleHost{}
	}
	chosen := best.Self
	req.Host = &chosen
	return nil
}

// chooseDatastore makes upstream find the datastore that the spec names, or the first there is.
func (w *World) chooseDatastore(folder *simulator.Folder, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	dc := w.datacenterOf(folder)
	if dc == nil {
		return &types.NotSupported{}
	}
	if spec.Files == nil {
		spec.Files = &types.VirtualMachineFileInfo{}
	}
	var p object.DatastorePath
	p.FromString(spec.Files.VmPathName)
	for _, ds := range dc.Datastore {
		store, ok := w.reg.Get(ds).(*simulator.Datastore)
		if !ok {
			continue
		}
		if p.Datastore == "" || p.Datastore == store.Name {
			if strings.Contains(p.Path, "..") {
				return &types.InvalidDatastorePath{InvalidDatastore: types.InvalidDatastore{Datastore: &store.Self, Name: store.Name}, DatastorePath: spec.Files.VmPathName}
			}
			spec.Files.VmPathName = strings.TrimSpace(fmt.Sprintf("[%s] %s", store.Name, p.Path))
			return nil
		}
	}
	return &types.InvalidDatastore{Name: p.Datastore}
}

func (w *World) hostsOf(owner ref) []ref {
	switch cr := w.reg.Get(owner).(type) {
	case *simulator.ClusterComputeResource:
		return cr.Host
	case interface{ Reference() ref }:
		if v, ok := managed(cr); ok {
			if f := v.FieldByName("Host"); f.IsValid() {
				hosts, _ := f.Interface().([]ref)
				return hosts
			}
		}
	}
	return nil
}

// firstNICKey is where vCenter numbers a VM's NICs from.
const firstNICKey = 4000

// prepareDevices fills in what vCenter assigns to NICs and refuses what cannot be connected.
func (w *World) prepareDevices(dc *simulator.Datacenter, changes []types.BaseVirtualDeviceConfigSpec, vm *simulator.VirtualMachine) types.BaseMethodFault {
	taken := map[int32]bool{}
	units := map[int32]bool{}
	old := map[int32]types.BaseVirtualDevice{}
	on := false
	if vm != nil {
		on = vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
		for _, d := range vm.Config.Hardware.Device {
			base := d.GetVirtualDevice()
			old[base.Key], taken[base.Key] = d, true
			if _, nic := d.(types.BaseVirtualEthernetCard); nic && base.UnitNumber != nil {
				units[*base.UnitNumber] = true
			}
		}
	}
	wanted := map[string]int{}
	for i, change := range changes {
		spec := change.GetVirtualDeviceConfigSpec()
		invalid := &types.InvalidDeviceSpec{DeviceIndex: int32(i)}
		if spec == nil || spec.Device == nil || spec.Device.GetVirtualDevice() == nil {
			return invalid
		}
		card, isNIC := spec.Device.(types.BaseVirtualEthernetCard)
		key := spec.Device.GetVirtualDevice().Key
		switch spec.Operation {
		case types.VirtualDeviceConfigSpecOperationRemove:
			if old[key] == nil {
				return invalid
			}
			spec.Device = old[key] // upstream looks into the backing that the client sends
			continue
		case types.VirtualDeviceConfigSpecOperationEdit:
			if old[key] == nil {
				return invalid
			}
			if !isNIC {
				continue
			}
			before, ok := old[key].(types.BaseVirtualEthernetCard)
			if !ok {
				return invalid
			}
			keepUnset(card.GetVirtualEthernetCard(), before.GetVirtualEthernetCard())
		case types.VirtualDeviceConfigSpecOperationAdd:
			if !isNIC {
				continue
			}
			nameNIC(card.GetVirtualEthernetCard(), taken, units, on)
		default:
			return invalid
		}
		if fault := w.checkNIC(dc, card.GetVirtualEthernetCard(), vm, i, wanted); fault != nil {
			return fault
		}
	}
	return w.net.enoughPorts(wanted)
}

// keepUnset makes an edit partial, as it is in vCenter: what the client leaves out stays.
func keepUnset(nic, before *types.VirtualEthernetCard) {
	if nic.MacAddress == "" {
		nic.MacAddress, nic.AddressType = before.MacAddress, before.AddressType
	}
	if nic.Backing == nil {
		nic.Backing = clone(before.Backing)
	}
	if nic.Connectable == nil {
		nic.Connectable = clone(before.Connectable)
	}
	if nic.UnitNumber == nil {
		nic.UnitNumber, nic.ControllerKey = clone(before.UnitNumber), before.ControllerKey
	}
	if nic.ResourceAllocation == nil {
		nic.ResourceAllocation = clone(before.ResourceAllocation)
	}
}

// nameNIC gives a new NIC the key, slot and connection state that vCenter gives.
func nameNIC(nic *types.VirtualEthernetCard, taken, units map[int32]bool, on bool) {
	if nic.Key <= 0 || taken[nic.Key] {
		for nic.Key = firstNICKey; taken[nic.Key]; nic.Key++ {
		}
	}
	taken[nic.Key] = true
	if nic.UnitNumber == nil || units[*nic.UnitNumber] {
		unit := int32(7) // the first slot of the PCI controller that a NIC may take
		for units[unit] {
			unit++
		}
		nic.UnitNumber, nic.ControllerKey = &unit, 100
	}
	units[*nic.UnitNumber] = true
	if nic.Connectable == nil {
		nic.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true}
	}
	nic.Connectable.Connected = on && nic.Connectable.StartConnected
	if nic.Connectable.Status == "" {
		nic.Connectable.Status = "untried"
	}
	if nic.WakeOnLanEnabled == nil {
		nic.WakeOnLanEnabled = types.NewBool(true)
	}
}

func (w *World) checkNIC(dc *simulator.Datacenter, nic *types.VirtualEthernetCard, vm *simulator.VirtualMachine, i int, wanted map[string]int) types.BaseMethodFault {
	where := fmt.Sprintf("spec.deviceChange[%d].device", i)
	switch backing := nic.Backing.(type) {
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		if fault := w.net.checkBacking(&backing.Port, nic.Key, vm, where, wanted); fault != nil {
			return fault
		}
	case *types.VirtualEthernetCardNetworkBackingInfo:
		known := false
		if dc != nil {
			for _, n := range dc.Network {
				if id, ok := w.names.find(w.parentOf(n), backing.DeviceName); ok && id.Type == "Network" {
					known = true
				}
			}
		}
		if !known {
			return &types.InvalidDeviceBacking{InvalidDeviceSpec: types.InvalidDeviceSpec{DeviceIndex: int32(i)}}
		}
	default:
		return &types.InvalidDeviceBacking{InvalidDeviceSpec: types.InvalidDeviceSpec{DeviceIndex: int32(i)}}
	}
	if nic.MacAddress == "" {
		w.net.mu.Lock()
		nic.MacAddress, nic.AddressType = w.net.newMAC(), "assigned"
		w.net.mu.Unlock()
		return nil
	}
	mac, err := net.ParseMAC(nic.MacAddress)
	if err != nil || len(mac) != 6 || mac[0]&1 == 1 {
		return &types.InvalidArgument{InvalidProperty: where + ".macAddress"}
	}
	nic.MacAddress = mac.String()
	if nic.AddressType == "" {
		nic.AddressType = "manual"
	}
	return nil
}

func (w *World) parentOf(child ref) ref {
	if e, ok := w.reg.Get(child).(mo.Entity); ok && e.Entity().Parent != nil {
		return *e.Entity().Parent
	}
	return ref{}
}

// checkBacking refuses a NIC that could not get a port; wanted counts the ports each group must find.
func (n *network) checkBacking(port *types.DistributedVirtualSwitchPortConnection, nicKey int32, vm *simulator.VirtualMachine, where string, wanted map[string]int) types.BaseMethodFault {
	n.mu.Lock()
	defer n.mu.Unlock()
	sw := n.switches[port.SwitchUuid]
	if sw == nil {
		return &types.InvalidArgument{InvalidProperty: where + ".backing.port.switchUuid"}
	}
	if port.PortgroupKey == "" {
		p := sw.ports[port.PortKey]
		if p == nil {
			return &types.InvalidArgument{InvalidProperty: where + ".backing.port.portgroupKey"}
		}
		port.PortgroupKey = p.group.key
	}
	group := sw.groups[port.PortgroupKey]
	if group == nil || group.uplink {
		return &types.InvalidArgument{InvalidProperty: where + ".backing.port.portgroupKey"}
	}
	var current *dvPort
	if vm != nil {
		current = n.nics[vm.Self][nicKey]
	}
	if port.PortKey != "" {
		p := sw.ports[port.PortKey]
		switch {
		case p == nil || p.group != group:
			if current == nil || current.group != group {
				port.PortKey, port.ConnectionCookie = "", 0 // a left-over of the NIC's former group
			} else {
				return &types.InvalidArgument{InvalidProperty: where + ".backing.port.portKey"}
			}
		case p.connectee != nil && p != current && port.ConnectionCookie != 0:
			port.PortKey, port.ConnectionCookie = "", 0 // a left-over of another NIC's connection, as in a copied device
		case p.connectee != nil && p != current:
			return &types.ResourceInUse{Type: "DistributedVirtualPort", Name: p.key}
		}
	}
	if current == nil || current.group != group {
		wanted[group.key]++
	}
	return nil
}

// enoughPorts refuses to start what would leave a NIC without a port.
func (n *network) enoughPorts(wanted map[string]int) types.BaseMethodFault {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, sw := range n.byRef {
		for key, count := range wanted {
			if g := sw.groups[key]; g != nil && !g.autoExpand && !g.ephemeral && g.free() < count {
				return &types.ResourceNotAvailable{ContainerType: "DistributedVirtualPortgroup", ContainerName: g.key, Type: "DistributedVirtualPort"}
			}
		}
	}
	return nil
}

func (v *vmMethods) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	task := v.w.run(ctx, v.VirtualMachine, "ReconfigVM_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		return nil, v.w.reconfigureVM(ctx, v.VirtualMachine, req)
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task}}
}

func (w *World) reconfigureVM(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.ReconfigVM_Task) types.BaseMethodFault {
	if fault := w.busy(vm.Self); fault != nil {
		return fault
	}
	if !w.connected(*vm.Runtime.Host) {
		return &types.HostNotConnected{}
	}
	var fault types.BaseMethodFault
	ctx.WithLock(vm.Self, func() { fault = w.prepareDevices(w.datacenterOf(vm), req.Spec.DeviceChange, vm) })
	if fault != nil {
		return fault
	}
	if req.Spec.Name != "" && req.Spec.Name != vm.Name {
		if fault := w.renameVM(ctx, vm, req.Spec.Name); fault != nil {
			return fault
		}
	}
	req.Spec.Name = ""
	_, fault = w.through(ctx, func(ctx *simulator.Context) (ref, *soap.Fault) {
		return vm.ReconfigVMTask(ctx, req).(*methods.ReconfigVM_TaskBody).Res.Returnval, nil
	})
	for path, is := range map[string]bool{
		"config.annotation":           req.Spec.Annotation != "",
		"config.hardware.numCPU":      req.Spec.NumCPUs != 0,
		"config.hardware.memoryMB":    req.Spec.MemoryMB != 0,
		"summary.config.memorySizeMB": req.Spec.MemoryMB != 0,
		"config.instanceUuid":         req.Spec.InstanceUuid != "",
		"config.uuid":                 req.Spec.Uuid != "",
	} {
		if is {
			w.hub.touch(vm.Self, path)
		}
	}
	return fault
}

func (w *World) renameVM(ctx *simulator.Context, vm *simulator.VirtualMachine, to string) types.BaseMethodFault {
	name, fault := checkedName(to, &vm.Self)
	if fault != nil {
		return fault
	}
	if name == vm.Name {
		return nil
	}
	if other, free := w.names.claim(*vm.Parent, name, vm.Self); !free {
		return &types.DuplicateName{Name: name, Object: other}
	}
	old := vm.Name
	w.update(ctx, vm, set("name", name), set("config.name", name), set("summary.config.name", name))
	w.events.post(ctx, &types.VmRenamedEvent{VmEvent: w.vmEvent(vm), OldName: old, NewName: name})
	return nil
}

func (v *vmMethods) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	task := v.w.run(ctx, v.VirtualMachine, "Rename_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		return nil, v.w.renameVM(ctx, v.VirtualMachine, req.NewName)
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}

func (v *vmMethods) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	task := v.w.run(ctx, v.VirtualMachine, "CloneVM_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		return v.w.cloneVM(ctx, v.VirtualMachine, req)
	})
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: task}}
}

func (w *World) cloneVM(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.CloneVM_Task) (any, types.BaseMethodFault) {
	name, fault := checkedName(req.Name, nil)
	if fault != nil {
		return nil, fault
	}
	folder, ok := w.reg.Get(req.Folder).(*simulator.Folder)
	if !ok || !slices.Contains(folder.ChildType, "VirtualMachine") {
		return nil, &types.InvalidArgument{InvalidProperty: "folder"}
	}
	location := &req.Spec.Location
	if location.Host != nil && w.host(*location.Host) == nil {
		return nil, &types.ManagedObjectNotFound{Obj: *location.Host}
	}
	if location.Datastore != nil {
		if _, ok := w.reg.Get(*location.Datastore).(*simulator.Datastore); !ok {
			return nil, &types.ManagedObjectNotFound{Obj: *location.Datastore}
		}
	}
	if location.Pool != nil {
		if _, ok := w.reg.Get(*location.Pool).(*simulator.ResourcePool); !ok {
			return nil, &types.ManagedObjectNotFound{Obj: *location.Pool}
		}
	}
	if req.Spec.Config == nil {
		req.Spec.Config = &types.VirtualMachineConfigSpec{}
	}
	config := req.Spec.Config
	dc := w.datacenterOf(vm)
	ctx.WithLock(vm.Self, func() {
		for _, changes := range [][]types.BaseVirtualDeviceConfigSpec{location.DeviceChange, config.DeviceChange} {
			if fault == nil {
				fault = w.prepareDevices(dc, changes, vm)
			}
		}
		if fault == nil {
			fault = w.net.enoughPorts(w.net.portsOf(vm.Self))
		}
	})
	if fault != nil {
		return nil, fault
	}
	if config.Uuid == "" {
		config.Uuid = uuid.NewString()
	}
	if config.InstanceUuid == "" {
		config.InstanceUuid = uuid.NewString()
	}
	if other, free := w.names.claim(folder.Self, name, folder.Self); !free {
		return nil, &types.DuplicateName{Name: name, Object: other}
	}
	defer w.names.unclaim(folder.Self, name)
	req.Name = bornAs(name)
	defer trueNames.Delete(req.Name)
	return w.through(ctx, func(ctx *simulator.Context) (ref, *soap.Fault) {
		res := vm.CloneVMTask(ctx, req).(*methods.CloneVM_TaskBody)
		if res.Fault_ != nil {
			return ref{}, res.Fault_
		}
		return res.Res.Returnval, nil
	})
}

// portsOf counts the ports that a copy of the VM needs, by group.
func (n *network) portsOf(vm ref) map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted := map[string]int{}
	for _, p := range n.nics[vm] {
		wanted[p.group.key]++
	}
	return wanted
}

// inner runs one of upstream's VM tasks in one of ours, which holds no lock while it waits and can be spoilt.
func (v *vmMethods) inner(ctx *simulator.Context, method string, call func(*simulator.Context) (ref, *soap.Fault)) ref {
	return v.w.run(ctx, v.VirtualMachine, method, func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		if fault := v.w.busy(v.Self); fault != nil {
			return nil, fault
		}
		if !v.w.connected(*v.Runtime.Host) {
			return nil, &types.HostNotConnected{}
		}
		return v.w.through(ctx, call)
	})
}

func (v *vmMethods) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	if fault := v.w.busy(v.Self); fault != nil {
		return &methods.Destroy_TaskBody{Fault_: faultBody(fault)}
	}
	task := v.inner(ctx, "Destroy_Task", func(ctx *simulator.Context) (ref, *soap.Fault) {
		body := v.VirtualMachine.DestroyTask(ctx, req).(*methods.Destroy_TaskBody)
		return started(body.Res, body.Fault_)
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

func (v *vmMethods) UnregisterVM(ctx *simulator.Context, req *types.UnregisterVM) soap.HasFault {
	if fault := v.w.busy(v.Self); fault != nil {
		return &methods.UnregisterVMBody{Fault_: faultBody(fault)}
	}
	return v.VirtualMachine.UnregisterVM(ctx, req)
}

func (v *vmMethods) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) soap.HasFault {
	task := v.inner(ctx, "PowerOnVM_Task", func(ctx *simulator.Context) (ref, *soap.Fault) {
		body := v.VirtualMachine.PowerOnVMTask(ctx, req).(*methods.PowerOnVM_TaskBody)
		return started(body.Res, body.Fault_)
	})
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: task}}
}

func (v *vmMethods) PowerOffVMTask(ctx *simulator.Context, req *types.PowerOffVM_Task) soap.HasFault {
	if fault := v.w.busy(v.Self); fault != nil {
		return &methods.PowerOffVM_TaskBody{Fault_: faultBody(fault)}
	}
	task := v.inner(ctx, "PowerOffVM_Task", func(ctx *simulator.Context) (ref, *soap.Fault) {
		body := v.VirtualMachine.PowerOffVMTask(ctx, req).(*methods.PowerOffVM_TaskBody)
		return started(body.Res, body.Fault_)
	})
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: task}}
}

func (v *vmMethods) SuspendVMTask(ctx *simulator.Context, req *types.SuspendVM_Task) soap.HasFault {
	if fault := v.w.busy(v.Self); fault != nil {
		return &methods.SuspendVM_TaskBody{Fault_: faultBody(fault)}
	}
	task := v.inner(ctx, "SuspendVM_Task", func(ctx *simulator.Context) (ref, *soap.Fault) {
		body := v.VirtualMachine.SuspendVMTask(ctx, req).(*methods.SuspendVM_TaskBody)
		return started(body.Res, body.Fault_)
	})
	return &methods.SuspendVM_TaskBody{Res: &types.SuspendVM_TaskResponse{Returnval: task}}
}

// started reads which task an upstream call began; the answers of all calls have the same shape.
func started(answer any, refused *soap.Fault) (ref, *soap.Fault) {
	if refused != nil {
		return ref{}, refused
	}
	return reflect.ValueOf(answer).Elem().FieldByName("Returnval").Interface().(ref), nil
}

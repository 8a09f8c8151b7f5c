// Distributed switches: their creation, members and uplinks, and the calls on their ports.
// Law: a switch's managed object is changed by changeSwitch alone, because upstream's property update
// does not know the concrete type VmwareDistributedVirtualSwitch.

package main

import (
	"crypto/md5"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type switchMethods struct {
	*simulator.DistributedVirtualSwitch
	w *World
}

// changeSwitch changes a switch under its lock and tells the watchers of the named properties.
func (w *World) changeSwitch(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, do func(*types.VMwareDVSConfigInfo), paths ...string) {
	ctx.WithLock(dvs.Self, func() {
		config := clone(dvs.Config.(*types.VMwareDVSConfigInfo))
		do(config)
		dvs.Config = config
	})
	for _, p := range paths {
		w.hub.touch(dvs.Self, p)
	}
}

// switchUUID has vCenter's form: "50 2d 1c … -37 e2 …".
func switchUUID(name string) string {
	sum := md5.Sum([]byte("isthmus dvs " + name))
	sum[0], sum[1] = 0x50, 0x2d
	text := ""
	for i, b := range sum {
		switch {
		case i == 8:
			text += "-"
		case i > 0:
			text += " "
		}
		text += fmt.Sprintf("%02x", b)
	}
	return text
}

// createSwitch puts a switch into a network folder.
func (w *World) createSwitch(ctx *simulator.Context, folder *simulator.Folder, spec *types.VMwareDVSConfigSpec, product *types.DistributedVirtualSwitchProductSpec) (*simulator.DistributedVirtualSwitch, types.BaseMethodFault) {
	name, fault := checkedName(spec.Name, nil)
	if fault != nil {
		return nil, fault
	}
	if fault := checkSetting(spec.DefaultPortConfig, "spec.configSpec.defaultPortConfig"); fault != nil {
		return nil, fault
	}
	if spec.MaxMtu != 0 && (spec.MaxMtu < 1280 || spec.MaxMtu > 9000) {
		return nil, &types.InvalidArgument{InvalidProperty: "spec.configSpec.maxMtu"}
	}
	if other, free := w.names.claim(folder.Self, name, folder.Self); !free {
		return nil, &types.DuplicateName{Name: name, Object: other}
	}
	number := w.taskCounter.Add(1)
	dvs := &simulator.DistributedVirtualSwitch{}
	dvs.Self = ref{Type: "VmwareDistributedVirtualSwitch", Value: fmt.Sprintf("dvs-%d", number)}
	dvs.Name = name
	dvs.Uuid = switchUUID(fmt.Sprintf("%s/%s/%d", folder.Self.Value, name, number))
	if product == nil {
		product = &types.DistributedVirtualSwitchProductSpec{Name: "DVS", Vendor: "VMware, Inc.", Version: "8.0.3", ForwardingClass: "etherswitch"}
	}
	uplinks := []string{"Uplink 1", "Uplink 2", "Uplink 3", "Uplink 4"}
	if policy, ok := spec.UplinkPortPolicy.(*types.DVSNameArrayUplinkPortPolicy); ok {
		uplinks = policy.UplinkPortName
	}
	mtu := spec.MaxMtu
	if mtu == 0 {
		mtu = 1500
	}
	defaults := effective(switchDefaults(), override(nil, asSetting(spec.DefaultPortConfig)))
	config := &types.VMwareDVSConfigInfo{
		DVSConfigInfo: types.DVSConfigInfo{
			Uuid: dvs.Uuid, Name: name, MaxPorts: 2147483647, Description: spec.Description, ConfigVersion: "1",
			UplinkPortPolicy:  &types.DVSNameArrayUplinkPortPolicy{UplinkPortName: uplinks},
			DefaultPortConfig: defaults, ProductInfo: *product, ExtensionKey: spec.ExtensionKey, CreateTime: time.Now(),
			Policy: &types.DVSPolicy{
				AutoPreInstallAllowed: types.NewBool(false), AutoUpgradeAllowed: types.NewBool(false), PartialUpgradeAllowed: types.NewBool(false),
			},
			NetworkResourceManagementEnabled: true, DefaultProxySwitchMaxNumPorts: 512, NetworkResourceControlVersion: "version3",
		},
		MaxMtu: mtu, LacpApiVersion: "multipleLag", MulticastFilteringMode: "snooping",
		LinkDiscoveryProtocolConfig: &types.LinkDiscoveryProtocolConfig{Protocol: "cdp", Operation: "listen"},
		IpfixConfig:                 &types.VMwareIpfixConfig{ActiveFlowTimeout: 60, IdleFlowTimeout: 15, SamplingRate: 4096},
	}
	if spec.LinkDiscoveryProtocolConfig != nil {
		config.LinkDiscoveryProtocolConfig = spec.LinkDiscoveryProtocolConfig
	}
	if fault := editPvlans(config, spec.PvlanConfigSpec); fault != nil {
		w.names.unclaim(folder.Self, name)
		return nil, fault
	}
	dvs.Config = config
	dvs.Summary = types.DVSSummary{Name: name, Uuid: dvs.Uuid, ProductInfo: product, Description: spec.Description, Contact: &types.DVSContactInfo{}}
	dvs.Capability = types.DVSCapability{
		DvsOperationSupported: types.NewBool(true), DvPortGroupOperationSupported: types.NewBool(true), DvPortOperationSupported: types.NewBool(true),
	}
	dvs.Runtime = &types.DVSRuntimeInfo{}
	w.net.mu.Lock()
	sw := &dvSwitch{ref: dvs.Self, uuid: dvs.Uuid, defaults: defaults, mtu: mtu, ports: map[string]*dvPort{}, groups: map[string]*portGroup{}}
	w.net.switches[dvs.Uuid], w.net.byRef[dvs.Self] = sw, sw
	w.net.mu.Unlock()
	w.place(ctx, folder, dvs)
	w.events.post(ctx, &types.DvsCreatedEvent{
		DvsEvent: w.dvsEvent(dvs.Self), Parent: types.FolderEventArgument{Folder: folder.Self, EntityEventArgument: types.EntityEventArgument{Name: folder.Name}},
	})
	if len(uplinks) > 0 {
		if fault := w.addUplinkGroup(ctx, folder, dvs, number); fault != nil {
			return nil, fault
		}
	}
	return dvs, nil
}

func (w *World) addUplinkGroup(ctx *simulator.Context, folder *simulator.Folder, dvs *simulator.DistributedVirtualSwitch, number int64) types.BaseMethodFault {
	pg, fault := w.createPortGroup(ctx, folder, dvs, &types.DVPortgroupConfigSpec{
		Name: truncated(dvs.Name, 55) + fmt.Sprintf("-DVUplinks-%d", number), Type: "earlyBinding", AutoExpand: types.NewBool(false),
		DefaultPortConfig: &portSetting{Vlan: &types.VmwareDistributedVirtualSwitchTrunkVlanSpec{VlanId: []types.NumericRange{{Start: 0, End: 4094}}}},
		Policy:            &types.VMwareDVSPortgroupPolicy{DVPortgroupPolicy: types.DVPortgroupPolicy{BlockOverrideAllowed: true}, VlanOverrideAllowed: true},
	}, true)
	if fault != nil {
		return fault
	}
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		config.UplinkPortgroup = append(config.UplinkPortgroup, pg.Self)
	}, "config")
	return nil
}

// place makes an object a child of a folder.
func (w *World) place(ctx *simulator.Context, folder *simulator.Folder, e mo.Entity) {
	ctx.WithLock(folder.Self, func() { folder.ChildEntity = append(folder.ChildEntity, e.Reference()) })
	w.reg.PutEntity(folder, e)
	if dc := w.datacenterOf(folder); dc != nil && e.Reference().Type != "VirtualMachine" {
		ctx.WithLock(dc.Self, func() { dc.Network = append(dc.Network, e.Reference()) })
		w.hub.touch(dc.Self, "network")
	}
	w.hub.touch(folder.Self, "childEntity")
}

// displace takes it out again.
func (w *World) displace(ctx *simulator.Context, e mo.Entity) {
	self := e.Reference()
	w.reg.Remove(ctx, self)
	if folder := w.folderOf(e); folder != nil {
		ctx.WithLock(folder.Self, func() { folder.ChildEntity = without(folder.ChildEntity, self) })
		w.hub.touch(folder.Self, "childEntity")
		if dc := w.datacenterOf(folder); dc != nil {
			ctx.WithLock(dc.Self, func() { dc.Network = without(dc.Network, self) })
			w.hub.touch(dc.Self, "network")
		}
	}
}

func without(refs []ref, gone ref) []ref {
	kept := make([]ref, 0, len(refs))
	for _, r := range refs {
		if r != gone {
			kept = append(kept, r)
		}
	}
	return kept
}

func (w *World) folderOf(e mo.Entity) *simulator.Folder {
	if e.Entity().Parent == nil {
		return nil
	}
	folder, _ := w.reg.Get(*e.Entity().Parent).(*simulator.Folder)
	return folder
}

func (w *World) datacenterOf(e mo.Entity) *simulator.Datacenter {
	for e != nil && e.Entity().Parent != nil {
		switch parent := w.reg.Get(*e.Entity().Parent).(type) {
		case *simulator.Datacenter:
			return parent
		case mo.Entity:
			e = parent
		default:
			return nil
		}
	}
	return nil
}

func (f *folderMethods) CreateDVSTask(ctx *simulator.Context, req *types.CreateDVS_Task) soap.HasFault {
	folder := f.Folder
	task := f.w.run(ctx, folder, "CreateDVS_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		spec, ok := req.Spec.ConfigSpec.(*types.VMwareDVSConfigSpec)
		if !ok {
			if req.Spec.ConfigSpec == nil {
				return nil, &types.InvalidArgument{InvalidProperty: "spec.configSpec"}
			}
			spec = &types.VMwareDVSConfigSpec{DVSConfigSpec: *req.Spec.ConfigSpec.GetDVSConfigSpec()}
		}
		if !slices.Contains(folder.ChildType, "DistributedVirtualSwitch") && !slices.Contains(folder.ChildType, "Network") {
			return nil, &types.NotSupported{}
		}
		dvs, fault := f.w.createSwitch(ctx, folder, spec, req.Spec.ProductInfo)
		if fault != nil {
			return nil, fault
		}
		if fault := f.w.editMembers(ctx, dvs, spec.Host); fault != nil {
			return nil, fault
		}
		return dvs.Self, nil
	})
	return &methods.CreateDVS_TaskBody{Res: &types.CreateDVS_TaskResponse{Returnval: task}}
}

func editPvlans(config *types.VMwareDVSConfigInfo, specs []types.VMwareDVSPvlanConfigSpec) types.BaseMethodFault {
	for _, spec := range specs {
		at := slices.Index(config.PvlanConfig, spec.PvlanEntry)
		switch {
		case spec.Operation == "add" && at < 0:
			config.PvlanConfig = append(config.PvlanConfig, spec.PvlanEntry)
		case spec.Operation == "remove" && at >= 0:
			config.PvlanConfig = slices.Delete(config.PvlanConfig, at, at+1)
		default:
			return &types.InvalidArgument{InvalidProperty: "spec.pvlanConfigSpec"}
		}
	}
	return nil
}

func (s *switchMethods) ReconfigureDvsTask(ctx *simulator.Context, req *types.ReconfigureDvs_Task) soap.HasFault {
	task := s.w.run(ctx, s.DistributedVirtualSwitch, "ReconfigureDvs_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		return nil, s.w.reconfigureSwitch(ctx, s.DistributedVirtualSwitch, req.Spec)
	})
	return &methods.ReconfigureDvs_TaskBody{Res: &types.ReconfigureDvs_TaskResponse{Returnval: task}}
}

func (w *World) reconfigureSwitch(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, req types.BaseDVSConfigSpec) types.BaseMethodFault {
	if req == nil {
		return &types.InvalidArgument{InvalidProperty: "spec"}
	}
	spec := req.GetDVSConfigSpec()
	config := dvs.Config.(*types.VMwareDVSConfigInfo)
	if spec.ConfigVersion == "" {
		return &types.InvalidArgument{InvalidProperty: "spec.configVersion"}
	}
	if spec.ConfigVersion != config.ConfigVersion {
		return &types.ConcurrentAccess{}
	}
	if fault := checkSetting(spec.DefaultPortConfig, "spec.defaultPortConfig"); fault != nil {
		return fault
	}
	if spec.Name != "" {
		if fault := w.renameSwitch(ctx, dvs, spec.Name); fault != nil {
			return fault
		}
	}
	vmware, _ := req.(*types.VMwareDVSConfigSpec)
	var fault types.BaseMethodFault
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		w.net.mu.Lock()
		defer w.net.mu.Unlock()
		sw := w.net.byRef[dvs.Self]
		if vmware != nil {
			if fault = editPvlans(config, vmware.PvlanConfigSpec); fault != nil {
				return
			}
			if vmware.MaxMtu != 0 {
				config.MaxMtu, sw.mtu = vmware.MaxMtu, vmware.MaxMtu
			}
			if vmware.LinkDiscoveryProtocolConfig != nil {
				config.LinkDiscoveryProtocolConfig = vmware.LinkDiscoveryProtocolConfig
			}
		}
		if spec.Description != "" {
			config.Description, dvs.Summary.Description = spec.Description, spec.Description
		}
		if setting := asSetting(spec.DefaultPortConfig); setting != nil {
			sw.defaults = effective(switchDefaults(), override(sw.defaults, setting))
			config.DefaultPortConfig = sw.defaults
			for _, g := range sw.groups {
				g.changed()
			}
		}
		version, _ := strconv.Atoi(config.ConfigVersion)
		config.ConfigVersion = strconv.Itoa(version + 1)
	}, "config", "summary")
	if fault != nil {
		return fault
	}
	if fault := w.editMembers(ctx, dvs, spec.Host); fault != nil {
		return fault
	}
	w.events.post(ctx, &types.DvsReconfiguredEvent{DvsEvent: w.dvsEvent(dvs.Self), ConfigSpec: req})
	return nil
}

// editMembers adds, changes and removes host members.  A host that cannot take part is named in the fault; the others' part is done.
func (w *World) editMembers(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, specs []types.DistributedVirtualSwitchHostMemberConfigSpec) types.BaseMethodFault {
	refused := map[ref]types.BaseMethodFault{}
	for i, spec := range specs {
		host := w.host(spec.Host)
		if host == nil {
			return &types.ManagedObjectNotFound{Obj: spec.Host}
		}
		if w.datacenterOf(host) != w.datacenterOf(dvs) || twice(pnicsOf(spec.Backing)) {
			return &types.InvalidArgument{InvalidProperty: fmt.Sprintf("spec.host[%d]", i)}
		}
		member := slices.Contains(dvs.Summary.HostMember, spec.Host)
		switch types.ConfigSpecOperation(spec.Operation) {
		case types.ConfigSpecOperationAdd:
			if member {
				return &types.AlreadyExists{Name: host.Name}
			}
			if fault := w.cannotTake(dvs, host, pnicsOf(spec.Backing)); fault != nil {
				refused[host.Self] = fault
				continue
			}
			w.join(ctx, dvs, host, pnicsOf(spec.Backing))
			w.events.post(ctx, &types.DvsHostJoinedEvent{DvsEvent: w.dvsEvent(dvs.Self), HostJoined: w.hostArgument(host)})
		case types.ConfigSpecOperationEdit:
			if !member {
				return &types.NotFound{}
			}
			if fault := w.cannotTake(dvs, host, pnicsOf(spec.Backing)); fault != nil {
				refused[host.Self] = fault
				continue
			}
			w.wireUplinks(ctx, dvs, host, pnicsOf(spec.Backing), uplinksOf(spec.Backing))
		case types.ConfigSpecOperationRemove:
			if !member {
				return &types.NotFound{}
			}
			if w.net.hostInUse(dvs.Self, host.Self) {
				return &types.ResourceInUse{Type: "HostSystem", Name: host.Name}
			}
			w.leave(ctx, dvs, host)
			w.events.post(ctx, &types.DvsHostLeftEvent{DvsEvent: w.dvsEvent(dvs.Self), HostLeft: w.hostArgument(host)})
		default:
			return &types.InvalidArgument{InvalidProperty: "spec.host.operation"}
		}
	}
	return namingHosts(refused)
}

// cannotTake is why a host cannot bring these physical NICs to the switch.
func (w *World) cannotTake(dvs *simulator.DistributedVirtualSwitch, host *simulator.HostSystem, pnics []string) types.BaseMethodFault {
	if !w.connected(host.Self) {
		return &types.HostNotConnected{}
	}
	if most := len(uplinkNames(dvs)); len(pnics) > most {
		return &types.LimitExceeded{Property: "pnic", Limit: types.NewInt32(int32(most))}
	}
	network := host.Config.Network
	for _, pnic := range pnics {
		key := "key-vim.host.PhysicalNic-" + pnic
		if !slices.ContainsFunc(network.Pnic, func(p types.PhysicalNic) bool { return p.Device == pnic }) {
			return &types.NotFound{}
		}
		standard := slices.ContainsFunc(network.Vswitch, func(v types.HostVirtualSwitch) bool { return slices.Contains(v.Pnic, key) })
		distributed := slices.ContainsFunc(network.ProxySwitch, func(p types.HostProxySwitch) bool {
			return p.DvsUuid != dvs.Uuid && slices.Contains(p.Pnic, key)
		})
		if standard || distributed {
			return &types.ResourceInUse{Type: "PhysicalNic", Name: pnic}
		}
	}
	return nil
}

func twice(names []string) bool {
	sorted := slices.Sorted(slices.Values(names))
	return len(slices.Compact(sorted)) < len(names)
}

func keysOf(refused map[ref]types.BaseMethodFault) []ref {
	set := map[ref]bool{}
	for h := range refused {
		set[h] = true
	}
	return sorted(set)
}

// namingHosts is the fault of an operation in which these hosts, and no others, failed.
func namingHosts(refused map[ref]types.BaseMethodFault) types.BaseMethodFault {
	if len(refused) == 0 {
		return nil
	}
	bulk := &types.DvsOperationBulkFault{}
	for _, h := range keysOf(refused) {
		bulk.HostFault = append(bulk.HostFault, types.DvsOperationBulkFaultFaultOnHost{
			Host: h, Fault: types.LocalizedMethodFault{Fault: refused[h], LocalizedMessage: faultName(refused[h])},
		})
	}
	return bulk
}

func pnicsOf(backing types.BaseDistributedVirtualSwitchHostMemberBacking) []string {
	var pnics []string
	if b, ok := backing.(*types.DistributedVirtualSwitchHostMemberPnicBacking); ok {
		for _, spec := range b.PnicSpec {
			pnics = append(pnics, spec.PnicDevice)
		}
	}
	return pnics
}

// uplinksOf is the uplink port that each physical NIC is to have, where one is named.
func uplinksOf(backing types.BaseDistributedVirtualSwitchHostMemberBacking) map[string]string {
	uplinks := map[string]string{}
	if b, ok := backing.(*types.DistributedVirtualSwitchHostMemberPnicBacking); ok {
		for _, spec := range b.PnicSpec {
			uplinks[spec.PnicDevice] = spec.UplinkPortKey
		}
	}
	return uplinks
}

func (n *network) hostInUse(dvs, host ref) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.byRef[dvs].ports {
		if !p.group.uplink && p.connectee != nil && p.host != nil && *p.host == host {
			return true
		}
	}
	return false
}

func (w *World) join(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, host *simulator.HostSystem, pnics []string) {
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		h := host.Self
		config.Host = append(config.Host, types.DistributedVirtualSwitchHostMember{
			Config: types.DistributedVirtualSwitchHostMemberConfigInfo{
				Host: &h, MaxProxySwitchPorts: 512, Backing: &types.DistributedVirtualSwitchHostMemberPnicBacking{},
			},
			ProductInfo: &config.ProductInfo, Status: "up",
		})
		dvs.Summary.HostMember = append(dvs.Summary.HostMember, h)
		dvs.Summary.Host = append(dvs.Summary.Host, h)
		dvs.Summary.NumHosts = int32(len(dvs.Summary.HostMember))
		dvs.Runtime.HostMemberRuntime = append(dvs.Runtime.HostMemberRuntime, types.HostMemberRuntimeInfo{Host: h, Status: "up"})
	}, "config", "summary", "runtime")
	w.wireUplinks(ctx, dvs, host, pnics, nil)
	w.linkNetworks(ctx, host, dvs.Portgroup)
}

// linkNetworks makes port groups reachable from a host and its cluster.
func (w *World) linkNetworks(ctx *simulator.Context, host *simulator.HostSystem, groups []ref) {
	ctx.WithLock(host.Self, func() { host.Network = union(host.Network, groups) })
	w.hub.touch(host.Self, "network")
	for _, g := range groups {
		if pg, ok := w.reg.Get(g).(*simulator.DistributedVirtualPortgroup); ok {
			ctx.WithLock(g, func() { pg.Host = union(pg.Host, []ref{host.Self}) })
			w.hub.touch(g, "host")
		}
	}
	w.linkCluster(ctx, host, groups)
}

func (w *World) linkCluster(ctx *simulator.Context, host *simulator.HostSystem, groups []ref) {
	if cr := w.computeOf(host); cr != nil {
		ctx.WithLock(cr.Self, func() { cr.Network = union(cr.Network, groups) })
		w.hub.touch(cr.Self, "network")
	}
}

func (w *World) computeOf(host *simulator.HostSystem) *mo.ComputeResource {
	if host.Parent == nil {
		return nil
	}
	switch cr := w.reg.Get(*host.Parent).(type) {
	case *simulator.ClusterComputeResource:
		return &cr.ComputeResource
	case *mo.ComputeResource:
		return cr
	}
	return nil
}

func union(refs, more []ref) []ref {
	if len(more) == 1 { // the common case, without a set
		if slices.Contains(refs, more[0]) {
			return refs
		}
		return append(refs[:len(refs):len(refs)], more[0])
	}
	seen := make(map[ref]bool, len(refs)+len(more))
	all := make([]ref, 0, len(refs)+len(more))
	for _, list := range [][]ref{refs, more} {
		for _, r := range list {
			if !seen[r] {
				seen[r] = true
				all = append(all, r)
			}
		}
	}
	return all
}

func (w *World) leave(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, host *simulator.HostSystem) {
	w.wireUplinks(ctx, dvs, host, nil, nil)
	w.net.dropUplinks(dvs.Self, host.Self)
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		config.Host = slices.DeleteFunc(config.Host, func(m types.DistributedVirtualSwitchHostMember) bool { return *m.Config.Host == host.Self })
		dvs.Summary.HostMember = without(dvs.Summary.HostMember, host.Self)
		dvs.Summary.Host = without(dvs.Summary.Host, host.Self)
		dvs.Summary.NumHosts = int32(len(dvs.Summary.HostMember))
		dvs.Runtime.HostMemberRuntime = slices.DeleteFunc(slices.Clone(dvs.Runtime.HostMemberRuntime), func(m types.HostMemberRuntimeInfo) bool { return m.Host == host.Self })
	}, "config", "summary", "runtime")
	for _, g := range dvs.Portgroup {
		ctx.WithLock(host.Self, func() { host.Network = without(host.Network, g) })
		if pg, ok := w.reg.Get(g).(*simulator.DistributedVirtualPortgroup); ok {
			ctx.WithLock(g, func() { pg.Host = without(pg.Host, host.Self) })
			w.hub.touch(g, "host")
		}
	}
	w.hub.touch(host.Self, "network")
	w.showProxySwitch(ctx, dvs, host, nil, nil)
}

// wireUplinks connects a host's physical NICs to the uplink ports of that host: those named, the rest to the first free.
func (w *World) wireUplinks(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, host *simulator.HostSystem, pnics []string, named map[string]string) {
	keys, uplinkOf := w.net.wireUplinks(dvs.Self, host.Self, uplinkNames(dvs), pnics, named)
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		for i := range config.Host {
			member := &config.Host[i]
			if *member.Config.Host != host.Self {
				continue
			}
			backing := &types.DistributedVirtualSwitchHostMemberPnicBacking{}
			for _, pnic := range pnics {
				spec := types.DistributedVirtualSwitchHostMemberPnicSpec{PnicDevice: pnic}
				if key := uplinkOf[pnic]; key != "" {
					spec.UplinkPortKey = key
					spec.UplinkPortgroupKey = config.UplinkPortgroup[0].Value
				}
				backing.PnicSpec = append(backing.PnicSpec, spec)
			}
			member.Config.Backing = backing
			member.UplinkPortKey = keys
		}
	}, "config")
	for _, g := range dvs.Config.GetDVSConfigInfo().UplinkPortgroup {
		w.net.mu.Lock()
		group := w.net.byRef[dvs.Self].groups[g.Value]
		w.net.mu.Unlock()
		w.net.publish(ctx, g, group)
	}
	w.showProxySwitch(ctx, dvs, host, uplinkOf, pnics)
}

func uplinkNames(dvs *simulator.DistributedVirtualSwitch) []string {
	if policy, ok := dvs.Config.GetDVSConfigInfo().UplinkPortPolicy.(*types.DVSNameArrayUplinkPortPolicy); ok {
		return policy.UplinkPortName
	}
	return nil
}

// wireUplinks gives the host one port per uplink and puts the pnics on them; it returns the host's uplink ports,
// and that of each pnic.
func (n *network) wireUplinks(dvs, host ref, uplinks, pnics []string, named map[string]string) ([]string, map[string]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sw := n.byRef[dvs]
	var group *portGroup
	for _, g := range sw.groups {
		if g.uplink {
			group = g
		}
	}
	if group == nil {
		return nil, nil
	}
	var own []*dvPort
	for _, p := range group.ports {
		if p.host != nil && *p.host == host {
			own = append(own, p)
		}
	}
	for i := len(own); i < len(uplinks); i++ {
		p := sw.addPort(group)
		h := host
		p.host, p.name = &h, uplinks[i]
		own = append(own, p)
	}
	var keys []string
	for _, p := range own {
		keys = append(keys, p.key)
		p.connectee, p.linkUp = nil, false
	}
	uplinkOf := map[string]string{}
	plug := func(p *dvPort, pnic string) {
		h := host
		p.connectee = &types.DistributedVirtualSwitchPortConnectee{ConnectedEntity: &h, NicKey: "key-vim.host.PhysicalNic-" + pnic, Type: "pnic"}
		p.linkUp = true
		uplinkOf[pnic] = p.key
	}
	var rest []string
	for _, pnic := range pnics {
		i := slices.IndexFunc(own, func(p *dvPort) bool { return p.key == named[pnic] && p.connectee == nil })
		if i < 0 {
			rest = append(rest, pnic)
			continue
		}
		plug(own[i], pnic)
	}
	for _, pnic := range rest {
		if i := slices.IndexFunc(own, func(p *dvPort) bool { return p.connectee == nil }); i >= 0 {
			plug(own[i], pnic)
		}
	}
	return keys, uplinkOf
}

func (n *network) dropUplinks(dvs, host ref) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sw := n.byRef[dvs]
	for _, g := range sw.groups {
		if !g.uplink {
			continue
		}
		kept := g.ports[:0:0]
		for _, p := range g.ports {
			if p.host != nil && *p.host == host {
				delete(sw.ports, p.key)
			} else {
				kept = append(kept, p)
			}
		}
		g.ports, g.reshaped, g.full = kept, true, 0
	}
}

// showProxySwitch is the host's own view of its membership: config.network.proxySwitch.
func (w *World) showProxySwitch(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, host *simulator.HostSystem, uplinkOf map[string]string, pnics []string) {
	member := slices.Contains(dvs.Summary.HostMember, host.Self)
	ctx.WithLock(host.Self, func() {
		if host.Config == nil || host.Config.Network == nil {
			return
		}
		network := host.Config.Network
		list := slices.DeleteFunc(slices.Clone(network.ProxySwitch), func(p types.HostProxySwitch) bool { return p.DvsUuid == dvs.Uuid })
		if member {
			proxy := types.HostProxySwitch{
				DvsUuid: dvs.Uuid, DvsName: dvs.Name, Key: "DvsPortset-" + dvs.Self.Value, NumPorts: 2560, ConfigNumPorts: 512, NumPortsAvailable: 2048,
				Mtu: dvs.Config.(*types.VMwareDVSConfigInfo).MaxMtu,
			}
			for _, pnic := range pnics {
				proxy.Pnic = append(proxy.Pnic, "key-vim.host.PhysicalNic-"+pnic)
				if key := uplinkOf[pnic]; key != "" {
					proxy.UplinkPort = append(proxy.UplinkPort, types.KeyValue{Key: key, Value: pnic})
				}
			}
			list = append(list, proxy)
		}
		network.ProxySwitch = list
	})
	w.hub.touch(host.Self, "config.network.proxySwitch")
}

func (w *World) renameSwitch(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, to string) types.BaseMethodFault {
	name, fault := checkedName(to, &dvs.Self)
	if fault != nil {
		return fault
	}
	if name == dvs.Name {
		return nil
	}
	if other, free := w.names.claim(*dvs.Parent, name, dvs.Self); !free {
		return &types.DuplicateName{Name: name, Object: other}
	}
	old := dvs.Name
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		dvs.Name, dvs.Summary.Name, config.Name = name, name, name
	}, "name", "summary.name", "config.name")
	w.names.note(dvs)
	w.events.post(ctx, &types.DvsRenamedEvent{DvsEvent: w.dvsEvent(dvs.Self), OldName: old, NewName: name})
	return nil
}

func (s *switchMethods) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	task := s.w.run(ctx, s.DistributedVirtualSwitch, "Rename_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		return nil, s.w.renameSwitch(ctx, s.DistributedVirtualSwitch, req.NewName)
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}

func (s *switchMethods) DestroyTask(ctx *simulator.Context, _ *types.Destroy_Task) soap.HasFault {
	dvs, w := s.DistributedVirtualSwitch, s.w
	task := w.run(ctx, dvs, "Destroy_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		w.net.mu.Lock()
		for _, g := range w.net.byRef[dvs.Self].groups {
			if !g.uplink && g.used() > 0 {
				w.net.mu.Unlock()
				return nil, &types.ResourceInUse{Type: "VmwareDistributedVirtualSwitch", Name: dvs.Name}
			}
		}
		w.net.mu.Unlock()
		for _, h := range slices.Clone(dvs.Summary.HostMember) {
			if host := w.host(h); host != nil {
				w.leave(ctx, dvs, host)
			}
		}
		event := w.dvsEvent(dvs.Self)
		for _, g := range slices.Clone(dvs.Portgroup) {
			if pg, ok := w.reg.Get(g).(*simulator.DistributedVirtualPortgroup); ok {
				w.destroyPortGroup(ctx, dvs, pg)
			}
		}
		w.displace(ctx, dvs)
		w.net.mu.Lock()
		delete(w.net.switches, dvs.Uuid)
		delete(w.net.byRef, dvs.Self)
		w.net.mu.Unlock()
		w.events.post(ctx, &types.DvsDestroyedEvent{DvsEvent: event})
		return nil, nil
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

func (s *switchMethods) FetchDVPorts(_ *simulator.Context, req *types.FetchDVPorts) soap.HasFault {
	n := s.w.net
	n.mu.Lock()
	defer n.mu.Unlock()
	found := n.fetch(n.byRef[s.Self], req.Criteria)
	ports := make([]types.DistributedVirtualPort, len(found))
	for i, p := range found {
		ports[i] = p.wire()
	}
	return &methods.FetchDVPortsBody{Res: &types.FetchDVPortsResponse{Returnval: ports}}
}

func (s *switchMethods) FetchDVPortKeys(_ *simulator.Context, req *types.FetchDVPortKeys) soap.HasFault {
	n := s.w.net
	n.mu.Lock()
	defer n.mu.Unlock()
	var keys []string
	for _, p := range n.fetch(n.byRef[s.Self], req.Criteria) {
		keys = append(keys, p.key)
	}
	return &methods.FetchDVPortKeysBody{Res: &types.FetchDVPortKeysResponse{Returnval: keys}}
}

func (s *switchMethods) RefreshDVPortState(_ *simulator.Context, req *types.RefreshDVPortState) soap.HasFault {
	n := s.w.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range req.PortKeys {
		if n.byRef[s.Self].ports[key] == nil {
			return &methods.RefreshDVPortStateBody{Fault_: faultBody(&types.NotFound{})}
		}
	}
	return &methods.RefreshDVPortStateBody{Res: &types.RefreshDVPortStateResponse{}}
}

func (s *switchMethods) LookupDvPortGroup(_ *simulator.Context, req *types.LookupDvPortGroup) soap.HasFault {
	n := s.w.net
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.byRef[s.Self].groups[req.PortgroupKey]
	if g == nil {
		return &methods.LookupDvPortGroupBody{Fault_: faultBody(&types.NotFound{})}
	}
	found := g.ref
	return &methods.LookupDvPortGroupBody{Res: &types.LookupDvPortGroupResponse{Returnval: &found}}
}

func (s *switchMethods) QueryUsedVlanIdInDvs(_ *simulator.Context, _ *types.QueryUsedVlanIdInDvs) soap.HasFault {
	n := s.w.net
	n.mu.Lock()
	defer n.mu.Unlock()
	used := map[int32]bool{}
	for _, p := range n.byRef[s.Self].ports {
		ids, trunk := vlanIDs(p.setting())
		for _, r := range ids {
			if !trunk && r.Start > 0 {
				used[r.Start] = true
			}
		}
	}
	var ids []int32
	for id := range used {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return &methods.QueryUsedVlanIdInDvsBody{Res: &types.QueryUsedVlanIdInDvsResponse{Returnval: ids}}
}

// ReconfigureDVPortTask checks the whole batch before it changes anything.
func (s *switchMethods) ReconfigureDVPortTask(ctx *simulator.Context, req *types.ReconfigureDVPort_Task) soap.HasFault {
	task := s.w.run(ctx, s.DistributedVirtualSwitch, "ReconfigureDVPort_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		return nil, s.w.reconfigurePorts(ctx, s.Self, req.Port)
	}, s.w.net.hostsOfPorts(s.Self, req.Port)...)
	return &methods.ReconfigureDVPort_TaskBody{Res: &types.ReconfigureDVPort_TaskResponse{Returnval: task}}
}

// hostsOfPorts lists the hosts that a write to these ports must reach.
func (n *network) hostsOfPorts(dvs ref, specs []types.DVPortConfigSpec) []ref {
	n.mu.Lock()
	defer n.mu.Unlock()
	var hosts []ref
	for _, spec := range specs {
		if p := n.byRef[dvs].ports[spec.Key]; p != nil && p.host != nil {
			hosts = union(hosts, []ref{*p.host})
		}
	}
	return hosts
}

func (w *World) reconfigurePorts(ctx *simulator.Context, dvs ref, specs []types.DVPortConfigSpec) types.BaseMethodFault {
	n := w.net
	refused, late := w.unwilling(n.hostsOfPorts(dvs, specs)) // asked first: the check and the writes are one step
	n.mu.Lock()
	sw := n.byRef[dvs]
	seen := map[string]bool{}
	for i := range specs {
		if fault := sw.refuses(&specs[i], i, seen); fault != nil {
			n.mu.Unlock()
			return fault
		}
	}
	event := types.DvsPortReconfiguredEvent{}
	var gates []types.BaseEvent
	for _, spec := range specs {
		p := sw.ports[spec.Key]
		if p == nil || p.host != nil && refused[*p.host] != nil {
			continue // the host rolled back; the others' writes stand
		}
		before := blocked(p.setting())
		if spec.Setting != nil {
			p.own = override(p.own, asSetting(spec.Setting))
		}
		if spec.Name != "" {
			p.name = spec.Name
		}
		if spec.Description != "" {
			p.description = spec.Description
		}
		p.shown, p.changed = nil, time.Now()
		p.version++
		event.PortKey = append(event.PortKey, p.key)
		event.ConfigChanges = append(event.ConfigChanges, types.ChangesInfoEventArgument{})
		switch now := blocked(p.setting()); {
		case now && !before:
			gates = append(gates, &types.DvsPortBlockedEvent{PortKey: p.key, RuntimeInfo: p.status(), PrevBlockState: "unset"})
		case before && !now:
			gates = append(gates, &types.DvsPortUnblockedEvent{PortKey: p.key, RuntimeInfo: p.status(), PrevBlockState: "set"})
		}
	}
	n.mu.Unlock()
	event.DvsEvent = w.dvsEvent(dvs)
	if len(event.PortKey) > 0 {
		w.events.post(ctx, &event)
	}
	for _, e := range gates {
		*e.GetEvent() = w.dvsEvent(dvs).Event
		w.events.post(ctx, e)
	}
	for h, rules := range late {
		if end := endure(rules, nil); end != nil {
			refused[h] = end.asFault(h)
		}
	}
	return w.bulkFault(ctx, dvs, refused)
}

// unwilling says which hosts cannot commit a write to their ports: those out of reach, and those that a test makes refuse.
// The late ones write, and then do what the rules say.
func (w *World) unwilling(hosts []ref) (refused map[ref]types.BaseMethodFault, late map[ref][]rule) {
	refused, late = map[ref]types.BaseMethodFault{}, map[ref][]rule{}
	for _, h := range hosts {
		if !w.connected(h) {
			refused[h] = &types.HostNotConnected{}
			continue
		}
		before, after := w.faults.strike(occasion{method: "applyDVPort", this: h, inTask: true})
		if end := endure(before, nil); end != nil {
			refused[h] = end.asFault(h)
		} else {
			late[h] = after
		}
	}
	return refused, late
}

// bulkFault names the hosts that failed; one that was reached and failed is out of step with the switch from then on.
func (w *World) bulkFault(ctx *simulator.Context, dvs ref, refused map[ref]types.BaseMethodFault) types.BaseMethodFault {
	for _, h := range keysOf(refused) {
		if w.connected(h) {
			w.setMember(ctx, w.reg.Get(dvs).(*simulator.DistributedVirtualSwitch), h, "outOfSync")
			w.events.post(ctx, &types.DvsHostWentOutOfSyncEvent{
				DvsEvent: w.dvsEvent(dvs), HostOutOfSync: types.DvsOutOfSyncHostArgument{OutOfSyncHost: w.hostArgument(w.host(h)), ConfigParamters: []string{"port"}},
			})
		}
	}
	return namingHosts(refused)
}

func (w *World) setMember(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, host ref, status string) {
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		for i := range config.Host {
			if *config.Host[i].Config.Host == host {
				config.Host[i].Status = status
			}
		}
		runtime := slices.Clone(dvs.Runtime.HostMemberRuntime)
		for i := range runtime {
			if runtime[i].Host == host {
				runtime[i].Status = status
			}
		}
		dvs.Runtime.HostMemberRuntime = runtime
	}, "config.host", "runtime")
}

func (s *switchMethods) RectifyDvsHostTask(ctx *simulator.Context, req *types.RectifyDvsHost_Task) soap.HasFault {
	dvs, w := s.DistributedVirtualSwitch, s.w
	task := w.run(ctx, dvs, "RectifyDvsHost_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		hosts := req.Hosts
		if len(hosts) == 0 {
			hosts = slices.Clone(dvs.Summary.HostMember)
		}
		return nil, w.rectify(ctx, []*simulator.DistributedVirtualSwitch{dvs}, hosts)
	}, req.Hosts...)
	return &methods.RectifyDvsHost_TaskBody{Res: &types.RectifyDvsHost_TaskResponse{Returnval: task}}
}

func (m *switchManagerMethods) RectifyDvsOnHostTask(ctx *simulator.Context, req *types.RectifyDvsOnHost_Task) soap.HasFault {
	if len(req.Hosts) == 0 || m.w.host(req.Hosts[0]) == nil {
		return &methods.RectifyDvsOnHost_TaskBody{Fault_: faultBody(&types.InvalidArgument{InvalidProperty: "hosts"})}
	}
	// A task is about a managed entity, which the manager is not.
	task := m.w.run(ctx, m.w.host(req.Hosts[0]), "RectifyDvsOnHost_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		var fault types.BaseMethodFault
		for _, h := range req.Hosts {
			if f := m.w.rectify(ctx, m.w.switchesOf(h), []ref{h}); f != nil {
				fault = f
			}
		}
		return nil, fault
	}, req.Hosts...)
	return &methods.RectifyDvsOnHost_TaskBody{Res: &types.RectifyDvsOnHost_TaskResponse{Returnval: task}}
}

// rectify brings hosts back in step with their switches.
func (w *World) rectify(ctx *simulator.Context, switches []*simulator.DistributedVirtualSwitch, hosts []ref) types.BaseMethodFault {
	refused := map[ref]types.BaseMethodFault{}
	for _, dvs := range switches {
		for _, h := range hosts {
			switch {
			case w.host(h) == nil:
				return &types.ManagedObjectNotFound{Obj: h}
			case !slices.Contains(dvs.Summary.HostMember, h):
				return &types.NotFound{}
			case !w.connected(h):
				refused[h] = &types.HostNotConnected{}
			default:
				w.setMember(ctx, dvs, h, "up")
				w.events.post(ctx, &types.DvsHostBackInSyncEvent{DvsEvent: w.dvsEvent(dvs.Self), HostBackInSync: w.hostArgument(w.host(h))})
			}
		}
		if fault := w.bulkFault(ctx, dvs.Self, refused); fault != nil {
			return fault
		}
	}
	return nil
}

// refuses says why one spec of a batch cannot be applied; the network's mutex is held.
func (s *dvSwitch) refuses(spec *types.DVPortConfigSpec, i int, seen map[string]bool) types.BaseMethodFault {
	where := fmt.Sprintf("port[%d]", i)
	if spec.Operation != string(types.ConfigSpecOperationEdit) {
		return &types.InvalidArgument{InvalidProperty: where + ".operation"}
	}
	if seen[spec.Key] {
		return &types.InvalidArgument{InvalidProperty: where + ".key"}
	}
	seen[spec.Key] = true
	p := s.ports[spec.Key]
	if p == nil {
		return &types.NotFound{}
	}
	if p.conflicts != "" {
		return &types.InvalidState{}
	}
	if spec.ConfigVersion != "" && spec.ConfigVersion != strconv.Itoa(p.version) {
		return &types.ConcurrentAccess{}
	}
	if fault := checkSetting(spec.Setting, where+".setting"); fault != nil {
		return fault
	}
	if setting := asSetting(spec.Setting); setting != nil {
		if property := forbidden(setting, p.group.policy); property != "" {
			group := p.group.ref
			return &types.ConflictingConfiguration{ConfigInConflict: []types.ConflictingConfigurationConfig{{
				Entity: &group, PropertyPath: "setting." + property,
			}}}
		}
	}
	return nil
}

type switchManagerMethods struct {
	*simulator.DistributedVirtualSwitchManager
	w *World
}

func (m *switchManagerMethods) QueryDvsByUuid(_ *simulator.Context, req *types.QueryDvsByUuid) soap.HasFault {
	body := &methods.QueryDvsByUuidBody{Res: &types.QueryDvsByUuidResponse{}}
	m.w.net.mu.Lock()
	defer m.w.net.mu.Unlock()
	if sw := m.w.net.switches[req.Uuid]; sw != nil {
		found := sw.ref
		body.Res.Returnval = &found
	}
	return body
}

func (m *switchManagerMethods) DVSManagerLookupDvPortGroup(_ *simulator.Context, req *types.DVSManagerLookupDvPortGroup) soap.HasFault {
	m.w.net.mu.Lock()
	defer m.w.net.mu.Unlock()
	if sw := m.w.net.switches[req.SwitchUuid]; sw != nil {
		if g := sw.groups[req.PortgroupKey]; g != nil {
			found := g.ref
			return &methods.DVSManagerLookupDvPortGroupBody{Res: &types.DVSManagerLookupDvPortGroupResponse{Returnval: &found}}
		}
	}
	return &methods.DVSManagerLookupDvPortGroupBody{Fault_: faultBody(&types.NotFound{})}
}

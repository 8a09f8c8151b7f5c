// Distributed port groups: creation, partial reconfiguration, renaming and removal.
// Law: what a spec does not mention stays as it is.

package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type portGroupMethods struct {
	*simulator.DistributedVirtualPortgroup
	w *World
}

func (s *switchMethods) AddDVPortgroupTask(ctx *simulator.Context, req *types.AddDVPortgroup_Task) soap.HasFault {
	task := s.w.run(ctx, s.DistributedVirtualSwitch, "AddDVPortgroup_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		for i := range req.Spec {
			if _, fault := s.w.addPortGroup(ctx, s.DistributedVirtualSwitch, &req.Spec[i]); fault != nil {
				return nil, fault
			}
		}
		return nil, nil
	})
	return &methods.AddDVPortgroup_TaskBody{Res: &types.AddDVPortgroup_TaskResponse{Returnval: task}}
}

func (s *switchMethods) CreateDVPortgroupTask(ctx *simulator.Context, req *types.CreateDVPortgroup_Task) soap.HasFault {
	task := s.w.run(ctx, s.DistributedVirtualSwitch, "CreateDVPortgroup_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		pg, fault := s.w.addPortGroup(ctx, s.DistributedVirtualSwitch, &req.Spec)
		if fault != nil {
			return nil, fault
		}
		return pg.Self, nil
	})
	return &methods.CreateDVPortgroup_TaskBody{Res: &types.CreateDVPortgroup_TaskResponse{Returnval: task}}
}

func (w *World) addPortGroup(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, spec *types.DVPortgroupConfigSpec) (*simulator.DistributedVirtualPortgroup, types.BaseMethodFault) {
	folder := w.folderOf(dvs)
	if folder == nil {
		return nil, &types.ManagedObjectNotFound{Obj: dvs.Self}
	}
	return w.createPortGroup(ctx, folder, dvs, spec, false)
}

var bindings = map[string]bool{"": true, "earlyBinding": true, "lateBinding": true, "ephemeral": true}

func (w *World) createPortGroup(ctx *simulator.Context, folder *simulator.Folder, dvs *simulator.DistributedVirtualSwitch, spec *types.DVPortgroupConfigSpec, uplink bool) (*simulator.DistributedVirtualPortgroup, types.BaseMethodFault) {
	name, fault := checkedName(spec.Name, nil)
	if fault != nil {
		return nil, fault
	}
	switch {
	case !bindings[spec.Type]:
		return nil, &types.InvalidArgument{InvalidProperty: "spec.type"}
	case spec.NumPorts < 0 || spec.NumPorts > 8192:
		return nil, &types.InvalidArgument{InvalidProperty: "spec.numPorts"}
	}
	if fault := checkSetting(spec.DefaultPortConfig, "spec.defaultPortConfig"); fault != nil {
		return nil, fault
	}
	if other, free := w.names.claim(folder.Self, name, folder.Self); !free {
		return nil, &types.DuplicateName{Name: name, Object: other}
	}
	pg := &simulator.DistributedVirtualPortgroup{}
	pg.Self = ref{Type: "DistributedVirtualPortgroup", Value: fmt.Sprintf("dvportgroup-%d", w.taskCounter.Add(1))}
	pg.Name, pg.Key = name, pg.Self.Value
	pg.Entity().Name = name
	kind := spec.Type
	if kind == "" {
		kind = "earlyBinding"
	}
	autoExpand := spec.AutoExpand == nil || *spec.AutoExpand // vSphere API: the default since 5.1
	if kind == "ephemeral" {
		autoExpand = false
	}
	group := &portGroup{
		ref: pg.Self, key: pg.Key, own: override(nil, asSetting(spec.DefaultPortConfig)), policy: mergePolicy(defaultPolicy(), spec.Policy),
		uplink: uplink, autoExpand: autoExpand, ephemeral: kind == "ephemeral", base: int(spec.NumPorts), vms: map[ref]int{},
	}
	w.net.mu.Lock()
	sw := w.net.byRef[dvs.Self]
	if sw == nil {
		w.net.mu.Unlock()
		w.names.unclaim(folder.Self, name)
		return nil, &types.ManagedObjectNotFound{Obj: dvs.Self}
	}
	group.sw = sw
	sw.groups[group.key] = group
	if kind != "ephemeral" {
		for range spec.NumPorts {
			sw.addPort(group)
		}
	}
	pg.PortKeys, group.reshaped = group.portKeys(), false
	setting := group.setting()
	w.net.mu.Unlock()
	self := dvs.Self
	pg.Config = types.DVPortgroupConfigInfo{
		Key: pg.Key, Name: name, NumPorts: int32(len(pg.PortKeys)), DistributedVirtualSwitch: &self, DefaultPortConfig: setting,
		Description: spec.Description, Type: kind, BackingType: "standard", Policy: group.policy, PortNameFormat: spec.PortNameFormat,
		Scope: spec.Scope, VendorSpecificConfig: spec.VendorSpecificConfig, ConfigVersion: "0", AutoExpand: types.NewBool(autoExpand),
		VmVnicNetworkResourcePoolKey: "-1", Uplink: types.NewBool(uplink),
	}
	pg.Summary = &types.NetworkSummary{Network: &pg.Self, Name: name, Accessible: true}
	pg.Host = slices.Clone(dvs.Summary.HostMember)
	w.place(ctx, folder, pg)
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		dvs.Portgroup = append(dvs.Portgroup[:len(dvs.Portgroup):len(dvs.Portgroup)], pg.Self)
		dvs.Summary.PortgroupName = append(dvs.Summary.PortgroupName[:len(dvs.Summary.PortgroupName):len(dvs.Summary.PortgroupName)], name)
	}, "portgroup", "summary.portgroupName")
	clusters := map[ref]bool{}
	for _, h := range pg.Host {
		host := w.host(h)
		if host == nil {
			continue
		}
		ctx.WithLock(h, func() { host.Network = append(host.Network, pg.Self) })
		w.hub.touch(h, "network")
		if host.Parent != nil && !clusters[*host.Parent] {
			clusters[*host.Parent] = true
			w.linkCluster(ctx, host, []ref{pg.Self})
		}
	}
	w.events.post(ctx, &types.DVPortgroupCreatedEvent{DVPortgroupEvent: w.portGroupEvent(pg)})
	return pg, nil
}

func defaultPolicy() *types.VMwareDVSPortgroupPolicy {
	no := func() *bool { return types.NewBool(false) }
	return &types.VMwareDVSPortgroupPolicy{
		DVPortgroupPolicy: types.DVPortgroupPolicy{
			BlockOverrideAllowed: true, PortConfigResetAtDisconnect: true, NetworkResourcePoolOverrideAllowed: no(), TrafficFilterOverrideAllowed: no(),
		},
		IpfixOverrideAllowed: no(), MacManagementOverrideAllowed: no(),
	}
}

// mergePolicy applies a policy spec; its optional flags keep their value when unset.
func mergePolicy(policy *types.VMwareDVSPortgroupPolicy, spec types.BaseDVPortgroupPolicy) *types.VMwareDVSPortgroupPolicy {
	merged := *policy
	keep := func(now, before *bool) *bool {
		if now == nil {
			return before
		}
		return now
	}
	switch s := spec.(type) {
	case *types.VMwareDVSPortgroupPolicy:
		if s == nil {
			return &merged
		}
		merged = *s
		merged.IpfixOverrideAllowed = keep(s.IpfixOverrideAllowed, policy.IpfixOverrideAllowed)
		merged.MacManagementOverrideAllowed = keep(s.MacManagementOverrideAllowed, policy.MacManagementOverrideAllowed)
	case *types.DVPortgroupPolicy:
		if s == nil {
			return &merged
		}
		merged.DVPortgroupPolicy = *s
	default:
		return &merged
	}
	merged.NetworkResourcePoolOverrideAllowed = keep(merged.NetworkResourcePoolOverrideAllowed, policy.NetworkResourcePoolOverrideAllowed)
	merged.TrafficFilterOverrideAllowed = keep(merged.TrafficFilterOverrideAllowed, policy.TrafficFilterOverrideAllowed)
	return &merged
}

func (p *portGroupMethods) ReconfigureDVPortgroupTask(ctx *simulator.Context, req *types.ReconfigureDVPortgroup_Task) soap.HasFault {
	task := p.w.run(ctx, p.DistributedVirtualPortgroup, "ReconfigureDVPortgroup_Task", func(ctx *simulator.Context, _ *simulator.Task) (result any, fault types.BaseMethodFault) {
		ctx.WithLock(p.Self, func() { fault = p.w.reconfigurePortGroup(ctx, p.DistributedVirtualPortgroup, &req.Spec) })
		return nil, fault
	})
	return &methods.ReconfigureDVPortgroup_TaskBody{Res: &types.ReconfigureDVPortgroup_TaskResponse{Returnval: task}}
}

func (w *World) reconfigurePortGroup(ctx *simulator.Context, pg *simulator.DistributedVirtualPortgroup, spec *types.DVPortgroupConfigSpec) types.BaseMethodFault {
	w.net.mu.Lock()
	group := w.net.group(pg)
	w.net.mu.Unlock()
	switch {
	case group == nil:
		return &types.ManagedObjectNotFound{Obj: pg.Self}
	case spec.ConfigVersion == "":
		return &types.InvalidArgument{InvalidProperty: "spec.configVersion"}
	case spec.ConfigVersion != pg.Config.ConfigVersion:
		return &types.ConcurrentAccess{}
	case !bindings[spec.Type]:
		return &types.InvalidArgument{InvalidProperty: "spec.type"}
	case spec.NumPorts < 0 || spec.NumPorts > 8192:
		return &types.InvalidArgument{InvalidProperty: "spec.numPorts"}
	}
	if fault := checkSetting(spec.DefaultPortConfig, "spec.defaultPortConfig"); fault != nil {
		return fault
	}
	config := pg.Config
	if spec.NumPorts != 0 {
		if fault := w.net.resize(group, int(spec.NumPorts)); fault != nil {
			return fault
		}
	}
	if spec.Name != "" {
		if fault := w.renamePortGroup(ctx, pg, spec.Name); fault != nil {
			return fault
		}
		config.Name = pg.Name
	}
	if spec.Description != "" {
		config.Description = spec.Description
	}
	if spec.PortNameFormat != "" {
		config.PortNameFormat = spec.PortNameFormat
	}
	if spec.Type != "" {
		config.Type = spec.Type
	}
	if spec.AutoExpand != nil {
		config.AutoExpand = types.NewBool(*spec.AutoExpand)
	}
	if spec.VendorSpecificConfig != nil {
		config.VendorSpecificConfig = spec.VendorSpecificConfig
	}
	w.net.mu.Lock()
	if setting := asSetting(spec.DefaultPortConfig); setting != nil {
		group.own = override(group.own, setting)
		group.changed()
	}
	group.policy = mergePolicy(group.policy, spec.Policy)
	group.autoExpand = config.AutoExpand != nil && *config.AutoExpand
	group.ephemeral = config.Type == "ephemeral"
	config.Policy, config.DefaultPortConfig = group.policy, group.setting()
	keys := group.portKeys()
	w.net.mu.Unlock()
	config.NumPorts = int32(len(keys))
	version, _ := strconv.Atoi(config.ConfigVersion)
	config.ConfigVersion = strconv.Itoa(version + 1)
	pg.Config = config
	if !slices.Equal(keys, pg.PortKeys) {
		pg.PortKeys = keys
		w.hub.touch(pg.Self, "portKeys")
	}
	w.hub.touch(pg.Self, "config")
	w.events.post(ctx, &types.DVPortgroupReconfiguredEvent{DVPortgroupEvent: w.portGroupEvent(pg), ConfigSpec: *spec})
	return nil
}

func (n *network) group(pg *simulator.DistributedVirtualPortgroup) *portGroup {
	if sw := n.byRef[*pg.Config.DistributedVirtualSwitch]; sw != nil {
		return sw.groups[pg.Key]
	}
	return nil
}

// resize adds ports or removes free ones, last ones first.
func (n *network) resize(g *portGroup, size int) types.BaseMethodFault {
	n.mu.Lock()
	defer n.mu.Unlock()
	if size < g.used() {
		return &types.ResourceInUse{Type: "DistributedVirtualPortgroup", Name: g.key}
	}
	g.base = size
	for len(g.ports) < size {
		g.sw.addPort(g)
	}
	for i := len(g.ports) - 1; i >= 0 && len(g.ports) > size; i-- {
		if g.ports[i].connectee == nil {
			delete(g.sw.ports, g.ports[i].key)
			g.ports, g.full = slices.Delete(g.ports, i, i+1), 0
		}
	}
	return nil
}

// renamePortGroup is called with the group's lock held.
func (w *World) renamePortGroup(ctx *simulator.Context, pg *simulator.DistributedVirtualPortgroup, to string) types.BaseMethodFault {
	name, fault := checkedName(to, &pg.Self)
	if fault != nil {
		return fault
	}
	if name == pg.Name {
		return nil
	}
	if other, free := w.names.claim(*pg.Entity().Parent, name, pg.Self); !free {
		return &types.DuplicateName{Name: name, Object: other}
	}
	old := pg.Name
	pg.Name, pg.Entity().Name, pg.Config.Name = name, name, name
	pg.Summary = &types.NetworkSummary{Network: &pg.Self, Name: name, Accessible: true}
	w.names.note(pg)
	for _, path := range []string{"name", "config.name", "summary.name"} {
		w.hub.touch(pg.Self, path)
	}
	if dvs, ok := w.reg.Get(*pg.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch); ok {
		go w.changeSwitch(fork(ctx), dvs, func(*types.VMwareDVSConfigInfo) { // the switch's lock is taken before a group's, never after
			names := slices.Clone(dvs.Summary.PortgroupName)
			if i := slices.Index(names, old); i >= 0 {
				names[i] = name
			}
			dvs.Summary.PortgroupName = names
		}, "summary.portgroupName")
	}
	w.events.post(ctx, &types.DVPortgroupRenamedEvent{DVPortgroupEvent: w.portGroupEvent(pg), OldName: old, NewName: name})
	return nil
}

func (p *portGroupMethods) RenameTask(ctx *simulator.Context, req *types.Rename_Task) soap.HasFault {
	task := p.w.run(ctx, p.DistributedVirtualPortgroup, "Rename_Task", func(ctx *simulator.Context, _ *simulator.Task) (result any, fault types.BaseMethodFault) {
		ctx.WithLock(p.Self, func() { fault = p.w.renamePortGroup(ctx, p.DistributedVirtualPortgroup, req.NewName) })
		return nil, fault
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}

func (p *portGroupMethods) DestroyTask(ctx *simulator.Context, _ *types.Destroy_Task) soap.HasFault {
	pg, w := p.DistributedVirtualPortgroup, p.w
	task := w.run(ctx, pg, "Destroy_Task", func(ctx *simulator.Context, _ *simulator.Task) (any, types.BaseMethodFault) {
		dvs, ok := w.reg.Get(*pg.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch)
		if !ok || w.reg.Get(pg.Self) == nil {
			return nil, &types.ManagedObjectNotFound{Obj: pg.Self}
		}
		w.net.mu.Lock()
		group := w.net.group(pg)
		inUse := group != nil && (group.uplink || group.used() > 0 || len(group.vms) > 0)
		if group != nil && !inUse {
			// From here on no NIC can be connected to it.
			delete(group.sw.groups, group.key)
			for _, port := range group.ports {
				delete(group.sw.ports, port.key)
			}
		}
		w.net.mu.Unlock()
		if inUse {
			return nil, &types.ResourceInUse{Type: "DistributedVirtualPortgroup", Name: pg.Name}
		}
		w.destroyPortGroup(ctx, dvs, pg)
		return nil, nil
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

func (w *World) destroyPortGroup(ctx *simulator.Context, dvs *simulator.DistributedVirtualSwitch, pg *simulator.DistributedVirtualPortgroup) {
	event := w.portGroupEvent(pg)
	w.net.mu.Lock()
	if group := w.net.group(pg); group != nil {
		delete(group.sw.groups, group.key)
		for _, port := range group.ports {
			delete(group.sw.ports, port.key)
		}
	}
	w.net.mu.Unlock()
	w.changeSwitch(ctx, dvs, func(config *types.VMwareDVSConfigInfo) {
		dvs.Portgroup = without(dvs.Portgroup, pg.Self)
		config.UplinkPortgroup = without(config.UplinkPortgroup, pg.Self)
		if i := slices.Index(dvs.Summary.PortgroupName, pg.Name); i >= 0 {
			dvs.Summary.PortgroupName = slices.Delete(slices.Clone(dvs.Summary.PortgroupName), i, i+1)
		}
	}, "portgroup", "summary.portgroupName")
	for _, h := range pg.Host {
		host := w.host(h)
		if host == nil {
			continue
		}
		ctx.WithLock(h, func() { host.Network = without(host.Network, pg.Self) })
		w.hub.touch(h, "network")
		if cr := w.computeOf(host); cr != nil && slices.Contains(cr.Network, pg.Self) {
			ctx.WithLock(cr.Self, func() { cr.Network = without(cr.Network, pg.Self) })
			w.hub.touch(cr.Self, "network")
		}
	}
	w.displace(ctx, pg)
	w.events.post(ctx, &types.DVPortgroupDestroyedEvent{DVPortgroupEvent: event})
}

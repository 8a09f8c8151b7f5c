// The builder: puts a topology into the inventory through the same code that serves clients, many VMs at a time.

package main

import (
	"crypto/md5"
	"fmt"
	"os"
	"runtime"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

type builder struct {
	w      *World
	dir    string // where the datastores keep the VMs' files
	stores []string
	dc     *simulator.Datacenter
	hosts  map[string]*simulator.HostSystem
	groups map[string]*simulator.DistributedVirtualPortgroup // by name, and by "switch/name"
	uuids  map[string]string                                 // switch UUID by port group key
}

func (w *World) build(t *topology, dir string) error {
	for i := range t.Datacenters {
		b := &builder{
			w: w, dir: dir, hosts: map[string]*simulator.HostSystem{}, groups: map[string]*simulator.DistributedVirtualPortgroup{}, uuids: map[string]string{},
		}
		if err := b.datacenter(&t.Datacenters[i]); err != nil {
			return fmt.Errorf("datacenter %q: %w", t.Datacenters[i].Name, err)
		}
	}
	return nil
}

func failure(what string, fault types.BaseMethodFault) error {
	return fmt.Errorf("%s: %s %+v", what, faultName(fault), fault)
}

func (b *builder) datacenter(spec *datacenterSpec) error {
	ctx := b.w.context()
	content := b.w.service.Context.Map.Get(ref{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content
	root := b.w.reg.Get(content.RootFolder).(*simulator.Folder)
	created := root.CreateDatacenter(ctx, &types.CreateDatacenter{This: root.Self, Name: spec.Name}).(*methods.CreateDatacenterBody)
	if created.Fault_ != nil {
		return fmt.Errorf("%s", created.Fault_.String)
	}
	b.dc = b.w.reg.Get(created.Res.Returnval).(*simulator.Datacenter)
	b.w.hub.appear(b.dc)
	if b.stores = spec.Datastores; len(b.stores) == 0 {
		b.stores = []string{"datastore1"}
	}
	for i := range spec.Clusters {
		if err := b.cluster(&spec.Clusters[i]); err != nil {
			return fmt.Errorf("cluster %q: %w", spec.Clusters[i].Name, err)
		}
	}
	for _, store := range b.dc.Datastore { // shared by all hosts, so VMFS; upstream calls a local directory OTHER
		b.w.reg.Get(store).(*simulator.Datastore).Summary.Type = string(types.HostFileSystemVolumeFileSystemTypeVMFS)
	}
	for i := range spec.Switches {
		if err := b.dvs(&spec.Switches[i]); err != nil {
			return fmt.Errorf("switch %q: %w", spec.Switches[i].Name, err)
		}
	}
	return b.vms(spec.VMs)
}

func (b *builder) cluster(spec *clusterSpec) error {
	ctx := b.w.context()
	folder := b.w.reg.Get(b.dc.HostFolder).(*simulator.Folder)
	body := folder.CreateClusterEx(ctx, &types.CreateClusterEx{This: folder.Self, Name: spec.Name}).(*methods.CreateClusterExBody)
	if body.Fault_ != nil {
		return fmt.Errorf("%s", body.Fault_.String)
	}
	cluster := b.w.reg.Get(body.Res.Returnval).(*simulator.ClusterComputeResource)
	for i := range spec.Hosts {
		if err := b.host(cluster, &spec.Hosts[i]); err != nil {
			return fmt.Errorf("host %q: %w", spec.Hosts[i].Name, err)
		}
	}
	return nil
}

func (b *builder) host(cluster *simulator.ClusterComputeResource, spec *hostSpec) error {
	ctx := b.w.context()
	if b.hosts[spec.Name] != nil {
		return fmt.Errorf("is there twice")
	}
	add := cluster.AddHostTask(ctx, &types.AddHost_Task{
		This: cluster.Self, AsConnected: true, Spec: types.HostConnectSpec{HostName: spec.Name},
	}).(*methods.AddHost_TaskBody)
	task := b.w.reg.Get(add.Res.Returnval).(*simulator.Task)
	task.Wait()
	if task.Info.Error != nil {
		return failure("add", task.Info.Error.Fault)
	}
	host := b.w.host(task.Info.Result.(ref))
	id := spec.UUID
	if id == "" {
		id = stableUUID("host", spec.Name)
	}
	host.Summary.Hardware.Uuid, host.Hardware.SystemInfo.Uuid = id, id
	host.Config.Network.Pnic = pnicList(spec)
	for _, v := range spec.VSwitches {
		addStandardSwitch(host.Config.Network, v)
	}
	b.hosts[spec.Name] = host
	hints, err := hintsOf(spec)
	if err != nil {
		return err
	}
	b.w.reg.Get(*host.ConfigManager.NetworkSystem).(*simulator.HostNetworkSystem).QueryNetworkHintResponse.Returnval = hints
	store := b.w.reg.Get(*host.ConfigManager.DatastoreSystem).(*simulator.HostDatastoreSystem)
	for i, name := range b.stores {
		dir := fmt.Sprintf("%s-%s-%d", b.dir, b.dc.Self.Value, i)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		local := store.CreateLocalDatastore(ctx, &types.CreateLocalDatastore{This: store.Self, Name: name, Path: dir}).(*methods.CreateLocalDatastoreBody)
		if local.Fault_ != nil && len(b.dc.Datastore) <= i {
			return fmt.Errorf("datastore %q: %s", name, local.Fault_.String)
		}
	}
	return nil
}

func pnicList(spec *hostSpec) []types.PhysicalNic {
	specs := spec.Pnics
	if specs == nil {
		specs = []pnicSpec{{Device: "vmnic0"}, {Device: "vmnic1"}}
	}
	var pnics []types.PhysicalNic
	for i, p := range specs {
		mac := p.MAC
		if mac == "" {
			sum := md5.Sum([]byte(spec.Name))
			mac = fmt.Sprintf("b4:96:91:%02x:%02x:%02x", sum[0], sum[1], i)
		}
		speed := p.SpeedMb
		if speed == 0 {
			speed = 10000
		}
		link := types.PhysicalNicLinkInfo{SpeedMb: speed, Duplex: true}
		pnics = append(pnics, types.PhysicalNic{
			Key: "key-vim.host.PhysicalNic-" + p.Device, Device: p.Device, Pci: fmt.Sprintf("0000:%02x:00.0", i+2), Driver: "ixgben", Mac: mac,
			LinkSpeed: &link, ValidLinkSpecification: []types.PhysicalNicLinkInfo{link},
			Spec: types.PhysicalNicSpec{Ip: &types.HostIpConfig{}}, AutoNegotiateSupported: types.NewBool(true),
		})
	}
	return pnics
}

// addStandardSwitch gives a host a standard switch, with a port group that carries its VMkernel NICs.
func addStandardSwitch(network *types.HostNetworkInfo, spec vswitchSpec) {
	key, group := "key-vim.host.VirtualSwitch-"+spec.Name, "VMkernel on "+spec.Name
	made := types.HostVirtualSwitch{Name: spec.Name, Key: key, NumPorts: 1536, NumPortsAvailable: 1530, Mtu: 1500}
	for _, pnic := range spec.Pnics {
		made.Pnic = append(made.Pnic, "key-vim.host.PhysicalNic-"+pnic)
	}
	if len(spec.VMkernel) > 0 {
		made.Portgroup = []string{"key-vim.host.PortGroup-" + group}
		network.Portgroup = append(network.Portgroup, types.HostPortGroup{
			Key: made.Portgroup[0], Vswitch: key, Spec: types.HostPortGroupSpec{Name: group, VswitchName: spec.Name},
		})
	}
	network.Vswitch = append(network.Vswitch, made)
	for _, device := range spec.VMkernel {
		addVMkernelNic(network, device, types.HostVirtualNicSpec{Portgroup: group})
	}
}

func addVMkernelNic(network *types.HostNetworkInfo, device string, spec types.HostVirtualNicSpec) {
	spec.Ip, spec.Mtu = &types.HostIpConfig{Dhcp: true}, 1500
	network.Vnic = append(network.Vnic, types.HostVirtualNic{
		Device: device, Key: "key-vim.host.VirtualNic-" + device, Portgroup: spec.Portgroup, Spec: spec,
	})
}

// stableUUID is the same in every run, so that a test may name it.
func stableUUID(kind, name string) string {
	return uuid.NewMD5(uuid.NameSpaceDNS, []byte("isthmus/"+kind+"/"+name)).String()
}

func (b *builder) dvs(spec *switchSpec) error {
	ctx := b.w.context()
	folder := b.w.reg.Get(b.dc.NetworkFolder).(*simulator.Folder)
	config := &types.VMwareDVSConfigSpec{DVSConfigSpec: types.DVSConfigSpec{Name: spec.Name}, MaxMtu: spec.MTU}
	if spec.Uplinks != nil {
		config.UplinkPortPolicy = &types.DVSNameArrayUplinkPortPolicy{UplinkPortName: *spec.Uplinks}
	}
	for _, p := range spec.Pvlans {
		config.PvlanConfigSpec = append(config.PvlanConfigSpec, types.VMwareDVSPvlanConfigSpec{
			Operation: "add", PvlanEntry: types.VMwareDVSPvlanMapEntry{PrimaryVlanId: p.Primary, SecondaryVlanId: p.Secondary, PvlanType: p.Type},
		})
	}
	dvs, fault := b.w.createSwitch(ctx, folder, config, nil)
	if fault != nil {
		return failure("create", fault)
	}
	for _, m := range spec.Members {
		host := b.hosts[m.Host]
		if host == nil {
			return fmt.Errorf("member %q is no host of this datacenter", m.Host)
		}
		b.w.join(ctx, dvs, host, m.Pnics)
		for _, device := range m.VMkernel {
			on := &types.DistributedVirtualSwitchPortConnection{SwitchUuid: dvs.Uuid}
			addVMkernelNic(host.Config.Network, device, types.HostVirtualNicSpec{DistributedVirtualPort: on})
		}
	}
	if spec.UplinkVLANs != nil {
		for _, g := range dvs.Config.GetDVSConfigInfo().UplinkPortgroup {
			pg := b.w.reg.Get(g).(*simulator.DistributedVirtualPortgroup)
			if fault := b.w.reconfigurePortGroup(ctx, pg, &types.DVPortgroupConfigSpec{
				ConfigVersion: pg.Config.ConfigVersion, DefaultPortConfig: &portSetting{Vlan: trunk(spec.UplinkVLANs)},
			}); fault != nil {
				return failure("uplink VLANs", fault)
			}
		}
	}
	for i := range spec.PortGroups {
		g := &spec.PortGroups[i]
		pg, fault := b.w.createPortGroup(ctx, folder, dvs, g.config(), false)
		if fault != nil {
			return fmt.Errorf("port group %q: %w", g.Name, failure("create", fault))
		}
		b.groups[g.Name], b.groups[spec.Name+"/"+g.Name] = pg, pg
		b.uuids[pg.Key] = dvs.Uuid
	}
	return nil
}

func trunk(ranges [][2]int32) *types.VmwareDistributedVirtualSwitchTrunkVlanSpec {
	vlan := &types.VmwareDistributedVirtualSwitchTrunkVlanSpec{}
	for _, r := range ranges {
		vlan.VlanId = append(vlan.VlanId, types.NumericRange{Start: r[0], End: r[1]})
	}
	return vlan
}

func (g *portGroupSpec) config() *types.DVPortgroupConfigSpec {
	setting := &portSetting{}
	switch {
	case g.VLAN.Trunk != nil:
		setting.Vlan = trunk(g.VLAN.Trunk)
	case g.VLAN.Pvlan != 0:
		setting.Vlan = &types.VmwareDistributedVirtualSwitchPvlanSpec{PvlanId: g.VLAN.Pvlan}
	default:
		setting.Vlan = &types.VmwareDistributedVirtualSwitchVlanIdSpec{VlanId: g.VLAN.ID}
	}
	if g.Blocked {
		setting.Blocked = &types.BoolPolicy{Value: types.NewBool(true)}
	}
	if s := g.Security; s != nil || g.MACLearning != nil {
		mac := &types.DVSMacManagementPolicy{}
		if s != nil {
			mac.AllowPromiscuous, mac.MacChanges, mac.ForgedTransmits = &s.Promiscuous, &s.MACChanges, &s.ForgedTransmits
		}
		if l := g.MACLearning; l != nil {
			mac.MacLearningPolicy = &types.DVSMacLearningPolicy{
				Enabled: l.Enabled, Limit: l.Limit, LimitPolicy: l.LimitPolicy, AllowUnicastFlooding: l.AllowUnicastFlooding,
			}
		}
		setting.MacManagementPolicy = mac
	}
	spec := &types.DVPortgroupConfigSpec{
		Name: g.Name, Type: g.Binding, NumPorts: g.NumPorts, AutoExpand: g.AutoExpand, Description: g.Description, DefaultPortConfig: setting,
	}
	if p := g.Policy; p != nil {
		spec.Policy = &types.VMwareDVSPortgroupPolicy{
			DVPortgroupPolicy: types.DVPortgroupPolicy{
				BlockOverrideAllowed: p.Block, ShapingOverrideAllowed: p.Shaping, LivePortMovingAllowed: p.LivePortMoving,
				PortConfigResetAtDisconnect: p.ResetAtDisconnect, TrafficFilterOverrideAllowed: types.NewBool(p.TrafficFilter),
			},
			VlanOverrideAllowed: p.VLAN, SecurityPolicyOverrideAllowed: p.Security, UplinkTeamingOverrideAllowed: p.Teaming,
			MacManagementOverrideAllowed: types.NewBool(p.MACManagement),
		}
	}
	return spec
}

// vms builds all VMs; upstream's tasks wait in steps of milliseconds, so many are under way at once.
func (b *builder) vms(specs []vmSpec) error {
	for i := range specs { // in the topology's order, so that every run gives the same addresses
		for j := range specs[i].NICs {
			if nic := &specs[i].NICs[j]; nic.MAC == "" {
				nic.MAC, nic.assigned = b.w.net.newMAC(), true
			}
		}
	}
	if err := b.reachable(specs); err != nil {
		return err
	}
	defer b.hideHosts()()
	work := make(chan *vmSpec)
	failures := make(chan error, len(specs))
	var crew sync.WaitGroup
	for range min(len(specs), 16*runtime.NumCPU()) {
		crew.Add(1)
		go func() {
			defer crew.Done()
			for spec := range work {
				if err := b.vm(spec); err != nil {
					failures <- fmt.Errorf("VM %q: %w", spec.Name, err)
				}
			}
		}()
	}
	for i := range specs {
		work <- &specs[i]
	}
	close(work)
	crew.Wait()
	close(failures)
	return <-failures
}

// reachable checks that every host of a cluster is a member of the switches that the cluster's VMs use.
func (b *builder) reachable(specs []vmSpec) error {
	type pair struct{ cluster, dvs ref }
	checked := map[pair]bool{}
	for i := range specs {
		host := b.hosts[specs[i].Host]
		for j := range specs[i].NICs {
			pg := b.groups[specs[i].NICs[j].group()]
			if host == nil || pg == nil { // the VM itself will say so
				continue
			}
			at := pair{*host.Parent, *pg.Config.DistributedVirtualSwitch}
			if checked[at] {
				continue
			}
			checked[at] = true
			dvs := b.w.reg.Get(at.dvs).(*simulator.DistributedVirtualSwitch)
			members := map[ref]bool{}
			for _, h := range dvs.Summary.HostMember {
				members[h] = true
			}
			for _, h := range b.w.hostsOf(at.cluster) {
				if !members[h] {
					return fmt.Errorf("VM %q: host %q of its cluster is not a member of switch %q", specs[i].Name, b.w.host(h).Name, dvs.Name)
				}
			}
		}
	}
	return nil
}

// hideHosts empties the clusters' lists of hosts until the function that it returns is called.  Upstream compares the list with
// the switch's, host by host, for every NIC: a thousand hosts and twenty thousand VMs would be ten thousand million comparisons.
func (b *builder) hideHosts() func() {
	hidden := map[*mo.ComputeResource][]ref{}
	for _, host := range b.hosts {
		if cr := b.w.computeOf(host); len(cr.Host) > 0 {
			hidden[cr], cr.Host = cr.Host, nil
		}
	}
	return func() {
		for cr, hosts := range hidden {
			cr.Host = hosts
		}
	}
}

// group is the key of the NIC's port group among the builder's.
func (n *nicSpec) group() string {
	if n.Switch != "" {
		return n.Switch + "/" + n.PortGroup
	}
	return n.PortGroup
}

func (b *builder) vm(spec *vmSpec) error {
	ctx := b.w.context()
	host := b.hosts[spec.Host]
	if host == nil {
		return fmt.Errorf("host %q is no host of this datacenter", spec.Host)
	}
	config := types.VirtualMachineConfigSpec{
		Name: spec.Name, Uuid: spec.UUID, InstanceUuid: spec.InstanceUUID, GuestId: "otherGuest", MemoryMB: spec.MemoryMB, NumCPUs: spec.CPUs,
		Annotation: spec.Annotation,
	}
	if config.Uuid == "" {
		config.Uuid = stableUUID("vm", b.dc.Name+"/"+spec.Name)
	}
	if config.InstanceUuid == "" {
		config.InstanceUuid = stableUUID("instance", b.dc.Name+"/"+spec.Name)
	}
	if spec.NoTools {
		config.ExtraConfig = append(config.ExtraConfig, &types.OptionValue{Key: noToolsKey, Value: "true"})
	}
	for key, value := range spec.ExtraConfig {
		config.ExtraConfig = append(config.ExtraConfig, &types.OptionValue{Key: key, Value: value})
	}
	for _, nic := range spec.NICs {
		pg := b.groups[nic.group()]
		if pg == nil {
			return fmt.Errorf("port group %q is not in this datacenter", nic.group())
		}
		card := &types.VirtualVmxnet3{}
		card.MacAddress = nic.MAC
		if nic.assigned {
			card.AddressType = "assigned"
		}
		card.Backing = &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
			Port: types.DistributedVirtualSwitchPortConnection{SwitchUuid: b.uuids[pg.Key], PortgroupKey: pg.Key},
		}
		card.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: nic.Connected == nil || *nic.Connected, AllowGuestControl: true}
		config.DeviceChange = append(config.DeviceChange, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: card})
	}
	folder := b.w.reg.Get(b.dc.VmFolder).(*simulator.Folder)
	pool := b.w.computeOf(host).ResourcePool
	result, fault := b.w.createVM(ctx, folder, &types.CreateVM_Task{This: folder.Self, Config: config, Pool: *pool, Host: &host.Self})
	if fault != nil {
		return failure("create", fault)
	}
	vm := b.w.vm(result.(ref))
	for i, nic := range spec.NICs {
		b.w.addresses.set(vm.Self, firstNICKey+int32(i), nic.IPs)
	}
	if !spec.PoweredOn {
		return nil
	}
	ctx = b.w.context()
	on := vm.PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: vm.Self}).(*methods.PowerOnVM_TaskBody)
	task := b.w.reg.Get(on.Res.Returnval).(*simulator.Task)
	task.Wait()
	if task.Info.Error != nil {
		return failure("power on", task.Info.Error.Fault)
	}
	return nil
}

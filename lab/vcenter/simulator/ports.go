// DV ports: handed out when a NIC connects, taken back when it leaves.
// Law: a port key is unique on its switch, and a port has at most one NIC.

package main

import (
	"fmt"
	"log"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type ref = types.ManagedObjectReference

// network is the port table of every switch; its mutex is a leaf, and nothing of upstream is called under it.
type network struct {
	w *World

	mu       sync.Mutex
	switches map[string]*dvSwitch // by UUID
	byRef    map[ref]*dvSwitch
	nics     map[ref]map[int32]*dvPort // VM -> device key -> port
	macs     map[string]ref            // who has a MAC that vCenter gave out
	nextMAC  uint32
	cookie   int32
}

type dvSwitch struct {
	ref      ref
	uuid     string
	defaults *portSetting
	mtu      int32
	nextKey  int
	ports    map[string]*dvPort
	groups   map[string]*portGroup
}

type portGroup struct {
	ref        ref
	key        string
	sw         *dvSwitch
	own        *portSetting // what the group overrides of the switch's defaults
	shown      *portSetting // computed; replaced, never changed in place
	bare       *portSetting // the same as a port without overrides shows it: everything inherited
	policy     *types.VMwareDVSPortgroupPolicy
	uplink     bool
	autoExpand bool
	ephemeral  bool
	base       int // how many ports were asked for; what expansion added beyond goes again
	ports      []*dvPort
	full       int         // the first so many ports are known to be taken
	reshaped   bool        // ports were added or removed since the group's managed object was told
	vms        map[ref]int // how many NICs each VM has here
	vmList     []ref       // the same VMs in the order in which they came
}

type dvPort struct {
	number      int
	key         string
	group       *portGroup
	name        string
	description string
	own         *portSetting
	shown       *portSetting // computed when needed; nil after any change beneath it
	version     int
	cookie      int32
	connectee   *types.DistributedVirtualSwitchPortConnectee
	vm          ref
	nicKey      int32
	host        *ref
	linkUp      bool
	mac         string
	changed     time.Time
	conflicts   string // the port in whose place a host made this one while the vCenter was away
}

// autoExpandStep is how many ports an auto-expanding group grows by.
const autoExpandStep = 8

func newNetwork(w *World) *network {
	return &network{w: w, switches: map[string]*dvSwitch{}, byRef: map[ref]*dvSwitch{}, nics: map[ref]map[int32]*dvPort{}, macs: map[string]ref{}}
}

// The methods of dvSwitch, portGroup and dvPort are called with the network's mutex held.

func (s *dvSwitch) addPort(g *portGroup) *dvPort {
	p := &dvPort{number: s.nextKey, key: strconv.Itoa(s.nextKey), group: g, changed: time.Now()}
	s.nextKey++
	s.ports[p.key] = p
	g.ports = append(g.ports, p)
	g.reshaped = true
	return p
}

func (g *portGroup) setting() *portSetting {
	if g.shown == nil {
		g.shown = effective(g.sw.defaults, g.own)
	}
	return g.shown
}

// changed forgets what was computed from the group's settings.
func (g *portGroup) changed() {
	g.shown, g.bare = nil, nil
	for _, p := range g.ports {
		p.shown = nil
	}
}

func (g *portGroup) portKeys() []string {
	keys := make([]string, len(g.ports))
	for i, p := range g.ports {
		keys[i] = p.key
	}
	return keys
}

func (g *portGroup) free() int {
	n := 0
	for _, p := range g.ports {
		if p.connectee == nil {
			n++
		}
	}
	return n
}

func (g *portGroup) gain(vm ref) {
	if g.vms[vm]++; g.vms[vm] == 1 {
		g.vmList = append(g.vmList, vm)
	}
}

func (g *portGroup) lose(vm ref) {
	if g.vms[vm]--; g.vms[vm] > 0 {
		return
	}
	delete(g.vms, vm)
	kept := make([]ref, 0, len(g.vmList))
	for _, other := range g.vmList {
		if other != vm {
			kept = append(kept, other)
		}
	}
	g.vmList = kept
}

func (g *portGroup) used() int { return len(g.ports) - g.free() }

// take gives out a port: the wished one if it is free, else the first free, else a new one if the group may grow.
func (g *portGroup) take(wish string) (p *dvPort, grown bool) {
	if p := g.sw.ports[wish]; p != nil && p.group == g && p.connectee == nil {
		return p, false
	}
	for ; g.full < len(g.ports); g.full++ {
		if p := g.ports[g.full]; p.connectee == nil {
			return p, false
		}
	}
	switch {
	case g.ephemeral:
		return g.sw.addPort(g), true
	case g.autoExpand:
		first := g.sw.addPort(g)
		for range autoExpandStep - 1 {
			g.sw.addPort(g)
		}
		return first, true
	}
	return nil, false
}

func (p *dvPort) setting() *portSetting {
	if p.own == nil {
		if p.group.bare == nil {
			p.group.bare = effective(p.group.setting(), nil)
		}
		return p.group.bare
	}
	if p.shown == nil {
		p.shown = effective(p.group.setting(), p.own)
	}
	return p.shown
}

func (p *dvPort) status() *types.DVPortStatus {
	s := p.setting()
	ids, trunk := vlanIDs(s)
	return &types.DVPortStatus{
		LinkUp: p.linkUp, Blocked: blocked(s), VlanIds: ids, TrunkingMode: types.NewBool(trunk), Mtu: p.group.sw.mtu, MacAddress: p.mac,
		VmDirectPathGen2Active: types.NewBool(false),
	}
}

// wire is the port as FetchDVPorts shows it.
func (p *dvPort) wire() types.DistributedVirtualPort {
	port := types.DistributedVirtualPort{
		Key: p.key, DvsUuid: p.group.sw.uuid, PortgroupKey: p.group.key, ProxyHost: p.host, ConnectionCookie: p.cookie,
		LastStatusChange: p.changed, HostLocalPort: types.NewBool(false),
		Config: types.DVPortConfigInfo{
			Name: p.name, Description: p.description, Setting: p.setting(), ConfigVersion: strconv.Itoa(p.version),
		},
		State: &types.DVPortState{RuntimeInfo: p.status()},
	}
	if p.conflicts != "" {
		port.Conflict, port.ConflictPortKey = true, p.conflicts
	}
	if p.connectee != nil {
		c := *p.connectee
		port.Connectee = &c
	}
	return port
}

// disconnect empties the port, and bares it if its group says so; an ephemeral port disappears.
func (p *dvPort) disconnect(n *network) {
	delete(n.nics[p.vm], p.nicKey)
	if len(n.nics[p.vm]) == 0 {
		delete(n.nics, p.vm)
	}
	p.group.lose(p.vm)
	p.group.full = 0
	p.connectee, p.vm, p.nicKey, p.host, p.linkUp, p.mac, p.cookie = nil, ref{}, 0, nil, false, "", 0
	p.changed = time.Now()
	if p.group.policy.PortConfigResetAtDisconnect && (p.own != nil || p.name != "" || p.description != "") {
		p.own, p.shown, p.name, p.description = nil, nil, "", ""
		p.version++
	}
	if p.passing() {
		p.group.drop(p)
	}
}

// passing ports exist only while a NIC is on them.
func (p *dvPort) passing() bool { return p.group.ephemeral || p.conflicts != "" }

// drop takes a free port out of the group.
func (g *portGroup) drop(p *dvPort) {
	delete(g.sw.ports, p.key)
	kept := make([]*dvPort, 0, len(g.ports))
	for _, other := range g.ports {
		if other != p {
			kept = append(kept, other)
		}
	}
	g.ports, g.reshaped, g.full = kept, true, 0
}

// shrink takes back what expansion added and nobody uses: one step of free ports stays, and never fewer than were asked for.
func (g *portGroup) shrink() []string {
	if !g.autoExpand || g.uplink {
		return nil
	}
	var gone []string
	surplus := min(g.free()-autoExpandStep, len(g.ports)-g.base)
	for i := len(g.ports) - 1; i >= 0 && surplus > 0; i-- {
		if p := g.ports[i]; p.connectee == nil {
			g.drop(p)
			gone = append(gone, p.key)
			surplus--
		}
	}
	return gone
}

// wiring collects what a change of NICs means for others, to be told after the mutex is released.
type wiring struct {
	connected    []*types.DvsPortConnectedEvent
	disconnected []*types.DvsPortDisconnectedEvent
	link         []types.BaseEvent
	created      map[ref][]string
	deleted      map[ref][]string
	groups       map[ref]*portGroup // whose list of VMs or of ports changed
}

func newWiring() *wiring {
	return &wiring{created: map[ref][]string{}, deleted: map[ref][]string{}, groups: map[ref]*portGroup{}}
}

// plug makes the port table agree with a VM's NICs.
func (n *network) plug(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	news := newWiring()
	on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
	n.mu.Lock()
	seen := map[int32]bool{}
	for _, device := range vm.Config.Hardware.Device {
		card, ok := device.(types.BaseVirtualEthernetCard)
		if !ok {
			continue
		}
		nic := card.GetVirtualEthernetCard()
		n.ownMAC(vm, nic)
		if n.plugNIC(vm, nic, on, news) {
			seen[nic.Key] = true
		}
	}
	for key, p := range n.nics[vm.Self] {
		if !seen[key] {
			n.unplugPort(p, news)
		}
	}
	n.mu.Unlock()
	n.tell(ctx, news)
}

// unplug takes a vanishing VM's ports back.
func (n *network) unplug(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	news := newWiring()
	n.mu.Lock()
	for _, p := range n.nics[vm.Self] {
		n.unplugPort(p, news)
	}
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			if mac := card.GetVirtualEthernetCard().MacAddress; n.macs[mac] == vm.Self {
				delete(n.macs, mac)
			}
		}
	}
	n.mu.Unlock()
	n.tell(ctx, news)
}

func (n *network) unplugPort(p *dvPort, news *wiring) {
	news.disconnected = append(news.disconnected, &types.DvsPortDisconnectedEvent{
		DvsEvent: types.DvsEvent{Event: types.Event{Dvs: &types.DvsEventArgument{Dvs: p.group.sw.ref}}}, PortKey: p.key, Connectee: p.connectee,
	})
	news.groups[p.group.ref] = p.group
	p.disconnect(n)
	gone := p.group.shrink()
	if p.passing() {
		gone = append(gone, p.key)
	}
	if len(gone) > 0 {
		news.deleted[p.group.sw.ref] = append(news.deleted[p.group.sw.ref], gone...)
	}
}

// plugNIC connects one NIC; it says whether the NIC has a port.
func (n *network) plugNIC(vm *simulator.VirtualMachine, nic *types.VirtualEthernetCard, on bool, news *wiring) bool {
	backing, ok := nic.Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo)
	if !ok {
		return false
	}
	sw := n.switches[backing.Port.SwitchUuid]
	if sw == nil {
		return false
	}
	group := sw.groups[backing.Port.PortgroupKey]
	if group == nil {
		return false
	}
	p := n.nics[vm.Self][nic.Key]
	if p != nil && (p.group != group || backing.Port.PortKey != "" && backing.Port.PortKey != p.key || p.conflicts != "" && !on) {
		n.unplugPort(p, news)
		p = nil
	}
	if group.ephemeral && !on {
		backing.Port.PortKey, backing.Port.ConnectionCookie = "", 0
		return false
	}
	up := on && (nic.Connectable == nil || nic.Connectable.Connected)
	if p == nil {
		var grown bool
		before := len(group.ports)
		p, grown = group.take(backing.Port.PortKey)
		if p == nil {
			log.Printf("%s: no free port in %s for NIC %d", vm.Self.Value, group.key, nic.Key)
			backing.Port.PortKey, backing.Port.ConnectionCookie = "", 0
			return false
		}
		if grown {
			for _, added := range group.ports[before:] {
				news.created[sw.ref] = append(news.created[sw.ref], added.key)
			}
		}
		n.cookie++
		p.cookie = n.cookie
		p.vm, p.nicKey, p.changed = vm.Self, nic.Key, time.Now()
		p.connectee = &types.DistributedVirtualSwitchPortConnectee{
			ConnectedEntity: &ref{Type: vm.Self.Type, Value: vm.Self.Value}, NicKey: strconv.Itoa(int(nic.Key)), Type: "vmVnic",
			AddressHint: nic.MacAddress,
		}
		if n.nics[vm.Self] == nil {
			n.nics[vm.Self] = map[int32]*dvPort{}
		}
		n.nics[vm.Self][nic.Key] = p
		group.gain(vm.Self)
		news.groups[group.ref] = group
		news.connected = append(news.connected, connectedTo(p))
	}
	host := *vm.Runtime.Host
	p.host, p.mac = &host, nic.MacAddress
	if p.linkUp != up {
		p.linkUp, p.changed = up, time.Now()
		event := types.DvsEvent{Event: types.Event{Dvs: &types.DvsEventArgument{Dvs: sw.ref}}}
		if up {
			news.link = append(news.link, &types.DvsPortLinkUpEvent{DvsEvent: event, PortKey: p.key, RuntimeInfo: p.status()})
		} else {
			news.link = append(news.link, &types.DvsPortLinkDownEvent{DvsEvent: event, PortKey: p.key, RuntimeInfo: p.status()})
		}
	}
	backing.Port.PortKey, backing.Port.ConnectionCookie = p.key, p.cookie
	return true
}

func connectedTo(p *dvPort) *types.DvsPortConnectedEvent {
	return &types.DvsPortConnectedEvent{
		DvsEvent: types.DvsEvent{Event: types.Event{Dvs: &types.DvsEventArgument{Dvs: p.group.sw.ref}}}, PortKey: p.key, Connectee: p.connectee,
	}
}

// tell posts the events and keeps the port groups' own lists current.
func (n *network) tell(ctx *simulator.Context, news *wiring) {
	for key, g := range news.groups {
		n.publish(ctx, key, g)
	}
	for sw, keys := range news.created {
		n.w.events.post(ctx, &types.DvsPortCreatedEvent{DvsEvent: n.w.dvsEvent(sw), PortKey: keys})
	}
	for _, e := range news.disconnected {
		e.DvsEvent = n.w.dvsEvent(e.Dvs.Dvs)
		n.w.events.post(ctx, e)
	}
	for sw, keys := range news.deleted {
		n.w.events.post(ctx, &types.DvsPortDeletedEvent{DvsEvent: n.w.dvsEvent(sw), PortKey: keys})
	}
	for _, e := range news.connected {
		e.DvsEvent = n.w.dvsEvent(e.Dvs.Dvs)
		n.w.events.post(ctx, e)
	}
	for _, e := range news.link {
		base := e.GetEvent()
		*base = n.w.dvsEvent(base.Dvs.Dvs).Event
		n.w.events.post(ctx, e)
	}
}

// publish writes a group's VMs and port keys to its managed object.
func (n *network) publish(ctx *simulator.Context, key ref, g *portGroup) {
	pg, ok := n.w.reg.Get(key).(*simulator.DistributedVirtualPortgroup)
	if !ok {
		return
	}
	ctx.WithLock(pg, func() {
		n.mu.Lock()
		vms, reshaped := g.vmList, g.reshaped
		var keys []string
		if reshaped {
			keys = g.portKeys()
		}
		g.reshaped = false
		n.mu.Unlock()
		changes := []types.PropertyChange{{Name: "vm", Val: vms}}
		if reshaped {
			changes = append(changes, types.PropertyChange{Name: "portKeys", Val: keys})
			if !g.ephemeral {
				changes = append(changes, types.PropertyChange{Name: "config.numPorts", Val: int32(len(keys))})
			}
		}
		ctx.Update(pg, changes)
	})
}

// newMAC is the next address that vCenter assigns: 00:50:56:80:00:00 to 00:50:56:bf:ff:ff.
func (n *network) newMAC() string {
	for {
		m := n.nextMAC & 0x3fffff
		n.nextMAC++
		mac := fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|m>>16, m>>8&0xff, m&0xff)
		if _, taken := n.macs[mac]; !taken {
			return mac
		}
	}
}

// ownMAC gives a cloned NIC an address of its own and notes who has which.
func (n *network) ownMAC(vm *simulator.VirtualMachine, nic *types.VirtualEthernetCard) {
	if nic.MacAddress == "" {
		return
	}
	owner, taken := n.macs[nic.MacAddress]
	if taken && owner != vm.Self && nic.AddressType != "manual" && nic.AddressType != "Manual" {
		old := nic.MacAddress
		nic.MacAddress = n.newMAC()
		if vm.Guest != nil {
			for i := range vm.Guest.Net {
				if vm.Guest.Net[i].MacAddress == old {
					vm.Guest.Net[i].MacAddress = nic.MacAddress
				}
			}
		}
		taken = false
	}
	if !taken {
		n.macs[nic.MacAddress] = vm.Self
	}
}

// sortedPorts orders ports by number.
func sortedPorts(ports []*dvPort) []*dvPort {
	sort.Slice(ports, func(i, j int) bool { return ports[i].number < ports[j].number })
	return ports
}

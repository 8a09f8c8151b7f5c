// The topology file: what the simulated vCenter holds when it starts.
// Law: a name that refers to nothing, or a key that means nothing, ends the start with its place.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

type topology struct {
	Datacenters []datacenterSpec `json:"datacenters"`
}

type datacenterSpec struct {
	Name       string        `json:"name"`
	Datastores []string      `json:"datastores"` // absent: one, named datastore1
	Clusters   []clusterSpec `json:"clusters"`
	Switches   []switchSpec  `json:"switches"`
	VMs        []vmSpec      `json:"vms"`
}

type clusterSpec struct {
	Name  string     `json:"name"`
	Hosts []hostSpec `json:"hosts"`
}

type hostSpec struct {
	Name      string        `json:"name"`
	UUID      string        `json:"uuid"`
	Pnics     []pnicSpec    `json:"pnics"`
	VSwitches []vswitchSpec `json:"vswitches"` // beside vSwitch0, which every host has, with vmnic0 and the management's vmk0
}

// vswitchSpec is a standard switch and the VMkernel NICs on it.
type vswitchSpec struct {
	Name     string   `json:"name"`
	Pnics    []string `json:"pnics"`
	VMkernel []string `json:"vmkernel"`
}

type pnicSpec struct {
	Device    string         `json:"device"`
	MAC       string         `json:"mac"`
	SpeedMb   int32          `json:"speedMb"`
	Neighbour *neighbourSpec `json:"neighbour"`
}

// neighbourSpec is what the physical switch at the other end of the cable says of itself.
type neighbourSpec struct {
	Protocol string `json:"protocol"` // lldp or cdp
	System   string `json:"system"`
	Port     string `json:"port"`
	Chassis  string `json:"chassis"`
	VLAN     int32  `json:"vlan"`
}

type switchSpec struct {
	Name        string          `json:"name"`
	MTU         int32           `json:"mtu"`
	Uplinks     *[]string       `json:"uplinks"` // absent: four; empty: a switch without uplinks
	UplinkVLANs [][2]int32      `json:"uplinkVlans"`
	Members     []memberSpec    `json:"members"`
	Pvlans      []pvlanSpec     `json:"pvlans"`
	PortGroups  []portGroupSpec `json:"portGroups"`
}

type memberSpec struct {
	Host     string   `json:"host"`
	Pnics    []string `json:"pnics"`
	VMkernel []string `json:"vmkernel"` // the host's VMkernel NICs on this switch
}

type pvlanSpec struct {
	Primary   int32  `json:"primary"`
	Secondary int32  `json:"secondary"`
	Type      string `json:"type"`
}

type portGroupSpec struct {
	Name        string           `json:"name"`
	VLAN        vlanSpec         `json:"vlan"`
	Blocked     bool             `json:"blocked"`
	Security    *securitySpec    `json:"security"`
	MACLearning *macLearningSpec `json:"macLearning"`
	Policy      *policySpec      `json:"policy"`
	NumPorts    int32            `json:"numPorts"`
	AutoExpand  *bool            `json:"autoExpand"`
	Binding     string           `json:"binding"`
	Description string           `json:"description"`
}

type vlanSpec struct {
	ID    int32      `json:"id"`
	Trunk [][2]int32 `json:"trunk"`
	Pvlan int32      `json:"pvlan"`
}

type securitySpec struct {
	Promiscuous     bool `json:"promiscuous"`
	MACChanges      bool `json:"macChanges"`
	ForgedTransmits bool `json:"forgedTransmits"`
}

type macLearningSpec struct {
	Enabled              bool   `json:"enabled"`
	Limit                *int32 `json:"limit"`
	LimitPolicy          string `json:"limitPolicy"`
	AllowUnicastFlooding *bool  `json:"allowUnicastFlooding"`
}

type policySpec struct {
	Block             bool `json:"block"`
	VLAN              bool `json:"vlan"`
	Security          bool `json:"security"`
	MACManagement     bool `json:"macManagement"`
	Shaping           bool `json:"shaping"`
	Teaming           bool `json:"teaming"`
	TrafficFilter     bool `json:"trafficFilter"`
	LivePortMoving    bool `json:"livePortMoving"`
	ResetAtDisconnect bool `json:"resetAtDisconnect"`
}

type vmSpec struct {
	Name         string            `json:"name"`
	UUID         string            `json:"uuid"`
	InstanceUUID string            `json:"instanceUuid"`
	Host         string            `json:"host"`
	PoweredOn    bool              `json:"poweredOn"`
	MemoryMB     int64             `json:"memoryMB"`
	CPUs         int32             `json:"cpus"`
	Annotation   string            `json:"annotation"`
	NICs         []nicSpec         `json:"nics"`
	ExtraConfig  map[string]string `json:"extraConfig"`
	NoTools      bool              `json:"noTools"`
}

type nicSpec struct {
	MAC       string `json:"mac"`
	Switch    string `json:"switch"`
	PortGroup string `json:"portGroup"`
	Connected *bool  `json:"connected"`

	IPs []string `json:"ips"`

	assigned bool // the MAC is vCenter's choice
}

func readTopology(file string) (*topology, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	t := &topology{}
	if err := strictly(text, t); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

// strictly decodes JSON in which every key has a meaning.
func strictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("at byte %d: %w", decoder.InputOffset(), err)
	}
	return nil
}

// quickTopology is what the flags -hosts and -vms ask for: a tenant switch without uplinks, an uplink switch,
// one port group on the first, and VMs spread over the hosts.
func quickTopology(hosts, vms int) *topology {
	dc := datacenterSpec{Name: "dc1"}
	cluster := clusterSpec{Name: "cluster1"}
	tenant := switchSpec{Name: "tenant", Uplinks: &[]string{}, PortGroups: []portGroupSpec{{
		Name: "pg1", NumPorts: 8, Policy: &policySpec{Block: true, VLAN: true, ResetAtDisconnect: true},
	}}}
	uplink := switchSpec{Name: "uplink", MTU: 9000, Uplinks: &[]string{"uplink1", "uplink2"}}
	for i := 1; i <= hosts; i++ {
		name := fmt.Sprintf("esx%d.lab", i)
		cluster.Hosts = append(cluster.Hosts, hostSpec{Name: name})
		tenant.Members = append(tenant.Members, memberSpec{Host: name})
		uplink.Members = append(uplink.Members, memberSpec{Host: name, Pnics: []string{"vmnic1"}})
	}
	for i := 1; i <= vms && hosts > 0; i++ {
		dc.VMs = append(dc.VMs, vmSpec{
			Name: fmt.Sprintf("vm%d", i), Host: fmt.Sprintf("esx%d.lab", (i-1)%hosts+1), PoweredOn: true, NICs: []nicSpec{{PortGroup: "pg1"}},
		})
	}
	dc.Clusters = []clusterSpec{cluster}
	dc.Switches = []switchSpec{tenant, uplink}
	return &topology{Datacenters: []datacenterSpec{dc}}
}

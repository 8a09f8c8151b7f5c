// Users with roles: what each call needs, who holds it, and a record of what was needed.
// Law: what a call needs comes from the API's own metadata, which the test hands over; where that is silent, from the guesses below.

package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// privilegeTable is the API's metadata: the privilege of each method, of its arguments, and of each property.
type privilegeTable struct {
	Methods    map[string]string            `json:"methods"`
	Parameters map[string]map[string]string `json:"parameters"`
	Properties map[string]string            `json:"properties"` // Type.property
}

type account struct {
	password string
	grants   map[ref]*grantSpec
}

type grantSpec struct {
	On         string   `json:"on"` // a name; empty: the root folder
	Privileges []string `json:"privileges"`
	Propagate  bool     `json:"propagate"`
}

// authority knows the users beside the administrator, who may do everything.
type authority struct {
	w *World

	mu     sync.Mutex
	table  privilegeTable
	users  map[string]*account
	needed map[string]map[string]map[string]bool // user -> privilege -> methods
}

func newAuthority(w *World) *authority {
	return &authority{w: w, users: map[string]*account{}, needed: map[string]map[string]map[string]bool{}}
}

// account is nil for the administrator and for the simulator itself.
func (a *authority) account(s *simulator.Session) *account {
	if s == nil {
		return nil
	}
	return a.named(s.UserName)
}

func (a *authority) named(user string) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.users[user]
}

// knows checks a password of one of the users with roles.
func (a *authority) knows(user, password string) bool {
	acc := a.named(user)
	return acc != nil && acc.password == password
}

// implied are what everybody who has logged in holds on what is no part of the inventory.
var implied = []string{"System.Anonymous", "System.View"}

// holds says whether a user has a privilege on an object: by the nearest grant above it.
func (a *authority) holds(acc *account, privilege string, on ref) bool {
	if acc == nil {
		return true
	}
	entity, inside := a.w.entityOf(on)
	if !inside && slices.Contains(implied, privilege) {
		return true
	}
	for direct := true; entity != nil; direct = false {
		if g := acc.grants[entity.Reference()]; g != nil && (direct || g.Propagate) {
			return slices.Contains(g.Privileges, privilege)
		}
		parent := entity.Entity().Parent
		if parent == nil {
			break
		}
		entity, _ = a.w.reg.Get(*parent).(mo.Entity)
	}
	return false
}

// entityOf is the entity on which the right to use an object is decided: itself, its host, or else the root folder.
func (w *World) entityOf(on ref) (mo.Entity, bool) {
	switch obj := w.reg.Get(on).(type) {
	case *simulator.HostNetworkSystem:
		if obj.Host != nil {
			return w.host(obj.Host.Self), true
		}
	case mo.Entity:
		return obj, true
	}
	root := w.reg.Get(ref{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content.RootFolder
	e, _ := w.reg.Get(root).(mo.Entity)
	return e, false
}

type need struct {
	privilege string
	on        ref
}

// check refuses a call for which its user lacks a privilege, and records what it needs.
func (a *authority) check(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault {
	if ctx.Session == nil {
		return nil
	}
	acc := a.account(ctx.Session)
	if acc != nil && !a.judges(method.Name) {
		unknown := "unknown to the simulator: " + method.Name
		a.record(ctx.Session.UserName, unknown, method.Name)
		return &types.NoPermission{Object: &method.This, PrivilegeId: unknown}
	}
	for _, n := range a.needs(method) {
		a.record(ctx.Session.UserName, n.privilege, method.Name)
		if !a.holds(acc, n.privilege, n.on) {
			on := n.on
			return &types.NoPermission{Object: &on, PrivilegeId: n.privilege}
		}
	}
	return nil
}

// ownAffairs are calls of which the metadata says nothing and which take no privilege: they concern the caller's own objects and rights.
var ownAffairs = map[string]bool{
	"ReadNextEvents": true, "ReadPreviousEvents": true, "ReadNextTasks": true, "ReadPreviousTasks": true, "DestroyCollector": true, "ResetCollector": true,
	"RewindCollector": true, "SetCollectorPageSize": true, "DestroyPropertyFilter": true, "ModifyListView": true, "ResetListView": true,
	"ResetListViewFromView": true, "CancelTask": true, "HasUserPrivilegeOnEntities": true,
}

// judges says whether it is known what a call needs; what is not known is nobody's but the administrator's.
func (a *authority) judges(method string) bool {
	if method == "Fetch" || ownAffairs[method] || guessed[method] != nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.table.Methods[method] != ""
}

func (a *authority) record(user, privilege, method string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.needed[user] == nil {
		a.needed[user] = map[string]map[string]bool{}
	}
	if a.needed[user][privilege] == nil {
		a.needed[user][privilege] = map[string]bool{}
	}
	a.needed[user][privilege][method] = true
}

func (a *authority) needs(method *simulator.Method) []need {
	a.mu.Lock()
	privilege, parameters := a.table.Methods[method.Name], a.table.Parameters[method.Name]
	a.mu.Unlock()
	var needs []need
	if privilege != "" {
		needs = append(needs, need{privilege, method.This})
	}
	body := reflect.ValueOf(method.Body)
	for body.Kind() == reflect.Pointer {
		body = body.Elem()
	}
	for name, privilege := range parameters {
		if f := body.FieldByName(strings.ToUpper(name[:1]) + name[1:]); f.IsValid() {
			for _, r := range refsIn(f.Interface()) {
				needs = append(needs, need{privilege, r})
			}
		}
	}
	if guess := guessed[method.Name]; guess != nil {
		needs = append(needs, guess(a.w, method)...)
	}
	if method.Name == "Fetch" {
		// Upstream sends every Fetch to the property collector; what is read stands in the request.
		this, property := body.FieldByName("This").Interface().(ref), body.FieldByName("Prop").String()
		needs = append(needs, need{a.forReading(a.w.reg.Get(this), this, property), this})
	}
	return needs
}

func refsIn(v any) []ref {
	switch r := v.(type) {
	case ref:
		return []ref{r}
	case *ref:
		return given(r)
	case []ref:
		return r
	}
	return nil
}

// forReading is the privilege that reading a property takes.
func (a *authority) forReading(obj mo.Reference, r ref, path string) string {
	name, _, _ := strings.Cut(path, ".")
	name, _, _ = strings.Cut(name, "[")
	types := []string{r.Type}
	if obj != nil {
		if v, ok := managed(obj); ok {
			types = append(types, basesOf(v.Type())...)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range types {
		if privilege, known := a.table.Properties[t+"."+name]; known && privilege != "" {
			return privilege
		}
	}
	if _, inside := obj.(mo.Entity); !inside {
		return "System.View"
	}
	return "System.Read" // guess: what the metadata says nothing of
}

func basesOf(t reflect.Type) []string {
	names := []string{t.Name()}
	for t.NumField() > 0 && t.Field(0).Anonymous {
		t = t.Field(0).Type
		names = append(names, t.Name())
	}
	return names
}

// mayRead is nil when the user may read the property; the caller has looked up the account once.
func (a *authority) mayRead(acc *account, user string, obj mo.Reference, r ref, path string) types.BaseMethodFault {
	privilege := a.forReading(obj, r, path)
	a.record(user, privilege, "RetrieveProperties")
	if _, inside := obj.(mo.Entity); !inside || a.holds(acc, privilege, r) {
		return nil
	}
	return &types.NoPermission{Object: &r, PrivilegeId: privilege}
}

// guessed are the needs of calls of which the metadata says that they depend on the call.
// They follow the API reference where it names them; that vCenter asks for these and no others is a guess.
var guessed = map[string]func(*World, *simulator.Method) []need{
	"ReconfigureDVPortgroup_Task": func(_ *World, m *simulator.Method) []need {
		needs := []need{{"DVPortgroup.Modify", m.This}}
		if m.Body.(*types.ReconfigureDVPortgroup_Task).Spec.Policy != nil {
			needs = append(needs, need{"DVPortgroup.PolicyOp", m.This})
		}
		return needs
	},
	"CreateDVPortgroup_Task": func(_ *World, m *simulator.Method) []need {
		return policyNeeds(m.This, m.Body.(*types.CreateDVPortgroup_Task).Spec)
	},
	"AddDVPortgroup_Task": func(_ *World, m *simulator.Method) []need {
		return policyNeeds(m.This, m.Body.(*types.AddDVPortgroup_Task).Spec...)
	},
	"ReconfigureDvs_Task": func(_ *World, m *simulator.Method) []need {
		needs := []need{{"DVSwitch.Modify", m.This}}
		spec := m.Body.(*types.ReconfigureDvs_Task).Spec
		if spec == nil {
			return needs
		}
		s := spec.GetDVSConfigSpec()
		if s.Policy != nil {
			needs = append(needs, need{"DVSwitch.PolicyOp", m.This})
		}
		if s.DefaultPortConfig != nil {
			needs = append(needs, need{"DVSwitch.PortSetting", m.This})
		}
		for _, h := range s.Host {
			needs = append(needs, need{"DVSwitch.HostOp", m.This}, need{"Host.Config.Network", h.Host})
		}
		return needs
	},
	"Destroy_Task": byType(map[string]string{
		"DistributedVirtualPortgroup": "DVPortgroup.Delete", "VmwareDistributedVirtualSwitch": "DVSwitch.Delete", "VirtualMachine": "VirtualMachine.Inventory.Delete",
		"Folder": "Folder.Delete", "Datacenter": "Datacenter.Delete", "ClusterComputeResource": "Host.Inventory.DeleteCluster",
		"HostSystem": "Host.Inventory.RemoveHostFromCluster", "ResourcePool": "Resource.DeletePool",
	}),
	"Rename_Task": byType(map[string]string{
		"DistributedVirtualPortgroup": "DVPortgroup.Modify", "VmwareDistributedVirtualSwitch": "DVSwitch.Modify", "VirtualMachine": "VirtualMachine.Config.Rename",
		"Folder": "Folder.Rename", "Datacenter": "Datacenter.Rename", "ClusterComputeResource": "Host.Inventory.RenameCluster", "ResourcePool": "Resource.RenamePool",
	}),
	"MigrateVM_Task": func(w *World, m *simulator.Method) []need {
		if vm := w.vm(m.This); vm != nil && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			return []need{{"Resource.HotMigrate", m.This}}
		}
		return []need{{"Resource.ColdMigrate", m.This}}
	},
	"CloneVM_Task": func(_ *World, m *simulator.Method) []need {
		return []need{{"VirtualMachine.Provisioning.Clone", m.This}}
	},
	"CreateVM_Task": func(_ *World, m *simulator.Method) []need {
		return networkNeeds(m.Body.(*types.CreateVM_Task).Config.DeviceChange)
	},
	"ReconfigVM_Task": func(_ *World, m *simulator.Method) []need {
		spec := &m.Body.(*types.ReconfigVM_Task).Spec
		needs := networkNeeds(spec.DeviceChange)
		for privilege, wanted := range map[string]bool{
			"VirtualMachine.Config.Rename": spec.Name != "", "VirtualMachine.Config.Annotation": spec.Annotation != "",
			"VirtualMachine.Config.AdvancedConfig": len(spec.ExtraConfig) > 0, "VirtualMachine.Config.CPUCount": spec.NumCPUs != 0,
			"VirtualMachine.Config.Memory": spec.MemoryMB != 0,
		} {
			if wanted {
				needs = append(needs, need{privilege, m.This})
			}
		}
		for _, change := range sound(spec.DeviceChange) {
			privilege := "VirtualMachine.Config.AddRemoveDevice"
			if change.Operation == types.VirtualDeviceConfigSpecOperationEdit {
				privilege = "VirtualMachine.Config.EditDevice"
			}
			needs = append(needs, need{privilege, m.This})
		}
		return needs
	},
}

func policyNeeds(dvs ref, specs ...types.DVPortgroupConfigSpec) []need {
	for _, spec := range specs {
		if spec.Policy != nil {
			return []need{{"DVPortgroup.PolicyOp", dvs}}
		}
	}
	return nil
}

func networkNeeds(changes []types.BaseVirtualDeviceConfigSpec) []need {
	var needs []need
	for _, change := range sound(changes) {
		card, ok := change.Device.(types.BaseVirtualEthernetCard)
		if !ok || card.GetVirtualEthernetCard() == nil {
			continue
		}
		if b, ok := card.GetVirtualEthernetCard().Backing.(*types.VirtualEthernetCardDistributedVirtualPortBackingInfo); ok && b.Port.PortgroupKey != "" {
			needs = append(needs, need{"Network.Assign", ref{Type: "DistributedVirtualPortgroup", Value: b.Port.PortgroupKey}})
		}
	}
	return needs
}

// sound drops what the call itself will refuse.
func sound(changes []types.BaseVirtualDeviceConfigSpec) []*types.VirtualDeviceConfigSpec {
	var specs []*types.VirtualDeviceConfigSpec
	for _, change := range changes {
		if change == nil {
			continue
		}
		if spec := change.GetVirtualDeviceConfigSpec(); spec != nil {
			specs = append(specs, spec)
		}
	}
	return specs
}

func byType(privileges map[string]string) func(*World, *simulator.Method) []need {
	return func(_ *World, m *simulator.Method) []need {
		if privilege := privileges[m.This.Type]; privilege != "" {
			return []need{{privilege, m.This}}
		}
		return nil
	}
}

// authorizationMethods tell a user what a user may do; upstream says yes to everything.
type authorizationMethods struct {
	*simulator.AuthorizationManager
	w *World
}

func (m *authorizationMethods) accountOf(session string) *account {
	for _, s := range m.w.sessions() {
		if s.Key == session {
			return m.w.authority.named(s.UserName)
		}
	}
	return nil
}

func (m *authorizationMethods) HasPrivilegeOnEntity(_ *simulator.Context, req *types.HasPrivilegeOnEntity) soap.HasFault {
	held := make([]bool, len(req.PrivId))
	for i, privilege := range req.PrivId {
		held[i] = m.w.authority.holds(m.accountOf(req.SessionId), privilege, req.Entity)
	}
	return &heldBody{Res: &HasPrivilegeOnEntityResponse{Returnval: held}}
}

// HasPrivilegeOnEntityResponse is named as it stands on the wire; upstream's own drops every false from the list.
type HasPrivilegeOnEntityResponse struct {
	Returnval []bool `xml:"returnval"`
}

type heldBody struct {
	Res    *HasPrivilegeOnEntityResponse `xml:"HasPrivilegeOnEntityResponse,omitempty"`
	Fault_ *soap.Fault                   `xml:"http://schemas.xmlsoap.org/soap/envelope/ Fault,omitempty"`
}

func (b *heldBody) Fault() *soap.Fault { return b.Fault_ }

func (m *authorizationMethods) HasPrivilegeOnEntities(_ *simulator.Context, req *types.HasPrivilegeOnEntities) soap.HasFault {
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{
		Returnval: m.held(m.accountOf(req.SessionId), req.Entity, req.PrivId),
	}}
}

func (m *authorizationMethods) HasUserPrivilegeOnEntities(_ *simulator.Context, req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	return &methods.HasUserPrivilegeOnEntitiesBody{Res: &types.HasUserPrivilegeOnEntitiesResponse{
		Returnval: m.held(m.w.authority.named(req.UserName), req.Entities, req.PrivId),
	}}
}

func (m *authorizationMethods) held(acc *account, entities []ref, privileges []string) []types.EntityPrivilege {
	var all []types.EntityPrivilege
	for _, e := range entities {
		one := types.EntityPrivilege{Entity: e}
		for _, privilege := range privileges {
			one.PrivAvailability = append(one.PrivAvailability, types.PrivilegeAvailability{PrivId: privilege, IsGranted: m.w.authority.holds(acc, privilege, e)})
		}
		all = append(all, one)
	}
	return all
}

func (w *World) authorityActs() map[string]act {
	a := w.authority
	return map[string]act{
		"users.table": doing(func(table privilegeTable) (any, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.table = table
			return len(table.Methods), nil
		}),
		"users.add": doing(func(asked struct {
			User     string      `json:"user"`
			Password string      `json:"password"`
			Grants   []grantSpec `json:"grants"`
		}) (any, error) {
			acc := &account{password: asked.Password, grants: map[ref]*grantSpec{}}
			for i := range asked.Grants {
				g := &asked.Grants[i]
				found := w.called(g.On)
				if g.On == "" {
					root, _ := w.entityOf(ref{})
					found = []ref{root.Reference()}
				}
				if len(found) == 0 {
					return nil, fmt.Errorf("there is no %q", g.On)
				}
				for _, r := range found {
					acc.grants[r] = g
				}
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.users[asked.User] = acc
			return nil, nil
		}),
		"users.needed": doing(func(asked struct {
			User string `json:"user"`
		}) (any, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			needed := map[string][]string{}
			for privilege, calls := range a.needed[asked.User] {
				for call := range calls {
					needed[privilege] = append(needed[privilege], call)
				}
				slices.Sort(needed[privilege])
			}
			return needed, nil
		}),
		"users.forget": doing(func(asked struct {
			User string `json:"user"`
		}) (any, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.needed, asked.User)
			return nil, nil
		}),
	}
}

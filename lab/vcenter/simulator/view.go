// Container views: which objects live below a container, kept current as they come, move and go.

package main

import (
	"reflect"
	"sort"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// view is one client's ContainerView; members is guarded by the hub's mutex.
type view struct {
	mo.ContainerView

	w       *World
	owner   types.UserSession
	members map[types.ManagedObjectReference]bool
}

// Get fills in the property that readers see.
func (v *view) Get() mo.Reference {
	shown := v.ContainerView
	v.w.hub.mu.Lock()
	shown.View = sorted(v.members)
	v.w.hub.mu.Unlock()
	return &shown
}

// Lock and Unlock opt out of upstream's object locks: the hub's mutex guards a view.
func (v *view) Lock()   {}
func (v *view) Unlock() {}

func (v *view) DestroyView(ctx *simulator.Context, req *types.DestroyView) soap.HasFault {
	v.w.hub.mu.Lock()
	delete(v.w.hub.views, v)
	v.w.hub.mu.Unlock()
	ctx.Session.Remove(ctx, v.Self)
	return &methods.DestroyViewBody{Res: &types.DestroyViewResponse{}}
}

// sorted orders references by the number they end in, which is the order of creation.
func sorted(set map[types.ManagedObjectReference]bool) []types.ManagedObjectReference {
	refs := make([]types.ManagedObjectReference, 0, len(set))
	for ref := range set {
		refs = append(refs, ref)
	}
	number := func(ref types.ManagedObjectReference) int {
		n, _ := strconv.Atoi(ref.Value[strings.LastIndexByte(ref.Value, '-')+1:])
		return n
	}
	sort.Slice(refs, func(i, j int) bool {
		a, b := number(refs[i]), number(refs[j])
		return a < b || a == b && (refs[i].Value < refs[j].Value || refs[i].Value == refs[j].Value && refs[i].Type < refs[j].Type)
	})
	return refs
}

type viewManagerMethods struct {
	*simulator.ViewManager
	w *World
}

var viewable = map[string]bool{
	"ManagedEntity": true, "Folder": true, "StoragePod": true, "Datacenter": true, "ComputeResource": true,
	"ClusterComputeResource": true, "HostSystem": true, "ResourcePool": true, "VirtualApp": true, "VirtualMachine": true,
	"Datastore": true, "Network": true, "OpaqueNetwork": true, "DistributedVirtualPortgroup": true,
	"DistributedVirtualSwitch": true, "VmwareDistributedVirtualSwitch": true,
}

func (m *viewManagerMethods) CreateContainerView(ctx *simulator.Context, req *types.CreateContainerView) soap.HasFault {
	body := &methods.CreateContainerViewBody{}
	if m.w.reg.Get(req.Container) == nil {
		body.Fault_ = faultBody(&types.ManagedObjectNotFound{Obj: req.Container})
		return body
	}
	switch req.Container.Type {
	case "Folder", "StoragePod", "Datacenter", "ComputeResource", "ClusterComputeResource", "HostSystem", "ResourcePool", "VirtualApp":
	default:
		body.Fault_ = faultBody(&types.InvalidArgument{InvalidProperty: "container"})
		return body
	}
	for _, t := range req.Type {
		if !viewable[t] {
			body.Fault_ = faultBody(&types.InvalidArgument{InvalidProperty: "type"})
			return body
		}
	}
	v := &view{
		ContainerView: mo.ContainerView{Container: req.Container, Type: req.Type, Recursive: req.Recursive},
		w:             m.w, owner: ctx.Session.UserSession, members: map[types.ManagedObjectReference]bool{},
	}
	v.Self.Type = "ContainerView"
	ctx.Session.Put(v)
	h := m.w.hub
	h.mu.Lock()
	h.views[v] = true // from here on changes are seen, so the first fill may miss none
	h.mu.Unlock()
	for _, e := range m.w.reg.All("") {
		h.reconsider(v, e.Reference())
	}
	body.Res = &types.CreateContainerViewResponse{Returnval: v.Self}
	return body
}

// reconsider puts an object into the view or takes it out.
func (h *hub) reconsider(v *view, ref types.ManagedObjectReference) {
	h.mu.Lock()
	unborn := h.unborn[ref]
	h.mu.Unlock()
	belongs := !unborn && v.shows(ref)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch member := v.members[ref]; {
	case belongs && !member:
		v.members[ref] = true
		for f := range h.traversers[v.Self] {
			f.viewGained(v.Self, ref)
		}
	case !belongs && member:
		h.leaveView(v, ref)
	}
}

func (h *hub) leaveView(v *view, ref types.ManagedObjectReference) {
	delete(v.members, ref)
	for f := range h.traversers[v.Self] {
		f.viewLost(v.Self, ref)
	}
}

func (v *view) shows(ref types.ManagedObjectReference) bool {
	obj := v.w.reg.Get(ref)
	if obj == nil {
		return false
	}
	if len(v.Type) > 0 {
		t, ok := managed(obj)
		if !ok || !anyType(ref, t.Type(), v.Type) {
			return false
		}
	}
	if !v.w.authority.holds(v.w.authority.named(v.owner.UserName), "System.View", ref) {
		return false
	}
	return v.w.below(obj, v.Container, v.Recursive)
}

func anyType(ref types.ManagedObjectReference, t reflect.Type, wanted []string) bool {
	for _, want := range wanted {
		if isA(ref, t, want) {
			return true
		}
	}
	return false
}

// below climbs from an object to the container: by its parent, and for a VM also by its host and its pool.
func (w *World) below(obj mo.Reference, container types.ManagedObjectReference, recursive bool) bool {
	var up []types.ManagedObjectReference
	if vm, ok := obj.(*simulator.VirtualMachine); ok {
		if vm.Runtime.Host != nil {
			up = append(up, *vm.Runtime.Host)
		}
		if vm.ResourcePool != nil {
			up = append(up, *vm.ResourcePool)
		}
	}
	if e, ok := obj.(mo.Entity); ok && e.Entity().Parent != nil {
		up = append(up, *e.Entity().Parent)
	}
	for _, ref := range up {
		if ref == container {
			return true
		}
		if parent := w.reg.Get(ref); recursive && parent != nil && w.below(parent, container, true) {
			return true
		}
	}
	return false
}

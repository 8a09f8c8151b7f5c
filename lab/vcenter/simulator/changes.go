// The hub: every change of the inventory, told once to whoever watches the object.
// Law: a change costs the watchers of that object, never the size of the inventory.

package main

import (
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// hub is a registry handler; the mutex is a leaf: nothing of upstream is called under it.
type hub struct {
	w *World

	mu         sync.Mutex
	unborn     map[types.ManagedObjectReference]bool // VMs that are still being put together
	trackers   map[types.ManagedObjectReference]map[*filter]*tracked
	traversers map[types.ManagedObjectReference]map[*filter]bool // object whose property a filter followed
	walkers    map[*filter]bool                                  // filters that reach objects other than through a view
	views      map[*view]bool
	collectors map[*collector]bool
}

func newHub(w *World) *hub {
	return &hub{
		w:          w,
		unborn:     map[types.ManagedObjectReference]bool{},
		trackers:   map[types.ManagedObjectReference]map[*filter]*tracked{},
		traversers: map[types.ManagedObjectReference]map[*filter]bool{},
		walkers:    map[*filter]bool{},
		views:      map[*view]bool{},
		collectors: map[*collector]bool{},
	}
}

// Reference gives the hub an identity among the registry's handlers.
func (h *hub) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "IsthmusHub", Value: "hub"}
}

// PutObject is upstream's word for a new or a moved object.
func (h *hub) PutObject(ctx *simulator.Context, obj mo.Reference) {
	switch o := obj.(type) {
	case *simulator.Task:
		fillMethodName(o)
		// Upstream starts the task's goroutine after this call, so a panic in it can be caught here and nowhere else.
		if execute := o.Execute; execute != nil {
			o.Execute = func(t *simulator.Task) (types.AnyType, types.BaseMethodFault) {
				return guarded(t.Info.DescriptionId, func() (any, types.BaseMethodFault) { return execute(t) })
			}
		}
		h.w.forgetOldTasks(o.Self)
		return
	case *simulator.VirtualMachine:
		fillEnumerations(o)
		if o.Runtime.Host == nil {
			h.mu.Lock()
			h.unborn[o.Self] = true
			h.mu.Unlock()
			return
		}
	}
	if host, ok := obj.(*simulator.HostSystem); ok {
		h.w.dropDangling(host)
	}
	h.appear(obj)
}

// appear makes a complete object visible to names, views and filters.
func (h *hub) appear(obj mo.Reference) {
	e, ok := obj.(mo.Entity)
	if !ok {
		return
	}
	h.w.names.note(e)
	ref := obj.Reference()
	for _, v := range h.openViews() {
		h.reconsider(v, ref)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.walkers {
		f.stale = true
		f.collector.wake()
	}
}

func (h *hub) openViews() []*view {
	h.mu.Lock()
	defer h.mu.Unlock()
	views := make([]*view, 0, len(h.views))
	for v := range h.views {
		views = append(views, v)
	}
	return views
}

// UpdateObject is called after the change has been applied, usually under the object's lock.
func (h *hub) UpdateObject(ctx *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	ref := obj.Reference()
	switch ref.Type {
	case "VirtualMachine":
		h.updateVM(ctx, ref, changes)
	case "Task":
	case "EventHistoryCollector":
		if ref == h.w.events.tap {
			h.w.events.hear(changes)
		}
	default:
		if has(changes, "name") || has(changes, "parent") {
			if e, ok := h.w.reg.Get(ref).(mo.Entity); ok {
				h.w.names.note(e)
			}
		}
	}
	h.touchAll(ref, changes)
}

func (h *hub) updateVM(ctx *simulator.Context, ref types.ManagedObjectReference, changes []types.PropertyChange) {
	vm := h.w.vm(ref)
	if vm == nil || vm.Config == nil {
		return
	}
	h.mu.Lock()
	unborn := h.unborn[ref]
	h.mu.Unlock()
	if unborn && vm.Runtime.Host != nil {
		h.w.giveTrueName(vm)
	}
	if vm.Runtime.Host != nil && (has(changes, "config.hardware.device") || has(changes, "runtime.powerState") || has(changes, "runtime.host")) {
		h.w.net.plug(ctx, vm)
		h.w.showGuest(vm)
	}
	switch {
	case unborn && vm.Runtime.Host != nil && has(changes, "name"):
		h.mu.Lock()
		delete(h.unborn, ref)
		h.mu.Unlock()
		h.appear(vm)
		h.touch(*vm.Runtime.Host, "vm")
		h.touchParents(vm)
	case unborn:
	case has(changes, "name"), has(changes, "parent"), has(changes, "runtime.host"), has(changes, "resourcePool"):
		h.w.names.note(vm)
		for _, v := range h.openViews() {
			h.reconsider(v, ref)
		}
	}
}

// touchParents tells the watchers of those lists that upstream changes without a word.
func (h *hub) touchParents(vm *simulator.VirtualMachine) {
	if vm.Parent != nil {
		h.touch(*vm.Parent, "childEntity")
	}
	if vm.ResourcePool != nil {
		h.touch(*vm.ResourcePool, "vm")
	}
	for _, ds := range vm.Datastore {
		h.touch(ds, "vm")
	}
}

// RemoveObject is called before the object leaves the registry.
func (h *hub) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	if ref.Type == "Task" {
		return
	}
	if vm := h.w.vm(ref); vm != nil {
		h.w.net.unplug(ctx, vm)
		h.w.addresses.forget(ref)
		if vm.Runtime.Host != nil {
			h.touch(*vm.Runtime.Host, "vm")
		}
		h.touchParents(vm)
	}
	h.w.names.forget(ref)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unborn, ref)
	for v := range h.views {
		if v.members[ref] {
			h.leaveView(v, ref)
		}
	}
	for f := range h.trackers[ref] {
		f.drop(ref)
	}
	for f := range h.traversers[ref] {
		f.stale = true
		f.collector.wake()
	}
}

func has(changes []types.PropertyChange, name string) bool {
	for _, c := range changes {
		if c.Name == name {
			return true
		}
	}
	return false
}

// touch says that a property changed although no update was posted for it.
func (h *hub) touch(ref types.ManagedObjectReference, path string) {
	h.touchAll(ref, []types.PropertyChange{{Name: path}})
}

func (h *hub) touchAll(ref types.ManagedObjectReference, changes []types.PropertyChange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f, t := range h.trackers[ref] {
		for _, c := range changes {
			t.touched(f, c.Name)
		}
	}
	for f := range h.traversers[ref] {
		f.stale = true
		f.collector.wake()
	}
}

// related says whether a change of one path concerns a watcher of the other.
func related(watched, changed string) bool {
	if watched == changed {
		return true
	}
	if strings.HasPrefix(changed, watched) {
		return changed[len(watched)] == '.' || changed[len(watched)] == '['
	}
	if strings.HasPrefix(watched, changed) {
		return watched[len(changed)] == '.' || watched[len(changed)] == '['
	}
	return false
}

// tend drops the watches of sessions that have ended, as vCenter does; it ends with the process.
func (h *hub) tend() {
	for {
		time.Sleep(2 * time.Second)
		h.mu.Lock()
		owners := map[string]types.UserSession{}
		for c := range h.collectors {
			owners[c.owner.Key] = c.owner
		}
		for v := range h.views {
			owners[v.owner.Key] = v.owner
		}
		h.mu.Unlock()
		h.w.events.owners(owners)
		for key, owner := range owners {
			if !h.w.sessionAlive(owner) {
				h.endSession(key)
			}
		}
	}
}

func (h *hub) endSession(key string) {
	h.w.events.endSession(key)
	h.w.door.forget(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.collectors {
		if c.owner.Key == key {
			c.close()
		}
	}
	for v := range h.views {
		if v.owner.Key == key {
			delete(h.views, v)
		}
	}
}

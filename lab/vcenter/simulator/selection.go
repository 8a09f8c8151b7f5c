// Which objects a filter or a read means: start objects and the properties followed from them.

package main

import (
	"reflect"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// traversal collects the selected objects in the order in which they are reached.
type traversal struct {
	w        *World
	ctx      *simulator.Context
	selected []types.ManagedObjectReference
	seen     map[types.ManagedObjectReference]bool
	visited  map[visit]bool
	named    map[string]*types.TraversalSpec
	follows  map[types.ManagedObjectReference]bool
	viewOnly map[types.ManagedObjectReference]bool
}

type visit struct {
	ref  types.ManagedObjectReference
	spec *types.TraversalSpec
}

func (w *World) newTraversal(ctx *simulator.Context) *traversal {
	return &traversal{
		w: w, ctx: ctx,
		seen: map[types.ManagedObjectReference]bool{}, visited: map[visit]bool{}, named: map[string]*types.TraversalSpec{},
		follows: map[types.ManagedObjectReference]bool{}, viewOnly: map[types.ManagedObjectReference]bool{},
	}
}

func (t *traversal) take(ref types.ManagedObjectReference) {
	if !t.seen[ref] {
		t.seen[ref] = true
		t.selected = append(t.selected, ref)
	}
}

// start selects from one object set entry.
func (t *traversal) start(o types.ObjectSpec) types.BaseMethodFault {
	if t.w.object(t.ctx, o.Obj) == nil {
		return &types.ManagedObjectNotFound{Obj: o.Obj}
	}
	if o.Skip == nil || !*o.Skip {
		t.take(o.Obj)
	}
	t.learn(o.SelectSet)
	return t.follow(o.Obj, o.SelectSet)
}

// learn records named traversals before they are referred to.
func (t *traversal) learn(set []types.BaseSelectionSpec) {
	for _, s := range set {
		if ts, ok := s.(*types.TraversalSpec); ok {
			if ts.Name != "" {
				t.named[ts.Name] = ts
			}
			t.learn(ts.SelectSet)
		}
	}
}

func (t *traversal) follow(from types.ManagedObjectReference, set []types.BaseSelectionSpec) types.BaseMethodFault {
	for _, s := range set {
		ts, ok := s.(*types.TraversalSpec)
		if !ok {
			if ts = t.named[s.GetSelectionSpec().Name]; ts == nil {
				return &types.InvalidArgument{InvalidProperty: "selectSet"}
			}
		}
		if t.visited[visit{from, ts}] {
			continue
		}
		t.visited[visit{from, ts}] = true
		refs, fits := t.refsAt(from, ts)
		if !fits {
			continue
		}
		t.follows[from] = true
		if from.Type == "ContainerView" && ts.Path == "view" && len(ts.SelectSet) == 0 {
			t.viewOnly[from] = true
		}
		for _, ref := range refs {
			if ts.Skip == nil || !*ts.Skip {
				t.take(ref)
			}
			if fault := t.follow(ref, ts.SelectSet); fault != nil {
				return fault
			}
		}
	}
	return nil
}

// refsAt reads the followed property.
func (t *traversal) refsAt(from types.ManagedObjectReference, ts *types.TraversalSpec) (refs []types.ManagedObjectReference, fits bool) {
	t.w.read(t.ctx, from, func(v reflect.Value) {
		if !isA(from, v.Type(), ts.Type) {
			return
		}
		fits = true
		val, _, _ := readPath(v, ts.Path)
		switch val := val.(type) {
		case types.ManagedObjectReference:
			refs = []types.ManagedObjectReference{val}
		case *types.ArrayOfManagedObjectReference:
			refs = val.ManagedObjectReference
		}
	})
	return refs, fits
}

// read gives a look at an object's managed struct under its lock.
func (w *World) read(ctx *simulator.Context, ref types.ManagedObjectReference, look func(reflect.Value)) bool {
	obj := w.object(ctx, ref)
	if obj == nil {
		return false
	}
	found := false
	see := func() {
		var v reflect.Value
		if v, found = managed(obj); found {
			look(v)
		}
	}
	if _, free := obj.(sync.Locker); free {
		see()
	} else {
		ctx.WithLock(ref, see)
	}
	return found
}

// selectObjects makes the filter's selection and watches what it depends on.
func (f *filter) selectObjects(ctx *simulator.Context) types.BaseMethodFault {
	w := f.collector.w
	t := w.newTraversal(ctx)
	var fault types.BaseMethodFault
	for _, o := range f.Spec.ObjectSet {
		if missing := t.start(o); missing != nil {
			if _, gone := missing.(*types.ManagedObjectNotFound); gone && f.Spec.ReportMissingObjectsInResults != nil && *f.Spec.ReportMissingObjectsInResults {
				continue
			}
			fault = missing
		}
	}
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.dead {
		return fault
	}
	for ref := range f.follows {
		if !t.follows[ref] {
			delete(h.traversers[ref], f)
		}
	}
	f.follows, f.viewOnly = t.follows, t.viewOnly
	for ref := range t.follows {
		if h.traversers[ref] == nil {
			h.traversers[ref] = map[*filter]bool{}
		}
		if !h.traversers[ref][f] && !t.viewOnly[ref] {
			f.stale = true // what it was followed by may have changed since it was read
		}
		h.traversers[ref][f] = true
		if !t.viewOnly[ref] {
			h.walkers[f] = true
		}
	}
	for _, ref := range t.selected {
		f.add(ref)
	}
	for ref := range f.objects {
		if !t.seen[ref] {
			f.drop(ref)
		}
	}
	// A view may have changed between its reading and here.
	for v := range h.views {
		if f.viewOnly[v.Self] {
			for ref := range v.members {
				f.add(ref)
			}
		}
	}
	return fault
}

// refresh makes the selection again if what it followed has changed.
func (f *filter) refresh(ctx *simulator.Context) types.BaseMethodFault {
	h := f.collector.w.hub
	h.mu.Lock()
	stale := f.stale && !f.dead
	f.stale = false
	h.mu.Unlock()
	if !stale {
		return nil
	}
	return f.selectObjects(ctx)
}

// checkSpec refuses what vCenter refuses: unknown types and properties.
func (w *World) checkSpec(ctx *simulator.Context, spec *types.PropertyFilterSpec) types.BaseMethodFault {
	for _, p := range spec.PropSet {
		t, ok := managedTypes[p.Type]
		if !ok {
			if p.Type == "" {
				return &types.InvalidArgument{InvalidProperty: "spec.propSet.type"}
			}
			continue
		}
		for _, path := range p.PathSet {
			steps, ok := parsePath(path)
			if !ok {
				return &types.InvalidProperty{Name: path}
			}
			if _, known := fieldOf(t, steps[0].name); !known {
				return &types.InvalidProperty{Name: path}
			}
		}
	}
	return nil
}

// managedTypes are the types whose property names are checked before a read.
var managedTypes = func() map[string]reflect.Type {
	known := map[string]reflect.Type{}
	for _, v := range []any{
		mo.ManagedEntity{}, mo.Folder{}, mo.Datacenter{}, mo.ComputeResource{}, mo.ClusterComputeResource{}, mo.HostSystem{},
		mo.ResourcePool{}, mo.VirtualMachine{}, mo.Datastore{}, mo.Network{}, mo.DistributedVirtualPortgroup{},
		mo.DistributedVirtualSwitch{}, mo.VmwareDistributedVirtualSwitch{}, mo.Task{}, mo.EventHistoryCollector{}, mo.ContainerView{},
	} {
		known[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
	}
	return known
}()

func (c *collector) RetrieveProperties(ctx *simulator.Context, req *types.RetrieveProperties) soap.HasFault {
	objects, fault := c.w.retrieve(ctx, req.SpecSet)
	if fault != nil {
		return &methods.RetrievePropertiesBody{Fault_: faultBody(fault)}
	}
	return &methods.RetrievePropertiesBody{Res: &types.RetrievePropertiesResponse{Returnval: objects}}
}

func (c *collector) RetrievePropertiesEx(ctx *simulator.Context, req *types.RetrievePropertiesEx) soap.HasFault {
	objects, fault := c.w.retrieve(ctx, req.SpecSet)
	if fault != nil {
		return &methods.RetrievePropertiesExBody{Fault_: faultBody(fault)}
	}
	body := &methods.RetrievePropertiesExBody{Res: &types.RetrievePropertiesExResponse{}}
	if len(objects) == 0 {
		return body
	}
	result, token := c.firstPage(objects, int(req.Options.MaxObjects))
	body.Res.Returnval = &types.RetrieveResult{Token: token, Objects: result}
	return body
}

func (c *collector) firstPage(objects []types.ObjectContent, size int) ([]types.ObjectContent, string) {
	if size <= 0 || len(objects) <= size {
		return objects, ""
	}
	token := uuid.NewString()
	c.w.hub.mu.Lock()
	c.pages[token] = &page{size: size, rest: objects[size:]}
	c.w.hub.mu.Unlock()
	return objects[:size], token
}

func (c *collector) takePage(token string) (*page, bool) {
	c.w.hub.mu.Lock()
	defer c.w.hub.mu.Unlock()
	p, ok := c.pages[token]
	delete(c.pages, token)
	return p, ok
}

func (c *collector) ContinueRetrievePropertiesEx(_ *simulator.Context, req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	p, ok := c.takePage(req.Token)
	if !ok {
		return &methods.ContinueRetrievePropertiesExBody{Fault_: faultBody(&types.InvalidArgument{InvalidProperty: "token"})}
	}
	objects, token := c.firstPage(p.rest, p.size)
	return &methods.ContinueRetrievePropertiesExBody{Res: &types.ContinueRetrievePropertiesExResponse{
		Returnval: types.RetrieveResult{Token: token, Objects: objects},
	}}
}

func (c *collector) CancelRetrievePropertiesEx(_ *simulator.Context, req *types.CancelRetrievePropertiesEx) soap.HasFault {
	if _, ok := c.takePage(req.Token); !ok {
		return &methods.CancelRetrievePropertiesExBody{Fault_: faultBody(&types.InvalidArgument{InvalidProperty: "token"})}
	}
	return &methods.CancelRetrievePropertiesExBody{Res: &types.CancelRetrievePropertiesExResponse{}}
}

func (w *World) retrieve(ctx *simulator.Context, specs []types.PropertyFilterSpec) ([]types.ObjectContent, types.BaseMethodFault) {
	var found []types.ObjectContent
	at := map[types.ManagedObjectReference]int{}
	for i := range specs {
		spec := &specs[i]
		if fault := w.checkSpec(ctx, spec); fault != nil {
			return nil, fault
		}
		t := w.newTraversal(ctx)
		for _, o := range spec.ObjectSet {
			if fault := t.start(o); fault != nil {
				if _, gone := fault.(*types.ManagedObjectNotFound); gone && spec.ReportMissingObjectsInResults != nil && *spec.ReportMissingObjectsInResults {
					continue
				}
				return nil, fault
			}
		}
		for _, ref := range t.selected {
			content, ok := w.content(ctx, spec.PropSet, ref)
			if !ok {
				continue
			}
			if j, again := at[ref]; again {
				found[j].PropSet = append(found[j].PropSet, content.PropSet...)
				found[j].MissingSet = append(found[j].MissingSet, content.MissingSet...)
				continue
			}
			at[ref] = len(found)
			found = append(found, content)
		}
	}
	return found, nil
}

func (w *World) content(ctx *simulator.Context, specs []types.PropertySpec, ref types.ManagedObjectReference) (types.ObjectContent, bool) {
	content := types.ObjectContent{Obj: ref}
	acc := w.authority.account(ctx.Session)
	matched, hollow := false, w.door.isHollow(ctx.Session)
	w.read(ctx, ref, func(v reflect.Value) {
		for _, s := range specs {
			matched = matched || isA(ref, v.Type(), s.Type)
		}
		for _, p := range wantedPaths(specs, ref, v.Type()) {
			if hollow {
				content.MissingSet = append(content.MissingSet, withheld(ref, p))
				continue
			}
			if acc != nil {
				if fault := w.authority.mayRead(acc, ctx.Session.UserName, w.reg.Get(ref), ref, p); fault != nil {
					content.MissingSet = append(content.MissingSet, refusedProperty(p, fault))
					continue
				}
			}
			val, isSet, known := readPath(v, p)
			switch {
			case !known:
				content.MissingSet = append(content.MissingSet, missing(p))
			case isSet:
				content.PropSet = append(content.PropSet, types.DynamicProperty{Name: p, Val: val})
			}
		}
	})
	return content, matched
}

// fetcher answers Fetch, the call behind pyVmomi's attribute access.
type fetcher struct {
	mo.PropertyCollector
	w *World
}

func (f *fetcher) Lock()   {}
func (f *fetcher) Unlock() {}

// FetchResponse is named as it stands on the wire.
type FetchResponse struct {
	Returnval types.AnyType `xml:"returnval,omitempty,typeattr"`
}

type fetchBody struct {
	Res    *FetchResponse `xml:"FetchResponse,omitempty"`
	Fault_ *soap.Fault    `xml:"http://schemas.xmlsoap.org/soap/envelope/ Fault,omitempty"`
}

func (b *fetchBody) Fault() *soap.Fault { return b.Fault_ }

// Fetch takes any: upstream's request type is internal to it, so its two fields are read by reflection.
func (f *fetcher) Fetch(ctx *simulator.Context, req any) soap.HasFault {
	v := reflect.ValueOf(req).Elem()
	ref := v.FieldByName("This").Interface().(types.ManagedObjectReference)
	prop := v.FieldByName("Prop").String()
	if ctx.Session == nil && ref.Type != "ServiceInstance" {
		return &fetchBody{Fault_: faultBody(notAuthenticated(ref))}
	}
	body := &fetchBody{Res: &FetchResponse{}}
	var fault types.BaseMethodFault
	found := f.w.read(ctx, ref, func(v reflect.Value) {
		val, isSet, known := readPath(v, prop)
		switch {
		case !known:
			fault = &types.InvalidProperty{Name: prop}
		case isSet:
			body.Res.Returnval = val
		}
	})
	if !found {
		fault = &types.ManagedObjectNotFound{Obj: ref}
	}
	if fault != nil {
		return &fetchBody{Fault_: faultBody(fault)}
	}
	return body
}

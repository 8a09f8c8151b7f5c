// The property collector: filters, and what each has still to tell its client.
// Law: exactly one enter per object, then one modify per round of changes; values are read when they are sent, never queued.

package main

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// vCenter sends at most 100 object updates in one answer, whatever the client asks for.
const maxObjectUpdates = 100

// collector is one PropertyCollector of one session.  What is watched is guarded by the hub's mutex.
type collector struct {
	mo.PropertyCollector

	w     *World
	owner types.UserSession

	turn     sync.Mutex // one answer is put together at a time
	version  int
	previous *types.UpdateSet // the last answer, for a client that lost it and asks again
	from     string           // the version that the last answer was given to

	filters []*filter
	signal  chan struct{}
	cancel  chan struct{}
	closed  bool
	pages   map[string]*page
}

type page struct {
	size int
	rest []types.ObjectContent
}

func (w *World) newCollector(owner types.UserSession) *collector {
	c := &collector{w: w, owner: owner, signal: make(chan struct{}, 1), cancel: make(chan struct{}), pages: map[string]*page{}}
	w.hub.mu.Lock()
	w.hub.collectors[c] = true
	w.hub.mu.Unlock()
	return c
}

func (c *collector) Lock()   {}
func (c *collector) Unlock() {}

func (c *collector) wake() {
	select {
	case c.signal <- struct{}{}:
	default:
	}
}

// close ends every filter; the hub's mutex is held.
func (c *collector) close() {
	for _, f := range c.filters {
		f.close()
	}
	c.filters, c.closed = nil, true
	delete(c.w.hub.collectors, c)
	c.wake()
}

// rootCollector is ServiceContent.propertyCollector.  Upstream clones it by type for each session;
// the clone finds the session's real collector at its first call.
type rootCollector struct {
	mo.PropertyCollector

	once sync.Once
	own  *collector
}

var theWorld *World // set once at start: upstream's clone of the root collector starts as a zero value

func (w *World) installCollector() {
	theWorld = w
	ref := w.service.Context.Map.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content.PropertyCollector
	root := &rootCollector{}
	root.Self = ref
	w.reg.Put(root)
}

func (r *rootCollector) Lock()   {}
func (r *rootCollector) Unlock() {}

func (r *rootCollector) of(ctx *simulator.Context) *collector {
	r.once.Do(func() {
		r.own = theWorld.newCollector(ctx.Session.UserSession)
		r.own.Self = r.Self
	})
	return r.own
}

func (r *rootCollector) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	return r.of(ctx).CreateFilter(ctx, req)
}

func (r *rootCollector) CreatePropertyCollector(ctx *simulator.Context, req *types.CreatePropertyCollector) soap.HasFault {
	return r.of(ctx).CreatePropertyCollector(ctx, req)
}

func (r *rootCollector) DestroyPropertyCollector(ctx *simulator.Context, req *types.DestroyPropertyCollector) soap.HasFault {
	return &methods.DestroyPropertyCollectorBody{Fault_: faultBody(&types.NotSupported{})}
}

func (r *rootCollector) RetrievePropertiesEx(ctx *simulator.Context, req *types.RetrievePropertiesEx) soap.HasFault {
	return r.of(ctx).RetrievePropertiesEx(ctx, req)
}

func (r *rootCollector) RetrieveProperties(ctx *simulator.Context, req *types.RetrieveProperties) soap.HasFault {
	return r.of(ctx).RetrieveProperties(ctx, req)
}

func (r *rootCollector) ContinueRetrievePropertiesEx(ctx *simulator.Context, req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	return r.of(ctx).ContinueRetrievePropertiesEx(ctx, req)
}

func (r *rootCollector) CancelRetrievePropertiesEx(ctx *simulator.Context, req *types.CancelRetrievePropertiesEx) soap.HasFault {
	return r.of(ctx).CancelRetrievePropertiesEx(ctx, req)
}

func (r *rootCollector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	return r.of(ctx).WaitForUpdatesEx(ctx, req)
}

func (r *rootCollector) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) soap.HasFault {
	return r.of(ctx).WaitForUpdates(ctx, req)
}

func (r *rootCollector) CheckForUpdates(ctx *simulator.Context, req *types.CheckForUpdates) soap.HasFault {
	return r.of(ctx).CheckForUpdates(ctx, req)
}

func (r *rootCollector) CancelWaitForUpdates(ctx *simulator.Context, req *types.CancelWaitForUpdates) soap.HasFault {
	return r.of(ctx).CancelWaitForUpdates(ctx, req)
}

// Get shows the session's filters to a reader of the `filter` property.
func (r *rootCollector) Get() mo.Reference {
	if r.own != nil {
		return r.own.Get()
	}
	return &r.PropertyCollector
}

func (c *collector) Get() mo.Reference {
	shown := mo.PropertyCollector{Self: c.Self}
	c.w.hub.mu.Lock()
	defer c.w.hub.mu.Unlock()
	for _, f := range c.filters {
		shown.Filter = append(shown.Filter, f.Self)
	}
	return &shown
}

func (c *collector) CreatePropertyCollector(ctx *simulator.Context, _ *types.CreatePropertyCollector) soap.HasFault {
	own := c.w.newCollector(ctx.Session.UserSession)
	own.Self.Type = "PropertyCollector"
	ctx.Session.Put(own)
	return &methods.CreatePropertyCollectorBody{Res: &types.CreatePropertyCollectorResponse{Returnval: own.Self}}
}

func (c *collector) DestroyPropertyCollector(ctx *simulator.Context, _ *types.DestroyPropertyCollector) soap.HasFault {
	c.w.hub.mu.Lock()
	filters := c.filters
	c.close()
	c.w.hub.mu.Unlock()
	for _, f := range filters {
		ctx.Session.Remove(ctx, f.Self)
	}
	ctx.Session.Remove(ctx, c.Self)
	return &methods.DestroyPropertyCollectorBody{Res: &types.DestroyPropertyCollectorResponse{}}
}

func (c *collector) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	if fault := c.w.checkSpec(ctx, &req.Spec); fault != nil {
		return &methods.CreateFilterBody{Fault_: faultBody(fault)}
	}
	f := &filter{collector: c, objects: map[types.ManagedObjectReference]*tracked{}}
	f.Self.Type = "PropertyFilter"
	f.Spec, f.PartialUpdates = req.Spec, req.PartialUpdates
	ctx.Session.Put(f)
	if fault := f.selectObjects(ctx); fault != nil {
		c.w.hub.mu.Lock()
		f.close()
		c.w.hub.mu.Unlock()
		ctx.Session.Remove(ctx, f.Self)
		return &methods.CreateFilterBody{Fault_: faultBody(fault)}
	}
	c.w.hub.mu.Lock()
	c.filters = append(c.filters, f)
	c.w.hub.mu.Unlock()
	c.wake()
	return &methods.CreateFilterBody{Res: &types.CreateFilterResponse{Returnval: f.Self}}
}

func (c *collector) CancelWaitForUpdates(_ *simulator.Context, _ *types.CancelWaitForUpdates) soap.HasFault {
	c.w.hub.mu.Lock()
	close(c.cancel)
	c.cancel = make(chan struct{})
	c.w.hub.mu.Unlock()
	return &methods.CancelWaitForUpdatesBody{Res: &types.CancelWaitForUpdatesResponse{}}
}

func (c *collector) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) soap.HasFault {
	set, fault := c.wait(ctx, req.Version, nil, maxObjectUpdates)
	if fault != nil {
		return &methods.WaitForUpdatesBody{Fault_: faultBody(fault)}
	}
	return &methods.WaitForUpdatesBody{Res: &types.WaitForUpdatesResponse{Returnval: *set}}
}

func (c *collector) CheckForUpdates(ctx *simulator.Context, req *types.CheckForUpdates) soap.HasFault {
	var now int32
	set, fault := c.wait(ctx, req.Version, &now, maxObjectUpdates)
	if fault != nil {
		return &methods.CheckForUpdatesBody{Fault_: faultBody(fault)}
	}
	return &methods.CheckForUpdatesBody{Res: &types.CheckForUpdatesResponse{Returnval: set}}
}

func (c *collector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	limit := maxObjectUpdates
	var seconds *int32
	if req.Options != nil {
		seconds = req.Options.MaxWaitSeconds
		if n := int(req.Options.MaxObjectUpdates); n > 0 && n < limit {
			limit = n
		}
		if seconds != nil && *seconds < 0 || req.Options.MaxObjectUpdates < 0 {
			return &methods.WaitForUpdatesExBody{Fault_: faultBody(&types.InvalidArgument{InvalidProperty: "options"})}
		}
	}
	set, fault := c.wait(ctx, req.Version, seconds, limit)
	if fault != nil {
		return &methods.WaitForUpdatesExBody{Fault_: faultBody(fault)}
	}
	return &methods.WaitForUpdatesExBody{Res: &types.WaitForUpdatesExResponse{Returnval: set}}
}

// wait blocks until there is something to tell; nil after the client's patience.
func (c *collector) wait(ctx *simulator.Context, version string, seconds *int32, limit int) (*types.UpdateSet, types.BaseMethodFault) {
	if fault := c.begin(version); fault != nil {
		return nil, fault
	}
	defer c.w.door.holds(c.owner.Key)()
	c.w.hub.mu.Lock()
	cancel := c.cancel
	c.w.hub.mu.Unlock()
	var patience <-chan time.Time
	if seconds != nil {
		patience = time.After(time.Duration(*seconds) * time.Second)
	}
	session := time.NewTicker(200 * time.Millisecond)
	defer session.Stop()
	for {
		set, fault := c.answer(ctx, version, limit)
		if set != nil || fault != nil {
			return set, fault
		}
		if seconds != nil && *seconds == 0 {
			return nil, nil
		}
		select {
		case <-c.signal:
		case <-cancel:
			return nil, &types.RequestCanceled{}
		case <-patience:
			return nil, nil
		case <-session.C:
			if !c.w.sessionAlive(c.owner) {
				return nil, &types.RequestCanceled{} // vSphere API: what a wait gets when its session is closed
			}
			c.w.hub.mu.Lock()
			closed := c.closed
			c.w.hub.mu.Unlock()
			if closed {
				return nil, &types.ManagedObjectNotFound{Obj: c.Self}
			}
		}
	}
}

// begin checks the client's version: "" starts anew, the last one given goes on, the one before repeats the last answer.
func (c *collector) begin(version string) types.BaseMethodFault {
	c.turn.Lock()
	defer c.turn.Unlock()
	switch {
	case version == "":
		c.previous = nil
		c.w.hub.mu.Lock()
		for _, f := range c.filters {
			f.restart()
		}
		c.w.hub.mu.Unlock()
	case version == strconv.Itoa(c.version) && c.version > 0:
		c.previous = nil
	case c.previous != nil && version == c.from:
	default:
		return &types.InvalidCollectorVersion{}
	}
	return nil
}

// answer puts the next update together, or nil when there is none.
func (c *collector) answer(ctx *simulator.Context, version string, limit int) (*types.UpdateSet, types.BaseMethodFault) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.previous != nil && version == c.from {
		return c.previous, nil
	}
	c.w.hub.mu.Lock()
	filters := append([]*filter(nil), c.filters...)
	c.w.hub.mu.Unlock()
	set := &types.UpdateSet{}
	left := limit
	for _, f := range filters {
		if fault := f.refresh(ctx); fault != nil {
			continue // what it started from is gone; its objects have left
		}
		update := types.PropertyFilterUpdate{Filter: f.Self}
		for left > 0 {
			t := f.next()
			if t == nil {
				break
			}
			if u, ok := f.tell(ctx, t); ok {
				update.ObjectSet = append(update.ObjectSet, u)
				left--
			}
		}
		if len(update.ObjectSet) > 0 {
			set.FilterSet = append(set.FilterSet, update)
		}
	}
	if len(set.FilterSet) == 0 && version != "" {
		return nil, nil
	}
	if left == 0 {
		c.w.hub.mu.Lock()
		for _, f := range filters {
			if len(f.queue) > 0 {
				set.Truncated = types.NewBool(true)
			}
		}
		c.w.hub.mu.Unlock()
	}
	c.from, c.previous = version, set
	c.version++
	set.Version = strconv.Itoa(c.version)
	return set, nil
}

// filter is one PropertyFilter: the objects it selects and those it has news of.
type filter struct {
	mo.PropertyFilter

	collector *collector
	objects   map[types.ManagedObjectReference]*tracked
	queue     []*tracked
	viewOnly  map[types.ManagedObjectReference]bool // views whose members are the selected objects, with nothing beyond
	follows   map[types.ManagedObjectReference]bool // objects whose properties led to the selection
	stale     bool                                  // the selection must be made again
	dead      bool
}

// tracked is one object as one filter's client knows it.
type tracked struct {
	ref      types.ManagedObjectReference
	paths    []string        // what the filter wants of it; read at the first telling
	told     bool            // the client has had its enter
	entering bool            // it is to be told
	leaving  bool            // it is to be taken back
	queued   bool            // it is in the filter's queue
	dirty    map[string]bool // paths that changed since the last telling
	last     []any           // scalar values as last told, in the order of paths; tells a change from a repetition
	elements []map[string]uint64
}

func (f *filter) Lock()   {}
func (f *filter) Unlock() {}

func (f *filter) DestroyPropertyFilter(ctx *simulator.Context, _ *types.DestroyPropertyFilter) soap.HasFault {
	h := f.collector.w.hub
	h.mu.Lock()
	f.close()
	kept := f.collector.filters[:0:0]
	for _, other := range f.collector.filters {
		if other != f {
			kept = append(kept, other)
		}
	}
	f.collector.filters = kept
	h.mu.Unlock()
	ctx.Session.Remove(ctx, f.Self)
	return &methods.DestroyPropertyFilterBody{Res: &types.DestroyPropertyFilterResponse{}}
}

// The methods below up to `next` are called with the hub's mutex held.

func (f *filter) close() {
	h := f.collector.w.hub
	for ref := range f.objects {
		h.untrack(ref, f)
	}
	for ref := range f.follows {
		delete(h.traversers[ref], f)
		if len(h.traversers[ref]) == 0 {
			delete(h.traversers, ref)
		}
	}
	delete(h.walkers, f)
	f.objects, f.queue, f.follows, f.dead = map[types.ManagedObjectReference]*tracked{}, nil, nil, true
}

func (h *hub) untrack(ref types.ManagedObjectReference, f *filter) {
	delete(h.trackers[ref], f)
	if len(h.trackers[ref]) == 0 {
		delete(h.trackers, ref)
	}
}

// restart forgets what the client was told, as it has asked with version "".
func (f *filter) restart() {
	h := f.collector.w.hub
	f.queue = f.queue[:0]
	for _, ref := range sortedKeys(f.objects) {
		t := f.objects[ref]
		t.queued = false
		if t.leaving {
			delete(f.objects, ref)
			h.untrack(ref, f)
			continue
		}
		t.told, t.entering, t.dirty = false, true, nil
		f.enqueue(t)
	}
}

func sortedKeys(objects map[types.ManagedObjectReference]*tracked) []types.ManagedObjectReference {
	set := make(map[types.ManagedObjectReference]bool, len(objects))
	for ref := range objects {
		set[ref] = true
	}
	return sorted(set)
}

func (f *filter) enqueue(t *tracked) {
	if !t.queued {
		t.queued = true
		f.queue = append(f.queue, t)
	}
	f.collector.wake()
}

func (f *filter) add(ref types.ManagedObjectReference) {
	if f.dead {
		return
	}
	if t := f.objects[ref]; t != nil {
		if t.leaving { // it left and came back before the client heard: it never went, but it may have changed
			t.leaving = false
			t.dirty = map[string]bool{"": true}
			f.enqueue(t)
		}
		return
	}
	t := &tracked{ref: ref, entering: true}
	f.objects[ref] = t
	h := f.collector.w.hub
	if h.trackers[ref] == nil {
		h.trackers[ref] = map[*filter]*tracked{}
	}
	h.trackers[ref][f] = t
	f.enqueue(t)
}

func (f *filter) drop(ref types.ManagedObjectReference) {
	t := f.objects[ref]
	if t == nil {
		return
	}
	if !t.told {
		delete(f.objects, ref)
		f.collector.w.hub.untrack(ref, f)
		t.entering = false
		return
	}
	t.leaving, t.dirty = true, nil
	f.enqueue(t)
}

func (f *filter) viewGained(v, ref types.ManagedObjectReference) {
	if f.viewOnly[v] {
		f.add(ref)
		return
	}
	f.stale = true
	f.collector.wake()
}

func (f *filter) viewLost(v, ref types.ManagedObjectReference) {
	if f.viewOnly[v] {
		f.drop(ref)
		return
	}
	f.stale = true
	f.collector.wake()
}

// touched notes that a path changed, if the filter looks at it.
func (t *tracked) touched(f *filter, changed string) {
	if !t.told || t.leaving {
		return // the enter that is still to come will carry it
	}
	for _, watched := range t.paths {
		if related(watched, changed) {
			if t.dirty == nil {
				t.dirty = map[string]bool{}
			}
			t.dirty[changed] = true
			f.enqueue(t)
			return
		}
	}
}

// next takes the first object with news.
func (f *filter) next() *tracked {
	h := f.collector.w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(f.queue) == 0 || f.dead {
		return nil
	}
	t := f.queue[0]
	f.queue = f.queue[1:]
	t.queued = false
	return t
}

// tell reads the object under its lock, so that everything its holder changes is told at once.
func (f *filter) tell(ctx *simulator.Context, t *tracked) (update types.ObjectUpdate, ok bool) {
	h := f.collector.w.hub
	h.mu.Lock()
	leaving := t.leaving
	if leaving {
		delete(f.objects, t.ref)
		h.untrack(t.ref, f)
	}
	h.mu.Unlock()
	if leaving {
		return types.ObjectUpdate{Kind: types.ObjectUpdateKindLeave, Obj: t.ref}, true
	}
	obj := f.collector.w.object(ctx, t.ref)
	if obj == nil {
		return update, false
	}
	read := func() {
		v, isManaged := managed(obj)
		if !isManaged {
			return
		}
		h.mu.Lock()
		entering, dirty := t.entering, t.dirty
		t.entering, t.dirty = false, nil
		if entering {
			t.paths = f.pathsFor(t.ref, v.Type())
			t.told = true
		}
		h.mu.Unlock()
		switch {
		case f.collector.w.door.isHollow(ctx.Session):
			update, ok = t.withheldUpdate(entering), true
		case entering:
			update, ok = f.enterUpdate(t, v), true
		case len(dirty) > 0:
			update = f.modifyUpdate(t, v, dirty)
			ok = len(update.ChangeSet)+len(update.MissingSet) > 0
		}
	}
	if _, free := obj.(sync.Locker); free {
		read()
	} else {
		ctx.WithLock(t.ref, read)
	}
	return update, ok
}

func (f *filter) enterUpdate(t *tracked, v reflect.Value) types.ObjectUpdate {
	update := types.ObjectUpdate{Kind: types.ObjectUpdateKindEnter, Obj: t.ref}
	acc := f.collector.w.authority.named(f.collector.owner.UserName)
	t.last = make([]any, len(t.paths))
	t.elements = make([]map[string]uint64, len(t.paths))
	for i, p := range t.paths {
		if acc != nil {
			w := f.collector.w
			if fault := w.authority.mayRead(acc, f.collector.owner.UserName, w.reg.Get(t.ref), t.ref, p); fault != nil {
				update.MissingSet = append(update.MissingSet, refusedProperty(p, fault))
				continue
			}
		}
		val, isSet, known := readPath(v, p)
		if !known {
			update.MissingSet = append(update.MissingSet, missing(p))
			continue
		}
		t.remember(f, i, val, isSet)
		if isSet {
			update.ChangeSet = append(update.ChangeSet, types.PropertyChange{Name: p, Op: types.PropertyChangeOpAssign, Val: val})
		}
	}
	return update
}

// withheldUpdate is the update that a hollow session gets: the object is there, and every property is missing.
func (t *tracked) withheldUpdate(entering bool) types.ObjectUpdate {
	update := types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: t.ref}
	if entering {
		update.Kind = types.ObjectUpdateKindEnter
	}
	for _, p := range t.paths {
		update.MissingSet = append(update.MissingSet, withheld(t.ref, p))
	}
	t.last = make([]any, len(t.paths))
	t.elements = make([]map[string]uint64, len(t.paths))
	return update
}

func refusedProperty(p string, fault types.BaseMethodFault) types.MissingProperty {
	return types.MissingProperty{Path: p, Fault: types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultName(fault)}}
}

func missing(p string) types.MissingProperty {
	return types.MissingProperty{Path: p, Fault: types.LocalizedMethodFault{Fault: &types.InvalidProperty{Name: p}}}
}

func (f *filter) modifyUpdate(t *tracked, v reflect.Value, dirty map[string]bool) types.ObjectUpdate {
	update := types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: t.ref}
	acc := f.collector.w.authority.named(f.collector.owner.UserName)
	for i, p := range t.paths {
		if acc != nil {
			w := f.collector.w
			if w.authority.mayRead(acc, f.collector.owner.UserName, w.reg.Get(t.ref), t.ref, p) != nil {
				continue // its enter has said so
			}
		}
		var nested []string // the changed parts, when every change lies strictly inside the property
		concerned, whole := dirty[""], dirty[""]
		for changed := range dirty {
			if changed == "" || !related(p, changed) {
				continue
			}
			concerned = true
			if len(changed) > len(p) {
				nested = append(nested, changed)
			} else {
				whole = true
			}
		}
		switch {
		case !concerned:
		case f.PartialUpdates && isArray(v, p):
			update.ChangeSet = append(update.ChangeSet, t.elementChanges(i, p, v)...)
		case f.PartialUpdates && !whole:
			for _, n := range outermost(nested) {
				update.ChangeSet = append(update.ChangeSet, assignment(v, n))
			}
		default:
			change := assignment(v, p)
			if t.remember(f, i, change.Val, change.Val != nil) {
				update.ChangeSet = append(update.ChangeSet, change)
			}
		}
	}
	return update
}

func assignment(v reflect.Value, p string) types.PropertyChange {
	val, isSet, _ := readPath(v, p)
	if !isSet {
		return types.PropertyChange{Name: p, Op: types.PropertyChangeOpAssign}
	}
	return types.PropertyChange{Name: p, Op: types.PropertyChangeOpAssign, Val: val}
}

// outermost drops paths that lie inside others, and cuts keyed paths: the enclosing plain property is told.
func outermost(paths []string) []string {
	cut := make([]string, 0, len(paths))
	for _, p := range paths {
		if i := strings.IndexByte(p, '['); i >= 0 {
			p = p[:i]
		}
		cut = append(cut, p)
	}
	var kept []string
	for i, p := range cut {
		inside := false
		for j, q := range cut {
			if j != i && (strings.HasPrefix(p, q+".") || p == q && j < i) {
				inside = true
			}
		}
		if !inside {
			kept = append(kept, p)
		}
	}
	return kept
}

// remember keeps a scalar value and says whether it differs from the last one told.
func (t *tracked) remember(f *filter, i int, val any, isSet bool) bool {
	if !isSet {
		val = unset{}
	}
	switch reflect.TypeOf(val).Kind() {
	case reflect.String, reflect.Bool, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Struct:
		if !flat(reflect.TypeOf(val)) {
			t.last[i] = nil
			return true
		}
		if t.last[i] == val {
			return false
		}
		t.last[i] = val
		return true
	}
	t.last[i] = nil
	if f.PartialUpdates {
		t.elements[i] = fingerprints(val)
	}
	return true
}

type unset struct{}

// pathsFor lists the properties that the filter wants of an object of this type.
func (f *filter) pathsFor(ref types.ManagedObjectReference, t reflect.Type) []string {
	return wantedPaths(f.Spec.PropSet, ref, t)
}

func wantedPaths(specs []types.PropertySpec, ref types.ManagedObjectReference, t reflect.Type) []string {
	var paths []string
	for _, spec := range specs {
		if !isA(ref, t, spec.Type) {
			continue
		}
		if spec.All != nil && *spec.All {
			paths = append(paths, allPaths(t)...)
		} else {
			paths = append(paths, spec.PathSet...)
		}
	}
	return unique(paths)
}

// object finds what the caller may see under a reference: its session's own objects first.
func (w *World) object(ctx *simulator.Context, ref types.ManagedObjectReference) mo.Reference {
	if ctx.Session != nil {
		return ctx.Session.Get(ref)
	}
	return w.reg.Get(ref)
}

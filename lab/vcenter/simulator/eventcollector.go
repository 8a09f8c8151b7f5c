// Event history collectors: a client's filtered reading of the event log.
// Law: ReadNextEvents gives every wanted event once, in order; latestPage only says that there is something new.

package main

import (
	"reflect"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	maxPage       = 1000 // vCenter's limit for a page and for one read
	defaultPage   = 10
	maxCollectors = 32 // of one session
)

type eventManagerMethods struct {
	*simulator.EventManager
	w *World
}

type eventCollector struct {
	mo.EventHistoryCollector

	w     *World
	owner types.UserSession
	spec  types.EventFilterSpec
	size  int
	next  int32 // key of the last event that ReadNextEvents has passed; guarded by the collector's object lock
}

func pageSize(count int32) (int, types.BaseMethodFault) {
	switch {
	case count == 0:
		return defaultPage, nil
	case count < 0 || count > maxPage:
		return 0, &types.InvalidArgument{InvalidProperty: "maxCount"}
	}
	return int(count), nil
}

func (m *eventManagerMethods) CreateCollectorForEvents(ctx *simulator.Context, req *types.CreateCollectorForEvents) soap.HasFault {
	c, fault := m.collector(ctx, req.Filter)
	if fault != nil {
		return &methods.CreateCollectorForEventsBody{Fault_: faultBody(fault)}
	}
	l := m.w.events
	l.mu.Lock()
	defer l.mu.Unlock()
	own := 0
	for other := range l.collectors {
		if other.owner.Key == c.owner.Key {
			own++
		}
	}
	if own >= maxCollectors {
		return &methods.CreateCollectorForEventsBody{Fault_: faultBody(&types.InvalidState{})}
	}
	c.Self.Type = "EventHistoryCollector"
	ctx.Session.Put(c)
	l.collectors[c] = true
	return &methods.CreateCollectorForEventsBody{Res: &types.CreateCollectorForEventsResponse{Returnval: c.Self}}
}

func (m *eventManagerMethods) collector(ctx *simulator.Context, spec types.EventFilterSpec) (*eventCollector, types.BaseMethodFault) {
	size, fault := pageSize(spec.MaxCount)
	if fault != nil {
		return nil, fault
	}
	if spec.Entity != nil && m.w.reg.Get(spec.Entity.Entity) == nil {
		return nil, &types.ManagedObjectNotFound{Obj: spec.Entity.Entity}
	}
	c := &eventCollector{w: m.w, owner: ctx.Session.UserSession, spec: spec, size: size}
	c.Filter = spec
	return c, nil
}

// QueryEvents answers with the newest events that match, oldest first.
func (m *eventManagerMethods) QueryEvents(ctx *simulator.Context, req *types.QueryEvents) soap.HasFault {
	c, fault := m.collector(ctx, req.Filter)
	if fault != nil {
		return &methods.QueryEventsBody{Fault_: faultBody(fault)}
	}
	found := c.matching(m.w.events.since(0))
	limit := maxPage
	if req.Filter.MaxCount > 0 {
		limit = c.size
	}
	if len(found) > limit {
		found = found[len(found)-limit:]
	}
	return &methods.QueryEventsBody{Res: &types.QueryEventsResponse{Returnval: found}}
}

// Get fills in the latest page, newest first.
func (c *eventCollector) Get() mo.Reference {
	shown := c.EventHistoryCollector
	events := c.w.events.since(0)
	for i := len(events) - 1; i >= 0 && len(shown.LatestPage) < c.size; i-- {
		if c.wants(events[i]) {
			shown.LatestPage = append(shown.LatestPage, events[i])
		}
	}
	return &shown
}

func (c *eventCollector) matching(events []types.BaseEvent) []types.BaseEvent {
	var found []types.BaseEvent
	for _, e := range events {
		if c.wants(e) {
			found = append(found, e)
		}
	}
	return found
}

func (c *eventCollector) ReadNextEvents(_ *simulator.Context, req *types.ReadNextEvents) soap.HasFault {
	if req.MaxCount <= 0 || req.MaxCount > maxPage {
		return &methods.ReadNextEventsBody{Fault_: faultBody(&types.InvalidArgument{InvalidProperty: "maxCount"})}
	}
	var found []types.BaseEvent
	start, hidden := c.next, 0
	for _, e := range c.w.events.since(c.next) {
		if len(found) == int(req.MaxCount) {
			break
		}
		if hidden++; c.visible(e) {
			hidden = 0
		} else if hidden > maxPage && len(found) == 0 {
			c.next = start // govmomi #3450: a reader stands still before a gap of more than a page that it may not read
			break
		}
		c.next = e.GetEvent().Key
		if c.wants(e) {
			found = append(found, e)
		}
	}
	return &methods.ReadNextEventsBody{Res: &types.ReadNextEventsResponse{Returnval: found}}
}

func (c *eventCollector) ReadPreviousEvents(_ *simulator.Context, req *types.ReadPreviousEvents) soap.HasFault {
	if req.MaxCount <= 0 || req.MaxCount > maxPage {
		return &methods.ReadPreviousEventsBody{Fault_: faultBody(&types.InvalidArgument{InvalidProperty: "maxCount"})}
	}
	var found []types.BaseEvent
	events := c.w.events.since(0)
	for i := len(events) - 1; i >= 0 && len(found) < int(req.MaxCount); i-- {
		key := events[i].GetEvent().Key
		if key > c.next {
			continue
		}
		c.next = key - 1
		if c.wants(events[i]) {
			found = append(found, events[i])
		}
	}
	return &methods.ReadPreviousEventsBody{Res: &types.ReadPreviousEventsResponse{Returnval: found}}
}

// ResetCollector goes to the newest event.
func (c *eventCollector) ResetCollector(_ *simulator.Context, _ *types.ResetCollector) soap.HasFault {
	if events := c.w.events.since(0); len(events) > 0 {
		c.next = events[len(events)-1].GetEvent().Key
	}
	return &methods.ResetCollectorBody{Res: &types.ResetCollectorResponse{}}
}

// RewindCollector goes to the oldest event, where a new collector stands.
func (c *eventCollector) RewindCollector(_ *simulator.Context, _ *types.RewindCollector) soap.HasFault {
	c.next = 0
	return &methods.RewindCollectorBody{Res: &types.RewindCollectorResponse{}}
}

func (c *eventCollector) SetCollectorPageSize(_ *simulator.Context, req *types.SetCollectorPageSize) soap.HasFault {
	size, fault := pageSize(req.MaxCount)
	if fault != nil {
		return &methods.SetCollectorPageSizeBody{Fault_: faultBody(fault)}
	}
	c.size = size
	return &methods.SetCollectorPageSizeBody{Res: &types.SetCollectorPageSizeResponse{}}
}

func (c *eventCollector) DestroyCollector(ctx *simulator.Context, _ *types.DestroyCollector) soap.HasFault {
	l := c.w.events
	l.mu.Lock()
	delete(l.collectors, c)
	l.mu.Unlock()
	ctx.Session.Remove(ctx, c.Self)
	return &methods.DestroyCollectorBody{Res: &types.DestroyCollectorResponse{}}
}

func (l *eventLog) owners(owners map[string]types.UserSession) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.collectors {
		owners[c.owner.Key] = c.owner
	}
}

func (l *eventLog) endSession(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.collectors {
		if c.owner.Key == key {
			delete(l.collectors, c)
		}
	}
}

// wants applies the client's filter.
func (c *eventCollector) wants(event types.BaseEvent) bool {
	e := event.GetEvent()
	if c.spec.EventChainId != 0 && e.ChainId != c.spec.EventChainId {
		return false
	}
	if !ofType(event, c.spec.EventTypeId) || !ofType(event, c.spec.Type) {
		return false
	}
	if span := c.spec.Time; span != nil {
		if span.BeginTime != nil && e.CreatedTime.Before(*span.BeginTime) || span.EndTime != nil && e.CreatedTime.After(*span.EndTime) {
			return false
		}
	}
	if user := c.spec.UserName; user != nil && len(user.UserList) > 0 && !slices.Contains(user.UserList, e.UserName) {
		return false
	}
	return (c.spec.Entity == nil || c.concerns(event, c.spec.Entity)) && c.visible(event)
}

// visible says whether the collector's user may read what the event is about.
func (c *eventCollector) visible(event types.BaseEvent) bool {
	acc := c.w.authority.named(c.owner.UserName)
	return acc == nil || c.w.authority.holds(acc, "System.Read", subjectOf(event))
}

// ofType says whether an event is of one of the types or derived from one; no types mean any.
func ofType(event types.BaseEvent, names []string) bool {
	if len(names) == 0 {
		return true
	}
	if ex, ok := event.(*types.EventEx); ok && slices.Contains(names, ex.EventTypeId) {
		return true
	}
	t := reflect.TypeOf(event).Elem()
	for _, name := range names {
		// vCenter accepts both "VmMigratedEvent" and "vim.event.VmMigratedEvent".
		name = name[strings.LastIndexByte(name, '.')+1:]
		if f, ok := t.FieldByName(name); t.Name() == name || ok && f.Anonymous {
			return true
		}
	}
	return false
}

func (c *eventCollector) concerns(event types.BaseEvent, by *types.EventFilterSpecByEntity) bool {
	for _, ref := range argumentsOf(event) {
		if ref == by.Entity && by.Recursion != types.EventFilterSpecRecursionOptionChildren {
			return true
		}
		if by.Recursion == types.EventFilterSpecRecursionOptionSelf {
			continue
		}
		if obj := c.w.reg.Get(ref); obj != nil && c.w.below(obj, by.Entity, by.Recursion == types.EventFilterSpecRecursionOptionAll) {
			return true
		}
	}
	return false
}

// argumentsOf lists the objects an event is about.
func argumentsOf(event types.BaseEvent) []types.ManagedObjectReference {
	var refs []types.ManagedObjectReference
	e := event.GetEvent()
	if e.Vm != nil {
		refs = append(refs, e.Vm.Vm)
	}
	if e.Host != nil {
		refs = append(refs, e.Host.Host)
	}
	if e.ComputeResource != nil {
		refs = append(refs, e.ComputeResource.ComputeResource)
	}
	if e.Datacenter != nil {
		refs = append(refs, e.Datacenter.Datacenter)
	}
	if e.Ds != nil {
		refs = append(refs, e.Ds.Datastore)
	}
	if e.Net != nil {
		refs = append(refs, e.Net.Network)
	}
	if e.Dvs != nil {
		refs = append(refs, e.Dvs.Dvs)
	}
	return refs
}

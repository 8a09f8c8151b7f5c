// Events: the arguments that name their objects, and the posting of our own.

package main

import (
	"sort"
	"sync"
	"text/template"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// keptEvents is how far back a collector can read.
const keptEvents = 20_000

// eventLog keeps what upstream's event manager posts, in order; upstream itself forgets after 1,000 events
// and keeps the collectors of sessions that have ended.
type eventLog struct {
	w   *World
	tap types.ManagedObjectReference // the upstream collector through which every event comes

	mu         sync.Mutex
	muted      bool              // the vCenter is away, and what happens meanwhile is nobody's event
	events     []types.BaseEvent // ascending keys without gaps
	lastKey    int32
	troubles   troubles
	collectors map[*eventCollector]bool
}

func newEventLog(w *World) *eventLog {
	return &eventLog{w: w, collectors: map[*eventCollector]bool{}}
}

// install takes out message templates that do not parse (upstream ends the process when such an event is posted)
// and opens the tap.
func (l *eventLog) install() {
	m := l.w.reg.EventManager()
	var sound []types.EventDescriptionEventDetail
	for _, info := range m.Description.EventInfo {
		if _, err := template.New(info.Key).Parse(info.FullFormat); err != nil {
			info.FullFormat = ""
		}
		sound = append(sound, info)
	}
	m.Description.EventInfo = sound
	ctx := l.w.context()
	res := m.CreateCollectorForEvents(ctx, &types.CreateCollectorForEvents{Filter: types.EventFilterSpec{MaxCount: 1}})
	l.tap = res.(*methods.CreateCollectorForEventsBody).Res.Returnval
}

// hear takes an event from the tap; upstream holds the event manager's lock, so events come one at a time.
func (l *eventLog) hear(changes []types.PropertyChange) {
	for _, c := range changes {
		page, ok := c.Val.(*types.ArrayOfEvent)
		if !ok || len(page.Event) == 0 {
			continue
		}
		l.arrive(page.Event[0])
	}
}

// arrive takes an event that happened on to the log, past what a test has put in its way.
func (l *eventLog) arrive(event types.BaseEvent) {
	l.mu.Lock()
	events := l.troubles.through(event, l.w.faults.roll)
	l.mu.Unlock()
	for _, e := range events {
		l.record(e)
	}
}

// record gives an event its key and tells the collectors; the event manager's lock is held.
func (l *eventLog) record(event types.BaseEvent) {
	l.w.reg.EventManager().LatestEvent = event
	l.mu.Lock()
	l.lastKey++
	event.GetEvent().Key = l.lastKey
	l.events = append(l.events, event)
	if len(l.events) > keptEvents+keptEvents/4 {
		l.events = append([]types.BaseEvent(nil), l.events[len(l.events)-keptEvents:]...)
	}
	collectors := make([]*eventCollector, 0, len(l.collectors))
	for c := range l.collectors {
		collectors = append(collectors, c)
	}
	l.mu.Unlock()
	for _, c := range collectors {
		if c.wants(event) {
			l.w.hub.touch(c.Self, "latestPage")
		}
	}
}

// since lists the kept events with a key above the given one.
func (l *eventLog) since(key int32) []types.BaseEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := sort.Search(len(l.events), func(i int) bool { return l.events[i].GetEvent().Key > key })
	return l.events[i:len(l.events):len(l.events)]
}

func (l *eventLog) post(ctx *simulator.Context, events ...types.BaseEvent) {
	if ctx.Session == nil {
		ctx = l.w.context()
	}
	if l.isMuted() {
		return
	}
	m := l.w.reg.EventManager()
	ctx.WithLock(m, func() {
		for _, e := range events {
			m.PostEvent(ctx, &types.PostEvent{EventToPost: e})
		}
	})
}

func (l *eventLog) isMuted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.muted
}

func (l *eventLog) mute(muted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.muted = muted
}

func (w *World) datacenterArgument(e mo.Entity) *types.DatacenterEventArgument {
	dc := w.datacenterOf(e)
	if dc == nil {
		return nil
	}
	return &types.DatacenterEventArgument{Datacenter: dc.Self, EntityEventArgument: types.EntityEventArgument{Name: dc.Name}}
}

func (w *World) hostArgument(host *simulator.HostSystem) types.HostEventArgument {
	return types.HostEventArgument{Host: host.Self, EntityEventArgument: types.EntityEventArgument{Name: host.Name}}
}

func (w *World) datastoreArgument(vm *simulator.VirtualMachine) *types.DatastoreEventArgument {
	for _, d := range vm.Datastore {
		if ds, ok := w.reg.Get(d).(*simulator.Datastore); ok {
			return &types.DatastoreEventArgument{Datastore: ds.Self, EntityEventArgument: types.EntityEventArgument{Name: ds.Name}}
		}
	}
	return nil
}

func (w *World) vmEvent(vm *simulator.VirtualMachine) types.VmEvent {
	event := types.Event{
		Vm: &types.VmEventArgument{Vm: vm.Self, EntityEventArgument: types.EntityEventArgument{Name: vm.Name}}, Ds: w.datastoreArgument(vm),
	}
	if vm.Runtime.Host != nil {
		if host := w.host(*vm.Runtime.Host); host != nil {
			argument := w.hostArgument(host)
			event.Host, event.Datacenter = &argument, w.datacenterArgument(host)
			if cr := w.computeOf(host); cr != nil {
				event.ComputeResource = &types.ComputeResourceEventArgument{ComputeResource: cr.Self, EntityEventArgument: types.EntityEventArgument{Name: cr.Name}}
			}
		}
	}
	return types.VmEvent{Event: event}
}

func (w *World) dvsEvent(dvs ref) types.DvsEvent {
	event := types.Event{Dvs: &types.DvsEventArgument{Dvs: dvs}}
	if s, ok := w.reg.Get(dvs).(*simulator.DistributedVirtualSwitch); ok {
		event.Dvs.Name, event.Datacenter = s.Name, w.datacenterArgument(s)
	}
	return types.DvsEvent{Event: event}
}

func (w *World) portGroupEvent(pg *simulator.DistributedVirtualPortgroup) types.DVPortgroupEvent {
	event := types.Event{
		Net:        &types.NetworkEventArgument{Network: pg.Self, EntityEventArgument: types.EntityEventArgument{Name: pg.Name}},
		Datacenter: w.datacenterArgument(pg),
	}
	if dvs, ok := w.reg.Get(*pg.Config.DistributedVirtualSwitch).(*simulator.DistributedVirtualSwitch); ok {
		event.Dvs = &types.DvsEventArgument{Dvs: dvs.Self, EntityEventArgument: types.EntityEventArgument{Name: dvs.Name}}
	}
	return types.DVPortgroupEvent{Event: event}
}

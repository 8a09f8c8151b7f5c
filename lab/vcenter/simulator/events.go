// Events: the arguments that name their objects, and the posting of our own.

package main

import (
	"log"
	"strings"
	"text/template"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

type eventLog struct {
	w *World
}

func newEventLog(w *World) *eventLog { return &eventLog{w: w} }

type eventManagerMethods struct {
	*simulator.EventManager
	w *World
}

// install takes out message templates that do not parse: upstream ends the process when such an event is posted.
func (l *eventLog) install() {
	m := l.w.reg.EventManager()
	var sound []types.EventDescriptionEventDetail
	for _, info := range m.Description.EventInfo {
		if _, err := template.New(info.Key).Parse(info.FullFormat); err != nil {
			log.Printf("event %s: its message template is dropped: %v", info.Key, strings.SplitN(err.Error(), "\n", 2)[0])
			info.FullFormat = ""
		}
		sound = append(sound, info)
	}
	m.Description.EventInfo = sound
}

func (l *eventLog) post(ctx *simulator.Context, events ...types.BaseEvent) {
	if ctx.Session == nil {
		ctx = l.w.context()
	}
	m := l.w.reg.EventManager()
	ctx.WithLock(m, func() {
		for _, e := range events {
			m.PostEvent(ctx, &types.PostEvent{EventToPost: e})
		}
	})
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

func (w *World) vmEvent(vm *simulator.VirtualMachine) types.VmEvent {
	event := types.Event{Vm: &types.VmEventArgument{Vm: vm.Self, EntityEventArgument: types.EntityEventArgument{Name: vm.Name}}}
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

// What can happen to events between their cause and their readers: folded, lost, doubled, late, stalled.
// Law: an event gets its key when it is recorded, so keys ascend in the order of reading, whatever the order of happening was.

package main

import (
	"fmt"
	"reflect"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// troubles stand between upstream's event manager and the log; the log's mutex guards them.
type troubles struct {
	rules   []*eventRule
	burst   burstFilter
	stalled bool
	held    []heldEvent
	waiting []types.BaseEvent // what came while the log was stalled
}

type eventRule struct {
	Act         string  `json:"act"`  // lose, double, late
	Type        string  `json:"type"` // as in the API; a base type selects what derives from it; empty selects all
	Probability float64 `json:"probability"`
	Count       int     `json:"count"`
	By          int     `json:"by"` // late: how many later events come before it

	struck int
}

type heldEvent struct {
	event types.BaseEvent
	by    int
}

func (t *troubles) add(r *eventRule) error {
	switch {
	case r.Act != "lose" && r.Act != "double" && r.Act != "late":
		return fmt.Errorf("act %q is none of lose, double, late", r.Act)
	case r.Act == "late" && r.By < 1:
		return fmt.Errorf("an event is late by at least one other")
	case r.Probability < 0 || r.Probability > 1:
		return fmt.Errorf("probability %v", r.Probability)
	}
	if _, known := types.TypeFunc()(r.Type); r.Type != "" && !known {
		return fmt.Errorf("the API has no event %q", r.Type)
	}
	t.rules = append(t.rules, r)
	return nil
}

// through turns one event that happened into those that are recorded now.
func (t *troubles) through(event types.BaseEvent, dice func() float64) []types.BaseEvent {
	if t.stalled {
		t.waiting = append(t.waiting, event)
		return nil
	}
	recorded, late := t.spoilt(event, dice)
	recorded = append(recorded, t.due(len(recorded))...)
	if late != nil {
		t.held = append(t.held, *late)
	}
	return recorded
}

func (t *troubles) spoilt(event types.BaseEvent, dice func() float64) ([]types.BaseEvent, *heldEvent) {
	for _, r := range t.rules {
		if r.Type != "" && !ofType(event, []string{r.Type}) || r.Count > 0 && r.struck >= r.Count || r.Probability > 0 && dice() >= r.Probability {
			continue
		}
		r.struck++
		switch r.Act {
		case "lose":
			return nil, nil
		case "double":
			return []types.BaseEvent{event, again(event)}, nil
		case "late":
			return nil, &heldEvent{event, r.By}
		}
	}
	return t.burst.through(event, time.Now()), nil
}

// due lets the held events go that enough others have overtaken.
func (t *troubles) due(passed int) []types.BaseEvent {
	var due []types.BaseEvent
	kept := t.held[:0]
	for _, h := range t.held {
		if h.by -= passed; h.by <= 0 {
			due = append(due, h.event)
		} else {
			kept = append(kept, h)
		}
	}
	t.held = kept
	return due
}

func again(event types.BaseEvent) types.BaseEvent {
	v := reflect.New(reflect.TypeOf(event).Elem())
	v.Elem().Set(reflect.ValueOf(event).Elem())
	return v.Interface().(types.BaseEvent)
}

// burstFilter folds events of one type about one object by one user, once too many of them come in too short a time.
type burstFilter struct {
	Limit   int `json:"limit"` // 0: the filter is off
	Seconds int `json:"seconds"`

	seen map[burstKey]*burst
}

type burstKey struct {
	kind   string
	object ref
	user   string
}

type burst struct {
	began  time.Time
	count  int
	folded int
}

func (b *burstFilter) through(event types.BaseEvent, now time.Time) []types.BaseEvent {
	if b.Limit <= 0 {
		return []types.BaseEvent{event}
	}
	if b.seen == nil {
		b.seen = map[burstKey]*burst{}
	}
	key := burstKey{kind: reflect.TypeOf(event).Elem().Name(), object: subjectOf(event), user: event.GetEvent().UserName}
	window := time.Duration(b.Seconds) * time.Second
	var told []types.BaseEvent
	current := b.seen[key]
	if current == nil || now.Sub(current.began) >= window {
		if current != nil && current.folded > 0 {
			told = append(told, burstNote("com.vmware.vc.EventBurstEndedEvent", event, current.folded))
		}
		current = &burst{began: now}
		b.seen[key] = current
	}
	current.count++
	switch {
	case current.count <= b.Limit:
		return append(told, event)
	case current.folded == 0:
		told = append(told, burstNote("com.vmware.vc.EventBurstStartedEvent", event, 1))
	}
	current.folded++
	return told
}

// subjectOf is the object that an event is mainly about.
func subjectOf(event types.BaseEvent) ref {
	e := event.GetEvent()
	switch {
	case e.Vm != nil:
		return e.Vm.Vm
	case e.Dvs != nil:
		return e.Dvs.Dvs
	case e.Net != nil:
		return e.Net.Network
	case e.Host != nil:
		return e.Host.Host
	}
	return ref{}
}

func burstNote(kind string, of types.BaseEvent, folded int) types.BaseEvent {
	base := *of.GetEvent()
	base.FullFormattedMessage = fmt.Sprintf("%s: %d", reflect.TypeOf(of).Elem().Name(), folded)
	return &types.EventEx{Event: base, EventTypeId: kind, Severity: "warning", Arguments: []types.KeyAnyValue{
		{Key: "eventType", Value: reflect.TypeOf(of).Elem().Name()}, {Key: "count", Value: int32(folded)},
	}}
}

func (w *World) eventActs() map[string]act {
	l := w.events
	return map[string]act{
		"events.spoil": doing(func(r eventRule) (any, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			return nil, l.troubles.add(&r)
		}),
		"events.clear": doing(func(nothing) (any, error) {
			l.mu.Lock()
			l.troubles.rules = nil
			held := l.troubles.held
			l.troubles.held = nil
			l.mu.Unlock()
			l.w.context().WithLock(l.w.reg.EventManager(), func() {
				for _, h := range held {
					l.record(h.event)
				}
			})
			return nil, nil
		}),
		"events.burst": doing(func(b burstFilter) (any, error) {
			if b.Limit > 0 && b.Seconds <= 0 {
				return nil, fmt.Errorf("a burst filter needs a window")
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.troubles.burst = b
			return nil, nil
		}),
		"events.stall": doing(func(nothing) (any, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.troubles.stalled = true
			return nil, nil
		}),
		"events.resume": doing(func(nothing) (any, error) {
			l.mu.Lock()
			waiting := l.troubles.waiting
			l.troubles.stalled, l.troubles.waiting = false, nil
			l.mu.Unlock()
			l.w.context().WithLock(l.w.reg.EventManager(), func() {
				for _, event := range waiting {
					l.arrive(event)
				}
			})
			return nil, nil
		}),
	}
}

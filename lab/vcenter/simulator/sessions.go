// Sessions: who may log in, how many at once, and the ways in which a session ends.
// Law: a session that has ended reads nothing; whether it is told so or only finds everything missing is the test's choice.

package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// door keeps what upstream's session manager does not know.
type door struct {
	w *World

	mu       sync.Mutex
	limits   sessionLimits
	failures map[string][]time.Time // wrong passwords by user
	locked   map[string]time.Time   // until when
	hollow   map[string]bool        // sessions that have expired without being told
	waiting  map[string]int         // calls that a session has open: it is not idle
	answered map[string]time.Time   // when the last of them ended
}

// sessionLimits are all off when they are zero.
type sessionLimits struct {
	IdleMs    int `json:"idleMs"`
	Max       int `json:"max"`
	LockAfter int `json:"lockAfter"` // wrong passwords in a row
	LockMs    int `json:"lockMs"`
}

func newDoor(w *World) *door {
	return &door{w: w, failures: map[string][]time.Time{}, locked: map[string]time.Time{}, hollow: map[string]bool{}, waiting: map[string]int{}, answered: map[string]time.Time{}}
}

func (d *door) set(limits sessionLimits) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limits, d.failures, d.locked = limits, map[string][]time.Time{}, map[string]time.Time{}
}

// admits checks a name and a password; a locked user's right password is as wrong as any other.
func (d *door) admits(user string, right bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Before(d.locked[user]) {
		return false
	}
	if right {
		delete(d.failures, user)
		return true
	}
	d.failures[user] = append(d.failures[user], now)
	if d.limits.LockAfter > 0 && len(d.failures[user]) >= d.limits.LockAfter {
		d.locked[user] = now.Add(time.Duration(d.limits.LockMs) * time.Millisecond)
		delete(d.failures, user)
	}
	return false
}

// around refuses log-ins when there are too many sessions.
func (d *door) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		most := d.limits.Max
		d.mu.Unlock()
		if most > 0 && len(d.w.sessions()) >= most && r.Method == http.MethodPost {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			if method, err := simulator.UnmarshalBody(vim25types, body); err == nil && method.Name == "Login" {
				unavailable(out, 0)
				return
			}
		}
		next.ServeHTTP(out, r)
	})
}

// holds notes a call that stays open; the function that it returns notes its end.
func (d *door) holds(key string) func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting[key]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.answered[key] = time.Now()
		if d.waiting[key]--; d.waiting[key] == 0 {
			delete(d.waiting, key)
		}
	}
}

// tend ends the sessions that have been idle for too long; it ends with the process.
func (d *door) tend() {
	for {
		time.Sleep(50 * time.Millisecond)
		d.mu.Lock()
		idle := time.Duration(d.limits.IdleMs) * time.Millisecond
		d.mu.Unlock()
		if idle == 0 {
			continue
		}
		for _, s := range d.w.sessions() {
			d.mu.Lock()
			busy := d.waiting[s.Key] > 0 || time.Since(d.answered[s.Key]) <= idle
			d.mu.Unlock()
			if !busy && time.Since(s.LastActiveTime) > idle {
				d.w.endSession(s.Key)
			}
		}
	}
}

func (d *door) isHollow(s *simulator.Session) bool {
	if s == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hollow[s.Key]
}

// empty makes a session expire in the form in which every property is merely missing, with HTTP 200.
func (d *door) empty(key string) {
	d.mu.Lock()
	d.hollow[key] = true
	d.mu.Unlock()
	h := d.w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.collectors {
		if c.owner.Key != key {
			continue
		}
		for _, f := range c.filters {
			for _, t := range f.objects {
				t.dirty = map[string]bool{"": true}
				f.enqueue(t)
			}
		}
	}
}

// forget drops what is known of sessions that have ended.
func (d *door) forget(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.hollow, key)
	delete(d.answered, key)
}

// readable are the calls that an expired session can still make in its hollow form.
var readable = map[string]bool{
	"RetrieveProperties": true, "RetrievePropertiesEx": true, "ContinueRetrievePropertiesEx": true, "WaitForUpdates": true,
	"WaitForUpdatesEx": true, "CheckForUpdates": true, "CancelWaitForUpdates": true, "CreateFilter": true,
	"CreatePropertyCollector": true, "CreateContainerView": true, "DestroyView": true, "DestroyPropertyFilter": true, "DestroyPropertyCollector": true,
	"RetrieveServiceContent": true, "CurrentTime": true, "Logout": true,
}

// passes decides on a call of a hollow session: it may read, log in anew, and nothing else.
func (d *door) passes(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault {
	if !d.isHollow(ctx.Session) {
		return nil
	}
	if method.Name == "Login" {
		ctx.Session = nil // the dead session's cookie stands in nobody's way
		return nil
	}
	if readable[method.Name] {
		return nil
	}
	return notAuthenticated(method.This)
}

// withheld is how a hollow session reads a property.
func withheld(obj types.ManagedObjectReference, path string) types.MissingProperty {
	return types.MissingProperty{Path: path, Fault: types.LocalizedMethodFault{Fault: notAuthenticated(obj), LocalizedMessage: "The session is not authenticated."}}
}

type sessionLine struct {
	Key       string `json:"key"`
	User      string `json:"user"`
	UserAgent string `json:"userAgent"`
	Calls     int64  `json:"calls"`
}

func (w *World) sessionActs() map[string]act {
	return map[string]act{
		"sessions.list": doing(func(nothing) (any, error) {
			lines := []sessionLine{}
			for _, s := range w.sessions() {
				lines = append(lines, sessionLine{s.Key, s.UserName, s.UserAgent, s.CallCount})
			}
			return lines, nil
		}),
		"sessions.limits": doing(func(l sessionLimits) (any, error) {
			if l.LockAfter > 0 && l.LockMs <= 0 {
				return nil, errors.New("a lock needs a duration")
			}
			w.door.set(l)
			return nil, nil
		}),
		"sessions.end": doing(func(which struct {
			Key    string `json:"key"`
			User   string `json:"user"`
			Hollow bool   `json:"hollow"`
		}) (any, error) {
			ended := 0
			for _, s := range w.sessions() {
				if which.Key != "" && s.Key != which.Key || which.User != "" && s.UserName != which.User {
					continue
				}
				ended++
				if which.Hollow {
					w.door.empty(s.Key)
				} else {
					w.endSession(s.Key)
				}
			}
			return ended, nil
		}),
	}
}

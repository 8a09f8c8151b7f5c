// The simulated vCenter: govmomi's inventory with our own network, watching, moving and events hooked into it.
// Law: upstream's objects keep the inventory; what upstream lacks is answered here, through its public hooks only.

package main

import (
	"context"
	"log"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// World holds what the simulator adds to upstream's inventory.
type World struct {
	service *simulator.Service
	reg     *simulator.Registry
	system  *simulator.Session // the session in whose name the simulator itself acts

	hub       *hub
	net       *network
	names     *names
	events    *eventLog
	faults    *faults
	authority *authority
	door      *door

	migrateFor time.Duration

	addresses *guestAddresses

	taskCounter atomic.Int64
	oldTasks    chan types.ManagedObjectReference
	movesMu     sync.Mutex
	moves       map[types.ManagedObjectReference]types.ManagedObjectReference // VM -> the task that moves it
}

// newWorld hooks a World into an upstream service.
func newWorld(service *simulator.Service) *World {
	reg := service.Context.Map
	w := &World{
		service:  service,
		reg:      reg,
		system:   &simulator.Session{UserSession: types.UserSession{Key: "system", UserName: "VSPHERE.LOCAL\\vpxd"}, Registry: simulator.NewRegistry(), Map: reg},
		names:    newNames(),
		oldTasks: make(chan types.ManagedObjectReference, keptTasks),
		moves:    map[types.ManagedObjectReference]types.ManagedObjectReference{},
	}
	w.addresses = newGuestAddresses()
	w.hub = newHub(w)
	w.net = newNetwork(w)
	w.events = newEventLog(w)
	w.faults = newFaults(w)
	w.authority = newAuthority(w)
	w.door = newDoor(w)
	reg.AddHandler(w.hub)
	reg.Handler = w.handler
	w.installCollector()
	w.fillServices()
	w.events.install()
	return w
}

// context is one of the simulator's own, with locks of its own.
func (w *World) context() *simulator.Context {
	return &simulator.Context{Context: context.Background(), Session: w.system, Map: w.reg}
}

// fork is the caller's context with locks of its own, for work that outlives the call.
func fork(ctx *simulator.Context) *simulator.Context {
	c := *ctx
	return &c
}

func (w *World) vm(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := w.reg.Get(ref).(*simulator.VirtualMachine)
	return vm
}

func (w *World) host(ref types.ManagedObjectReference) *simulator.HostSystem {
	host, _ := w.reg.Get(ref).(*simulator.HostSystem)
	return host
}

// update changes properties under the object's lock and tells the watchers.
func (w *World) update(ctx *simulator.Context, obj mo.Reference, changes ...types.PropertyChange) {
	ctx.WithLock(obj, func() { ctx.Update(obj, changes) })
}

func set(name string, val any) types.PropertyChange {
	return types.PropertyChange{Name: name, Val: val}
}

// run starts a task that takes the locks it needs itself; upstream's tasks hold the entity's lock to their end,
// which would make a VM unreadable while it migrates.
// The hosts are those that the work touches beside the entity's own.
func (w *World) run(ctx *simulator.Context, entity mo.Reference, method string, do func(*simulator.Context, *simulator.Task) (any, types.BaseMethodFault), hosts ...ref) types.ManagedObjectReference {
	return w.runThen(ctx, entity, method, do, func(types.BaseMethodFault) {}, hosts...)
}

// runThen tells somebody how the task ended.
func (w *World) runThen(ctx *simulator.Context, entity mo.Reference, method string, do func(*simulator.Context, *simulator.Task) (any, types.BaseMethodFault), then func(types.BaseMethodFault), hosts ...ref) types.ManagedObjectReference {
	ref := entity.Reference()
	task := simulator.CreateTask(ref, method, nil)
	task.Info.Name = method
	task.Info.DescriptionId = ref.Type + "." + strings.ToLower(method[:1]) + strings.TrimSuffix(method[1:], "_Task")
	task.Self = types.ManagedObjectReference{Type: "Task", Value: "task-" + itoa(w.taskCounter.Add(1)+1_000_000)}
	task.Info.Key, task.Info.Task = task.Self.Value, task.Self
	if e, ok := entity.(mo.Entity); ok {
		task.Info.EntityName = entityName(e)
	}
	if ctx.Session != nil {
		task.Info.Reason = &types.TaskReasonUser{UserName: ctx.Session.UserName}
	}
	started := time.Now()
	task.Info.State, task.Info.StartTime = types.TaskInfoStateRunning, &started
	task.Info.Cancelable = method == "MigrateVM_Task" || method == "RelocateVM_Task"
	// Upstream would write the task into the entity's recentTask, which its property update cannot do to a switch
	// of the concrete type; an entity that does not exist keeps it from trying.
	task.Info.Entity = &types.ManagedObjectReference{Type: ref.Type, Value: "none"}
	w.reg.Put(task)
	task.Info.Entity = &ref
	own := fork(ctx)
	go func() {
		w.listTask(own, entity, task.Self)
		result, fault := guarded(method, func() (any, types.BaseMethodFault) {
			return w.faults.spoilt(method, entity, hosts, func() (any, types.BaseMethodFault) { return do(own, task) })
		})
		w.finish(own, task, result, fault)
		then(fault)
	}()
	return task.Self
}

// recentTasks is how many of its tasks an entity lists; vCenter has such a limit, too.
const recentTasks = 200

// listTask puts a task among its entity's recent ones.
func (w *World) listTask(ctx *simulator.Context, entity mo.Reference, task ref) {
	e, ok := entity.(mo.Entity)
	if !ok {
		return
	}
	ctx.WithLock(entity, func() {
		listed := append(e.Entity().RecentTask[:len(e.Entity().RecentTask):len(e.Entity().RecentTask)], task)
		e.Entity().RecentTask = listed[max(0, len(listed)-recentTasks):]
	})
	w.hub.touch(entity.Reference(), "recentTask")
}

func (w *World) finish(ctx *simulator.Context, task *simulator.Task, result any, fault types.BaseMethodFault) {
	changes := []types.PropertyChange{set("info.completeTime", time.Now())}
	if fault != nil {
		changes = append(changes, set("info.error", types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultName(fault)}),
			set("info.state", types.TaskInfoStateError))
	} else {
		if result != nil {
			changes = append(changes, set("info.result", result))
		}
		changes = append(changes, set("info.state", types.TaskInfoStateSuccess))
	}
	ctx.WithLock(task, func() {
		if !cancelled(task) { // else CancelTask has finished it
			ctx.Update(task, changes)
		}
	})
}

func cancelled(task *simulator.Task) bool { return task.Info.Cancelled }

// keptTasks is how many tasks stay readable; vCenter keeps them for about ten minutes.
const keptTasks = 4000

// forgetOldTasks keeps memory flat over a long run.
func (w *World) forgetOldTasks(task types.ManagedObjectReference) {
	for {
		select {
		case w.oldTasks <- task:
			return
		default:
		}
		select {
		case old := <-w.oldTasks:
			go w.reg.Remove(w.context(), old)
		default:
		}
	}
}

// guarded turns a panic into a fault: one bad request must not end the process for every other client.
func guarded(name string, do func() (any, types.BaseMethodFault)) (result any, fault types.BaseMethodFault) {
	defer func() {
		if p := recover(); p != nil {
			log.Printf("panic in %s: %v\n%s", name, p, debug.Stack())
			result, fault = nil, &types.SystemError{RuntimeFault: types.RuntimeFault{}, Reason: name}
		}
	}()
	return do()
}

// handler chooses who answers a call: our methods for the objects we extend, else upstream's object (nil).
func (w *World) handler(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if ctx.Session == nil && !beforeLogin[method.Name] {
		return nil, notAuthenticated(method.This)
	}
	if fault := w.door.passes(ctx, method); fault != nil {
		return nil, fault
	}
	if fault := w.authority.check(ctx, method); fault != nil {
		return nil, fault
	}
	if method.Name == "Fetch" {
		return w.divert(method, &fetcher{w: w})
	}
	switch obj := w.reg.Get(method.This).(type) {
	case *simulator.DistributedVirtualSwitch:
		return w.divert(method, &switchMethods{DistributedVirtualSwitch: obj, w: w})
	case *simulator.DistributedVirtualPortgroup:
		return w.divert(method, &portGroupMethods{DistributedVirtualPortgroup: obj, w: w})
	case *simulator.DistributedVirtualSwitchManager:
		return w.divert(method, &switchManagerMethods{DistributedVirtualSwitchManager: obj, w: w})
	case *simulator.VirtualMachine:
		return w.divert(method, &vmMethods{VirtualMachine: obj, w: w})
	case *simulator.Folder:
		return w.divert(method, &folderMethods{Folder: obj, w: w})
	case *simulator.HostSystem:
		return w.divert(method, &hostMethods{HostSystem: obj, w: w})
	case *simulator.HostNetworkSystem:
		return w.divert(method, &hostNetworkMethods{HostNetworkSystem: obj})
	case *simulator.AuthorizationManager:
		return w.divert(method, &authorizationMethods{AuthorizationManager: obj, w: w})
	case *simulator.ViewManager:
		return w.divert(method, &viewManagerMethods{ViewManager: obj, w: w})
	case *simulator.EventManager:
		return w.divert(method, &eventManagerMethods{EventManager: obj, w: w})
	}
	return nil, nil
}

// divert makes upstream use our object.  Service.call prefers what the session finds under the called name,
// so the call gets a name that exists nowhere.
func (w *World) divert(method *simulator.Method, obj mo.Reference) (mo.Reference, types.BaseMethodFault) {
	method.This.Value = "isthmus:" + method.This.Value
	return obj, nil
}

var beforeLogin = map[string]bool{
	"Login": true, "LoginByToken": true, "LoginExtensionByCertificate": true, "CloneSession": true,
	"RetrieveServiceContent": true, "RetrieveInternalContent": true, "CurrentTime": true, "Fetch": true,
}

func notAuthenticated(obj types.ManagedObjectReference) types.BaseMethodFault {
	return &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &obj, PrivilegeId: "System.View"}}
}

// sessionAlive says whether a session still exists: it ends by logout, termination or idling.
func (w *World) sessionAlive(s types.UserSession) bool {
	res, ok := w.reg.SessionManager().SessionIsActive(w.context(), &types.SessionIsActive{SessionID: s.Key, UserName: s.UserName}).(*methods.SessionIsActiveBody)
	return ok && res.Res != nil && res.Res.Returnval
}

func faultBody(fault types.BaseMethodFault) *soap.Fault {
	return simulator.Fault(faultName(fault), fault)
}

// recovering answers a call whose code panicked with a closed connection and a logged stack, and keeps serving.
func recovering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == http.ErrAbortHandler {
				panic(p)
			}
			if p != nil {
				log.Printf("panic in a call from %s: %v\n%s", r.RemoteAddr, p, debug.Stack())
				w.WriteHeader(http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// Faults on demand: rules of a test that spoil the calls and the tasks of clients.
// Law: a call is spoilt before anything of it is done, or after all of it is done; nothing is half done by a rule.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// rule says which calls are spoilt, and how.  What is left out selects everything.
type rule struct {
	ID     int    `json:"id"`
	Method string `json:"method"` // as in the API: ReconfigureDVPort_Task
	Object string `json:"object"` // the name or the reference of what is called
	Host   string `json:"host"`   // calls about this host: itself, its network, a VM on it, a port on it

	Act        string          `json:"act"` // fault, delay, hang, drop, unavailable
	After      bool            `json:"after"`
	InTask     bool            `json:"inTask"` // spoil the task that the call starts, not the call
	Fault      string          `json:"fault"`
	Arguments  json.RawMessage `json:"arguments"`
	DelayMs    int             `json:"delayMs"`
	RetryAfter int             `json:"retryAfter"`

	Probability float64 `json:"probability"` // 0 means always
	Skip        int     `json:"skip"`        // the first so many matching calls go through
	Count       int     `json:"count"`       // after so many the rule rests; 0 means never

	Matched int `json:"matched"`
	Struck  int `json:"struck"`

	released chan struct{}
}

type faults struct {
	w *World

	mu    sync.Mutex
	rules []*rule
	dice  *rand.Rand
	last  int
}

func newFaults(w *World) *faults {
	return &faults{w: w, dice: rand.New(rand.NewSource(1))}
}

// occasion is a call, or a task at work, to which rules may apply.
type occasion struct {
	method string
	this   ref
	inTask bool
	hosts  []ref // further hosts that it touches
}

var acts = []string{"fault", "delay", "hang", "drop", "unavailable"}

func (f *faults) add(r *rule) (int, error) {
	switch {
	case !slices.Contains(acts, r.Act):
		return 0, fmt.Errorf("act %q is none of %v", r.Act, acts)
	case r.InTask && (r.Act == "drop" || r.Act == "unavailable"):
		return 0, fmt.Errorf("a task has no connection to %s", r.Act)
	case r.Act == "unavailable" && r.After:
		return 0, fmt.Errorf("unavailable means that nothing was done; drop the connection after the call instead")
	case r.Probability < 0 || r.Probability > 1:
		return 0, fmt.Errorf("probability %v", r.Probability)
	}
	if r.Act == "fault" {
		if _, err := makeFault(r.Fault, r.Arguments, ref{}); err != nil {
			return 0, err
		}
	}
	for _, name := range []string{r.Object, r.Host} {
		if name != "" && len(f.w.called(name)) == 0 {
			return 0, fmt.Errorf("there is no %q", name)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	r.ID, r.Matched, r.Struck, r.released = f.last, 0, 0, make(chan struct{})
	f.rules = append(f.rules, r)
	return r.ID, nil
}

// list copies the rules.
func (f *faults) list() []rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	rules := make([]rule, len(f.rules))
	for i, r := range f.rules {
		rules[i] = *r
	}
	return rules
}

// clear takes out one rule, or all with 0, and lets go of what hangs on them.
func (f *faults) clear(id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = slices.DeleteFunc(f.rules, func(r *rule) bool {
		if id != 0 && r.ID != id {
			return false
		}
		close(r.released)
		return true
	})
}

// release lets go of what hangs on a rule, which goes on to catch others.
func (f *faults) release(id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if id == 0 || r.ID == id {
			close(r.released)
			r.released = make(chan struct{})
		}
	}
}

func (f *faults) seed(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dice = rand.New(rand.NewSource(n))
}

// roll throws the seeded dice.
func (f *faults) roll() float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dice.Float64()
}

func (f *faults) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.rules) > 0
}

// strike is what the rules do to an occasion, as copies: every matching delay and hang, and the first rule that ends it.
func (f *faults) strike(o occasion) (before, after []rule) {
	f.mu.Lock()
	candidates := slices.Clone(f.rules)
	f.mu.Unlock()
	if len(candidates) == 0 {
		return nil, nil
	}
	candidates = slices.DeleteFunc(candidates, func(r *rule) bool { return !f.w.meets(r, o) }) // outside the mutex: it reads the inventory
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range candidates {
		r.Matched++
		if r.Matched <= r.Skip || r.Count > 0 && r.Struck >= r.Count || r.Probability > 0 && f.dice.Float64() >= r.Probability {
			continue
		}
		r.Struck++
		if r.After {
			after = append(after, *r)
		} else {
			before = append(before, *r)
		}
		if r.Act != "delay" && r.Act != "hang" {
			break
		}
	}
	return before, after
}

func (w *World) meets(r *rule, o occasion) bool {
	if r.InTask != o.inTask || r.Method != "" && r.Method != o.method {
		return false
	}
	if r.Object != "" && r.Object != o.this.Value && !slices.Contains(w.called(r.Object), o.this) {
		return false
	}
	if r.Host == "" {
		return true
	}
	hosts := o.hosts
	if vm := w.vm(o.this); vm != nil && vm.Runtime.Host != nil {
		hosts = append(hosts, *vm.Runtime.Host)
	}
	if network, ok := w.reg.Get(o.this).(*simulator.HostNetworkSystem); ok && network.Host != nil {
		hosts = append(hosts, network.Host.Self)
	}
	for _, h := range w.called(r.Host) {
		if h == o.this || slices.Contains(hosts, h) {
			return true
		}
	}
	return false
}

// called finds the objects with this reference value or name.
func (w *World) called(name string) []ref {
	var found []ref
	for _, e := range w.reg.All("") {
		if e.Reference().Value == name || entityName(e) == name {
			found = append(found, e.Reference())
		}
	}
	if len(found) == 0 {
		for _, kind := range []string{"EventManager", "SessionManager", "PropertyCollector", "ViewManager", "DistributedVirtualSwitchManager"} {
			for _, obj := range w.reg.AllReference(kind) {
				if obj.Reference().Value == name || kind == name {
					found = append(found, obj.Reference())
				}
			}
		}
	}
	return found
}

// makeFault makes a fault of the API from its name and the JSON of its fields.
func makeFault(name string, arguments json.RawMessage, this ref) (types.BaseMethodFault, error) {
	t, known := types.TypeFunc()(name)
	if !known {
		return nil, fmt.Errorf("the API has no fault %q", name)
	}
	fault, ok := reflect.New(t).Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%s is no fault", name)
	}
	switch f := fault.(type) { // fields that a client may not find unset
	case *types.NotAuthenticated:
		f.Object, f.PrivilegeId = &this, "System.View"
	case *types.NoPermission:
		f.Object, f.PrivilegeId = &this, "System.View"
	case *types.ManagedObjectNotFound:
		f.Obj = this
	}
	if len(arguments) > 0 {
		if err := json.Unmarshal(arguments, fault); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return fault, nil
}

// endure waits through the delays and hangs of a strike and returns the rule that ends the occasion, if one does.
func endure(struck []rule, abandoned <-chan struct{}) *rule {
	for i := range struck {
		r := &struck[i]
		switch r.Act {
		case "delay":
			select {
			case <-time.After(time.Duration(r.DelayMs) * time.Millisecond):
			case <-r.released:
			}
		case "hang":
			select {
			case <-r.released:
			case <-abandoned:
			}
		default:
			return r
		}
	}
	return nil
}

// around spoils calls on their way in and their answers on the way out.
func (f *faults) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if !f.any() || r.Method != http.MethodPost {
			next.ServeHTTP(out, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		o := occasion{}
		if method, err := simulator.UnmarshalBody(vim25types, body); err == nil {
			o.method, o.this = method.Name, method.This
		}
		before, after := f.strike(o)
		if end := endure(before, r.Context().Done()); end != nil {
			end.answer(out, o.this)
			return
		}
		if len(after) == 0 {
			next.ServeHTTP(out, r)
			return
		}
		held := &heldAnswer{header: http.Header{}, status: http.StatusOK}
		next.ServeHTTP(held, r)
		if end := endure(after, r.Context().Done()); end != nil {
			end.answer(out, o.this)
			return
		}
		held.send(out)
	})
}

var vim25types = types.TypeFunc()

// answer is what the client gets in place of the true answer.
func (r *rule) answer(out http.ResponseWriter, this ref) {
	switch r.Act {
	case "drop":
		panic(http.ErrAbortHandler) // the server closes the connection without a word
	case "unavailable":
		unavailable(out, r.RetryAfter)
	case "fault":
		fault, err := makeFault(r.Fault, r.Arguments, this)
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
			return
		}
		answerFault(out, fault)
	}
}

// heldAnswer keeps an answer until it is decided whether the client gets it.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heldAnswer) Header() http.Header         { return h.header }
func (h *heldAnswer) WriteHeader(status int)      { h.status = status }
func (h *heldAnswer) Write(p []byte) (int, error) { return h.body.Write(p) }

func (h *heldAnswer) send(out http.ResponseWriter) {
	for key, values := range h.header {
		out.Header()[key] = values
	}
	out.WriteHeader(h.status)
	_, _ = out.Write(h.body.Bytes())
}

// faultElement is a fault as SOAP carries it: an element named after its type, which says its type.
type faultElement struct{ fault types.BaseMethodFault }

func (f faultElement) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	name := faultName(f.fault)
	start.Name.Local = name + "Fault"
	start.Attr = []xml.Attr{
		{Name: xml.Name{Local: "xmlns"}, Value: "urn:" + vim25.Namespace}, {Name: xml.Name{Local: "xsi:type"}, Value: name},
	}
	return e.EncodeElement(f.fault, start)
}

func answerFault(out http.ResponseWriter, fault types.BaseMethodFault) {
	var detail bytes.Buffer
	e := xml.NewEncoder(&detail)
	err := e.Encode(faultElement{fault})
	if err == nil {
		err = e.Flush()
	}
	if err != nil {
		http.Error(out, err.Error(), http.StatusInternalServerError)
		return
	}
	out.Header().Set("Content-Type", "text/xml; charset=utf-8")
	out.WriteHeader(http.StatusInternalServerError)
	fmt.Fprintf(out, `%s<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" `+
		`xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>`+
		`<faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring><detail>%s</detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>`,
		xml.Header, faultName(fault), detail.String())
}

// spoilt runs a task's work under the rules for tasks.
func (f *faults) spoilt(method string, entity mo.Reference, hosts []ref, do func() (any, types.BaseMethodFault)) (any, types.BaseMethodFault) {
	before, after := f.strike(occasion{method: method, this: entity.Reference(), inTask: true, hosts: hosts})
	if end := endure(before, nil); end != nil {
		return nil, end.asFault(entity.Reference())
	}
	result, fault := do()
	if end := endure(after, nil); end != nil && fault == nil {
		return nil, end.asFault(entity.Reference())
	}
	return result, fault
}

// asFault is the fault of a rule, which could be made when the rule was added.
func (r *rule) asFault(this ref) types.BaseMethodFault {
	fault, _ := makeFault(r.Fault, r.Arguments, this)
	return fault
}

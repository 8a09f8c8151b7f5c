// The gate: the one place where clients reach the vCenter; it can be shut while the hosts go on.
// Law: what happens behind a shut gate is not told to anybody, and every session has ended when it opens again.

package main

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type gate struct {
	w       *World
	address string
	tls     *tls.Config // nil: plain HTTP
	handler http.Handler

	mu      sync.Mutex
	server  *http.Server // nil while connections are refused
	closed  bool         // nobody is served, in whichever way
	waiting int          // what Retry-After says while a proxy answers in the vCenter's place
}

// open begins to serve.
func (g *gate) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
	g.w.events.mute(false)
	if g.server != nil {
		return nil
	}
	listener, err := net.Listen("tcp", g.address)
	if err != nil {
		return err
	}
	g.address = listener.Addr().String() // a port that was chosen for us stays ours
	if g.tls != nil {
		listener = tls.NewListener(listener, g.tls)
	}
	g.server = &http.Server{Handler: g, ErrorLog: log.New(io.Discard, "", 0)} // a client that refuses our certificate is no news
	go func(server *http.Server) { _ = server.Serve(listener) }(g.server)
	return nil
}

// shut cuts every connection and ends every session.  A proxied vCenter answers 503 while it is away, another refuses connections.
func (g *gate) shut(proxied bool, retryAfter int) {
	g.mu.Lock()
	server := g.server
	g.closed, g.waiting = true, retryAfter
	if !proxied {
		g.server = nil
	}
	g.mu.Unlock()
	if server != nil && !proxied {
		server.Close()
	}
	g.w.endSessions()
	g.w.events.mute(true)
}

func (g *gate) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	closed, waiting := g.closed, g.waiting
	g.mu.Unlock()
	if closed {
		unavailable(out, waiting)
		return
	}
	g.handler.ServeHTTP(out, r)
}

func unavailable(out http.ResponseWriter, retryAfter int) {
	if retryAfter > 0 {
		out.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	http.Error(out, "503 Service Unavailable (Failed to connect to endpoint)", http.StatusServiceUnavailable)
}

// sessions lists who is logged in.
func (w *World) sessions() []types.UserSession {
	view, _ := w.system.Get(w.reg.SessionManager().Self).(*simulator.SessionManager)
	return view.SessionList
}

// endSessions ends every session with its collectors, filters and views.
func (w *World) endSessions() {
	for _, s := range w.sessions() {
		w.endSession(s.Key)
	}
}

func (w *World) endSession(key string) {
	w.reg.SessionManager().TerminateSession(w.context(), &types.TerminateSession{SessionId: []string{key}})
	w.hub.endSession(key)
}

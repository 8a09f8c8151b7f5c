// The control endpoint: what a test does behind the clients' backs, as JSON over a Unix socket.
// Law: it is open only when a flag names its socket; each act has a name and says what became of it.

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
)

// act is one thing that a test can ask for.
type act func(arguments json.RawMessage) (any, error)

// doing decodes an act's arguments, of which none may be unknown.
func doing[T any](do func(T) (any, error)) act {
	return func(arguments json.RawMessage) (any, error) {
		var asked T
		if err := strictly(arguments, &asked); err != nil {
			return nil, err
		}
		return do(asked)
	}
}

type nothing struct{}

type byID struct {
	ID int `json:"id"`
}

func (w *World) acts(g *gate) map[string]act {
	all := map[string]act{
		"faults.add":     doing(func(r rule) (any, error) { return w.faults.add(&r) }),
		"faults.list":    doing(func(nothing) (any, error) { return w.faults.list(), nil }),
		"faults.clear":   doing(func(r byID) (any, error) { w.faults.clear(r.ID); return nil, nil }),
		"faults.release": doing(func(r byID) (any, error) { w.faults.release(r.ID); return nil, nil }),
		"faults.seed": doing(func(s struct {
			Seed int64 `json:"seed"`
		}) (any, error) {
			w.faults.seed(s.Seed)
			return nil, nil
		}),
		"vcenter.leave": doing(func(how struct {
			Proxied    bool `json:"proxied"`
			RetryAfter int  `json:"retryAfter"`
		}) (any, error) {
			g.shut(how.Proxied, how.RetryAfter)
			return nil, nil
		}),
		"vcenter.return": doing(func(nothing) (any, error) { return nil, g.open() }),
	}
	maps.Copy(all, w.sessionActs())
	maps.Copy(all, w.hostActs())
	maps.Copy(all, w.eventActs())
	maps.Copy(all, w.authorityActs())
	return all
}

type controlled struct {
	Do        string          `json:"do"`
	Arguments json.RawMessage `json:"arguments"`
}

// control serves the acts on a Unix socket that only our own user can open.
func control(socket string, acts map[string]act) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("control endpoint: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return fmt.Errorf("control endpoint: %w", err)
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			var asked controlled
			answer := map[string]any{}
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				answer["error"] = err.Error()
			} else if do := acts[asked.Do]; do == nil {
				answer["error"] = fmt.Sprintf("there is no act %q", asked.Do)
			} else if result, err := do(asked.Arguments); err != nil {
				answer["error"] = fmt.Sprintf("%s: %v", asked.Do, err)
			} else {
				answer["result"] = result
			}
			out.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(out).Encode(answer)
		}))
	}()
	return nil
}

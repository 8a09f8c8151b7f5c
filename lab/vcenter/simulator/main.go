// A vCenter simulator for tests, demo and benchmarks of isthmus: govmomi's simulator with a real network model.

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type options struct {
	listen       string
	topologyFile string
	hosts, vms   int
	user         string
	password     string
	caFile       string
	identityFile string
	control      string
	wsdl         string
	sans         string
	plain        bool
	instanceUUID string
	migrateMs    int
	exitOnStdin  bool
	scratch      string
	ownScratch   bool
	trace        bool
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "address and port to serve; port 0 takes a free one")
	flag.StringVar(&o.topologyFile, "topology", "", "JSON file that says what the vCenter holds")
	flag.IntVar(&o.hosts, "hosts", 0, "without -topology: this many hosts")
	flag.IntVar(&o.vms, "vms", 0, "without -topology: this many VMs")
	flag.StringVar(&o.user, "user", "administrator@vsphere.local", "user who may log in")
	flag.StringVar(&o.password, "password", "", "the user's password (better: environment ISTHMUS_VCENTER_PASSWORD)")
	flag.StringVar(&o.caFile, "ca-file", "", "where to write the CA certificate made at start (PEM)")
	flag.StringVar(&o.identityFile, "identity-file", "", "file that keeps the CA and the certificate from one start to the next (PEM, with keys)")
	flag.StringVar(&o.control, "control", "", "Unix socket on which tests ask for faults and host events (default: none)")
	flag.StringVar(&o.wsdl, "wsdl", "", "file with the WSDL to serve, which upstream does not have (default: none)")
	flag.StringVar(&o.sans, "san", "", "further names and addresses for the server certificate, comma-separated")
	flag.BoolVar(&o.plain, "http", false, "serve plain HTTP instead of TLS")
	flag.StringVar(&o.instanceUUID, "instance-uuid", "", "AboutInfo.instanceUuid (default: derived from nothing, new at each start)")
	flag.IntVar(&o.migrateMs, "migrate-ms", 200, "how long a migration takes unless the VM says otherwise")
	flag.BoolVar(&o.exitOnStdin, "exit-on-stdin-close", false, "stop when standard input closes")
	flag.StringVar(&o.scratch, "scratch", "", "directory for temporary files (default: the system's)")
	flag.BoolVar(&o.ownScratch, "own-scratch", false, "remove the whole -scratch directory when standard input closes: its owner is dead")
	flag.BoolVar(&o.trace, "trace", false, "write all SOAP traffic to standard error")
	flag.Parse()
	if o.password == "" {
		o.password = os.Getenv("ISTHMUS_VCENTER_PASSWORD")
	}
	if o.password == "" {
		o.password = "isthmus"
	}
	return o
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	log.SetPrefix("vcenter ")
	o := parseFlags()
	dir, err := os.MkdirTemp(o.scratch, "isthmus-vcenter-")
	if err != nil {
		log.Fatalf("no scratch directory: %v", err)
	}
	err = serve(o, dir)
	os.RemoveAll(dir)
	if err != nil {
		log.Fatal(err)
	}
}

func serve(o options, dir string) error {
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if o.exitOnStdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			if o.ownScratch && o.scratch != "" {
				os.RemoveAll(o.scratch)
			}
			stop <- syscall.SIGTERM
		}()
	}
	go func() { // also while the inventory is still being built
		<-stop
		os.RemoveAll(dir)
		os.Exit(0)
	}()
	w, err := newVCenter(o, dir)
	if err != nil {
		return err
	}
	ready, err := open(o, w)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	select {} // the goroutine above ends the process
}

// newVCenter makes the inventory.
func newVCenter(o options, dir string) (*World, error) {
	var t *topology
	if o.topologyFile != "" {
		var err error
		if t, err = readTopology(o.topologyFile); err != nil {
			return nil, err
		}
	} else {
		t = quickTopology(o.hosts, o.vms)
	}
	os.Setenv("TMPDIR", dir) // upstream's model puts its directory there
	model := simulator.VPX()
	model.Datacenter, model.Cluster, model.ClusterHost, model.Host, model.Machine = 0, 0, 0, 0, 0
	model.Datastore, model.Portgroup, model.Pool, model.App = 0, 0, 0, 0
	model.ServiceContent.About.ApiVersion, model.ServiceContent.About.Version = "8.0.3.0", "8.0.3"
	model.ServiceContent.About.FullName = "VMware vCenter Server 8.0.3 (isthmus simulator)"
	if err := model.Create(); err != nil {
		return nil, err
	}
	instance := model.Service.Context.Map.Get(ref{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance)
	if o.instanceUUID != "" {
		instance.Content.About.InstanceUuid = o.instanceUUID
	}
	w := newWorld(model.Service)
	w.migrateFor = time.Duration(o.migrateMs) * time.Millisecond
	store := filepath.Join(dir, "datastore1")
	if err := os.Mkdir(store, 0o700); err != nil {
		return nil, err
	}
	started := time.Now()
	if err := w.build(t, store); err != nil {
		return nil, fmt.Errorf("topology: %w", err)
	}
	log.Printf("inventory built in %v", time.Since(started).Round(time.Millisecond))
	return w, nil
}

type readyLine struct {
	URL          string `json:"url"`
	CA           string `json:"ca"`
	Thumbprint   string `json:"thumbprint_sha256"`
	User         string `json:"user"`
	InstanceUUID string `json:"instance_uuid"`
	PID          int    `json:"pid"`
}

// open starts the server.
func open(o options, w *World) (*readyLine, error) {
	probe, err := net.Listen("tcp", o.listen) // upstream ends the process where it cannot listen
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", o.listen, err)
	}
	probe.Close()
	ready := &readyLine{User: o.user, CA: o.caFile, PID: os.Getpid()}
	service := w.service
	if !o.plain {
		id, err := keptIdentity(o.identityFile, append(strings.Split(o.sans, ","), hostOf(o.listen)))
		if err != nil {
			return nil, err
		}
		if o.caFile != "" {
			if err := id.writeCA(o.caFile); err != nil {
				return nil, err
			}
		}
		service.TLS, ready.Thumbprint = id.config, id.thumbprint
	}
	simulator.Trace = o.trace
	w.reg.SessionManager().ValidLogin = func(req *types.Login) bool {
		right := req.UserName == o.user && req.Password == o.password || w.authority.knows(req.UserName, req.Password)
		return w.door.admits(req.UserName, right)
	}
	if o.wsdl != "" {
		service.HandleFunc("/sdk/vimService.wsdl", func(out http.ResponseWriter, in *http.Request) { http.ServeFile(out, in, o.wsdl) })
	}
	service.Listen = &url.URL{Host: o.listen, User: url.UserPassword(o.user, o.password)}
	server := service.NewServer()
	// Upstream's server can neither be closed and opened again nor count its connections: ours takes its place.
	address := server.Listener.Addr().String()
	server.Close()
	g := &gate{w: w, address: address, tls: service.TLS, handler: w.faults.around(w.door.around(recovering(server.Config.Handler)))}
	if err := g.open(); err != nil {
		return nil, err
	}
	if o.control != "" {
		if err := control(o.control, w.acts(g)); err != nil {
			return nil, err
		}
	}
	go w.hub.tend()
	go w.door.tend()
	ready.URL = (&url.URL{Scheme: server.URL.Scheme, Host: server.URL.Host, Path: "/sdk"}).String()
	ready.InstanceUUID = w.service.Context.Map.Get(ref{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content.About.InstanceUuid
	return ready, nil
}

func hostOf(listen string) string {
	host, _, _ := net.SplitHostPort(listen)
	if host == "0.0.0.0" || host == "::" {
		return ""
	}
	return host
}

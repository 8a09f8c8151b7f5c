// What upstream leaves empty although a real vCenter never does: pyVmomi cannot read an empty enumeration.

package main

import (
	"reflect"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func fillEnumerations(vm *simulator.VirtualMachine) {
	for _, runtime := range []*types.VirtualMachineRuntimeInfo{&vm.Runtime, &vm.Summary.Runtime} {
		if runtime.FaultToleranceState == "" {
			runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
		}
		if runtime.RecordReplayState == "" {
			runtime.RecordReplayState = types.VirtualMachineRecordReplayStateInactive
		}
	}
}

// fillMethodName makes a task name the method that started it; upstream writes names that no client knows.
func fillMethodName(task *simulator.Task) {
	if _, known := types.TypeFunc()(task.Info.Name); known && strings.HasSuffix(task.Info.Name, "_Task") {
		return
	}
	short := task.Info.Name
	for _, method := range []string{short + "_Task", short + "VM_Task", strings.TrimSuffix(short, "Vm") + "VM_Task"} {
		if _, known := types.TypeFunc()(method); known {
			task.Info.Name = method
			return
		}
	}
	task.Info.Name = ""
}

// dropDangling empties a host's references to managers that upstream's template names but does not make.
func (w *World) dropDangling(host *simulator.HostSystem) {
	managers := reflect.ValueOf(&host.ConfigManager).Elem()
	for i := range managers.NumField() {
		if f, ok := managers.Field(i).Interface().(*types.ManagedObjectReference); ok && f != nil && w.reg.Get(*f) == nil {
			managers.Field(i).SetZero()
		}
	}
}

// fillServices completes the service objects once, at start.
func (w *World) fillServices() {
	for _, obj := range w.reg.AllReference("HostSnmpSystem") {
		if v, ok := managed(obj); ok {
			if f := v.FieldByName("Limits"); f.IsValid() && f.CanAddr() {
				f.Addr().Interface().(*types.HostSnmpSystemAgentLimits).Capability = types.HostSnmpAgentCapabilityCOMPLETE
			}
		}
	}
}

// unmodelled are properties of the API that govmomi has no field for; they read as unset.
var unmodelled = map[string]bool{"configManagerEnabled": true, "summaryEx": true}

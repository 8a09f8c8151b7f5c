// What upstream leaves empty although a real vCenter never does: pyVmomi cannot read an empty enumeration.

package main

import (
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

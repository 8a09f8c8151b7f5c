// Port settings: a switch has defaults, a port group overrides some of them, a port overrides some of those.
// Law: a level stores only what it overrides; what a reader sees is computed, with `inherited` right at every depth.

package main

import (
	"reflect"

	"github.com/vmware/govmomi/vim25/types"
)

type portSetting = types.VMwareDVSPortSetting

// asSetting accepts the base type as well, which some clients send.
func asSetting(s types.BaseDVPortSetting) *portSetting {
	switch s := s.(type) {
	case *portSetting:
		return s
	case *types.DVPortSetting:
		if s != nil {
			return &portSetting{DVPortSetting: *s}
		}
	}
	return nil
}

var settingType = reflect.TypeFor[portSetting]()

// override merges what a client wrote into what a level overrides already: only what is set changes,
// and a policy that says inherited=true stops being overridden.
func override(own, spec *portSetting) *portSetting {
	if own == nil {
		own = &portSetting{}
	} else {
		own = clone(own)
	}
	if spec == nil {
		return own
	}
	spec = clone(spec)
	mergePolicies(reflect.ValueOf(own).Elem(), reflect.ValueOf(spec).Elem())
	mirrorSecurity(own, spec)
	return own
}

// mirrorSecurity keeps the two places of the three security flags equal: macManagementPolicy replaced
// securityPolicy in vSphere 6.7, and a client writes either.
func mirrorSecurity(own, spec *portSetting) {
	security, mac := spec.SecurityPolicy, spec.MacManagementPolicy
	switch {
	case security != nil && mac == nil:
		if security.Inherited {
			if m := own.MacManagementPolicy; m != nil {
				m.AllowPromiscuous, m.MacChanges, m.ForgedTransmits = nil, nil, nil
			}
			return
		}
		if own.MacManagementPolicy == nil {
			own.MacManagementPolicy = &types.DVSMacManagementPolicy{}
		}
		m := own.MacManagementPolicy
		for _, flag := range []struct {
			to   **bool
			from *types.BoolPolicy
		}{{&m.AllowPromiscuous, security.AllowPromiscuous}, {&m.MacChanges, security.MacChanges}, {&m.ForgedTransmits, security.ForgedTransmits}} {
			if flag.from != nil {
				*flag.to = nil
				if !flag.from.Inherited {
					*flag.to = flag.from.Value
				}
			}
		}
	case mac != nil && security == nil:
		if mac.Inherited {
			own.SecurityPolicy = nil
			return
		}
		if own.SecurityPolicy == nil {
			own.SecurityPolicy = &types.DVSSecurityPolicy{}
		}
		s := own.SecurityPolicy
		for _, flag := range []struct {
			to   **types.BoolPolicy
			from *bool
		}{{&s.AllowPromiscuous, mac.AllowPromiscuous}, {&s.MacChanges, mac.MacChanges}, {&s.ForgedTransmits, mac.ForgedTransmits}} {
			if flag.from != nil {
				*flag.to = &types.BoolPolicy{Value: flag.from}
			}
		}
	}
}

// isPolicy says whether a field holds something with an `inherited` flag.
func isPolicy(t reflect.Type) bool {
	if t.Kind() == reflect.Interface {
		return true // only the VLAN is declared by interface
	}
	if t.Kind() != reflect.Pointer || t.Elem().Kind() != reflect.Struct {
		return false
	}
	_, ok := t.Elem().FieldByName("Inherited")
	return ok
}

func inherited(v reflect.Value) bool {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return false
		}
		v = v.Elem()
	}
	f := v.FieldByName("Inherited")
	return f.IsValid() && f.Bool()
}

func mergePolicies(own, spec reflect.Value) {
	for i := range spec.NumField() {
		field := spec.Type().Field(i)
		from, to := spec.Field(i), own.Field(i)
		switch {
		case field.Name == "InheritablePolicy":
		case field.Anonymous:
			mergePolicies(to, from)
		case isPolicy(field.Type):
			switch {
			case from.IsNil():
			case inherited(from):
				to.SetZero()
			case field.Type.Kind() == reflect.Interface:
				to.Set(from)
			default:
				if to.IsNil() {
					to.Set(reflect.New(field.Type.Elem()))
				}
				mergePolicies(to.Elem(), from.Elem())
			}
		default:
			mergePlain(to, from)
		}
	}
}

func mergePlain(to, from reflect.Value) {
	switch from.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.String:
		if !from.IsZero() {
			to.Set(from)
		}
	default:
		to.Set(from)
	}
}

// effective lays what a level overrides over what it inherits.
func effective(base, own *portSetting) *portSetting {
	shown := clone(base)
	markInherited(reflect.ValueOf(shown).Elem())
	if own != nil {
		layOver(reflect.ValueOf(shown).Elem(), reflect.ValueOf(clone(own)).Elem())
	}
	return shown
}

func markInherited(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			markInherited(v.Elem())
		}
	case reflect.Struct:
		if f := v.FieldByName("Inherited"); f.IsValid() && f.CanSet() {
			f.SetBool(true)
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Anonymous || isPolicy(f.Type) {
				markInherited(v.Field(i))
			}
		}
	}
}

func layOver(shown, own reflect.Value) {
	for i := range own.NumField() {
		field := own.Type().Field(i)
		from, to := own.Field(i), shown.Field(i)
		switch {
		case field.Name == "InheritablePolicy":
			to.FieldByName("Inherited").SetBool(false)
		case field.Anonymous:
			layOver(to, from)
		case !isPolicy(field.Type):
			mergePlain(to, from)
		case from.IsNil():
		case field.Type.Kind() == reflect.Interface || to.IsNil():
			to.Set(from)
		default:
			layOver(to.Elem(), from.Elem())
		}
	}
}

// switchDefaults are the settings of a new switch.
func switchDefaults() *portSetting {
	no := func() *types.BoolPolicy { return &types.BoolPolicy{Value: types.NewBool(false)} }
	shaping := func() *types.DVSTrafficShapingPolicy {
		return &types.DVSTrafficShapingPolicy{
			Enabled:          no(),
			AverageBandwidth: &types.LongPolicy{Value: 100_000_000},
			PeakBandwidth:    &types.LongPolicy{Value: 100_000_000},
			BurstSize:        &types.LongPolicy{Value: 104_857_600},
		}
	}
	return &portSetting{
		DVPortSetting: types.DVPortSetting{
			Blocked:                 no(),
			VmDirectPathGen2Allowed: no(),
			InShapingPolicy:         shaping(),
			OutShapingPolicy:        shaping(),
			VendorSpecificConfig:    &types.DVSVendorSpecificConfig{},
			NetworkResourcePoolKey:  &types.StringPolicy{Value: "-1"},
			FilterPolicy:            &types.DvsFilterPolicy{},
		},
		Vlan:   &types.VmwareDistributedVirtualSwitchVlanIdSpec{},
		QosTag: &types.IntPolicy{Value: -1},
		UplinkTeamingPolicy: &types.VmwareUplinkPortTeamingPolicy{
			Policy:          &types.StringPolicy{Value: "loadbalance_srcid"},
			ReversePolicy:   &types.BoolPolicy{Value: types.NewBool(true)},
			NotifySwitches:  &types.BoolPolicy{Value: types.NewBool(true)},
			RollingOrder:    no(),
			FailureCriteria: &types.DVSFailureCriteria{CheckBeacon: no()},
			UplinkPortOrder: &types.VMwareUplinkPortOrderPolicy{},
		},
		SecurityPolicy: &types.DVSSecurityPolicy{AllowPromiscuous: no(), MacChanges: no(), ForgedTransmits: no()},
		IpfixEnabled:   no(),
		TxUplink:       no(),
		LacpPolicy:     &types.VMwareUplinkLacpPolicy{Enable: no(), Mode: &types.StringPolicy{Value: "passive"}},
		MacManagementPolicy: &types.DVSMacManagementPolicy{
			AllowPromiscuous: types.NewBool(false), MacChanges: types.NewBool(false), ForgedTransmits: types.NewBool(false),
			MacLearningPolicy: &types.DVSMacLearningPolicy{
				AllowUnicastFlooding: types.NewBool(true), Limit: types.NewInt32(4096), LimitPolicy: "DROP",
			},
		},
	}
}

// checkSetting refuses values outside what 802.1Q and the API allow.
func checkSetting(s types.BaseDVPortSetting, where string) types.BaseMethodFault {
	setting := asSetting(s)
	if setting == nil {
		return nil
	}
	invalid := func(property string) types.BaseMethodFault {
		return &types.InvalidArgument{InvalidProperty: where + "." + property}
	}
	switch vlan := setting.Vlan.(type) {
	case *types.VmwareDistributedVirtualSwitchVlanIdSpec:
		if vlan.VlanId < 0 || vlan.VlanId > 4094 {
			return invalid("vlan.vlanId")
		}
	case *types.VmwareDistributedVirtualSwitchTrunkVlanSpec:
		for _, r := range vlan.VlanId {
			if r.Start < 0 || r.End > 4094 || r.Start > r.End {
				return invalid("vlan.vlanId")
			}
		}
	case *types.VmwareDistributedVirtualSwitchPvlanSpec:
		if vlan.PvlanId < 1 || vlan.PvlanId > 4094 {
			return invalid("vlan.pvlanId")
		}
	}
	if mac := setting.MacManagementPolicy; mac != nil && mac.MacLearningPolicy != nil {
		learning := mac.MacLearningPolicy
		if learning.Limit != nil && (*learning.Limit < 0 || *learning.Limit > 4096) {
			return invalid("macManagementPolicy.macLearningPolicy.limit")
		}
		switch learning.LimitPolicy {
		case "", "ALLOW", "DROP":
		default:
			return invalid("macManagementPolicy.macLearningPolicy.limitPolicy")
		}
	}
	return nil
}

// forbidden names the first override in a spec that the port group's policy does not allow.
func forbidden(spec *portSetting, policy *types.VMwareDVSPortgroupPolicy) string {
	yes := func(b *bool) bool { return b != nil && *b }
	for _, gate := range []struct {
		name    string
		policy  any
		allowed bool
	}{
		{"blocked", spec.Blocked, policy.BlockOverrideAllowed},
		{"inShapingPolicy", spec.InShapingPolicy, policy.ShapingOverrideAllowed},
		{"outShapingPolicy", spec.OutShapingPolicy, policy.ShapingOverrideAllowed},
		{"vendorSpecificConfig", spec.VendorSpecificConfig, policy.VendorConfigOverrideAllowed},
		{"networkResourcePoolKey", spec.NetworkResourcePoolKey, yes(policy.NetworkResourcePoolOverrideAllowed)},
		{"filterPolicy", spec.FilterPolicy, yes(policy.TrafficFilterOverrideAllowed)},
		{"vlan", spec.Vlan, policy.VlanOverrideAllowed},
		{"uplinkTeamingPolicy", spec.UplinkTeamingPolicy, policy.UplinkTeamingOverrideAllowed},
		{"securityPolicy", spec.SecurityPolicy, policy.SecurityPolicyOverrideAllowed},
		{"macManagementPolicy", spec.MacManagementPolicy, yes(policy.MacManagementOverrideAllowed)},
		{"ipfixEnabled", spec.IpfixEnabled, yes(policy.IpfixOverrideAllowed)},
	} {
		v := reflect.ValueOf(gate.policy)
		if v.IsValid() && !v.IsNil() && !inherited(v) && !gate.allowed {
			return gate.name
		}
	}
	return ""
}

// vlanIDs is the VLAN of a setting as runtime state shows it.
func vlanIDs(s *portSetting) (ids []types.NumericRange, trunk bool) {
	switch vlan := s.Vlan.(type) {
	case *types.VmwareDistributedVirtualSwitchVlanIdSpec:
		return []types.NumericRange{{Start: vlan.VlanId, End: vlan.VlanId}}, false
	case *types.VmwareDistributedVirtualSwitchTrunkVlanSpec:
		return append([]types.NumericRange(nil), vlan.VlanId...), true
	case *types.VmwareDistributedVirtualSwitchPvlanSpec:
		return []types.NumericRange{{Start: vlan.PvlanId, End: vlan.PvlanId}}, false
	}
	return nil, false
}

func blocked(s *portSetting) bool {
	return s.Blocked != nil && s.Blocked.Value != nil && *s.Blocked.Value
}

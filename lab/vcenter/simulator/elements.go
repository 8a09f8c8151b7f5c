// Partial updates of arrays: which elements came, went or changed since the client was last told.

package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"reflect"
	"sort"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// isArray says whether a path leads to an array whose elements have keys.
func isArray(v reflect.Value, p string) bool {
	steps, ok := parsePath(p)
	if !ok {
		return false
	}
	for _, s := range steps {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			if v.IsNil() {
				return false
			}
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || s.keyed {
			return false
		}
		f, ok := fieldOf(v.Type(), s.name)
		if !ok {
			return false
		}
		v = v.FieldByIndex(f.Index)
	}
	if v.Kind() != reflect.Slice {
		return false
	}
	for i := range v.Len() {
		if _, ok := elementKey(v.Index(i)); !ok {
			return false
		}
	}
	return keyed(v.Type().Elem())
}

// keyed: device lists are told element by element; other arrays whole.
func keyed(t reflect.Type) bool { return t.Name() == "BaseVirtualDevice" }

// elementChanges compares an array with what the client knows of it.
func (t *tracked) elementChanges(i int, p string, v reflect.Value) []types.PropertyChange {
	val, isSet, _ := readPath(v, p)
	now := map[string]uint64{}
	values := map[string]any{}
	if isSet {
		for key, element := range elementsOf(val) {
			now[key] = fingerprint(element)
			values[key] = element.Interface()
		}
	}
	var changes []types.PropertyChange
	for _, key := range sortedStrings(now) {
		name := p + "[" + keyText(val, key) + "]"
		switch before, knew := t.elements[i][key]; {
		case !knew:
			changes = append(changes, types.PropertyChange{Name: name, Op: types.PropertyChangeOpAdd, Val: values[key]})
		case before != now[key]:
			changes = append(changes, types.PropertyChange{Name: name, Op: types.PropertyChangeOpAssign, Val: values[key]})
		}
	}
	for _, key := range sortedStrings(t.elements[i]) {
		if _, still := now[key]; !still {
			changes = append(changes, types.PropertyChange{Name: p + "[" + keyText(val, key) + "]", Op: types.PropertyChangeOpRemove})
		}
	}
	t.elements[i] = now
	return changes
}

// keyText writes a key as paths do: numbers bare, strings quoted.
func keyText(array any, key string) string {
	for _, element := range elementsOf(array) {
		for element.Kind() == reflect.Pointer || element.Kind() == reflect.Interface {
			element = element.Elem()
		}
		if element.FieldByName("Key").Kind() == reflect.String {
			return `"` + key + `"`
		}
		break
	}
	return key
}

// elementsOf opens an ArrayOf value by key.
func elementsOf(array any) map[string]reflect.Value {
	elements := map[string]reflect.Value{}
	v := reflect.ValueOf(array)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct || v.Elem().NumField() != 1 {
		return elements
	}
	slice := v.Elem().Field(0)
	if slice.Kind() != reflect.Slice {
		return elements
	}
	for i := range slice.Len() {
		if key, ok := elementKey(slice.Index(i)); ok {
			elements[key] = slice.Index(i)
		}
	}
	return elements
}

func fingerprints(array any) map[string]uint64 {
	prints := map[string]uint64{}
	for key, element := range elementsOf(array) {
		prints[key] = fingerprint(element)
	}
	return prints
}

func fingerprint(v reflect.Value) uint64 {
	h := fnv.New64a()
	feed(h, v)
	return h.Sum64()
}

func feed(h io.Writer, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			io.WriteString(h, "~")
			return
		}
		feed(h, v.Elem())
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			io.WriteString(h, t.String())
			return
		}
		io.WriteString(h, v.Type().Name())
		for i := range v.NumField() {
			feed(h, v.Field(i))
		}
	case reflect.Slice:
		for i := range v.Len() {
			feed(h, v.Index(i))
		}
		io.WriteString(h, ";")
	default:
		fmt.Fprintf(h, "%v|", v.Interface())
	}
}

func sortedStrings[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		return len(keys[i]) < len(keys[j]) || len(keys[i]) == len(keys[j]) && keys[i] < keys[j]
	})
	return keys
}

// Reading managed objects: a property path in, a value for the wire out.
// Law: what is returned shares no memory with the object, so it may be encoded after the object's lock is gone.

package main

import (
	"path"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// managed digs out the vim25/mo struct that a simulator object wraps.
func managed(obj mo.Reference) (reflect.Value, bool) {
	if o, ok := obj.(interface{ Get() mo.Reference }); ok {
		obj = o.Get() // computed properties, as those of event collectors and views
	}
	v := reflect.ValueOf(obj)
	for {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			if v.IsNil() {
				return reflect.Value{}, false
			}
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct || v.NumField() == 0 {
			return reflect.Value{}, false
		}
		if path.Base(v.Type().PkgPath()) == "mo" {
			return v, true
		}
		v = v.Field(0)
	}
}

// isA says whether an object of this managed type is one of the named type or of one derived from it.
func isA(ref types.ManagedObjectReference, t reflect.Type, want string) bool {
	if ref.Type == want || t.Name() == want {
		return true
	}
	f, ok := t.FieldByName(want)
	return ok && f.Anonymous
}

// step is one part of a property path: `device[4000]` is a name with a key.
type step struct {
	name  string
	key   string
	keyed bool
}

func parsePath(p string) ([]step, bool) {
	var steps []step
	for p != "" {
		end := strings.IndexAny(p, ".[")
		if end < 0 {
			return append(steps, step{name: p}), true
		}
		if end == 0 {
			return nil, false
		}
		s := step{name: p[:end]}
		p = p[end:]
		if p[0] == '[' {
			close := strings.IndexByte(p, ']')
			if strings.HasPrefix(p, `["`) {
				if quote := strings.Index(p, `"]`); quote > 0 {
					close = quote + 1
				}
			}
			if close < 0 {
				return nil, false
			}
			s.keyed, s.key = true, strings.Trim(p[1:close], `"`)
			p = p[close+1:]
		}
		steps = append(steps, s)
		if p != "" {
			if p[0] != '.' || len(p) == 1 {
				return nil, false
			}
			p = p[1:]
		}
	}
	return steps, len(steps) > 0
}

type fieldKey struct {
	t    reflect.Type
	name string
}

var fieldCache sync.Map // fieldKey -> reflect.StructField, or false

func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	key := fieldKey{t, name}
	if hit, ok := fieldCache.Load(key); ok {
		f, found := hit.(reflect.StructField)
		return f, found
	}
	if name == "" || name == "self" {
		return reflect.StructField{}, false
	}
	f, ok := t.FieldByName(strings.ToUpper(name[:1]) + name[1:])
	if !ok || f.Anonymous {
		fieldCache.Store(key, false)
		return reflect.StructField{}, false
	}
	fieldCache.Store(key, f)
	return f, true
}

// readPath returns the value at the path; set is false for a property without a value, known is false for one that does not exist.
func readPath(obj reflect.Value, p string) (val any, set, known bool) {
	steps, ok := parsePath(p)
	if !ok {
		return nil, false, false
	}
	v := obj
	var optional bool
	for _, s := range steps {
		for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
			if v.IsNil() {
				return nil, false, true
			}
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			return nil, false, false
		}
		f, ok := fieldOf(v.Type(), s.name)
		if !ok {
			return nil, false, unmodelled[s.name]
		}
		v = v.FieldByIndex(f.Index)
		optional = strings.Contains(f.Tag.Get("xml"), ",omitempty")
		if s.keyed {
			if v.Kind() != reflect.Slice {
				return nil, false, false
			}
			v = elementByKey(v, s.key)
			if !v.IsValid() {
				return nil, false, true
			}
		}
	}
	val, set = wireValue(v, optional)
	return val, set, true
}

func elementByKey(slice reflect.Value, key string) reflect.Value {
	for i := range slice.Len() {
		if k, ok := elementKey(slice.Index(i)); ok && k == key {
			return slice.Index(i)
		}
	}
	return reflect.Value{}
}

// elementKey is the key by which a path addresses an element of an array.
func elementKey(v reflect.Value) (string, bool) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return "", false
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return "", false
	}
	f := v.FieldByName("Key")
	switch f.Kind() {
	case reflect.String:
		return f.String(), true
	case reflect.Int32, reflect.Int64:
		return strconv.FormatInt(f.Int(), 10), true
	}
	return "", false
}

// allPaths lists the top-level properties of a managed type.
func allPaths(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Name == "Self" || !f.IsExported():
		case f.Anonymous:
			names = append(names, allPaths(f.Type)...)
		default:
			names = append(names, strings.ToLower(f.Name[:1])+f.Name[1:])
		}
	}
	return unique(names)
}

func unique(names []string) []string {
	seen := make(map[string]bool, len(names))
	kept := names[:0:0]
	for _, n := range names {
		if !seen[n] {
			seen[n] = true
			kept = append(kept, n)
		}
	}
	return kept
}

var arrayTypes sync.Map // reflect.Type of the element -> reflect.Type of the ArrayOf struct

// wireValue copies a value and gives it the form a property has in a SOAP answer.
func wireValue(v reflect.Value, optional bool) (any, bool) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, false
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return nil, false
		}
	case reflect.String:
		named := v.Type().PkgPath() != ""
		if v.Len() == 0 && (optional || named) {
			return nil, false // an empty enumeration value is no value
		}
	case reflect.Slice:
		if v.Len() == 0 && optional {
			return nil, false
		}
		return wireArray(v), true
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok && t.IsZero() && optional {
			return nil, false
		}
	}
	return copied(v).Interface(), true
}

func wireArray(v reflect.Value) any {
	t := v.Type()
	switch t.Elem().Kind() {
	case reflect.Uint8:
		return &types.ArrayOfByte{Byte: copied(v).Convert(reflect.TypeFor[[]byte]()).Bytes()}
	case reflect.Int16:
		return &types.ArrayOfShort{Short: copied(v).Interface().([]int16)}
	case reflect.Int32:
		return &types.ArrayOfInt{Int: copied(v).Interface().([]int32)}
	case reflect.Int64:
		return &types.ArrayOfLong{Long: copied(v).Interface().([]int64)}
	case reflect.String:
		if strs, ok := v.Interface().([]string); ok {
			return &types.ArrayOfString{String: append([]string{}, strs...)}
		}
	}
	array, field := arrayType(t.Elem())
	if array == nil {
		return copied(v).Interface()
	}
	a := reflect.New(array)
	a.Elem().FieldByName(field).Set(copied(v))
	return a.Interface()
}

func arrayType(elem reflect.Type) (reflect.Type, string) {
	name := strings.TrimPrefix(elem.Name(), "Base")
	if hit, ok := arrayTypes.Load(elem); ok {
		return hit.(reflect.Type), name
	}
	array, ok := types.TypeFunc()("ArrayOf" + name)
	if !ok {
		return nil, name
	}
	arrayTypes.Store(elem, array)
	return array, name
}

var flatTypes sync.Map // reflect.Type -> bool: a copy by assignment is a deep copy

func flat(t reflect.Type) bool {
	if hit, ok := flatTypes.Load(t); ok {
		return hit.(bool)
	}
	is := true
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		is = false
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			break
		}
		for i := range t.NumField() {
			is = is && flat(t.Field(i).Type)
		}
	}
	flatTypes.Store(t, is)
	return is
}

// copied is a deep copy.
func copied(v reflect.Value) reflect.Value {
	if flat(v.Type()) {
		return v
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(copied(v.Elem()))
		return p
	case reflect.Interface:
		if v.IsNil() {
			return v
		}
		i := reflect.New(v.Type()).Elem()
		i.Set(copied(v.Elem()))
		return i
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		n := v.Len()
		s := reflect.MakeSlice(v.Type(), n, n)
		for i := range n {
			s.Index(i).Set(copied(v.Index(i)))
		}
		return s
	case reflect.Struct:
		s := reflect.New(v.Type()).Elem()
		s.Set(v)
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !flat(f.Type) {
				s.Field(i).Set(copied(v.Field(i)))
			}
		}
		return s
	}
	return v
}

// clone is a deep copy of a typed value.
func clone[T any](v T) T {
	return copied(reflect.ValueOf(&v).Elem()).Interface().(T)
}

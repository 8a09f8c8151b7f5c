// Names as vCenter keeps them: escaped, at most 80 characters, unique in their folder.

package main

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const maxNameLength = 80

// vSphere API, ManagedEntity.name: "%", "/" and "\" are kept as %25, %2f and %5c.
// An escape that the client has already written stays as it is.
func escapeName(name string) string {
	var out strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '/':
			out.WriteString("%2f")
		case c == '\\':
			out.WriteString("%5c")
		case c == '%' && !escapedAt(name, i):
			out.WriteString("%25")
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

func escapedAt(name string, i int) bool {
	if i+3 > len(name) {
		return false
	}
	switch strings.ToLower(name[i : i+3]) {
	case "%2f", "%5c", "%25":
		return true
	}
	return false
}

// checkedName escapes a name, or says why vCenter refuses it.
func checkedName(name string, entity *types.ManagedObjectReference) (string, types.BaseMethodFault) {
	if name == "" || utf8.RuneCountInString(name) > maxNameLength {
		return "", &types.InvalidName{Name: truncated(name, maxNameLength), Entity: entity}
	}
	return escapeName(name), nil
}

func truncated(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

func entityName(e mo.Entity) string {
	if v, ok := managed(e); ok {
		// Networks and switches have a name of their own beside the entity's; upstream keeps only that one current.
		if f := v.FieldByName("Name"); f.Kind() == reflect.String && f.Len() > 0 {
			return f.String()
		}
	}
	return e.Entity().Name
}

func faultName(fault types.BaseMethodFault) string {
	t := reflect.TypeOf(fault)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

func itoa[T int | int32 | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// names is an index of the children of each folder, so that DuplicateName costs nothing among 20,000 VMs.
type names struct {
	mu       sync.Mutex
	byName   map[childName]types.ManagedObjectReference
	of       map[types.ManagedObjectReference]childName
	reserved map[childName]types.ManagedObjectReference // names that nobody wears yet, and for whom they are kept
}

type childName struct {
	parent types.ManagedObjectReference
	name   string
}

func newNames() *names {
	return &names{
		byName: map[childName]types.ManagedObjectReference{}, of: map[types.ManagedObjectReference]childName{}, reserved: map[childName]types.ManagedObjectReference{},
	}
}

// find is the child of that name, if there is one.
func (n *names) find(parent types.ManagedObjectReference, name string) (types.ManagedObjectReference, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ref, ok := n.byName[childName{parent, name}]
	return ref, ok
}

// claim takes a name for an object that is about to wear it, or says who has it.  An object that is about to be created
// has no reference yet, and its folder stands for it.
func (n *names) claim(parent types.ManagedObjectReference, name string, by types.ManagedObjectReference) (types.ManagedObjectReference, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := childName{parent, name}
	for _, taken := range []map[childName]types.ManagedObjectReference{n.byName, n.reserved} {
		if ref, ok := taken[key]; ok {
			return ref, false
		}
	}
	n.reserved[key] = by
	return types.ManagedObjectReference{}, true
}

// reserve keeps the name of an object that is about to wear another for a while.
func (n *names) reserve(parent types.ManagedObjectReference, name string, by types.ManagedObjectReference) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reserved[childName{parent, name}] = by
}

// unclaim gives up a name that is not worn after all.
func (n *names) unclaim(parent types.ManagedObjectReference, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.reserved, childName{parent, name})
}

func (n *names) note(e mo.Entity) {
	parent := e.Entity().Parent
	if parent == nil {
		return
	}
	ref, key := e.Reference(), childName{*parent, entityName(e)}
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.of[ref]; ok && old != key && n.byName[old] == ref {
		delete(n.byName, old)
	}
	if _, taken := n.byName[key]; !taken {
		n.byName[key] = ref
		delete(n.reserved, key)
	}
	n.of[ref] = key
}

func (n *names) forget(ref types.ManagedObjectReference) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if key, ok := n.of[ref]; ok {
		if n.byName[key] == ref {
			delete(n.byName, key)
		}
		delete(n.of, ref)
	}
}

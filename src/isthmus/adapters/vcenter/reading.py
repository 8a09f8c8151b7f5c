"""Whole reads of properties: every page, and no missing property taken for an absent one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.faults import SessionLost, ident
from isthmus.adapters.vcenter.pages import continue_retrieving, retrieve_properties
from isthmus.model.faults import Refused, Retry

Collector = vmodl.query.PropertyCollector
PAGE = 250  # objects; ManageIQ found larger first pages to time out on large vCenters
NO_SUCH_PROPERTY: Any = vmodl.query.InvalidProperty
READ_ONLY = "give the user the Read-only role on the vCenter's root, propagated"

Properties = dict[str, Any]
Wanted = Mapping[Any, Sequence[str]]
"""Property paths by managed type."""


def properties(content: Any, objects: Sequence[Any], wanted: Wanted, *, lean: bool = False) -> dict[Any, Properties]:
    """These properties of these objects.  Objects that are gone are left out.

    `lean`: from the XML where that will do, so that the `config` of a port group may be a GroupConfig.
    """
    if not objects:
        return {}
    return _retrieved(content, [Collector.ObjectSpec(obj=managed) for managed in objects], wanted, lean=lean)


def properties_with(content: Any, start: Any, path: str, wanted: Wanted) -> dict[Any, Properties]:
    """These properties, all of them plain, of `start` and of all objects that its property `path` lists.

    Raises Retry if `start` itself is not in the answer: then what it lists is not known.
    """
    walk = Collector.TraversalSpec(type=type(start), path=path, skip=False)
    read = _retrieved(content, [Collector.ObjectSpec(obj=start, selectSet=[walk])], wanted, lean=True)
    if start not in read:
        raise Retry(f"{ident(start)} is gone")
    return read


def all_of(content: Any, wanted: Wanted, under: Any = None) -> dict[Any, Properties]:
    """These properties of every object of these types in the inventory, or `under` one of its objects."""
    view = content.viewManager.CreateContainerView(under or content.rootFolder, list(wanted), True)
    try:
        walk = Collector.TraversalSpec(type=vim.view.ContainerView, path="view", skip=False)
        return _retrieved(content, [Collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])], wanted)
    finally:
        view.DestroyView()


def _retrieved(content: Any, starts: Sequence[Any], wanted: Wanted, *, lean: bool = False) -> dict[Any, Properties]:
    spec = Collector.FilterSpec(
        objectSet=list(starts),
        propSet=[Collector.PropertySpec(type=kind, pathSet=list(paths)) for kind, paths in wanted.items()],
        reportMissingObjectsInResults=True,
    )
    read: dict[Any, Properties] = {}
    for found in _pages(content.propertyCollector, spec, lean=lean):
        if not gone(found.obj, found.missingSet):
            read[found.obj] = {change.name: change.val for change in found.propSet}
    return read


def _pages(collector: Any, spec: Any, *, lean: bool) -> Iterator[Any]:
    first = partial(retrieve_properties, collector) if lean else collector.RetrievePropertiesEx
    further = partial(continue_retrieving, collector) if lean else collector.ContinueRetrievePropertiesEx
    page = first([spec], Collector.RetrieveOptions(maxObjects=PAGE))
    while page is not None:
        yield from page.objects
        page = further(page.token) if page.token else None


def gone(managed: Any, missing_set: Sequence[Any]) -> bool:
    """Judge what an answer lacks: True if the object is gone, an exception if the answer cannot be believed.

    A property without a value is simply absent; one in `missingSet` could not be read.
    """
    for missing in missing_set or ():
        fault = missing.fault
        match fault:
            case SessionLost():  # an expired session answers with everything missing
                raise fault
            case vmodl.fault.ManagedObjectNotFound():
                return True
            case vmodl.fault.SecurityError():
                raise Refused(f"{ident(managed)}: {missing.path} may not be read; {READ_ONLY}") from fault
            case _ if isinstance(fault, NO_SUCH_PROPERTY):
                raise fault  # we asked for what does not exist: a bug
            case _:
                raise Retry(f"{ident(managed)}: {missing.path} could not be read") from fault
    return False

"""The WSDL of the vSphere API, from pyVmomi's type metadata, for clients that learn the API from its vCenter.

Law: every type and every method of the API is in it, since a client may meet any of them in an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pyVmomi import VmomiSupport as Vmomi

NAMESPACE = "urn:vim25"
SCHEMA = "http://www.w3.org/2001/XMLSchema"
WSDL = "http://schemas.xmlsoap.org/wsdl/"
SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
OVER_HTTP = "http://schemas.xmlsoap.org/soap/http"

# What XML Schema has itself, and what it lacks: that travels as text.
PRIMITIVES = (
    *("anyType", "boolean", "byte", "short", "int", "long", "float", "double"),
    *("string", "anyURI", "base64Binary", "dateTime"),
)
TEXTS = {"PropertyPath", "MethodName", "TypeName", "Link"}
# pyVmomi makes these by hand: two that may not be in its lists, and one that is on the wire otherwise than it has it.
UNLISTED = {"vmodl.MethodFault", "vmodl.RuntimeFault"}
UNWRAPPED = {"vmodl.LocalizedMethodFault"}
FAULT: Any = Vmomi.GetVmodlType("vmodl.MethodFault")


def wsdl() -> str:
    """The whole document: four megabytes."""
    methods = [method for managed in _types(Vmomi.ListManagedTypes()) for method in managed._methodInfo.values()]
    schema = _tag(
        "xsd:schema",
        _reference(),
        _localized_fault(),
        *map(_enumeration, _enumerations()),
        *map(_data, _data_types()),
        *_arrays(),
        *(element for method in methods for element in _elements(method)),
        targetNamespace=NAMESPACE,
        elementFormDefault="qualified",
    )
    binding = _tag("soap:binding", style="document", transport=OVER_HTTP)
    port = _tag("port", _tag("soap:address", location="https://localhost/sdk"), name="Port", binding="vim:Binding")
    definitions = _tag(
        "definitions",
        _tag("types", schema),
        *(message for method in methods for message in _messages(method.wsdlName)),
        _tag("portType", *(_operation(method.wsdlName) for method in methods), name="PortType"),
        _tag("binding", binding, *(_bound(method.wsdlName) for method in methods), name="Binding", type="vim:PortType"),
        _tag("service", port, name="VimService"),
        **{
            "targetNamespace": NAMESPACE,
            "xmlns": WSDL,
            "xmlns:soap": SOAP,
            "xmlns:xsd": SCHEMA,
            "xmlns:vim": NAMESPACE,
        },
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{definitions}\n'


def _tag(tag: str, *inside: str, **attributes: object) -> str:
    written = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag}{written}>{''.join(inside)}</{tag}>\n"


# What there is


def _types(names: Iterable[str]) -> Iterator[Any]:
    """vSphere's own types and those it stands on; the other products that pyVmomi knows have WSDLs of their own."""
    return (Vmomi.GetVmodlType(name) for name in sorted(names) if name.startswith(("vim.", "vmodl.")))


def _enumerations() -> Iterator[Any]:
    return _types(Vmomi.ListEnumTypes())


def _data_types() -> Iterator[Any]:
    return _types({*Vmomi.ListDataTypes(), *UNLISTED} - UNWRAPPED)


# Types


def _reference() -> str:
    kind = _tag("xsd:attribute", name="type", type="xsd:string")
    extension = _tag("xsd:extension", kind, base="xsd:string")
    return _tag("xsd:complexType", _tag("xsd:simpleContent", extension), name="ManagedObjectReference")


def _localized_fault() -> str:
    """What a fault is wrapped in wherever it is a field; pyVmomi unwraps it and does not speak of it."""
    fault = _tag("xsd:element", name="fault", type="vim:MethodFault")
    text = _tag("xsd:element", name="localizedMessage", type="xsd:string", minOccurs=0)
    extension = _tag("xsd:extension", _tag("xsd:sequence", fault, text), base="vim:DynamicData")
    return _tag("xsd:complexType", _tag("xsd:complexContent", extension), name="LocalizedMethodFault")


def _enumeration(enumeration: Any) -> str:
    values = (_tag("xsd:enumeration", value=value) for value in enumeration.values)
    return _tag(
        "xsd:simpleType", _tag("xsd:restriction", *values, base="xsd:string"), name=Vmomi.GetWsdlName(enumeration)
    )


def _data(data: Any) -> str:
    content, (_, parent, *_) = _sequence(data._propList), data.__mro__
    if parent is not Vmomi.DataObject:
        extension = _tag("xsd:extension", content, base=_type(parent))
        content = _tag("xsd:complexContent", extension)
    return _tag("xsd:complexType", content, name=Vmomi.GetWsdlName(data))


def _arrays() -> Iterator[str]:
    """The form of a list where its element has no type of its own, as a property's value has none."""
    for item in (*_data_types(), *_enumerations()):
        yield _array(Vmomi.GetWsdlName(item), _type(item))
    for primitive in PRIMITIVES:
        yield _array(primitive, f"xsd:{primitive}")
    for name in ("ManagedObjectReference", "LocalizedMethodFault"):
        yield _array(name, f"vim:{name}")


def _array(name: str, type_: str) -> str:
    items = _tag("xsd:element", name=name, type=type_, minOccurs=0, maxOccurs="unbounded")
    return _tag("xsd:complexType", _tag("xsd:sequence", items), name=f"ArrayOf{Vmomi.Capitalize(name)}")


def _sequence(fields: Iterable[Any], first: str = "") -> str:
    elements = (_element(field.name, field.type, optional=bool(field.flags & Vmomi.F_OPTIONAL)) for field in fields)
    return _tag("xsd:sequence", first, *elements)


def _element(name: str, type_: Any, *, optional: bool) -> str:
    several = issubclass(type_, Vmomi.Array)
    one = type_.Item if several else type_
    return _tag(
        "xsd:element",
        name=name,
        type="vim:LocalizedMethodFault" if issubclass(one, FAULT) else _type(one),
        minOccurs=0 if optional else 1,
        maxOccurs="unbounded" if several else 1,
    )


def _type(type_: Any) -> str:
    if issubclass(type_, Vmomi.ManagedObject):
        return "vim:ManagedObjectReference"
    namespace, name = Vmomi.GetQualifiedWsdlName(type_)
    if name in TEXTS:
        return "xsd:string"
    return f"{'xsd' if namespace == Vmomi.XMLNS_XSD else 'vim'}:{name}"


# Methods


def _elements(method: Any) -> Iterator[str]:
    this = _tag("xsd:element", name="_this", type="vim:ManagedObjectReference")
    nothing = method.result is Vmomi.NoneType
    result = "" if nothing else _element("returnval", method.result, optional=True)
    request, answer = _sequence(method.params, this), _tag("xsd:sequence", result)
    yield _tag("xsd:element", _tag("xsd:complexType", request), name=method.wsdlName)
    yield _tag("xsd:element", _tag("xsd:complexType", answer), name=f"{method.wsdlName}Response")


def _messages(name: str) -> Iterator[str]:
    for message, element in ((f"{name}Request", name), (f"{name}Answer", f"{name}Response")):
        yield _tag("message", _tag("part", name="parameters", element=f"vim:{element}"), name=message)


def _operation(name: str) -> str:
    request, answer = _tag("input", message=f"vim:{name}Request"), _tag("output", message=f"vim:{name}Answer")
    return _tag("operation", request, answer, name=name)


def _bound(name: str) -> str:
    action = _tag("soap:operation", soapAction=f"{NAMESPACE}/8.0.3.0", style="document")
    body = _tag("soap:body", use="literal")
    return _tag("operation", action, _tag("input", body), _tag("output", body), name=name)

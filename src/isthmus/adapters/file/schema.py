"""What an intent file may say, entry by entry; how entries fit together is the business of meaning.py."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from isthmus.model.names import unicast_mac, vtep
from isthmus.model.tags import MAX_VNI

LONGEST_ID = 255


def _identity(text: str) -> str:
    # An id is copied into owner marks and typed by people: a display name may be odd, an id may not.
    if not text.isprintable() or text != text.strip():
        raise ValueError("an id must be printable, on one line, without spaces around it")
    return text


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


def _instance(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError(f"{text!r} is not an instance UUID (the VM's config.instanceUuid)") from None


def _number(value: object) -> object:
    if isinstance(value, str) and not value.isascii():
        raise ValueError("must be a number in ASCII digits")
    return value


Identity = Annotated[str, Field(min_length=1, max_length=LONGEST_ID), AfterValidator(_identity)]
Address = Annotated[str, AfterValidator(_address)]
Vtep = Annotated[str, AfterValidator(vtep)]
MacText = Annotated[str, AfterValidator(unicast_mac)]
Instance = Annotated[str, AfterValidator(_instance)]
Number = BeforeValidator(_number)


class Entry(BaseModel):
    """Unknown keys are refused: a misspelt key must not be a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkEntry(Entry):
    """A network.  `id` defaults to the name."""

    name: Annotated[str, Field(min_length=1)]
    vni: Annotated[int, Number, Field(ge=1, le=MAX_VNI)]
    id: Identity | None = None
    mtu: Annotated[int, Number, Field(ge=68, le=9216)] = 1450
    ports: Literal["listed"] | None = None

    @model_validator(mode="after")
    def _has_an_identity(self) -> NetworkEntry:
        if self.id is None:
            if len(self.name) > LONGEST_ID:
                raise ValueError(f"a name of {len(self.name)} characters cannot serve as the id too: give it an id")
            try:
                _identity(self.name)
            except ValueError:
                raise ValueError("this name cannot serve as the id too: give it an id") from None
        return self

    @property
    def identity(self) -> str:
        """The id, or the name that stands for it."""
        return self.id or self.name


class PairEntry(Entry):
    """A further address a port may send from; without a MAC, the port's own."""

    address: Annotated[str, Field(min_length=1)] = ""
    mac: MacText | None = None

    @model_validator(mode="after")
    def _says_something(self) -> PairEntry:
        if not self.address and self.mac is None:
            raise ValueError("needs an address, a mac, or both")
        if self.address:
            try:
                ipaddress.ip_network(self.address, strict=False)
            except ValueError:
                raise ValueError(f"address {self.address!r} is not an IP address or prefix") from None
        return self


class PortEntry(Entry):
    """A port, matched to a VM's network adapter by instance UUID and MAC together."""

    network: str
    vm: Instance
    mac: MacText
    id: Identity | None = None
    addresses: tuple[Address, ...] = ()
    admin_up: bool = True
    allowed_pairs: tuple[PairEntry, ...] = ()

    @property
    def identity(self) -> str:
        """The id, or the VM and MAC that stand for it."""
        return self.id or f"{self.vm}/{self.mac}"


class PeerEntry(Entry):
    """A member of a network behind a VTEP that isthmus does not run."""

    network: str
    vtep: Vtep
    mac: MacText | None = None
    addresses: tuple[Address, ...] = ()

    @model_validator(mode="after")
    def _addresses_have_a_mac(self) -> PeerEntry:
        if self.addresses and self.mac is None:
            raise ValueError("addresses need the mac they are answered with")
        return self


SECTIONS: dict[str, type[Entry]] = {"networks": NetworkEntry, "ports": PortEntry, "peers": PeerEntry}

"""What vCenter's faults mean to us: try again (Retry), an operator must decide (Refused), or a bug (rises).

Faults are told apart by class, never by their English.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any
from xml.parsers.expat import ExpatError

from pyVmomi import vim, vmodl

from isthmus.model.faults import Refused, Retry, Unreachable

SessionLost = vim.fault.NotAuthenticated
"""The session expired, was terminated, or vCenter restarted: log in again and read everything anew."""

LATER = (
    vim.fault.NotAuthenticated,
    vim.fault.ConcurrentAccess,
    vim.fault.ResourceInUse,
    vim.fault.TaskInProgress,
    vim.fault.Timedout,
    vim.fault.NotFound,
    vim.fault.HostConnectFault,
    vim.fault.InvalidState,  # also InvalidHostState: the object is busy or half made
    vim.fault.DvsFault,  # also per-host bulk faults and ConflictingConfiguration (an override not allowed yet)
    vmodl.fault.HostCommunication,  # HostNotConnected, HostNotReachable
    vmodl.fault.ManagedObjectNotFound,
    vmodl.fault.RequestCanceled,
    vmodl.fault.SystemError,  # an internal error of the server: shown, and asked again
)
DECIDE = (
    vim.fault.DvsNotAuthorized,
    vim.fault.InvalidName,
    vim.fault.InvalidLogin,
    vim.fault.NoPermission,
    vmodl.fault.NotEnoughLicenses,
)


@contextlib.contextmanager
def faults_of(place: str) -> Iterator[None]:
    """Run a conversation with vCenter; its expected faults leave as Retry or Refused that name `place`."""
    try:
        yield
    except (Retry, Refused):
        raise
    except (vmodl.MethodFault, OSError, HTTPException, ExpatError) as fault:
        meant = meaning(fault, place)
        if meant is None:
            raise
        raise meant from fault


def meaning(fault: BaseException, place: str) -> Retry | Refused | None:
    """The Retry or Refused that a fault amounts to; None for one that nobody expected."""
    match fault:
        case ssl.SSLCertVerificationError():
            return Refused(
                f"{place}: its certificate is not trusted ({getattr(fault, 'verify_message', fault)}); "
                "give the CA that signed it (ca_file) or pin the certificate (thumbprint)"
            )
        case ssl.SSLError() if not isinstance(fault, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return Refused(
                f"{place}: does not speak TLS as we do ({getattr(fault, 'reason', None) or fault}); check host and port"
            )
        case OSError() | HTTPException() | ExpatError():
            # ExpatError: an answer cut off half-way.
            return Unreachable(f"{place}: unreachable ({said(fault)}); check host, port and network")
        case vim.fault.NotAuthenticated():  # before NoPermission, which pyVmomi derives it from
            return Unreachable(f"{place}: {said(fault)}")
        case vmodl.MethodFault() if isinstance(fault, DECIDE):  # before DvsFault, which DvsNotAuthorized is one of
            return Refused(f"{place}: {said(fault)}")
        case vmodl.MethodFault() if isinstance(fault, LATER):
            return Retry(f"{place}: {said(fault)}")
        case _:
            return None


def said(fault: Any) -> str:
    """What a fault says, in one line, with what an operator needs to act on it."""
    match fault:
        case vim.fault.NotAuthenticated():
            return "the session was lost"
        case vim.fault.NoPermission():
            return f"no permission: give the user privilege {fault.privilegeId} on {ident(fault.object)}"
        case vim.fault.InvalidLogin():
            return "user name or password is wrong; correct them in the configuration"
        case vim.fault.DvsNotAuthorized():
            return (
                f"the switch belongs to extension {fault.dvsExtensionKey}, which alone may change it; "
                "take its extension key off or use another switch"
            )
        case vim.fault.DvsOperationBulkFault():
            return "; ".join(f"host {ident(one.host)}: {said(one.fault)}" for one in fault.hostFault) or _named(fault)
        case vmodl.MethodFault():
            return _named(fault)
        case _:
            return one_line(f"{type(fault).__name__}: {fault}")


def _named(fault: Any) -> str:
    name = type(fault).__name__.rpartition(".")[2]
    texts = [fault.msg, *(one.message for one in fault.faultMessage or ())]
    # Servers say the class once more where they have no words of their own.
    words = " ".join(dict.fromkeys(text for text in texts if text and text != name))
    return one_line(f"{name}: {words}" if words else name)


def ident(managed_object: Any) -> str:
    """A managed object as type and moref: never a name, which its owner chose."""
    if managed_object is None:
        return "an object"
    return f"{type(managed_object).__name__.rpartition('.')[2]} {managed_object._GetMoId()}"


def one_line(text: str, limit: int = 300) -> str:
    """Text from the far side, fit for a log line."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"

"""Who asks: a token of Keystone v3 in each request, got anew when one is not taken any more; or the same in each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from isthmus.adapters.contrail.http import Http
from isthmus.model.faults import Refused, Retry

TOKEN = "X-Auth-Token"
REFUSED_AGAIN, AWAY_AGAIN = 60.0, 1.0
"""Seconds until Keystone is asked again that refused the user, or did not answer."""


class Identity(Protocol):
    """What makes a request somebody's."""

    def headers(self) -> Mapping[str, str]:
        """For the next request.  Raises Unreachable or Refused if nobody can be asked who we are."""
        ...

    def doubted(self, fields: Mapping[str, str]) -> bool:
        """A request with these was nobody's; whether it is worth asking again."""
        ...

    def close(self) -> None:
        """Nobody asks any more."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same each time: nobody, or a user and a password."""

    fields: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> Mapping[str, str]:
        """Those given."""
        return self.fields

    def doubted(self, fields: Mapping[str, str]) -> bool:
        """They will not be taken the next time, either."""
        return False

    def close(self) -> None:
        """There is nobody to hang up on."""


NOBODY = Fixed()


@dataclass(frozen=True, slots=True)
class User:
    """A user of Keystone's, with the project in which he has his role.  The password is asked for each time."""

    name: str
    domain: str
    project: str
    project_domain: str
    password: Callable[[], str]

    def asking(self) -> dict[str, Any]:
        """The body of `POST /v3/auth/tokens`."""
        user = {"name": self.name, "domain": {"name": self.domain}, "password": self.password()}
        identity = {"methods": ["password"], "password": {"user": user}}
        project = {"name": self.project, "domain": {"name": self.project_domain}}
        return {"auth": {"identity": identity, "scope": {"project": project}}}


class Token:
    """Kept until a request with it is not taken: when it ends is Keystone's business, and by Keystone's clock.

    One thread asks, and the others have its answer, a fault, too, for a while: a password that is wrong would else be
    tried by each of them, again and again, and Keystone may lock the user out for that.
    """

    def __init__(self, http: Http, user: User, clock: Callable[[], float] = time.monotonic) -> None:
        self._http, self._user, self._clock = http, user, clock
        self._changed = threading.Condition()
        self._token = ""
        self._is_asking = False
        self._fault: tuple[type[Exception], str] | None = None
        self._again_at = 0.0

    def headers(self) -> Mapping[str, str]:
        """With a token."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_asking)
            if self._token:
                return {TOKEN: self._token}
            if self._fault is not None and self._clock() < self._again_at:
                kind, said = self._fault
                raise kind(said)
            self._is_asking = True
        token, wait = "", 0.0
        fault: tuple[type[Exception], str] | None = None
        try:
            token = self._asked()
            return {TOKEN: token}
        except Refused as refused:
            fault, wait = (Refused, str(refused)), REFUSED_AGAIN
            raise
        except Retry as away:
            fault, wait = (type(away), str(away)), AWAY_AGAIN
            raise
        finally:
            with self._changed:
                self._token, self._fault, self._again_at = token, fault, self._clock() + wait
                self._is_asking = False
                self._changed.notify_all()

    def doubted(self, fields: Mapping[str, str]) -> bool:
        """Another token may do; threads that were refused with the same one get the same next one."""
        with self._changed:
            if fields.get(TOKEN) == self._token:
                self._token = ""
        return True

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def _asked(self) -> str:
        path = "/auth/tokens"
        answer = self._http.request("POST", path, self._user.asking())
        if answer.status == 401:
            raise Refused(
                f"{self._http.place} at {self._http.address} does not know user {self._user.name} by this password, "
                "domain and project: correct them"
            )
        token = answer.headers.get("X-Subject-Token")
        if answer.status != 201 or not token:
            raise self._http.stranger("POST", path, answer)
        return token

"""The configuration as read: file, environment and secrets put together, every error found at once with its place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from pydantic import ValidationError

from isthmus.app.config import Config, NgsLeafConfig, Section
from isthmus.app.misfits import Misfit, misfits
from isthmus.app.this_machine import bios_uuids
from isthmus.app.toml import KeyPath, TomlFile, read_toml
from isthmus.model.faults import Refused

Environment = Mapping[str, str]

_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})


@dataclass(frozen=True, slots=True)
class Settings:
    """A configuration that makes sense, and where its passwords are."""

    config: Config
    environment: Environment = field(repr=False, default_factory=dict)

    def password(self, vcenter: str) -> str:
        """The password of a vCenter, looked up anew so that it may be rotated.  Raises Refused if there is none."""
        try:
            return _password(self.config, vcenter, self.environment)
        except (OSError, ValueError) as fault:
            raise Refused(f"password of vCenter '{vcenter}': {getattr(fault, 'strerror', None) or fault}") from fault

    def bus_url(self) -> str:
        """The URL of Neutron's message bus, looked up anew.  Raises Refused if there is none."""
        try:
            return _bus_url(self.config, self.environment)
        except (OSError, ValueError) as fault:
            raise Refused(f"Neutron's message bus: {getattr(fault, 'strerror', None) or fault}") from fault

    def contrail_password(self) -> str:
        """The password of the api-server's user, looked up anew.  Raises Refused if there is none."""
        try:
            return _contrail_password(self.config, self.environment)
        except (OSError, ValueError) as fault:
            raise Refused(f"the api-server's password: {getattr(fault, 'strerror', None) or fault}") from fault

    def contrail_bus_url(self) -> str:
        """The URL of the api-server's message bus, looked up anew.  Raises Refused if there is none."""
        try:
            return _contrail_bus_url(self.config, self.environment)
        except (OSError, ValueError) as fault:
            raise Refused(f"the api-server's message bus: {getattr(fault, 'strerror', None) or fault}") from fault

    def secrets_of(self, deployment: str, leaf: str) -> dict[str, str]:
        """The passwords of a leaf by the name of their option, looked up anew.  Raises Refused if one is not there."""
        found = self.config.deployment[deployment].leaf[leaf]
        try:
            return dict(_secrets(found, self.environment)) if isinstance(found, NgsLeafConfig) else {}
        except (OSError, ValueError) as fault:
            raise Refused(f"password of leaf '{leaf}': {getattr(fault, 'strerror', None) or fault}") from fault


def load(path: Path, environment: Environment = os.environ, *, secrets: bool = True) -> Settings:
    """Read the configuration.  Raises Refused with every error.  `secrets` False: passwords are not looked up."""
    file = read_toml(path)
    values = _with_environment(file.values, environment)
    config, errors = _validated(file, values)
    if config is not None:
        config = cast(Config, _rooted(config, path.absolute().parent))
        config, homeless = _at_home(config, bios_uuids())
        errors.extend(file.at(keys, what) for keys, what in homeless)
        errors.extend(file.at(keys, what) for keys, what in misfits(config))
        if secrets:
            errors.extend(file.at(keys, what) for keys, what in _missing_passwords(config, environment))
    if errors or config is None:
        raise Refused("\n".join(errors))
    return Settings(config, environment)


def _at_home(config: Config, here: frozenset[str]) -> tuple[Config, list[Misfit]]:
    """The configuration with the host named that this machine is the appliance of, where it says ``here``.

    And what is said of this machine that is not so: a copy of an appliance must not take itself for it.
    """
    found, wrong = dict(config.deployment), list[Misfit]()
    known = " or ".join(sorted(here))
    for name, deployment in config.deployment.items():
        at: KeyPath = ("deployment", name)
        if deployment.serve == "here":
            hosts = tuple(host for host, settings in deployment.host.items() if settings.bios_uuid in here)
            found[name] = deployment.model_copy(update={"serve": hosts})
            if not here:
                wrong.append(((*at, "serve"), "this is no VM of vSphere's, or does not say which: name the host"))
            elif not hosts:
                what = (
                    f"this machine's BIOS UUID is {known}: give it, as bios_uuid, to the host whose appliance this is"
                )
                wrong.append(((*at, "serve"), what))
            continue
        for host in (host for host in deployment.served if host in deployment.host and here):
            own, ovsdb = deployment.host[host].bios_uuid, config.appliance_of(deployment, host).ovsdb
            if own is not None and own not in here and not (ovsdb or "").startswith("ssl:"):
                what = f"this machine's is {known}, and its Open vSwitch is named here: is it a copy of the appliance?"
                wrong.append(((*at, "host", host, "bios_uuid"), what))
    return config.model_copy(update={"deployment": found}), wrong


def _validated(file: TomlFile, values: dict[str, Any]) -> tuple[Config | None, list[str]]:
    """The configuration and its errors of form.  What is right beside an error is kept, so that it is checked too."""
    try:
        return Config.model_validate(values), []
    except ValidationError as wrong:
        errors = list(_errors(file, wrong))
        for keys in [error["loc"] for error in wrong.errors(include_input=False)]:
            values = _without(values, keys)
    try:
        return Config.model_validate(values), errors
    except ValidationError:
        return None, errors


def _without(values: Any, keys: KeyPath) -> Any:
    if not keys or not isinstance(values, dict) or keys[0] not in values:
        return values
    rest = {key: value for key, value in values.items() if key != keys[0]}
    return rest if len(keys) == 1 else {**rest, keys[0]: _without(values[keys[0]], keys[1:])}


def _errors(file: TomlFile, wrong: ValidationError) -> Iterator[str]:
    for error in wrong.errors(include_url=False, include_input=False):
        keys: KeyPath = tuple(error["loc"])
        match error["type"]:
            case "extra_forbidden" if keys[-1] == "password":
                yield file.at(keys, "a password does not belong in this file: use password_file or password_env")
            case "extra_forbidden":
                yield file.at(keys, "unknown key")
            case "missing":
                yield file.at(keys, "is missing")
            case "value_error":
                yield file.at(keys, str(error["ctx"]["error"]))
            case _:
                yield file.at(keys, error["msg"].lower().replace("input ", ""))


def _with_environment(values: dict[str, Any], environment: Environment) -> dict[str, Any]:
    """The GOVC_* variables as defaults of the vCenter they speak of."""
    tables = values.get("vcenter")
    if tables is None and environment.get("GOVC_URL"):
        tables = {"vcenter": {}}
    if not isinstance(tables, dict):
        return values
    defaults = _govc(environment)
    filled = {
        name: {**_for_this(defaults, table, alone=len(tables) == 1), **table} if isinstance(table, dict) else table
        for name, table in tables.items()
    }
    return {**values, "vcenter": filled}


def _govc(environment: Environment) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if url := environment.get("GOVC_URL"):
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="https")
        host = parts.netloc.rpartition("@")[2]
        found["url"] = f"{parts.scheme}://{host}{parts.path if parts.path not in ('', '/') else '/sdk'}"
        if parts.username:
            found["user"] = parts.username
    if user := environment.get("GOVC_USERNAME"):
        found["user"] = user
    if environment.get("GOVC_INSECURE", "").lower() in _TRUE:
        found["insecure"] = True
    if files := environment.get("GOVC_TLS_CA_CERTS"):
        found["ca_file"] = files.split(os.pathsep)[0]
    return found


def _for_this(defaults: dict[str, Any], table: dict[str, Any], *, alone: bool) -> dict[str, Any]:
    # With several vCenters, one's user and lax TLS must not be carried to another.
    return defaults if alone or _is_govc(defaults.get("url"), table.get("url")) else {}


def _is_govc(govc_url: object, url: object) -> bool:
    if url is None or govc_url is None:
        return url is None
    return urlsplit(str(url)).netloc == urlsplit(str(govc_url)).netloc


def _missing_passwords(config: Config, environment: Environment) -> Iterator[tuple[KeyPath, str]]:
    for name, vcenter in config.vcenter.items():
        try:
            _password(config, name, environment)
        except (OSError, ValueError) as fault:
            key = "password_file" if vcenter.password_file else "password_env"
            yield ("vcenter", name, key), getattr(fault, "strerror", None) or str(fault)
    if config.intent.neutron is not None:
        try:
            _bus_url(config, environment)
        except (OSError, ValueError) as fault:
            key = "url_env" if config.intent.neutron.url_env else "url_file"
            yield ("intent", "neutron", key), getattr(fault, "strerror", None) or str(fault)
    contrail = config.intent.contrail
    if contrail is not None and contrail.user is not None:
        try:
            _contrail_password(config, environment)
        except (OSError, ValueError) as fault:
            key = "password_file" if contrail.password_file else "password_env"
            yield ("intent", "contrail", key), getattr(fault, "strerror", None) or str(fault)
    if contrail is not None and contrail.listens_to_bus:
        try:
            _contrail_bus_url(config, environment)
        except (OSError, ValueError) as fault:
            key = "bus_url_file" if contrail.bus_url_file else "bus_url_env"
            yield ("intent", "contrail", key), getattr(fault, "strerror", None) or str(fault)
    for name, deployment in config.deployment.items():
        for leaf, found in deployment.leaf.items():
            try:
                dict(_secrets(found, environment) if isinstance(found, NgsLeafConfig) else ())
            except (OSError, ValueError) as fault:
                yield ("deployment", name, "leaf", leaf), getattr(fault, "strerror", None) or str(fault)


def _bus_url(config: Config, environment: Environment) -> str:
    neutron = config.intent.neutron
    if neutron is None:
        raise ValueError("Neutron is not where the intent comes from")
    url = _url_in(neutron.url_file, neutron.url_env, environment)
    if not url:
        raise ValueError("no URL: name a url_file, or a url_env that is set, with Neutron's transport_url in it")
    return url


def _contrail_bus_url(config: Config, environment: Environment) -> str:
    contrail = config.intent.contrail
    if contrail is None:
        raise ValueError("Contrail is not where the intent comes from")
    url = _url_in(contrail.bus_url_file, contrail.bus_url_env, environment)
    if not url:
        raise ValueError("no URL: name a bus_url_file, or a bus_url_env that is set, with amqp://... in it")
    return url


def _url_in(file: Path | None, variable: str | None, environment: Environment) -> str:
    """A URL with a password in it."""
    return (file.read_text(encoding="utf-8") if file is not None else environment.get(variable or "", "")).strip()


def _contrail_password(config: Config, environment: Environment) -> str:
    contrail = config.intent.contrail
    if contrail is None:
        raise ValueError("Contrail is not where the intent comes from")
    file, variable = contrail.password_file, contrail.password_env
    password = _read(file) if file is not None else environment.get(variable or "", "")
    if not password:
        raise ValueError("no password: name a password_file, or a password_env that is set")
    return password


def _secrets(leaf: NgsLeafConfig, environment: Environment) -> Iterator[tuple[str, str]]:
    for option, file, variable in (
        ("password", leaf.password_file, leaf.password_env),
        ("secret", leaf.secret_file, leaf.secret_env),
    ):
        if file is None and variable is None:
            continue
        found = _read(file) if file is not None else environment.get(variable or "", "")
        if not found:
            raise ValueError(f"{option}_file is empty" if file is not None else f"{variable} is not set")
        yield option, found


def _password(config: Config, name: str, environment: Environment) -> str:
    vcenter = config.vcenter[name]
    if vcenter.password_file:
        password = _read(vcenter.password_file)
    elif vcenter.password_env:
        password = environment.get(vcenter.password_env, "")
    elif len(config.vcenter) == 1 or _is_govc(_govc(environment).get("url"), vcenter.url):
        password = environment.get("GOVC_PASSWORD", "") or urlsplit(environment.get("GOVC_URL", "")).password or ""
    else:
        password = ""
    if not password:
        raise ValueError("no password: name a password_file, a password_env that is set, or set GOVC_PASSWORD")
    return password


def _read(file: Path) -> str:
    # An editor's line end is not part of a password.
    return file.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")


def _rooted(value: Any, folder: Path) -> Any:
    """The same, with every relative path in it relative to the folder of the file that names it."""
    match value:
        case Path():
            return folder / value
        case Section():
            # What was not said must not look as if it had been.
            said = value.model_fields_set & type(value).model_fields.keys()
            return value.model_copy(update={key: _rooted(getattr(value, key), folder) for key in said})
        case Mapping():
            return {key: _rooted(item, folder) for key, item in value.items()}
    return value

"""A site needs the libraries of its own far sides, and no others; what is missing is named in one line."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]
LIBRARIES = {
    "vcenter": ("pyVmomi", "pyVim", "vmware"),
    "ovs": ("ovs", "ovsdbapp"),
    "leaf": ("ovs", "ovsdbapp", "networking_generic_switch", "netmiko", "paramiko"),
    "file": ("yaml",),
    "neutron": ("oslo_messaging", "oslo_service", "oslo_config", "neutron_lib"),
    "contrail": ("urllib3", "kombu", "kazoo"),
}
"""What an extra brings, by the names that are imported."""
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from isthmus.app.cli import main
sys.exit(main(sys.argv[2:]))
"""
VCENTER = """
installation = "site"
[vcenter.vc1]
url = "https://127.0.0.1:1/sdk"
user = "isthmus"
password_env = "PASSWORD"
"""
BY_FILE = '[intent]\nfile = "intent.yaml"\n'
BY_NEUTRON = '[intent.neutron]\nurl_env = "BUS"\n'
APPLIANCES = """
[deployment.cloud]
design = "ovsvapp"
dvs = "tenants"
[deployment.cloud.host."esx1"]
vtep = "192.0.2.1"
trunk = "eth1"
"""
LEAVES = """
[deployment.cloud]
design = "vds-leaf"
dvs = "tenants"
[deployment.cloud.leaf.leaf1]
driver = "{driver}"
{how}
vtep = "198.51.100.1"
[deployment.cloud.host."esx1"]
leaf = "leaf1"
ports = ["swp1"]
"""
HWVTEP = LEAVES.format(driver="hwvtep", how='target = "tcp:127.0.0.1:1"')
EXTERNAL = LEAVES.format(driver="external", how="").replace('ports = ["swp1"]\n', "")


def isthmus(missing: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command where these libraries are not installed."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, ",".join(missing), *arguments],
        env={"PYTHONPATH": str(TREE / "src"), "PASSWORD": "x", "BUS": "memory://"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def planned(folder: Path, configuration: str, *missing: str) -> subprocess.CompletedProcess[str]:
    (folder / "intent.yaml").write_text("networks: []\n")
    (folder / "isthmus.toml").write_text(configuration)
    return isthmus(missing, "plan", "--config", str(folder / "isthmus.toml"))


@pytest.mark.parametrize("extra", [*LIBRARIES, "all"])
def test_the_version_and_the_help_need_no_extra(extra: str) -> None:
    missing = LIBRARIES[extra] if extra in LIBRARIES else tuple(name for names in LIBRARIES.values() for name in names)
    for asked in (["version"], ["--help"], ["run", "--help"]):
        done = isthmus(missing, *asked)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


@pytest.mark.parametrize(
    ("extra", "configuration", "wanted_by"),
    [
        ("vcenter", BY_FILE + APPLIANCES, "vcenter.vc1: pyVmomi"),
        ("file", BY_FILE + APPLIANCES, "intent.file: yaml"),
        ("ovs", BY_FILE + APPLIANCES, "appliances: ovs"),
        ("leaf", BY_FILE + HWVTEP, "driver 'hwvtep': ovs"),
        ("neutron", BY_NEUTRON + EXTERNAL, "intent.neutron: oslo_service"),
    ],
)
def test_a_library_that_is_missing_is_named_in_one_line_with_what_to_install(
    extra: str, configuration: str, wanted_by: str, tmp_path: Path
) -> None:
    done = planned(tmp_path, VCENTER + configuration, *LIBRARIES[extra])
    assert done.returncode == 1
    [said] = done.stderr.splitlines()
    assert re.search(rf"{re.escape(wanted_by)}\S* is not installed: install isthmus with \[{extra}\]$", said), said


OTHERS = ("networking_generic_switch", "netmiko", *LIBRARIES["neutron"])


@pytest.mark.parametrize(
    ("configuration", "missing"),
    [
        (BY_FILE + APPLIANCES, OTHERS),
        (BY_FILE + HWVTEP, OTHERS),
        (BY_FILE + EXTERNAL, (*LIBRARIES["leaf"], *LIBRARIES["neutron"])),
    ],
)
def test_what_a_configuration_does_not_speak_to_needs_no_library(
    configuration: str, missing: tuple[str, ...], tmp_path: Path
) -> None:
    done = planned(tmp_path, VCENTER + configuration, *missing)
    assert "not installed" not in done.stderr
    assert "vCenter 127.0.0.1:1/sdk: unreachable" in done.stderr, "which is not there: as far as it gets"


def test_one_extra_is_enough_for_a_design() -> None:
    extras = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    def brings(extra: str) -> set[str]:
        found: set[str] = {extra}
        for wanted in extras[extra]:
            if inner := re.fullmatch(r"isthmus\[(.*)\]", wanted):
                found = found.union(*(brings(name) for name in inner[1].split(",")))
        return found

    assert {extra: brings(extra) - {extra} for extra in ("ovs", "leaf", "neutron", "contrail", "all")} == {
        "ovs": {"vcenter", "file"},
        "leaf": {"vcenter", "file"},
        "neutron": {"vcenter", "file", "ovs", "leaf"},
        "contrail": {"vcenter"},
        "all": set(LIBRARIES),
    }

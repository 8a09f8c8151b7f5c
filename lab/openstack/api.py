"""Neutron's REST API behind a WSGI server: `python -m lab.openstack.api PORT`, with OS_NEUTRON_CONFIG_* set."""

from __future__ import annotations

import sys


def main() -> None:
    port = sys.argv.pop()  # what is left is read as Neutron's own command line
    import waitress
    from neutron.wsgi.api import application

    # One thread: the first requests that several serve at once are refused by policies that are not read yet.
    waitress.serve(application, listen=f"127.0.0.1:{port}", threads=1)


if __name__ == "__main__":
    main()

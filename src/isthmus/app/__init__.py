"""The process: configuration, wiring (the only place that names adapters), loop, status, command line."""

import warnings

# oslo.service brings eventlet along, and ovs looks whether it is there: neither is of use to an operator.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

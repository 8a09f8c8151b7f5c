"""The process: configuration, wiring (the only place that names adapters), loop, status, command line."""

"""Contrail and OpenSDN: the api-server (intent and workload objects) and the port API of each host's vRouter agent."""

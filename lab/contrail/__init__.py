"""The far sides of the contrail design, as stand-ins: an api-server, a vRouter agent."""

"""vCenter: session, inventory mirror, port groups, DV ports, events.  pyVmomi stays behind this door."""

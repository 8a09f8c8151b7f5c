"""In-memory far sides and a frame simulator: VM -> DVS -> NVE -> underlay -> who hears it."""

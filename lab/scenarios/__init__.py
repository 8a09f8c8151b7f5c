"""Stories about a network, told on any world: in memory, and on real Open vSwitch."""

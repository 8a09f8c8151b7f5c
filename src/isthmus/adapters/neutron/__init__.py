"""OpenStack Neutron: the intent, what Neutron is told, and (`ml2`) the mechanism drivers that run inside it.

Only `ml2` imports Neutron.  The rest is spoken over Neutron's message bus, so that `isthmus run` needs none of it.
"""

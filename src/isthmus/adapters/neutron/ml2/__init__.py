"""The mechanism drivers `isthmus_fabric` and `isthmus_vds`, which Neutron loads.

Law: hooks record and wake.  Nothing here speaks to a vCenter or a leaf, and nothing waits inside a transaction.
"""

"""A whole OpenStack Neutron as real parts, with isthmus, beside a simulated vCenter and real leaf switches."""

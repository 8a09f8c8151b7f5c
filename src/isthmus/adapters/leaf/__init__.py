"""Leaf switches that are VTEPs, one folder per way of speaking to them."""

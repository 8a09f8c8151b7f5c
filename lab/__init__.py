"""A small world in which all of isthmus runs; the package never imports it."""

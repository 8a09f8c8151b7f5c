"""Intent from a declarative file, watched; a bad file is refused while the last good one stays in force."""

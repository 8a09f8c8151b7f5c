"""The thoughts: pure functions from words to words."""

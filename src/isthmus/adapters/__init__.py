"""The eyes and hands: one folder per far side; its library and its faults stop at its door."""

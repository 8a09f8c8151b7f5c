"""The eyes and hands: one folder per far side; its library and its faults stop at its door."""

import warnings

# Libraries of ours import eventlet wherever it is, and it then tells our operator what is to be said to their makers.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

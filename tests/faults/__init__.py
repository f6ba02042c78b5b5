"""Faults made on purpose in real processes under load, and the oracle that judges what was acknowledged."""

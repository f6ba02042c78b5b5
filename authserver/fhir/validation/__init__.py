"""Validation of resources against the structures of R4: values in, findings out."""

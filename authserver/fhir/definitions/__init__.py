"""What FHIR R4 4.0.1 says about resource types and search parameters, as compact tables.

The tables are generated from the official definitions (`generate.py`) and read once per app object.
"""

"""A SMART Backend Services authorization server, with the FHIR layer that it protects."""

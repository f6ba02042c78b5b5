"""Where FHIR resources are kept and found: the port, and its SQL implementation for SQLite and PostgreSQL."""

"""Bulk Data Access: jobs that put out what a client may read as NDJSON files, a thread that works them off.

The statements are in `store/`, the answers in `routes/export.py` (http://hl7.org/fhir/uv/bulkdata/STU2/export.html).
"""

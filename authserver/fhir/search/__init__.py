"""Searching: the query language, its typed form, the paging cursor and the answer. Knows no SQL and no HTTP."""

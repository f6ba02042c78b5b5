"""Hostile values in the search parameters of the FHIR layer, on real databases. Threat G11."""

from typing import Any
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from authserver.fhir.definitions.tables import Definitions, load_definitions
from authserver.fhir.store import tables
from authserver.fhir.store.sql_store import SqlStore
from tests.fhir.builders import FakeIntrospection, ListLog, bearer, make_app
from tests.injections import HOSTILE

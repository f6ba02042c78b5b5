"""Put the interactions of one app together: settings and rules in, the readers and doers of tasks out."""

from dataclasses import dataclass

from authserver.fhir.access import AccessRules
from authserver.fhir.access_audit import AccessAudit
from authserver.fhir.definitions.tables import Definitions
from authserver.fhir.interactions.audit_event import AuditWriter
from authserver.fhir.interactions.links import Links
from authserver.fhir.interactions.performer import Performer, new_id
from authserver.fhir.interactions.reference_check import ReferenceCheck
from authserver.fhir.interactions.task import TaskReader
from authserver.fhir.interactions.transaction import Transactions
from authserver.fhir.search.parser import SearchParser
from authserver.fhir.search_rights import SearchRights
from authserver.fhir.settings import FhirSettings
from authserver.fhir.store.port import FhirStore
from authserver.fhir.tenancy import TenantHierarchy
from authserver.fhir.validation.structures import load_structures
from authserver.fhir.validation.validator import Validator


@dataclass(frozen=True, slots=True)
class Interactions:
    """What the routes that write need."""

    validator: Validator
    links: Links
    search_rights: SearchRights
    reader: TaskReader
    performer: Performer
    transactions: Transactions


def make_parser(settings: FhirSettings, definitions: Definitions) -> SearchParser:
    """Return the parser of searches and of scopes' parameters."""
    return SearchParser(
        definitions,
        base_url=settings.fhir_base_url,
        default_count=settings.fhir_default_page_size,
        max_count=settings.fhir_max_page_size,
    )


def make_rules(settings: FhirSettings, definitions: Definitions, parser: SearchParser) -> AccessRules:
    """Return the rules of access, with the hierarchy of tenants where there is one."""
    parents, system = settings.fhir_tenant_parents, settings.fhir_tenant_tag_system
    hierarchy = TenantHierarchy.of(parents, tag_system=system) if parents else None
    return AccessRules(definitions, parser, hierarchy=hierarchy)


def make_audit(settings: FhirSettings, store: FhirStore) -> AccessAudit:
    """Return what records requests that write nothing."""
    return AccessAudit(
        store,
        base_url=settings.fhir_base_url,
        tag_system=settings.fhir_tenant_tag_system,
        new_id=new_id,
        records=settings.fhir_audit_reads,
    )


def make_interactions(
    settings: FhirSettings, rules: AccessRules, parser: SearchParser, definitions: Definitions
) -> Interactions:
    """Return the parts, made once per app."""
    structures, base_url = load_structures(), settings.fhir_base_url
    validator, links = Validator(structures), Links(structures, base_url=base_url)
    rights = SearchRights(definitions, rules)
    reader = TaskReader(rules, parser, rights, validator=validator, tag_system=settings.fhir_tenant_tag_system)
    audit = AuditWriter(base_url=base_url, tag_system=settings.fhir_tenant_tag_system, new_id=new_id)
    checks = ReferenceCheck(rules, links)
    performer = Performer(reader, checks, audit, max_bytes=settings.fhir_max_body_bytes)
    transactions = Transactions(reader, performer, links, rights=rights, parser=parser)
    return Interactions(validator, links, rights, reader, performer, transactions)

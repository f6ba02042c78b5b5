"""The CapabilityStatement: what works here, from the same tables that make it work."""

from collections.abc import Mapping
from typing import Any

from authserver.fhir.definitions.tables import ANY_TYPE, Definitions
from authserver.fhir.request import READ_ONLY_TYPES

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
_PARAMETER = "http://hl7.org/fhir/SearchParameter"
# When this description last changed in substance; a statement must have a date.
_DATE = "2026-11-21"
_BULK = "http://hl7.org/fhir/uv/bulkdata"
_READING = ("read", "vread", "history-instance", "history-type", "search-type")
_ALL = (*_READING, "create", "update", "patch", "delete")
_CONDITIONS = {
    "updateCreate": True,
    "conditionalCreate": True,
    "conditionalRead": "not-match",
    "conditionalUpdate": True,
    "conditionalDelete": "single",
    "referencePolicy": ["literal", "local", "enforced"],
}
_SYSTEM = ("transaction", "batch", "search-system", "history-system")
_CORE = "http://hl7.org/fhir/OperationDefinition"
_OPERATIONS = {
    "Patient": [
        ("everything", f"{_CORE}/Patient-everything"),
        ("summary", "http://hl7.org/fhir/uv/ips/OperationDefinition/summary"),
    ],
    "Composition": [("document", f"{_CORE}/Composition-document")],
}
_EXPORT_OF = {"Patient": "patient-export", "Group": "group-export"}


def capability_statement(
    definitions: Definitions, *, base_url: str, token_endpoint: str | None, bulk_export: bool = False
) -> dict[str, Any]:
    """Return the statement (http://hl7.org/fhir/R4/capabilitystatement.html), kind `instance`.

    `bulk_export` says whether the operations of Bulk Data Access are served.
    """
    statement = _statement(definitions, base_url=base_url, token_endpoint=token_endpoint)
    return _with_exports(statement) if bulk_export else statement


def _with_exports(statement: dict[str, Any]) -> dict[str, Any]:
    (rest,) = statement["rest"]
    resources = [
        {**one, "operation": [*one["operation"], _export(_EXPORT_OF[one["type"]])]}
        if one["type"] in _EXPORT_OF
        else one
        for one in rest["resource"]
    ]
    rest = {**rest, "resource": resources, "operation": [_export("export")]}
    return {**statement, "instantiates": [f"{_BULK}/CapabilityStatement/bulk-data"], "rest": [rest]}


def _export(definition: str) -> dict[str, str]:
    return {"name": "export", "definition": f"{_BULK}/OperationDefinition/{definition}"}


def _statement(definitions: Definitions, *, base_url: str, token_endpoint: str | None) -> dict[str, Any]:
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _DATE,
        "kind": "instance",
        "software": {"name": "authserver"},
        "implementation": {"description": "FHIR layer of authserver", "url": base_url},
        "fhirVersion": definitions.fhir_version,
        "format": ["application/fhir+json", "json"],
        "patchFormat": ["application/json-patch+json"],
        "rest": [
            {
                "mode": "server",
                "security": _security(token_endpoint),
                "resource": [
                    _resource(definitions, name, links) for name, links in sorted(_reverse_links(definitions).items())
                ],
                "interaction": [{"code": code} for code in _SYSTEM],
            }
        ],
    }


def _security(token_endpoint: str | None) -> dict[str, Any]:
    service = {"coding": [{"system": _SECURITY_SERVICE, "code": "SMART-on-FHIR"}]}
    security: dict[str, Any] = {"service": [service]}
    if token_endpoint is not None:
        # Deprecated since SMART 2.0, but older clients look nowhere else. There is no authorize endpoint.
        token = {"url": "token", "valueUri": token_endpoint}
        security["extension"] = [{"url": _OAUTH_URIS, "extension": [token]}]
    return security


def _resource(definitions: Definitions, resource_type: str, reverse_links: list[str]) -> dict[str, Any]:
    parameters = list(definitions.parameters(resource_type))
    return {
        "type": resource_type,
        "interaction": [{"code": code} for code in (_READING if resource_type in READ_ONLY_TYPES else _ALL)],
        "versioning": "versioned" if resource_type in READ_ONLY_TYPES else "versioned-update",
        "readHistory": True,
        **({} if resource_type in READ_ONLY_TYPES else _CONDITIONS),
        "searchInclude": ["*", *(f"{resource_type}:{one.code}" for one in parameters if one.kind == "reference")],
        # FHIR knows no empty arrays.
        **({"searchRevInclude": reverse_links} if reverse_links else {}),
        "searchParam": [
            {"name": p.code, "definition": f"{_PARAMETER}/{p.definition}", "type": p.kind} for p in parameters
        ],
        "operation": [
            {"name": name, "definition": definition}
            for name, definition in (("validate", f"{_CORE}/Resource-validate"), *_OPERATIONS.get(resource_type, ()))
        ],
    }


def _reverse_links(definitions: Definitions) -> dict[str, list[str]]:
    """Return, for each type, what `_revinclude` may name: the references of all types that can lead to it."""
    found: dict[str, list[str]] = {name: [] for name in definitions.resource_types}
    for source in sorted(definitions.resource_types):
        for one in definitions.parameters(source):
            if one.kind == "reference":
                targets = found if ANY_TYPE in one.leads_to else found.keys() & set(one.leads_to)
                for target in targets:
                    found[target].append(f"{source}:{one.code}")
    return found


def token_endpoint_of(smart_configuration: Mapping[str, Any]) -> str | None:
    """Return the token endpoint that the SMART configuration names, if it names one."""
    endpoint = smart_configuration.get("token_endpoint")
    return endpoint if isinstance(endpoint, str) else None

"""What one export puts out of each type: the constraint, the compartments and the Group, put together for a snapshot.

Membership of a Group counts only as far as the Patients themselves may be exported.
"""

import re
from collections.abc import Iterator, Mapping

from authserver.fhir import exact_json
from authserver.fhir.bulk.job import ExportJob, ExportSpec
from authserver.fhir.bulk.ports import Compartments, Snapshot
from authserver.fhir.bulk.rights import ExportRights
from authserver.fhir.constraint import Constraint
from authserver.fhir.store.port import Stored
from authserver.protocol import scopes

_PATIENT = re.compile(r"Patient/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?", re.ASCII)


class ExportSource:
    """What one job puts out, read from one snapshot."""

    def __init__(self, snapshot: Snapshot, job: ExportJob, *, rights: ExportRights) -> None:
        self._snapshot, self._rights = snapshot, rights
        self._spec, self._tenant = job.spec, job.tenant
        self._scopes = scopes.parse_granted(job.spec.scopes)
        self._group = self._read_group(job.spec)
        self._patients = self._limits(job.spec)

    def rows(self, resource_type: str, parameters: tuple[str, ...]) -> Iterator[bytes]:
        """Yield the bodies of the type; `parameters` are those by which it is in a patient's compartment."""
        constraint = self._constraint(resource_type)
        compartments, also = None, None
        if self._spec.level != "system":
            tenant = self._group.tenant if self._group is not None else None
            compartments = Compartments(self._constraint("Patient"), self._patients, parameters, tenant)
            also = self._group.position if self._group is not None and resource_type == "Group" else None
        return self._snapshot.rows(
            constraint, resource_type, since=self._spec.since, compartments=compartments, also=also
        )

    def _constraint(self, resource_type: str) -> Constraint:
        return self._rights.constraint(self._scopes, self._tenant, resource_type)

    def _read_group(self, spec: ExportSpec) -> Stored | None:
        if spec.group_id is None:
            return None
        return self._snapshot.read(self._constraint("Group"), "Group", spec.group_id)

    def _limits(self, spec: ExportSpec) -> tuple[str, ...] | None:
        """Return the ids of the only patients whose compartments count, or None for all of them."""
        if spec.group_id is None:
            return spec.patients
        members = group_members(exact_json.loads(self._group.body)) if self._group is not None else frozenset()
        return tuple(sorted(members if spec.patients is None else members.intersection(spec.patients)))


def group_members(group: Mapping[str, object]) -> frozenset[str]:
    """Return the ids of the Patients that a Group refers to as members, without those no longer active in it."""
    listed = group.get("member", [])
    members = [member for member in listed if isinstance(member, dict)] if isinstance(listed, list) else []
    entities = [member.get("entity") for member in members if member.get("inactive") is not True]
    references = [entity.get("reference") for entity in entities if isinstance(entity, dict)]
    found = (_PATIENT.fullmatch(text) for text in references if isinstance(text, str))
    return frozenset(match[1] for match in found if match)

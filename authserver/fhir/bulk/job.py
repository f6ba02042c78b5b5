"""An export as a value: what was asked, by whom and under which scopes; how far it is; what came of it."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["system", "patient", "group"]
State = Literal["queued", "running", "done", "failed"]

UNFINISHED: tuple[State, ...] = ("queued", "running")


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """What an export puts out, fixed at its kick-off.

    `types` are the output's resource types, `since` microseconds since the epoch, `patients` the ids that a patient
    or group level export is limited to (None: all), `scopes` the scopes of the token that started it. From these the
    constraint of each type is compiled anew by whoever works on it.
    """

    level: Level
    types: tuple[str, ...]
    scopes: str
    group_id: str | None = None
    since: int | None = None
    patients: tuple[str, ...] | None = None

    def encoded(self) -> str:
        """Return the value as JSON text; decode_spec() reads it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Output:
    """One finished file: `count` lines, each a resource of the type."""

    resource_type: str
    count: int

    @property
    def file_name(self) -> str:
        """The name of the file, for example `Patient.ndjson`."""
        return f"{self.resource_type}.ndjson"


@dataclass(frozen=True, slots=True)
class ExportJob:
    """One export. `created_at` and `expires_at` are epoch seconds, `transaction_time` microseconds since the epoch.

    `attempt` counts how often somebody began to work on it, `progress` the types that are done.
    """

    id: str
    client_id: str
    tenant: str
    request_url: str
    spec: ExportSpec
    created_at: int
    state: State = "queued"
    attempt: int = 0
    progress: int = 0
    transaction_time: int | None = None
    expires_at: int | None = None
    outputs: tuple[Output, ...] = ()


def decode_spec(text: str) -> ExportSpec:
    """Return what encoded() wrote."""
    members = json.loads(text)
    patients = members.pop("patients")
    return ExportSpec(
        **{**members, "types": tuple(members["types"])}, patients=None if patients is None else tuple(patients)
    )


def encode_outputs(outputs: tuple[Output, ...]) -> str:
    """Return the outputs as JSON text."""
    return json.dumps([[output.resource_type, output.count] for output in outputs])


def decode_outputs(text: str) -> tuple[Output, ...]:
    """Return what encode_outputs() wrote."""
    return tuple(Output(resource_type, count) for resource_type, count in json.loads(text))

"""`authserver policy`: try out policies on a running server, and ask what registered ones said or would say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authserver.cli.connection import as_operator, json_option, operator_options
from authserver.cli.output import print_json

if TYPE_CHECKING:
    from authserver.cli.remote import Remote

_REGISTERED = "AccessPolicy/"


@click.group()
def policy() -> None:
    """Try out policies and patterns, explain refusals, foresee changes."""


@policy.command()
@click.argument("policy_source", metavar="POLICY")
@click.argument("method")
@click.argument("uri")
@click.option(
    "--client", "client_id", required=True, metavar="ID", help="The registered client that sends the request."
)
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request; repeatable."
)
@click.option("--body", metavar="FILE", help="JSON file with the request's body.")
@click.option("--jwt", metavar="FILE", help="JSON file with the claims of the access token.")
@click.option("--remote-addr", metavar="ADDRESS", help="From where the request comes.")
@operator_options
@json_option
def test(
    policy_source: str,
    method: str,
    uri: str,
    *,
    client_id: str,
    headers: tuple[str, ...],
    body: str | None,
    jwt: str | None,
    remote_addr: str | None,
    url: str | None,
    user: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Try POLICY on a request that nobody sends: would it allow METHOD URI, and why not?

    POLICY is a JSON file, - for stdin, or AccessPolicy/ID for a registered one. Exit code 1 when it does not allow.
    """
    described: dict[str, Any] = {"request-method": method, "uri": uri, "client-id": client_id}
    if headers:
        described["headers"] = _headers(headers)
    if body is not None:
        described["body"] = _document(body)
    if jwt is not None:
        described["jwt"] = _document(jwt)
    if remote_addr is not None:
        described["remote-addr"] = remote_addr
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        tried = _policy(remote, policy_source)
        told = remote.post("/auth/test-policy", {"request": described, "policy": tried})
    _show(told, _verdict_lines(told["result"]), good=_allows(told["result"]), as_json=as_json)


@policy.command()
@click.argument("pattern")
@click.argument("resource")
@click.option("--context", metavar="FILE", help="JSON file that paths in the pattern (.a.b) lead through instead.")
@operator_options
@json_option
def match(
    pattern: str,
    resource: str,
    *,
    context: str | None,
    url: str | None,
    user: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Match a pattern with a resource, both JSON files (- for stdin). Exit code 1 when it does not fit."""
    sent = {"matcho": _document(pattern), "resource": _document(resource)}
    if context is not None:
        sent["context"] = _document(context)
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        told = remote.post("/$matcho", sent)
    lines = _mismatch_lines(told["result"]) or ["it fits"]
    _show(told, lines, good=not told["result"], as_json=as_json)


@policy.command()
@click.argument("decision", metavar="REQUEST_ID")
@operator_options
@json_option
def explain(decision: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Say why the policies refused a request: what each of them said of it then.

    REQUEST_ID is the X-Request-Id of the refusal, or the X-Decision-Id of one by the FHIR layer.
    """
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        told = remote.get("/AccessPolicy/$explain", decision=decision)
    _show(told, _record_lines(told), good=True, as_json=as_json)


@policy.command()
@click.argument("policy_id", metavar="ID")
@operator_options
@json_option
def impact(policy_id: str, *, url: str | None, user: str, secret_file: Path | None, as_json: bool) -> None:
    """Tell which recent decisions would change if a policy was enforced (in shadow mode), or removed."""
    with as_operator(url, user=user, secret_file=secret_file) as remote:
        told = remote.get(f"/AccessPolicy/{policy_id}/$impact")
    _show(told, _impact_lines(told), good=True, as_json=as_json)


def _policy(remote: "Remote", source: str) -> Any:
    """Return the policy: of the server, of a file, of stdin."""
    from authserver.cli.failures import Failure

    if not source.startswith(_REGISTERED):
        return _document(source)
    found = remote.find("AccessPolicy", source.removeprefix(_REGISTERED))
    if found is None:
        raise Failure(f"There is no {source}.")
    return found


def _document(source: str) -> Any:
    from authserver.cli.failures import Failure
    from authserver.protocol import strict_json

    with click.open_file(source, "rb") as file:
        data = file.read()
    try:
        return strict_json.loads(data)
    except strict_json.MalformedJson as error:
        raise Failure(f"{source}: no acceptable JSON: {error}") from error


def _headers(given: Sequence[str]) -> dict[str, str]:
    pairs = [header.partition(":") for header in given]
    if not all(colon for _, colon, _ in pairs):
        raise click.UsageError("--header needs a name and a value: 'X-Purpose: research'.")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _allows(result: Mapping[str, Any]) -> bool:
    return bool(result["eval-result"] and result["candidate"])


def _verdict_lines(result: Mapping[str, Any]) -> list[str]:
    verdict = "allowed" if _allows(result) else "not allowed"
    lines = [f"{verdict} (engine {result['engine']})", *_reasons(result)]
    if not result["candidate"]:
        lines.append("not asked: its links name neither this client nor this operation")
    if result.get("failed"):
        lines.append("it could not be evaluated")
    warned = (f"warning: {one['expression']}: {one['diagnostics']}" for one in result["warnings"])
    return [*lines, *warned]


def _reasons(finding: Mapping[str, Any], indent: str = "  ") -> list[str]:
    """Return what did not fit, the parts of a combination indented below it."""
    lines = [indent + line for line in _mismatch_lines(finding.get("mismatches", []))]
    for part in finding.get("parts", []):
        said = "allows" if part["eval-result"] else "does not allow"
        lines += [f"{indent}{part['engine']} {said}", *_reasons(part, indent + "  ")]
    return lines


def _mismatch_lines(mismatches: Sequence[Mapping[str, Any]]) -> list[str]:
    import json

    lines = []
    for one in mismatches:
        place = ".".join(str(step) for step in one["path"]) or "(all of it)"
        # A record of a decision does not say what was there.
        but = f", but {json.dumps(one['but'], ensure_ascii=False)}" if "but" in one else ""
        lines.append(f"{place}: expected {json.dumps(one['expected'], ensure_ascii=False)}{but}")
    return lines


def _record_lines(told: Mapping[str, Any]) -> list[str]:
    verdict = f"allowed by {told['policy']}" if told["allowed"] else "refused"
    asked = f"{told['client_id']}: {told['method']} {told['path']} ({told['operation'] or 'no operation of ours'})"
    lines = [f"{asked} was {verdict}"]
    for one in told["verdicts"]:
        said = "could not be evaluated" if one.get("failed") else "allows" if one["eval-result"] else "does not allow"
        mode = " (shadow)" if "mode" in one else ""
        lines += [f"  {one['id']} version {one['version']}{mode}: {said}", *_reasons(one, "    ")]
    return lines if told["verdicts"] else [*lines, "  no policy was a candidate"]


def _impact_lines(told: Mapping[str, Any]) -> list[str]:
    changed = "would-be-allowed" if told["if"] == "enforced" else "would-be-refused"
    first = (
        f"if {told['policy']} was {told['if']}: {told[changed]} of {told['recorded']} recorded decisions "
        f"{changed.replace('-', ' ')}"
    )
    by = (f"  {one['client']} {one['operation'] or '(no operation of ours)'}: {one['decisions']}" for one in told["by"])
    return [first, *by, f"judged by this version: {told['judged']}, by others: {told['judged-by-other-versions']}"]


def _show(told: object, lines: Sequence[str], *, good: bool, as_json: bool) -> None:
    if as_json:
        print_json(told)
    else:
        for line in lines:
            click.echo(line)
    if not good:
        raise click.exceptions.Exit(1)

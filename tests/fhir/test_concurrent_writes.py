"""Writers at once, on each kind of database: exactly one wins, and nothing is lost."""

import threading
from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient

from tests.fhir.builders import Writable, make_observation, make_patient, send

WRITERS = 4


def _at_once(writable: Writable, act: Callable[[FlaskClient, int], Any]) -> list[int]:
    """Let every writer act at the same moment; return the statuses, sorted."""
    statuses: list[int] = []
    ready = threading.Barrier(WRITERS)

    def run(number: int) -> None:
        client = writable.app.test_client()
        ready.wait()
        statuses.append(act(client, number).status_code)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


def test_of_updates_of_one_version_exactly_one_wins(api: FlaskClient, writable: Writable) -> None:
    """The lost update: http.html#concurrency."""

    def update(client: FlaskClient, number: int) -> Any:
        return send(client, "PUT", "Patient/p1", make_patient(birthDate=f"200{number}-01-01"), If_Match='W/"1"')

    assert _at_once(writable, update) == [200, 412, 412, 412]
    assert send(api, "GET", "Patient/p1").headers["ETag"] == 'W/"2"'


def test_of_conditional_creates_exactly_one_creates(api: FlaskClient, writable: Writable) -> None:
    """http.html#ccreate."""
    body = make_patient(identifier=[{"system": "urn:x", "value": "1"}])

    def create(client: FlaskClient, number: int) -> Any:
        return send(client, "POST", "Patient", body, If_None_Exist="identifier=urn:x|1")

    assert _at_once(writable, create) == [200, 200, 200, 201]
    assert len(send(api, "GET", "Patient?identifier=urn:x|1").get_json()["entry"]) == 1


def test_of_updates_that_create_exactly_one_creates(api: FlaskClient, writable: Writable) -> None:
    def create(client: FlaskClient, number: int) -> Any:
        return send(client, "PUT", "Observation/new", make_observation("new", issued=f"200{number}-01-01T00:00:00Z"))

    assert _at_once(writable, create) == [200, 200, 200, 201]
    assert send(api, "GET", "Observation/new").headers["ETag"] == 'W/"4"'


def test_transactions_that_lock_in_opposite_orders_both_end(api: FlaskClient, writable: Writable) -> None:
    """A deadlock is resolved by running the loser again."""
    names = ["a", "b", "c"]
    for name in names:
        send(api, "PUT", f"Patient/{name}", make_patient(name))

    def change(client: FlaskClient, number: int) -> Any:
        ordered = names if number % 2 else names[::-1]
        entries = [
            {
                "request": {"method": "PUT", "url": f"Patient/{name}"},
                "resource": make_patient(name, birthDate=f"200{number}-01-01"),
            }
            for name in ordered
        ]
        return send(client, "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})

    assert _at_once(writable, change) == [200] * WRITERS
    assert [send(api, "GET", f"Patient/{name}").headers["ETag"] for name in names] == ['W/"5"'] * 3

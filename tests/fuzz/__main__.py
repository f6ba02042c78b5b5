"""The long run (`make fuzz`): a million tokens, a hundred thousand requests; figures at the end.

Numbers and seed may be given: `python -m tests.fuzz [TOKENS [REQUESTS [SEED]]]`. A failure names what caused it.
"""

import io
import secrets
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

from authserver import clock
from tests.builders import ROOT_SECRET, make_parts, make_settings
from tests.fuzz import requests, tokens
from tests.http import Server, make_app


def main(arguments: list[str]) -> int:
    """Run both and print what was seen."""
    given = [int(argument) for argument in arguments]
    count, sent, seed = (*given, *(1_000_000, 100_000, secrets.randbits(32))[len(given) :])
    print(f"seed {seed}", flush=True)
    started = time.monotonic()
    report = tokens.run(count, seed=seed)
    took = time.monotonic() - started
    print(
        f"{report.tokens} tokens in {took:.0f} s, {report.accepted} accepted and by PyJWT and joserfc as well",
        flush=True,
    )
    print("  refused: " + ", ".join(f"{reason} {times}" for reason, times in report.reasons.most_common()), flush=True)
    started = time.monotonic()
    answered = _requests(sent, seed)
    took = time.monotonic() - started
    print(
        f"{answered.requests} requests in {took:.0f} s, no 5xx: {dict(sorted(answered.statuses.items()))}", flush=True
    )
    return 0


def _requests(count: int, seed: int) -> requests.Report:
    with tempfile.TemporaryDirectory() as folder:
        settings, parts = make_settings(Path(folder)), make_parts(Path(folder))
        app = make_app(settings, parts)
        server = Server(app)
        with redirect_stdout(io.StringIO()) as log:  # a line for each refusal
            server.bootstrap(settings, parts, secret=ROOT_SECRET, now=clock.now_microseconds())
            server.put_client()
            done, report = 0, requests.Report()
            while done < count:
                part = requests.run(app, min(10_000, count - done), seed=seed + done)
                done += part.requests
                report.requests += part.requests
                report.statuses += part.statuses
                log.seek(0)
                log.truncate()
        return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Paths with one spelling pass; whatever has a second one is refused (G05)."""

import pytest

from authserver.errors import NonCanonicalPath
from authserver.protocol import canonical_path


@pytest.mark.parametrize(
    ("path", "raw_target"),
    [
        ("/", "/"),
        ("/Client/a-1.b", "/Client/a-1.b?x=%20"),
        ("/fhir/", None),
        ("/.well-known/jwks.json", "http://host.example/.well-known/jwks.json"),
        ("/fhir/$export", ""),
        ("*", None),
        ("", None),
    ],
)
def test_a_canonical_path_passes(path: str, raw_target: str | None) -> None:
    assert canonical_path.check(path, raw_target=raw_target) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("path", "raw_target"),
    [
        ("//Client", None),
        ("/Client//root", None),
        ("/Client/./root", None),
        ("/a/../Client", None),
        ("/Client/..", None),
        ("/Client/.", None),
        ("/Client;x=1", None),
        ("/Client\\root", None),
        ("/Client/%41", None),
        ("/Client/a b", None),
        ("/Client/a\x00", None),
        ("/Client/a\n", None),
        ("/Client/\u00fc", None),
        ("/Client/root", "/Client%2Froot"),
        ("/Client", "/%43lient"),
        ("/Client", "http://host.example/%43lient"),
    ],
)
def test_a_path_with_a_second_spelling_is_refused(path: str, raw_target: str | None) -> None:
    with pytest.raises(NonCanonicalPath):
        canonical_path.check(path, raw_target=raw_target)

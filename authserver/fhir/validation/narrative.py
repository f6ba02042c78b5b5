"""Which XHTML a narrative may have (txt-1, txt-2, http://hl7.org/fhir/R4/narrative.html#xhtml). PURE.

A narrative is shown to people by browsers, so what could act there is refused (threat H16).
"""

from html.parser import HTMLParser

_TAGS = frozenset(
    """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img li
    ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
    """.split()
)
_ATTRIBUTES = frozenset(
    """
    abbr accesskey align alt axis background bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff
    charset cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name nowrap
    rel rev rowspan rules scope shape span src start style summary tabindex title type valign value vspace width
    xml:lang xmlns
    """.split()
)
_SCHEMES = ("#", "http://", "https://", "mailto:", "urn:", "data:image/")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.allowed, self.says_something, self.open = True, False, 0
        self.roots: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.open == 0:
            self.roots.append(tag)
        self.open += tag not in ("br", "hr", "img", "col")
        self.says_something |= tag == "img"
        self.allowed &= tag in _TAGS and all(_is_allowed(name, value or "") for name, value in attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        before = self.open
        self.handle_starttag(tag, attrs)
        self.open = before

    def handle_endtag(self, tag: str) -> None:
        self.open -= tag not in ("br", "hr", "img", "col")

    def handle_data(self, data: str) -> None:
        self.says_something |= data.strip() != ""
        self.allowed &= self.open > 0 or data.strip() == ""

    def handle_comment(self, data: str) -> None:
        # Browsers end some comments earlier than XML does; what follows would then be markup.
        self.allowed &= "<" not in data and ">" not in data

    def handle_decl(self, _decl: str) -> None:
        self.allowed = False

    def unknown_decl(self, _data: str) -> None:
        self.allowed = False

    def handle_pi(self, _data: str) -> None:
        self.allowed = False


def is_narrative(text: str) -> bool:
    """Say whether the text is one `div` of harmless, balanced XHTML that says something."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.allowed and reader.says_something and reader.roots == ["div"] and reader.open == 0


def _is_allowed(name: str, value: str) -> bool:
    if name not in _ATTRIBUTES:
        return False
    if name in ("href", "src"):
        leads = value.strip().lower()
        return leads.startswith(_SCHEMES) or ":" not in leads
    return name != "style" or not any(word in value.lower() for word in ("javascript:", "expression(", "url("))

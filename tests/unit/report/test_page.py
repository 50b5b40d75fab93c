import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dqctl.records import RunContent
from dqctl.report.grid import PAGE, Badge, Grid, GridRow, Head
from dqctl.report.model import build
from dqctl.report.payload import PACKED, data, embedded
from dqctl.report.render import Form, render
from unit.report import flights

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028\u2029]]><!--<script>alert(1)</script>\"'&amp;{{7*7}}"
CONTENTS = {
    "test": flights.suite_run(),
    "profile": flights.profile_run(),
    "generate": flights.generate_run(),
    "nothing": flights.nothing("test"),
    "empty": flights.content(flights.run("test")),
}


class Page(HTMLParser):
    """Elements as a browser's parser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open, data))

    def inside(self, tag: str) -> list[str]:
        return [text for found, text in self.texts if found == tag]

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


def _page(content: RunContent, history: bool = False) -> str:
    return render(
        build(content, flights.history() if history else (), generated_at=flights.GENERATED_AT), Form.HTML
    )


def _hostile() -> RunContent:
    def spoil(row: Any) -> dict[str, Any]:
        kept = ("id", "result_status", "kind", "status", "run_id", "row_counts")
        return {name: HOSTILE if isinstance(v, str) and name not in kept else v for name, v in row.items()}

    rows = {
        **flights.suite_run().rows,
        "dq_profile_columns": flights.profile_run().rows["dq_profile_columns"],
        "dq_anomalies": flights.profile_run().rows["dq_anomalies"],
    }
    run = spoil(flights.run("test", error_message="boom", status="error"))
    return RunContent(run, {name: tuple(map(spoil, found)) for name, found in rows.items()})


@pytest.mark.parametrize("kind", CONTENTS)
def test_page_makes_no_outside_request(kind: str) -> None:
    page = _page(CONTENTS[kind], history=True)
    assert not re.search(r"https?:|//[a-z]|@import|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", page)
    assert set(re.findall(r"url\((.*?)\)", page)) <= {"#hatch"}
    parsed = Page(page)
    linked = {
        value
        for _, attributes in parsed.elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "srcset", "poster", "data", "xlink:href", "formaction")
    }
    assert all(value and (value.startswith("#") or value == "data:,") for value in linked)


def test_policy_allows_the_pages_own_script_and_style_only() -> None:
    page = _page(flights.suite_run())
    (policy,) = (
        attributes["content"]
        for attributes in Page(page).tags("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"
    # What the policy forbids must not be needed.
    assert not [attributes for _, attributes in Page(page).elements if "style" in attributes]
    assert not [name for _, attributes in Page(page).elements for name in attributes if name.startswith("on")]


def test_hostile_data_stays_text() -> None:
    page = _page(_hostile())
    parsed, harmless = Page(page), Page(_page(flights.suite_run()))
    assert {tag for tag, _ in parsed.elements} - {"pre", "code"} <= {tag for tag, _ in harmless.elements}
    assert not parsed.tags("img")
    assert len(parsed.tags("script")) == 2
    assert HOSTILE in json.loads(parsed.inside("script")[0])["texts"]
    assert "<!--" not in page
    assert HOSTILE in "".join(parsed.inside("h1"))


def _grid(*rows: GridRow, runs: tuple[str, ...] = ()) -> Grid:
    heads = tuple(Head(str(n)) for n in range(len(rows[0].cells)))
    return Grid("g", "G", "State", (Badge("passed", "ok"),), heads, rows, runs)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_data_travels_whole_and_cannot_end_its_element(texts: list[str]) -> None:
    rows = (GridRow(0, tuple(texts), (("label", texts[0]),)), GridRow(0, tuple(texts), ()))
    text, encoding = embedded(data([_grid(*rows)]))
    assert encoding == "plain"
    assert not set("<>&\u2028\u2029") & set(text)
    found = json.loads(text)
    table = found["tables"]["g"]
    assert table["badges"] == [0, 0]
    for row in (0, 1):
        assert [found["texts"][column[row]] for column in table["cells"]] == texts
    assert [table["shapes"][number] for number in table["shape"]] == [["label"], []]
    assert [found["texts"][number] for number in table["facts"]] == [texts[0]]


def test_much_data_is_packed_and_the_same_every_time() -> None:
    rows = tuple(GridRow(0, (f"{number:0200d} <&>",), ()) for number in range(PACKED // 100))
    text, encoding = embedded(data([_grid(*rows)]))
    assert encoding == "deflate"
    assert len(text) < PACKED / 2
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", text)
    assert zlib.decompress(base64.b64decode(text)).decode() == data([_grid(*rows)])
    assert embedded(data([_grid(*rows)])) == (text, encoding)


def test_past_of_a_row_travels_as_letters_and_measures() -> None:
    rows = (GridRow(0, ("a",), (), "PF", ("1", None)), GridRow(0, ("b",), (), "-P"))
    found = json.loads(data([_grid(*rows, runs=("monday", "tuesday"))]))
    table, texts = found["tables"]["g"], found["texts"]
    assert table["runs"] == ["monday", "tuesday"]
    assert [texts[number] for number in table["past"]] == ["PF", "-P"]
    assert [texts[number] for number in table["measures"]] == ["1", "", "", ""]


def test_page_is_readable_without_a_script() -> None:
    page = Page(_page(flights.many(PAGE + 150)))
    rows = [attributes for attributes in page.tags("td") if attributes.get("class") == "wide"]
    # One more: the row that the script copies.
    assert len(rows) == PAGE + 1
    assert "of 350: the others" in " ".join(page.inside("p"))


def test_all_results_travel_in_the_page() -> None:
    content = flights.many(PAGE + 150)
    page = Page(_page(content))
    (element,) = (attributes for attributes in page.tags("script") if attributes.get("id") == "data")
    assert element["data-encoding"] == "plain"
    found = json.loads(page.inside("script")[0])
    assert len(found["tables"]["results"]["badges"]) == PAGE + 150
    messages = {row["result_message"] for row in content.rows["dq_test_results"]}
    assert messages <= set(found["texts"])


def test_trend_is_there_when_there_is_history() -> None:
    assert '<h2 id="trend">' in _page(flights.suite_run(), history=True)
    assert '<h2 id="trend">' not in _page(flights.suite_run())


def test_every_control_has_a_name_and_every_shape_is_hidden_from_readers() -> None:
    page = _page(flights.suite_run(), history=True)
    for attributes in Page(page).tags("svg"):
        assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
    assert 'html lang="en"' in page
    assert len(Page(page).tags("h1")) == 1


def test_incomplete_columns_come_before_what_was_found_in_the_rest() -> None:
    page = _page(flights.profile_run())
    assert page.index('id="columns"') < page.index('id="anomalies"')
    page = _page(flights.profile_run(ansi=False))
    assert page.index('id="columns"') > page.index('id="anomalies"')

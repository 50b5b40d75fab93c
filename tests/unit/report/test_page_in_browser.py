"""The page in a real browser, where there is one: what people see of it, with mouse, keyboard, ear and paper."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dqctl.records import RunContent
from dqctl.report.model import build
from dqctl.report.render import Form, write
from unit.report import flights
from unit.report.browser import BROWSER, Browser

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
ROWS = "document.querySelectorAll('#results tbody tr[data-place]')"
SHOWN = "document.querySelector('#results output').textContent"
FOCUS = "Number(document.activeElement.closest('tr')?.getAttribute('aria-rowindex'))"
# More than are ever near a window; packed, too.
MANY = 3000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


def _page(folder: Path, name: str, content: RunContent) -> Path:
    path = folder / f"{name}.html"
    if not path.exists():
        nights = flights.history(4)
        past = flights.past(content, nights)
        write(build(content, nights, past, generated_at=flights.GENERATED_AT), Form.HTML, path)
    return path


@pytest.fixture
def big(browser: Browser, pages: Path) -> Browser:
    """The page of a big run, as it is when it was just opened."""
    browser.resize(1280, 900)
    browser.open(_page(pages, "many", flights.many(MANY)))
    return browser


@pytest.fixture
def small(browser: Browser, pages: Path) -> Browser:
    browser.resize(1280, 900)
    browser.open(_page(pages, "suite", flights.suite_run()))
    return browser


@pytest.mark.parametrize("page", ["big", "small"])
def test_script_takes_over_within_the_pages_policy(page: str, request: pytest.FixtureRequest) -> None:
    browser: Browser = request.getfixturevalue(page)
    total = {"big": "3,000 shown", "small": "151 shown"}[page]
    assert browser.run(SHOWN) == total
    assert not browser.run("document.querySelector('form.filters').hidden")
    assert len(browser.requests) == 1
    assert browser.requests[0].startswith("file:")


def test_only_rows_near_the_window_are_in_the_document(big: Browser) -> None:
    assert big.run(f"{ROWS}.length") < 500
    assert big.run("document.querySelector('#results table').getAttribute('aria-rowcount')") == str(MANY + 1)
    big.run("window.scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    big.until(f"[...{ROWS}].some((row) => row.dataset.place === '{MANY - 1}')")
    big.until(f"{ROWS}.length < 500")


def test_rows_are_whole_wherever_one_scrolls_to(big: Browser) -> None:
    for share in (0.41, 0.97, 0.7, 0.15):
        big.run(f"window.scrollTo({{top: document.body.scrollHeight * {share}, behavior: 'instant'}})")
        # What stands in the middle of the window is a row with all of its cells.
        big.until("document.elementFromPoint(300, 450)?.closest('tr[data-place]')?.textContent.length > 20")


def test_search_and_filters_find_what_is_far_away(big: Browser) -> None:
    big.run("document.querySelector('#results input[type=search]').focus()")
    big.type("(2990)")
    big.until(f"{SHOWN} === '1 of 3,000 shown'")
    big.until(f"{ROWS}[0]?.textContent.includes('(2990)')")
    big.run("document.querySelector('#results input[type=search]').select()")
    big.type("no row says this")
    big.until(f"{SHOWN} === '0 of 3,000 shown'")


def test_facts_that_are_folded_away_are_searched(small: Browser) -> None:
    small.run("document.querySelector('#results input[type=search]').focus()")
    small.type("40.2100609")
    found = sum("40.2100609" in row["input_parameters"] for row in flights.results())
    small.until(f"{SHOWN} === '{found} of 151 shown'")


def test_chips_tables_and_heads_choose_and_sort(big: Browser) -> None:
    big.run("document.querySelector('#results .chip.error input').click()")
    failed = big.run(SHOWN)
    assert re.fullmatch(r"\d+ of 3,000 shown", failed)
    big.run("document.querySelector('#results .chip.error input').click()")
    big.run(
        "[...document.querySelectorAll('#results thead button')].find((b) => b.textContent === 'Table').click()"
    )
    big.run("document.querySelector('#results table').scrollIntoView({behavior: 'instant'})")
    big.until(f"{ROWS}[0]?.dataset.place === '0'")
    ascending = big.run(f"{ROWS}[0].children[1].textContent")
    big.run(
        "[...document.querySelectorAll('#results thead button')].find((b) => b.textContent === 'Table').click()"
    )
    descending = big.run(f"{ROWS}[0].children[1].textContent")
    assert (ascending, descending[:8]) == ("airlines_0000", "weather_")
    assert big.run("document.querySelector('#results th[aria-sort]').getAttribute('aria-sort')") == "descending"


def test_link_of_a_table_chooses_its_tests(small: Browser) -> None:
    small.run("document.querySelector('a[data-choose=planes]').click()")
    assert small.run(f"new Set([...{ROWS}].map((row) => row.children[1].textContent)).size") == 1


def test_keys_go_through_all_rows_and_unfold_them(big: Browser) -> None:
    big.run("document.querySelector('#results input[type=search]').focus()")
    big.press("ArrowDown")
    assert big.run(FOCUS) == 2
    big.press("ArrowDown")
    assert big.run(FOCUS) == 3
    big.press("End")
    assert big.run(FOCUS) == MANY + 1
    big.press("Enter")
    big.until("document.activeElement.closest('details').open")
    big.until("document.activeElement.closest('details').textContent.includes('What it checks')")
    big.press("ArrowUp")
    assert big.run(FOCUS) == MANY
    big.press("Home")
    assert big.run(FOCUS) == 2
    # A row that was unfolded and went out of sight is unfolded when it is back.
    big.press("End")
    assert big.run("document.activeElement.closest('details').open")
    big.press("/")
    assert big.run("document.activeElement.type") == "search"
    # From anywhere on the page, and as what it is where somebody types.
    big.run("document.activeElement.blur(); scrollTo(0, 0)")
    big.press("/")
    assert big.run("document.activeElement.type") == "search"
    assert big.run("document.activeElement.value") == ""
    big.press("/")
    assert big.run("document.activeElement.value") == "/"
    big.run("document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('input'))")


def test_past_of_a_test_is_drawn_said_and_listed(small: Browser) -> None:
    strip = "document.querySelector('#results .strip')"
    assert small.run(f"{strip}.querySelectorAll('.mark').length") == 4
    assert re.fullmatch(r"before: (1 failed, 3|4) passed", small.run(f"{strip}.getAttribute('aria-label')"))
    small.run(f"{strip}.closest('tr').querySelector('summary').click()")
    small.until("document.querySelectorAll('#results tbody details[open] ol li').length === 4")
    assert "2026-11-19 02:00 UTC: passed" in small.run("document.querySelector('#results tbody ol').textContent")


def test_screen_reader_is_told_of_tables_controls_and_counts(small: Browser) -> None:
    told = small.accessible()
    assert ("table", "Tests 151") in told
    assert {("columnheader", name) for name in ("Status", "Table", "Column", "Test", "Finding")} <= set(told)
    assert ("searchbox", "Search") in told
    assert {"heading", "row", "cell", "checkbox", "status", "search"} <= {role for role, _ in told}
    # Everything that can be used has a name.
    assert not [role for role, name in told if role in ("button", "checkbox", "combobox", "link") and not name]


def test_narrow_window_has_no_sideways_scrolling_and_stays_a_table(browser: Browser, pages: Path) -> None:
    browser.resize(390, 800)
    browser.open(_page(pages, "suite", flights.suite_run()))
    assert browser.run("document.documentElement.scrollWidth") <= 390
    # Blocks would be no table any more for those who hear it, without roles of their own.
    assert "table" in {role for role, _ in browser.accessible()}


def test_paper_has_the_rows_that_no_window_had_yet(big: Browser) -> None:
    big.run("window.dispatchEvent(new Event('beforeprint'))")
    assert big.run(f"{ROWS}.length") >= 2000
    assert big.run("document.querySelector('#results .unprinted').textContent").startswith("… and 1,000 more rows")
    big.run("window.dispatchEvent(new Event('afterprint'))")
    assert big.run("document.querySelector('#results .unprinted').hidden")


def test_page_is_printed(small: Browser) -> None:
    assert small.printed().startswith(b"%PDF")


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_its_ground(browser: Browser, pages: Path, dark: bool) -> None:
    browser.resize(1280, 900)
    browser.open(_page(pages, "suite", flights.suite_run()), dark=dark)
    # Contrast as WCAG 2 reckons it; 4.5 is its level AA.
    worst = browser.run("""(() => {
      const light = (text) => {
        const [r, g, b] = text.match(/[\\d.]+/g).map((part) => part / 255)
          .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const ground = light(getComputedStyle(document.body).backgroundColor);
      return Math.min(...[...document.querySelectorAll("h1, p, .badge, .word, td, th, output")].map((element) => {
        const [low, high] = [light(getComputedStyle(element).color), ground].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      }));
    })()""")
    assert worst >= 4.5


def test_hostile_data_does_not_run(browser: Browser, pages: Path) -> None:
    rows = [{**row, "table_name": HOSTILE, "result_message": HOSTILE} for row in flights.results()]
    run = flights.run("test", test_suite=HOSTILE, error_message=HOSTILE, status="error")
    browser.open(_page(pages, "hostile", flights.content(run, dq_test_results=rows)))
    assert browser.run(SHOWN) == "151 shown"
    assert browser.run("document.title").startswith("</script>")
    assert browser.run("document.images.length") == 0


def test_page_without_its_script_has_the_first_rows_and_says_so(browser: Browser, pages: Path) -> None:
    text = _page(pages, "many", flights.many(MANY)).read_text(encoding="utf-8")
    broken = pages / "broken.html"
    # As a browser that cannot unpack: the data is of an encoding that it does not know.
    ready = "document.documentElement.dataset.ready"
    broken.write_text(text.replace('data-encoding="deflate"', 'data-encoding="tomorrow"'), encoding="utf-8")
    browser.run(f"location.href = {broken.as_uri()!r}")
    browser.until("document.querySelector?.('.unread')?.textContent.includes('first 200 of 3,000')")
    assert browser.run(f"{ready} === undefined && document.querySelectorAll('#results tbody tr').length === 200")

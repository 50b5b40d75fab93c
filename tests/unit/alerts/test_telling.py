"""The life of an alert, and what receivers are told of it, whatever happens and whenever they are away."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dqctl.alerts.alert import Alert
from dqctl.alerts.rules import Chat
from dqctl.alerts.telling import Known, News, Told, changes, for_alertmanager, for_people, forgotten

START = datetime(2026, 11, 1, tzinfo=UTC)
CHAT = Chat(quiet=36 * 3600, resolved=True)
TESTS = "abcd"


def alert(test: str, run: int, when: datetime) -> Alert:
    return Alert({"alertname": "DataTestFailed", "rule": "r", "test": test}, {"run": str(run)}, str(run), when)


@dataclass
class Receivers:
    """A chat and an Alertmanager, as the database remembers them, and all that they were told."""

    known: dict[str, Known] = field(default_factory=dict)
    chat: dict[str, Told] = field(default_factory=dict)
    manager: dict[str, Told] = field(default_factory=dict)
    said: list[News] = field(default_factory=list)
    posted: dict[str, bool] = field(default_factory=dict)  # what Alertmanager holds for firing

    def look(self, wanted: dict[str, Alert], now: datetime, *, is_up: bool = True) -> News:
        for each in forgotten(CHAT, self.known, wanted, self.chat, now):
            del self.chat[each]
        self.known |= changes(self.known, wanted, now)
        news = for_people(CHAT, self.known, wanted, self.chat, now)
        if is_up or news.is_silent:
            self._remember(self.chat, news)
            if not news.is_silent:
                self.said.append(news)
        else:
            self.chat |= dict.fromkeys(news.pending, Told.PENDING)
        heard = for_alertmanager(self.known, wanted, self.manager, now)
        if is_up:
            self._remember(self.manager, heard)
            self.posted |= {each.alert.fingerprint: each.is_firing for each in (*heard.began, *heard.ended)}
        else:  # it took one of them, and then was gone
            self.posted |= {each.alert.fingerprint: True for each in heard.began[:1]}
            self.manager |= {each: Told.PENDING for each in heard.pending if each not in self.manager}
        return news

    @staticmethod
    def _remember(told: dict[str, Told], news: News) -> None:
        for fingerprint, state in news.after.items():
            if state is None:
                told.pop(fingerprint, None)
            else:
                told[fingerprint] = state


@st.composite
def nights(draw: st.DrawFn) -> list[tuple[frozenset[str], int, bool]]:
    """What fails in each run, hours until the next look, whether the receivers can be reached."""
    one = st.tuples(st.frozensets(st.sampled_from(TESTS)), st.integers(0, 60), st.booleans())
    return draw(st.lists(one, max_size=25))


@given(nights())
def test_whatever_happens_nobody_is_told_twice_and_nothing_is_lost(
    runs: list[tuple[frozenset[str], int, bool]],
) -> None:
    receivers, now = Receivers(), START
    began: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for number, (failing, hours, is_up) in enumerate(runs):
        now += timedelta(hours=hours)
        wanted = {each.fingerprint: each for each in (alert(test, number, now) for test in failing)}
        before = len(receivers.said)
        receivers.look(wanted, now, is_up=is_up)
        # One look, one message; the same facts again say nothing, and change nothing.
        assert len(receivers.said) - before <= 1
        state = (dict(receivers.known), dict(receivers.chat), dict(receivers.manager))
        if is_up:
            assert receivers.look(wanted, now).is_silent
            assert state == (receivers.known, receivers.chat, receivers.manager)
        for news in receivers.said[before:]:
            began.update(each.alert.fingerprint for each in news.began)
            ended.update(each.alert.fingerprint for each in news.ended)
        for fingerprint in began:
            # An alert begins, ends, begins ...; one that came back after it had long been good may skip its end.
            assert ended[fingerprint] <= began[fingerprint]
        if is_up:
            # The last that was said is true of all that fires; Alertmanager holds just that.
            assert all(receivers.chat[fingerprint] is Told.FIRING for fingerprint in wanted)
            assert {each for each, fires in receivers.posted.items() if fires} == wanted.keys()


@given(nights())
def test_a_test_that_fails_passes_and_fails_is_said_again_only_after_it_was_good_for_long(
    runs: list[tuple[frozenset[str], int, bool]],
) -> None:
    receivers, now = Receivers(), START
    good_since: dict[str, datetime] = {}
    said: set[str] = set()
    for number, (failing, hours, _) in enumerate(runs):
        now += timedelta(hours=hours)
        wanted = {each.fingerprint: each for each in (alert(test, number, now) for test in failing)}
        news = receivers.look(wanted, now)
        for each in news.began:
            fingerprint = each.alert.fingerprint
            if fingerprint in said:
                assert now - good_since[fingerprint] >= timedelta(seconds=CHAT.quiet)
            said.add(fingerprint)
        for each in news.ended:
            assert now - good_since[each.alert.fingerprint] >= timedelta(seconds=CHAT.quiet)
        for fingerprint in said | receivers.known.keys():
            if fingerprint in wanted:
                good_since.pop(fingerprint, None)
            else:
                good_since.setdefault(fingerprint, now)
        # Needed above: of what fires now, since when it had been good is not known any more.
        good_since |= dict.fromkeys(wanted, now)


def test_what_came_and_went_while_nobody_could_be_told_is_said_once() -> None:
    receivers = Receivers()
    one = alert("a", 1, START)
    receivers.look({one.fingerprint: one}, START, is_up=False)
    receivers.look({}, START + timedelta(hours=1), is_up=False)
    assert receivers.said == []
    news = receivers.look({}, START + timedelta(hours=2))
    assert [each.alert.fingerprint for each in news.passed] == [one.fingerprint]
    assert receivers.look({}, START + timedelta(hours=3)).is_silent
    assert receivers.chat == {}


def test_the_end_of_what_is_not_judged_any_more_is_not_called_good() -> None:
    one = alert("a", 1, START)
    known = {one.fingerprint: Known(one, START + timedelta(hours=1))}
    later, told = START + timedelta(hours=40), {one.fingerprint: Told.FIRING}
    assert len(for_people(CHAT, known, {}, told, later).ended) == 1
    news = for_people(CHAT, known, {}, told, later, lambda _: False)
    assert news.is_silent
    assert news.after == {one.fingerprint: None}


def test_an_alert_that_goes_another_way_now_ends_where_it_went() -> None:
    one = alert("a", 1, START)
    known = {one.fingerprint: Known(one)}
    news = for_alertmanager(known, {}, {one.fingerprint: Told.FIRING}, START + timedelta(hours=1))
    assert [each.resolved_at for each in news.ended] == [START + timedelta(hours=1)]
    assert news.after == {one.fingerprint: None}


def test_an_alert_keeps_its_age_as_long_as_it_fires() -> None:
    first, second = alert("a", 1, START), alert("a", 2, START + timedelta(days=1))
    known = changes({}, {first.fingerprint: first}, START + timedelta(hours=1))
    assert known[first.fingerprint].alert.since == START
    later = changes(known, {second.fingerprint: second}, START + timedelta(days=2))[first.fingerprint]
    assert (later.alert.since, later.alert.run_id) == (START, "2")
    assert changes({**known, first.fingerprint: later}, {second.fingerprint: second}, START) == {}
    # Switched off and on again: there is no newer run, and it did not fire meanwhile.
    off = {first.fingerprint: Known(second, START + timedelta(days=3))}
    again = changes(off, {second.fingerprint: second}, START + timedelta(days=4))[first.fingerprint]
    assert again.alert.since == START + timedelta(days=4)

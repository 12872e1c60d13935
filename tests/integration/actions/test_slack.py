"""Slack over real HTTP: what is sent, what is retried, what is refused, and what stays secret."""

import json
import logging
import socket

import pytest

from actions.messages import alert_message, broken_message, rollback_message
from actions.results import ActionResult, State
from actions.slack import Slack, SlackSettings
from analytics.types import Arithmetic, Outcome, VerdictKind
from tests.fakes.gitops import verdict
from tests.fakes.slack_receiver import slack_receiver
from wire.errors import TransientError

MESSAGE = rollback_message(verdict(), ActionResult(State.DONE, "ab" * 20, "releases/x.yaml"))


def texts(message: bytes) -> str:
    return json.dumps(json.loads(message), ensure_ascii=False)


def test_a_message_arrives_as_it_was_made() -> None:
    with slack_receiver() as receiver:
        result = Slack(SlackSettings(receiver.url)).perform(MESSAGE)

    assert result == ActionResult(State.DONE)
    assert receiver.messages == [json.loads(MESSAGE)]


def test_a_rollback_message_says_what_how_bad_how_sure_where_and_how_to_undo() -> None:
    text = texts(MESSAGE)

    for words in (
        "Rolled back: next-word 1.5.0 to 1.4.0",
        "inference.latency: +20.1 % (+14.0 % to +27.2 %)",
        "ln E 12.3 of 9.2",
        "1,234 and 1,198 phones, 14 windows",
        "android/DE/mid 62 %",
        "abababababab",
        "releases/x.yaml",
        "git revert abababababab",
    ):
        assert words in text


def test_alerts_carry_their_reason_and_a_broken_manifest_its_mistakes() -> None:
    drift = Arithmetic(metric="inference.latency", reason="p50 left its season", windows=3)
    for kind, title in ((VerdictKind.DRIFT, "Drift"), (VerdictKind.COST, "Cost")):
        message = alert_message(verdict(kind=kind, arithmetic=drift))
        assert f"{title}: inference.latency of next-word" in texts(message)
        assert "p50 left its season" in texts(message)
    recovered = verdict(kind=VerdictKind.RECOVERY, outcome=Outcome.PASS, arithmetic=drift)
    assert "Recovered: next-word is back on 1.4.0" in texts(alert_message(recovered))
    broken = texts(broken_message("c0ffee", [f"a.yaml: mistake {i}" for i in range(12)]))
    assert "mistake 9" in broken
    assert "and 2 more" in broken


def test_a_name_cannot_mention_everybody() -> None:
    message = alert_message(verdict(arithmetic=Arithmetic(reason="<!channel> & co")))

    assert "<!channel>" not in texts(message)
    assert "&lt;!channel&gt; &amp; co" in texts(message)


def test_a_long_message_stays_within_slacks_limits() -> None:
    mistakes = ["x" * 5000] * 10

    blocks = json.loads(broken_message("c" * 40, mistakes))["blocks"]

    assert all(len(b["text"]["text"]) <= 3000 for b in blocks if b["type"] == "section")


@pytest.mark.parametrize(("header", "wait_s"), [("7", 7), ("", 30), ("soon", 30), ("999999", 3600)])
def test_a_rate_limit_is_a_transient_error_with_slacks_own_wait(header: str, wait_s: int) -> None:
    answer = (429, {"Retry-After": header}, "rate_limited")
    with slack_receiver(answer) as receiver, pytest.raises(TransientError) as limited:
        Slack(SlackSettings(receiver.url)).perform(MESSAGE)

    assert (limited.value.code, limited.value.retry_after_s) == ("slack_rate_limited", wait_s)
    assert len(receiver.messages) == 1


def test_a_server_error_or_a_closed_port_is_worth_another_try() -> None:
    with slack_receiver((503, {}, "")) as receiver, pytest.raises(TransientError) as away:
        Slack(SlackSettings(receiver.url)).perform(MESSAGE)
    assert away.value.code == "slack_unavailable"

    with pytest.raises(TransientError) as closed:
        Slack(SlackSettings(receiver.url)).perform(MESSAGE)
    assert "canary-token" not in str(closed.value)


def test_a_silent_server_ends_in_a_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/canary-token"

        with pytest.raises(TransientError) as silent:
            Slack(SlackSettings(url, timeout_s=1)).perform(MESSAGE)

    assert silent.value.code == "slack_unavailable"


def test_slacks_refusal_is_a_result() -> None:
    with slack_receiver((404, {}, "no_service"), (403, {}, "<html>canary</html>")) as receiver:
        slack = Slack(SlackSettings(receiver.url))

        first, second = slack.perform(MESSAGE), slack.perform(MESSAGE)

    assert first == ActionResult(State.REFUSED, detail="status 404: no_service")
    assert second == ActionResult(State.REFUSED, detail="status 403: no reason given")


def test_an_address_that_is_none_is_refused_without_repeating_it() -> None:
    result = Slack(SlackSettings("canary-token")).perform(MESSAGE)

    assert result.state is State.REFUSED
    assert "canary-token" not in result.detail


def test_the_address_is_in_no_log_and_no_setting_that_is_printed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with slack_receiver((404, {}, "no_service")) as receiver:
        settings = SlackSettings(receiver.url)
        Slack(settings).perform(MESSAGE)
    with pytest.raises(TransientError):
        Slack(settings).perform(MESSAGE)

    assert "canary-token" not in caplog.text + repr(settings)

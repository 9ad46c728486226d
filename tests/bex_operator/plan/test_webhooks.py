"""Who sent a webhook, and whether it is worth asking the repository."""

import hashlib
import hmac

import orjson
import pytest

from bex_operator.plan import webhooks

SECRET = webhooks.secret_of(b"k" * 32, "uid-1")
PUSH = orjson.dumps({"ref": "refs/heads/main", "after": "a" * 40})


def signature(body: bytes, secret: str = SECRET) -> str:
    """Sign a body as git servers do."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signature(PUSH)}"},
        {"X-Hub-Signature-256": f"sha256={signature(PUSH)}"},
        {"X-Gitea-Event": "push", "X-Gitea-Signature": signature(PUSH)},
        {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": SECRET},
    ],
    ids=["github", "no event is named", "gitea", "gitlab"],
)
def test_signed_push_to_the_branch_asks(headers: dict[str, str]) -> None:
    """Of each kind of server; a push to another branch asks nothing."""
    assert webhooks.judge(headers, PUSH, SECRET, "main").asks
    assert webhooks.judge(headers, PUSH, SECRET, "next").status == 200
    assert not webhooks.judge(headers, PUSH, SECRET, "next").asks


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "sha256="},
        {"X-Hub-Signature-256": f"sha256={signature(PUSH, 'other')}"},
        {"X-Hub-Signature-256": f"sha256={signature(PUSH + b' ')}"},
        {"X-Hub-Signature": f"sha1={signature(PUSH)}"},
        {"X-Gitlab-Token": SECRET[:-1]},
        {"X-Gitlab-Token": "\u00e9"},
    ],
)
def test_unsigned_is_refused_whatever_it_says(headers: dict[str, str]) -> None:
    """The signature is of the bytes that came, with this App's secret."""
    refused = webhooks.Verdict(401, "the signature is missing or wrong")

    assert webhooks.judge(headers, PUSH, SECRET, "main") == refused


@pytest.mark.parametrize(
    ("event", "body", "verdict"),
    [
        ("ping", PUSH, (200, "ignored: no push")),
        ("push", PUSH.replace(b"main", b"next"), (200, "ignored: another branch")),
        (
            "push",
            b"payload=%7B%7D",
            (400, "the body is no JSON; set the content type application/json"),
        ),
        ("push", b"[]", (400, "the body names no ref")),
        ("push", b'{"ref": 1}', (400, "the body names no ref")),
    ],
)
def test_what_is_no_push_asks_nothing(event: str, body: bytes, verdict: tuple[int, str]) -> None:
    """A signed body is no reason to believe its shape."""
    headers = {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={signature(body)}"}

    assert webhooks.judge(headers, body, SECRET, "main") == webhooks.Verdict(*verdict)


def test_each_app_has_a_secret_of_its_own() -> None:
    """Knowing one tells nothing about another."""
    assert webhooks.secret_of(b"k" * 32, "uid-2") != SECRET
    assert webhooks.secret_of(b"l" * 32, "uid-1") != SECRET

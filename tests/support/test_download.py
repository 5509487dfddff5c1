"""A failed download is told in words."""

from __future__ import annotations

import socket
import urllib.error
from email.message import Message

import pytest

from workbench.support.download import download_failure

URL = "https://download.pytorch.org/models/x.pth"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "is not found"),
        (urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")), "refuses the connection"),
        (urllib.error.URLError(OSError(101, "Network is unreachable")), "cannot be reached"),
        (urllib.error.URLError(OSError("CERTIFICATE_VERIFY_FAILED")), "is not trusted"),
        (urllib.error.HTTPError(URL, 403, "Forbidden", Message(), None), "answered 403 Forbidden"),
        (TimeoutError("timed out"), "does not answer"),
    ],
)
def test_the_host_and_what_to_do_are_named(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    what, advice = download_failure(error, URL)
    assert "download.pytorch.org" in what
    assert words in what
    assert "urlopen" not in what + advice
    assert advice
    if words == "is not found":
        assert "https_proxy" in advice
        monkeypatch.setenv("HTTPS_PROXY", "http://secret@proxy")
        assert "HTTPS_PROXY names" in download_failure(error, URL)[1]

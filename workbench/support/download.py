"""Why a download failed, in words: what host, what it said, and what to look at."""

from __future__ import annotations

import os
import socket
import urllib.error
from urllib.parse import urlparse

from workbench.support.clean import clean


def download_failure(error: Exception, url: str) -> tuple[str, str]:
    """What went wrong, and what to do, without the jargon of urllib (`<urlopen error [Errno -2] …>`)."""
    host = urlparse(url).hostname or clean(url, 80)
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    proxies = ", ".join(
        name for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY") if os.environ.get(name)
    )
    way = (
        f"through the proxy that {proxies} names" if proxies else "directly; behind a proxy, set https_proxy"
    )
    if isinstance(error, urllib.error.HTTPError):
        return f"{host} answered {error.code} {clean(error.msg, 80)}", "try again later"
    if isinstance(reason, socket.gaierror):
        return f"the host {host} is not found", f"is this machine online? petbench asked {way}"
    if isinstance(reason, TimeoutError):
        return f"{host} does not answer", f"try again later; petbench asked {way}"
    if isinstance(reason, ConnectionRefusedError):
        return f"{host} refuses the connection", f"petbench asked {way}"
    if "CERTIFICATE" in str(reason).upper():
        return (
            f"the certificate of {host} is not trusted",
            "SSL_CERT_FILE names the certificates of your proxy",
        )
    if isinstance(reason, OSError) and reason.strerror:
        return f"{host} cannot be reached: {clean(reason.strerror, 120)}", f"petbench asked {way}"
    return clean(reason, 200), "try again later"

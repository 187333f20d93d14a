"""The page of a server, in a real browser: it streams, forks, resets, and comes back when the server does."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest
from served_models import saved, server

websockets = pytest.importorskip("websockets.sync.client")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    def __init__(self, url, folder):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
        self.process = subprocess.Popen(
            [BROWSER, *flags, f"--remote-debugging-port={port}", "--window-size=400,900", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
                    pages = [one for one in json.load(answer) if one["type"] == "page"]
                self.at = pages[0]["webSocketDebuggerUrl"]
                return
            except (OSError, IndexError):
                time.sleep(0.1)
        raise AssertionError("the browser does not start")

    def says(self, stream, what):
        stream.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": {"expression": what}}))
        while (said := json.loads(stream.recv(timeout=20))).get("id") != 1:
            pass
        return said["result"]["result"].get("value")

    def waits(self, stream, what):
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if self.says(stream, what):
                return
            time.sleep(0.05)
        said = self.says(
            stream, "document.getElementById('link').textContent + document.getElementById('said').textContent"
        )
        raise AssertionError(f"never: {what}; the page says {said!r}")


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
def test_the_page_in_a_browser(tmp_path):
    path = saved(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = (path, "--port", port, "--store", tmp_path / "store", "--takeover", 5)
    browser = None
    try:
        with server(*arguments) as (_, url):
            browser = Browser(url, tmp_path / "profile")
            with websockets.connect(browser.at, compression=None, max_size=1 << 24) as page:
                browser.waits(page, "$('link').textContent === 'connected' && session !== ''")
                browser.says(page, "$('rate').value = 100; $('feed').requestSubmit()")
                browser.waits(page, "+$('steps').textContent > 4 && shown.length > 4 && heat.length > 1")
                browser.says(page, "stop(); before = session; $('fork').click()")
                browser.waits(page, "session !== before && !pending")
                browser.says(page, "$('reset').click()")
                browser.waits(page, "+$('steps').textContent === 0")
                browser.says(page, "$('feed').requestSubmit()")
                browser.waits(page, "+$('steps').textContent > 2")
                assert browser.says(page, "document.documentElement.scrollWidth <= innerWidth")
        with server(*arguments), websockets.connect(browser.at, compression=None, max_size=1 << 24) as page:
            browser.says(page, "at = seq")
            browser.waits(page, "$('link').textContent === 'connected' && seq > at + 2")
    finally:
        if browser is not None:
            browser.process.terminate()
            browser.process.wait()

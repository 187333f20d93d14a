"""The page of a server, in a real browser: it streams, forks, resets, and comes back when the server does."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from served_models import saved, server

import recurra
from helpers import generator
from recurra.data.audio.recordings import Recording

websockets = pytest.importorskip("websockets.sync.client")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    def __init__(self, url, folder, *more):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", *more]
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


# The largest error of a tone that is resampled in pieces of odd sizes.
RESAMPLED = """(() => {
  const convert = resampler(44100, 16000), out = [], tone = (i, rate) => Math.sin(2 * Math.PI * 440 * i / rate);
  for (let i = 0, n = 441; i < 44100; i += n, n += 97)
    out.push(...convert(Float32Array.from({ length: Math.min(n, 44100 - i) }, (_, k) => tone(i + k, 44100))));
  return Math.max(...out.slice(200).map((v, i) => Math.abs(v - tone(i + 200, 16000))));
})()"""
HEARD = """sent = [];
(send => { transmit = () => { sent.push(pending.samples.map(v => Math.round(32768 * v))); send() } })(transmit)"""
REFUSED = {
    "not allowed": "navigator.mediaDevices.getUserMedia = () => { throw new DOMException('', 'NotAllowedError') }",
    "localhost": "Object.defineProperty(window, 'isSecureContext', { value: false })",
}


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium")
def test_the_microphone(tmp_path):
    """It is asked for at a click; what is heard goes to the session in the model's rate; why it is not is said."""
    pytest.importorskip("torch")
    pytest.importorskip("kaldi_native_fbank")
    rng = generator("microphone")
    noise = [Recording(f"{i}", rng.normal(size=3000).astype(np.float32) / 9, label="ab"[i % 2]) for i in range(12)]
    reading = {"bins": 8, "copies": 1}
    model = recurra.Classifier(hidden=4, epochs=1, reading=reading, refit=False).fit(noise, evaluate=False)
    model.save(tmp_path / "sound.recurra")
    browser = None
    try:
        with server(tmp_path / "sound.recurra") as (_, url):
            fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
            browser = Browser(url, tmp_path / "profile", *fake)
            with websockets.connect(browser.at, compression=None, max_size=1 << 24) as page:
                browser.waits(page, "$('link').textContent === 'connected' && session !== ''")
                assert browser.says(page, "$('source').value") == "sound"
                assert browser.says(page, "microphone === null && seq === 0")
                assert browser.says(page, RESAMPLED) < 2e-3
                browser.says(page, HEARD)
                browser.says(page, "$('feed').requestSubmit()")
                browser.waits(page, "seq > 4 && shown.length > 20 && !pending")
                browser.says(page, "stop()")
                browser.waits(page, "!pending && microphone === null")
                sent = json.loads(browser.says(page, "JSON.stringify(sent)"))
                said = json.loads(browser.says(page, "JSON.stringify(shown[shown.length - 1].shares)"))
                live = model.live()
                pieces = [np.clip(samples, -32768, 32767).astype(np.int16) for samples in sent]
                answers = [answer for piece in pieces for answer in live.step(piece)]
                assert said == answers[-1]["probabilities"]
                assert len(sent) == browser.says(page, "seq")
                for why, how in REFUSED.items():
                    browser.says(page, how)
                    browser.says(page, "$('feed').requestSubmit()")
                    browser.waits(page, f"$('said').textContent.includes('{why}') && !timer")
    finally:
        if browser is not None:
            browser.process.terminate()
            browser.process.wait()

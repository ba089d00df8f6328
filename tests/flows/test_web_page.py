"""The page reader of `web_classification`: what it reads of a page, what it fetches, and what it refuses to."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

FLOW = Path(__file__).parents[2] / "flows" / "web_classification"


@pytest.fixture
def page(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FLOW))
    monkeypatch.delitem(sys.modules, "web_page", raising=False)
    module = importlib.import_module("web_page")
    monkeypatch.delitem(sys.modules, "web_page")
    return module


# --- reading


def test_a_page_with_a_main_part_is_that_part_and_the_title(page):
    html = (
        "<html><head><title>Fish &amp; bread</title><meta name='description' content='A bakery.'><script>var a='x<p>'"
        "</script></head><body><nav>Home | News</nav><main><h1>Rye</h1><p>It is <b>four</b> o'clock.<br>Come in.</p>"
        "</main><footer>Imprint</footer></body></html>"
    )
    assert page.text_of(html).splitlines() == ["Fish & bread", "A bakery.", "Rye", "It is four o'clock.", "Come in."]


def test_without_a_main_part_menus_and_footers_are_left_out(page):
    html = "<title>T</title><nav>Menu</nav><div>One</div><div>Two<style>p{}</style></div><footer>Foot</footer>"
    assert page.text_of(html).splitlines() == ["T", "One", "Two"]


def test_a_page_that_is_all_menu_is_read_all_the_same(page):
    assert page.text_of("<nav>Only this</nav>") == "Only this"


def test_broken_markup_loses_no_text_after_it(page):
    assert "after" in page.text_of("<div><p>before</footer></nav><b>after")
    assert page.text_of("plain words, no markup") == "plain words, no markup"
    assert page.text_of("") == ""


def test_a_very_long_page_is_cut(page):
    assert len(page.text_of("<p>word</p>" * 50_000)) == page.MOST_CHARACTERS


# --- fetching


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::"),
        *("::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1"),
    ],
)
def test_addresses_off_the_public_internet_are_refused(page, address):
    assert not page.is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_not(page, address):
    assert page.is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/hostname", "ftp://files.example/", "gopher://a/", "data:text/html,x", "", "nonsense", "http://"),
        *("http://user:word@site.example/", "http://site.example:0/", "http://site.example:99999/", "http://[::1/"),
        *("http://127.0.0.1/", "http://localhost/", "http://[::1]/", "http://0x7f000001/", "http://2130706433/"),
        *("http://127.1/", "http://10.0.0.1:8080/", "https://169.254.169.254/latest/meta-data/"),
    ],
)
def test_what_is_no_public_page_is_refused_before_anything_is_sent(page, url):
    with pytest.raises(page.PageError):
        page.fetch(url)


class Site(BaseHTTPRequestHandler):
    """Pages by path."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))
        answer = getattr(self, "page_" + self.path.strip("/").partition("?")[0].replace("/", "_"), None)
        answer() if answer else self.say(404)

    def say(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Type": "text/html", "Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def page_plain(self) -> None:
        self.say(body=b"<p>hello</p>")

    def page_moved(self) -> None:
        self.say(302, Location="/plain?a=1")

    def page_inwards(self) -> None:
        self.say(302, Location="http://169.254.169.254/latest/meta-data/")

    def page_file(self) -> None:
        self.say(301, Location="file:///etc/hostname")

    def page_circle(self) -> None:
        self.say(307, Location="/circle")

    def page_latin(self) -> None:
        self.say(body="<p>café</p>".encode("latin-1"), Content_Type="text/html; charset=ISO-8859-1")

    def page_declared(self) -> None:
        self.say(body=b"<meta charset='windows-1252'><p>caf\xe9</p>")

    def page_unknown(self) -> None:
        self.say(body="<p>café</p>".encode(), Content_Type="text/html; charset=klingon")

    def page_image(self) -> None:
        self.say(body=b"\x89PNG", Content_Type="image/png")

    def page_packed(self) -> None:
        self.say(body=b"\x1f\x8b", Content_Encoding="gzip")

    def page_endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        for _ in range(60):
            self.wfile.write(b"x" * 65_536)

    def page_drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        while not self.server.closing.wait(0.05):
            self.wfile.write(b"x")

    def page_slow_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.closing.wait(0.05):
            self.wfile.write(b"x")

    def page_silent(self) -> None:
        self.server.closing.wait(20)

    def log_message(self, *_: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """The client goes away in the middle of a page: that is what some of these tests are about."""


@pytest.fixture
def site() -> Iterator[QuietServer]:
    server = QuietServer(("127.0.0.1", 0), Site)
    server.asked, server.closing = [], threading.Event()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def refused(page: ModuleType, why: str) -> Iterator[None]:
    with pytest.raises(page.PageError, match=why):
        yield


def only_this_machine(address: str) -> bool:
    return address == "127.0.0.1"


def test_a_page_is_fetched_and_redirects_are_followed(page, site):
    assert page.fetch(f"{site.url}/moved", allowed=only_this_machine) == "<p>hello</p>"
    assert [path for path, _ in site.asked] == ["/moved", "/plain?a=1"]
    assert {host for _, host in site.asked} == {site.url.removeprefix("http://")}


def test_every_redirect_is_checked_like_the_first_address(page, site):
    with refused(page, r"leads to 169\.254\.169\.254"):
        page.fetch(f"{site.url}/inwards", allowed=only_this_machine)
    with refused(page, "not an http or https address"):
        page.fetch(f"{site.url}/file", allowed=only_this_machine)
    with refused(page, "more than 5 redirects"):
        page.fetch(f"{site.url}/circle", allowed=only_this_machine)


def test_a_name_is_refused_if_any_of_its_addresses_is(page, monkeypatch):
    found = [(2, 1, 6, "", ("93.184.216.34", 80)), (2, 1, 6, "", ("10.0.0.7", 80))]
    monkeypatch.setattr(page.socket, "getaddrinfo", lambda *_, **__: found)
    with refused(page, r"leads to 10\.0\.0\.7"):
        page.fetch("http://two-faced.example/")


def test_the_address_that_was_checked_is_the_one_that_is_used(page, site, monkeypatch):
    """A name that resolves to something else a moment later (DNS rebinding) gains nothing."""
    port = site.server_address[1]
    answers = iter(["127.0.0.1"])
    monkeypatch.setattr(page.socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (next(answers), port))])
    resolve = page.socket.create_connection
    asked = []

    def connect(address, *rest):
        asked.append(address)
        monkeypatch.undo()
        return resolve(address, *rest)

    monkeypatch.setattr(page.socket, "create_connection", connect)
    assert page.fetch(f"http://rebinding.example:{port}/plain", allowed=only_this_machine) == "<p>hello</p>"
    assert asked == [("127.0.0.1", port)]
    assert site.asked == [("/plain", f"rebinding.example:{port}")]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("absent", "status 404"),
        ("image", "image/png is not a page"),
        ("packed", "compressed"),
        ("endless", "more than 2000000 bytes"),
    ],
)
def test_what_is_no_readable_page_is_refused(page, site, path, why):
    with refused(page, why):
        page.fetch(f"{site.url}/{path}", allowed=only_this_machine)


@pytest.mark.parametrize("path", ["drip", "slow_head", "silent"])
def test_a_slow_page_is_given_up_in_time(page, site, path):
    started = time.monotonic()
    with pytest.raises(page.PageError):
        page.fetch(f"{site.url}/{path}", allowed=only_this_machine, timeout_seconds=0.4)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("path", ["latin", "declared", "unknown"])
def test_the_page_says_how_it_is_encoded(page, site, path):
    assert "café" in page.fetch(f"{site.url}/{path}", allowed=only_this_machine)

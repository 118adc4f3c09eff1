import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import FetchRefused
from shared.web.targets import REFUSAL, target

REFUSED = [
    "",
    "x",
    "ftp://example.org/a.jpg",
    "file:///etc/passwd",
    "gopher://example.org/",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "//example.org/a.jpg",
    "http:///a.jpg",
    "http://",
    "http:example.org",
    "http://user@example.org/",
    "http://user:word@example.org/",
    "http://@example.org/",
    "http://example.org\\@127.0.0.1/",
    "http://example.org/\\..",
    "http://exa mple.org/",
    " http://example.org/",
    "http://example.org/a\r\nX-Header: 1",
    "http://example.org/\n",
    "http://exam\tple.org/",
    "http://example.org/\x00",
    "http://example.org/\x7f",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[::1",
    "http://[127.0.0.1]/",
    "http://[v1.x]/",
    "http://::1/",
    "http://example.org:0/",
    "http://example.org:65536/",
    "http://example.org:x/",
    "http://example.org:-80/",
    "http://example.org./",
    "http://127.0.0.1./",
    "http://.example.org/",
    "http://exa..mple.org/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://0x7f.0.0.1/",
    "http://127.0.0.0x1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://ⓜetadata.google.internal/",
    "http://mеtadata.google.internal/",  # noqa: RUF001 - a Cyrillic letter
    "http://müller.example/",
    "http://example。org/",
    "http://127。0。0。1/",
    "http://%31%32%37.0.0.1/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://METADATA.google.internal/",
    "http://x.metadata.google.internal/",
    "http://metadata/",
    "http://" + "a" * 64 + ".org/",
    "http://" + ".".join(["abc"] * 90) + "/",
    "http://example.org/" + "a" * 5000,
]


@pytest.mark.parametrize("url", REFUSED)
def test_anything_but_a_plain_url_is_refused_in_the_same_words(url: str) -> None:
    with pytest.raises(FetchRefused) as caught:
        target(url)
    assert caught.value.detail == REFUSAL


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "authority"),
    [
        ("http://example.org", "example.org", 80, "/", "example.org"),
        ("https://Example.ORG/a.jpg?x=1&y=%20#top", "example.org", 443, "/a.jpg?x=1&y=%20", "example.org"),
        ("HTTP://example.org:8080/a", "example.org", 8080, "/a", "example.org:8080"),
        ("http://example.org:/a", "example.org", 80, "/a", "example.org"),
        ("https://xn--mller-kva.example/", "xn--mller-kva.example", 443, "/", "xn--mller-kva.example"),
        (
            "http://my_bucket.s3.example.org/k",
            "my_bucket.s3.example.org",
            80,
            "/k",
            "my_bucket.s3.example.org",
        ),
        ("http://1.2.3.4:81/", "1.2.3.4", 81, "/", "1.2.3.4:81"),
        ("http://[2606:4700::1111]/", "2606:4700::1111", 80, "/", "[2606:4700::1111]"),
        ("http://example.org/Zürich.jpg", "example.org", 80, "/Z%C3%BCrich.jpg", "example.org"),
        ("http://example.org#@127.0.0.1/", "example.org", 80, "/", "example.org"),
        ("http://example.org?@127.0.0.1/", "example.org", 80, "/?@127.0.0.1/", "example.org"),
    ],
)
def test_a_plain_url_is_taken_apart(url: str, host: str, port: int, path: str, authority: str) -> None:
    found = target(url)
    assert (found.host, found.port, found.path, found.authority) == (host, port, path, authority)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b.png", "https://example.org/b.png"),
        ("b.png", "https://example.org/x/b.png"),
        ("//other.org/b", "https://other.org/b"),
        ("http://other.org/b#part", "http://other.org/b"),
        ("?q", "https://example.org/x/a?q"),
    ],
)
def test_a_redirect_is_read_relative_to_where_it_came_from(location: str, url: str) -> None:
    assert target(location, base=target("https://example.org/x/a")).url == url


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "//u@other.org/", "http://127.1/", "/a\r\nb", "http://["]
)
def test_a_redirect_is_held_to_the_same_rules(location: str) -> None:
    with pytest.raises(FetchRefused):
        target(location, base=target("https://example.org/x/a"))


@pytest.mark.parametrize("host", ["localhost", "redis", "a.localhost", "nas.local", "db.internal", "x.lan"])
def test_a_private_networks_names_are_known_as_such(host: str) -> None:
    assert target(f"http://{host}/").local_name
    assert not target("http://example.org/").local_name
    assert not target("http://1.2.3.4/").local_name


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_whatever_passes_is_plain_ascii_that_reads_the_same_again(text: str) -> None:
    try:
        found = target("http://" + text)
    except FetchRefused:
        return
    assert found.url.isascii()
    assert found.url.isprintable()
    assert target(found.url) == found

"""Where a remote model is, as an operator writes it."""

import pytest

from runners.oip.address import Address, read_reference, read_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("grpc://host:8001", Address("host", 8001, is_grpc=True, is_secure=False)),
        ("grpcs://10.0.0.1:443", Address("10.0.0.1", 443, is_grpc=True, is_secure=True)),
        ("http://host", Address("host", 80, is_grpc=False, is_secure=False)),
        ("https://host/", Address("host", 443, is_grpc=False, is_secure=True)),
        ("http://[::1]:8000/models/a b/".replace(" ", "%20"), Address("::1", 8000, False, False, "/models/a%20b")),
    ],
)
def test_an_address_is_read(url, expected):
    assert expected == read_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "host:8001",
        "ftp://host",
        "grpc://host",
        "grpc://host:8001/path",
        "http://",
        "http://:8000",
        "http://host:port",
        "http://host:99999",
        "http://ho st",
        "http://host?x=1",
        "http://host/#x",
        "http://höst",
        "http://user:hunter2@host",
    ],
)
def test_what_is_no_address_is_refused_without_its_password(url):
    """A password in a url would stand in every log; it is not repeated where it is refused."""
    with pytest.raises(ValueError) as refused:
        read_url(url)
    assert "hunter2" not in str(refused.value)


def test_an_ipv6_host_has_brackets_on_the_wire():
    assert "[::1]:8000" == read_url("http://[::1]:8000").authority


@pytest.mark.parametrize(("reference", "expected"), [("remote:digits", ("digits", "")), ("remote:a/b:2", ("a/b", "2"))])
def test_a_reference_is_read(reference, expected):
    assert expected == read_reference(reference)


@pytest.mark.parametrize("reference", ["remote:", "remote:a:", "remote::1", "remote:a:b:c", "file:a", "remote:a\r\nb"])
def test_what_is_no_reference_is_refused(reference):
    with pytest.raises(ValueError):
        read_reference(reference)

import shutil
import ssl
import subprocess

import pytest

from gateway.frontends.tls import FILE_LIMIT, Certificates, TlsFiles, TlsRefused
from observability.metrics import CertificateCounts


class Site:
    """Certificate, key and client CA as a server has them, and a client's view of it."""

    def __init__(self, authority, folder):
        self.authority = authority()
        self.cert, self.key, self.client_ca = folder / "tls.crt", folder / "tls.key", folder / "clients.crt"
        self.show("first")

    def show(self, name):
        """Put a new certificate of that name where the server looks for it."""
        cert, key = self.authority.issue(name)
        shutil.copy(cert, self.cert)
        shutil.copy(key, self.key)

    def files(self, *, mutual=False):
        return TlsFiles(self.cert, self.key, self.client_ca if mutual else None)

    def client(self, shown=None):
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        context.check_hostname = False
        if shown:
            context.load_cert_chain(*shown)
        return context


def meet(server, client):
    """Both ends of one handshake in memory. Raises what either end raises, returns the client's end."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0]


def name_of(end):
    return dict(part[0] for part in end.getpeercert()["subject"])["commonName"]


@pytest.fixture
def site(authority, tmp_path):
    return Site(authority, tmp_path)


def refusal_of(files):
    with pytest.raises(TlsRefused) as refused:
        Certificates(files)
    return {problem.path: (problem.what, problem.cure) for problem in refused.value.problems}


def test_a_new_certificate_is_shown_from_the_next_handshake_on(site):
    """Certificates are renewed without a restart."""
    certificates = Certificates(site.files())
    server = certificates.http_context()
    before = meet(server, site.client())
    site.show("second")
    event = certificates.refresh()

    assert ("first", "second") == (name_of(before), name_of(meet(server, site.client())))
    assert "certificates_loaded" == event.kind
    assert CertificateCounts(1, 0) == certificates.counts


def test_files_that_stay_as_they_are_are_no_news(site):
    certificates = Certificates(site.files())

    assert [None, None] == [certificates.refresh(), certificates.refresh()]
    assert CertificateCounts(0, 0) == certificates.counts


def test_a_torn_pair_keeps_the_old_one_and_is_told_once(site, caplog):
    """Whoever looks while the key is not yet written sees the old certificate."""
    certificates = Certificates(site.files())
    server = certificates.http_context()
    shutil.copy(site.authority.issue("second")[0], site.cert)
    events = [certificates.refresh() for _ in range(3)]

    assert "first" == name_of(meet(server, site.client()))
    assert "certificates_refused" == events[0].kind
    assert "the key does not belong to the certificate" == events[0].message
    assert [None, None] == events[1:]
    assert 1 == len(caplog.records)
    assert CertificateCounts(0, 1) == certificates.counts


def test_what_a_torn_pair_becomes_is_taken(site):
    certificates = Certificates(site.files())
    server = certificates.http_context()
    cert, key = site.authority.issue("second")
    shutil.copy(cert, site.cert)
    certificates.refresh()
    shutil.copy(key, site.key)
    certificates.refresh()

    assert "second" == name_of(meet(server, site.client()))
    assert CertificateCounts(1, 1) == certificates.counts


def test_a_file_that_vanishes_keeps_the_old_ones(site):
    certificates = Certificates(site.files())
    server = certificates.http_context()
    site.key.unlink()

    assert "cannot be read: No such file or directory" in certificates.refresh().message
    assert "first" == name_of(meet(server, site.client()))


def test_with_a_client_ca_a_client_without_a_certificate_is_refused(site):
    shutil.copy(site.authority.ca, site.client_ca)
    server = Certificates(site.files(mutual=True)).http_context()

    assert "first" == name_of(meet(server, site.client(site.authority.issue("somebody"))))
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        meet(server, site.client())


def test_a_client_ca_that_was_taken_away_admits_nobody_any_more(site, authority):
    """Trust ends when the file says so, not when the process ends."""
    known = site.client(site.authority.issue("known"))
    shutil.copy(site.authority.ca, site.client_ca)
    certificates = Certificates(site.files(mutual=True))
    server = certificates.http_context()
    meet(server, known)
    shutil.copy(authority("another").ca, site.client_ca)
    certificates.refresh()

    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        meet(server, known)


def test_nothing_below_tls_1_2_is_spoken(site):
    old = site.client()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")

    with pytest.raises(ssl.SSLError):
        meet(Certificates(site.files()).http_context(), old)


def test_every_file_that_cannot_be_read_is_named(site):
    site.cert.unlink()
    site.key.unlink()
    site.key.mkdir()
    found = refusal_of(site.files(mutual=True))

    assert {("cert_file",), ("key_file",), ("client_ca_file",)} == set(found)
    assert f"{site.cert} cannot be read: No such file or directory" == found["cert_file",][0]
    assert f"{site.key} cannot be read: Is a directory" == found["key_file",][0]


def test_a_key_of_another_certificate_is_refused(site):
    shutil.copy(site.authority.issue("second")[1], site.key)

    assert "the key does not belong to the certificate" == refusal_of(site.files())["key_file",][0]


def test_an_encrypted_key_is_refused_and_asks_nobody_for_a_password(site):
    command = ["openssl", "pkey", "-in", site.key, "-aes256", "-passout", "pass:secret", "-out", f"{site.key}.new"]
    subprocess.run(command, capture_output=True, check=True)
    shutil.move(f"{site.key}.new", site.key)
    what, cure = refusal_of(site.files())["key_file",]

    assert "the key is encrypted" in what
    assert "openssl pkey" in cure


@pytest.mark.parametrize(
    ("word", "content", "why"),
    [
        ("cert_file", b"", "holds no certificate"),
        ("cert_file", b"\xff-----BEGIN CERTIFICATE-----", "holds no certificate"),
        ("cert_file", b"x" * (FILE_LIMIT + 1), "more than"),
        ("cert_file", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be used"),
        ("key_file", b"secret", "holds no private key"),
        ("client_ca_file", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be used"),
    ],
)
def test_what_is_no_pem_is_refused_by_the_file_it_is_in(site, word, content, why):
    shutil.copy(site.authority.ca, site.client_ca)
    {"cert_file": site.cert, "key_file": site.key, "client_ca_file": site.client_ca}[word].write_bytes(content)
    what, cure = refusal_of(site.files(mutual=True))[word,]

    assert why in what
    assert cure

"""Trying what `tls:` names, before anything listens, with every problem at its place in turnout.yaml."""

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.loading import refusals
from gateway.config.directory import SETTINGS_FILE
from gateway.config.documents import TlsDoc
from gateway.config.parse import read
from gateway.config.problems import ConfigRefused
from strategies.core.spec import Problem

if TYPE_CHECKING:
    from gateway.frontends.tls import TlsFiles


def check_certificates(written: TlsDoc | None, root: Path) -> "TlsFiles | None":
    """The files of both ports' certificates, None for plain ones; prints every problem and exits when there is one."""
    if written is None:
        return None
    from gateway.frontends.tls import Certificates, TlsFiles, TlsRefused

    client_ca = root / written.client_ca_file if written.client_ca_file else None
    try:
        files = TlsFiles(root / written.cert_file, root / written.key_file, client_ca)
        Certificates(files)
    except TlsRefused as refused:
        text = read(root / SETTINGS_FILE)
        located = [text.located(Problem(("tls", *found.path), found.what, found.cure)) for found in refused.problems]
        with refusals():
            raise ConfigRefused(located) from None
    else:
        return files
    raise AssertionError  # refusals() does not come back

"""A TLS proxy in front of a simulator, in a separate process, with a new certificate and a private authority.

As a program, `python tls.py CERTIFICATE_AND_KEY HOST PORT` prints the number of the port on which it listens.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from pathlib import Path


class TlsProxy:
    """A running TLS proxy.

    Attributes:
        authority: The authority's certificate, as a `twisted.internet.ssl.Certificate`.
        authority_file: The authority's certificate as a PEM file.
        url: URL of the proxy.
    """

    def __init__(self, folder: Path, behind: str) -> None:
        self._file = folder / "front.pem"
        self._behind = urlsplit(behind)
        self.authority = _write_certificate(self._file)
        self.authority_file = folder / "authority.pem"
        self.authority_file.write_bytes(self.authority.dumpPEM())

    def __enter__(self) -> Self:
        command = [sys.executable, __file__, str(self._file), str(self._behind.hostname), str(self._behind.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        assert self._process.stdout is not None
        self.url = f"https://localhost:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdout is not None
        self._process.terminate()
        self._process.stdout.close()
        self._process.wait(PATIENCE_S)


def _write_certificate(file: Path) -> Any:
    """Write a certificate for localhost and its key to `file`. Return the authority that signed it."""
    from cryptography import x509  # noqa: PLC0415  the program below does not need it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415
    from twisted.internet.ssl import Certificate  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    signer = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority")])
    # The validity of a certificate is checked by real time, whatever clock a test uses.
    now = dt.datetime.now(dt.UTC)

    def made(name: str, of: Any, *, ca: bool) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder(authority, subject, of.public_key(), x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)

    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made("localhost", key, ca=False) + secret)
    return Certificate.loadPEM(made("An authority", signer, ca=True))


async def _serve(file: str, host: str, port: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(carry, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))

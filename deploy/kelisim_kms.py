"""Reads sealed columns of Kelisim's segments with PyArrow, as far as the key files that you have allow it.

    from kelisim_kms import read
    table = read("/var/lib/kelisim/records/keys", path, ["ts", "url_path", "client_address"])

A column whose key file you do not have is refused; a destroyed key opens nothing any more. PyArrow asks for the key of
the footer (class `ops`) first. Needs the packages `pyarrow` and `cryptography`. Whoever can read the key files opens
everything that they open, and no entry in the audit log says so: `kelisim logs` is the way that keeps one.
"""

import base64
import pathlib

import pyarrow.parquet as parquet
import pyarrow.parquet.encryption as encryption
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class LocalKeys(encryption.KmsClient):
    """The key files of one gateway: `<folder>/<class>/<day>#<generation>.key`."""

    def __init__(self, folder):
        super().__init__()
        self.folder = pathlib.Path(folder)

    def wrap_key(self, key_bytes, master_key_identifier):
        raise NotImplementedError("segments are written by the gateway only")

    def unwrap_key(self, wrapped_key, master_key_identifier):
        key = (self.folder / f"{master_key_identifier}.key").read_bytes()
        wrapped = base64.b64decode(wrapped_key)
        return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], master_key_identifier.encode())


def read(keys, path, columns):
    """The columns of a segment as a table."""
    factory = encryption.CryptoFactory(lambda _: LocalKeys(keys))
    connection = encryption.KmsConnectionConfig(kms_instance_id="kelisim", kms_instance_url="local")
    properties = factory.file_decryption_properties(connection)
    return parquet.ParquetFile(path, decryption_properties=properties).read(columns=columns)

"""Arrays as NumPy writes them, without NumPy."""

import io
import struct
import zipfile
from array import array


def npy(numbers, code="d", descr="<f8", shape=None, *, fortran=False, version=1):
    shape = (len(numbers),) if shape is None else shape
    head = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(head) + 1)
    return b"\x93NUMPY" + bytes((version, 0)) + length + head + b"\n" + array(code, numbers).tobytes()


def npz(**arrays):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()

"""Writes the NumPy files of this folder: python make.py"""

import io
import zipfile

import numpy as np
from numpy.lib import format as npy

F32 = np.arange(12, dtype="<f4").reshape(3, 4) / 8
I32 = np.array([-(2**31), -1, 0, 2**31 - 1], dtype="<i4")
I64 = np.array([[-(2**63)], [2**63 - 1]], dtype="<i8")


def save(name, array, version=None):
    with open(name, "wb") as file:
        npy.write_array(file, array, version=version, allow_pickle=False)


np.savez("stored.npz", f=F32, i=I32, l=I64)
np.savez_compressed("deflated.npz", f=F32, i=I32, l=I64)
np.savez("slashes.npz", **{"serving/default:0": F32})
save("v1.npy", F32, (1, 0))
save("v2.npy", F32, (2, 0))
save("v3.npy", F32, (3, 0))
save("f64.npy", F32.astype("<f8"))
save("fortran.npy", np.asfortranarray(np.arange(24, dtype="<i4").reshape(2, 3, 4)))
save("scalar.npy", np.float32(0.5))
save("empty.npy", np.zeros((0, 7), dtype="<f4"))
for name, dtype in [("u8", "|u1"), ("bool", "|b1"), ("f16", "<f2"), ("big_endian", ">f4")]:
    save(f"refused_{name}.npy", np.zeros((2, 2), dtype=dtype))

member = io.BytesIO()
npy.write_array(member, np.zeros((1 << 24,), dtype="<f4"))
with zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    archive.writestr("zeros.npy", member.getvalue())

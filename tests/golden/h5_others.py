"""Writes h5_others.h5: strings and numbers as h5py stores them, and things the reader refuses.

    python h5_others.py        (h5py 3)
"""
import os

import h5py
import numpy as np

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "h5_others.h5")
with h5py.File(path, "w") as f:
    f["variable"] = ["one", "", "dréi"]
    f["variable"].attrs["note"] = "a note"
    f["fixed"] = np.array([b"ab", b"abcd"])
    f["i16be"] = np.array([-1, 2, -300], ">i2")
    f.create_dataset("packed", data=[0.5, -1.5], chunks=(1,), compression="gzip", fletcher32=True)
    f["complex"] = np.array([1j])
    f.create_dataset("sparse", shape=(10**9,), dtype="f8", chunks=(1024,))
    f["latin"] = np.array([b"\xe9"])
    f.create_dataset("elsewhere", shape=(2,), dtype="f8", external=[("other.bin", 0, 16)])
    f.attrs["count"] = np.int32(-7)
    f.attrs["list"] = [1, 2]

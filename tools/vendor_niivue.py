#!/usr/bin/env python3
"""Fetch the viewer that the report embeds, NiiVue, from the npm registry into src/smallvessel/report/vendor.

    python tools/vendor_niivue.py

Needs npm. The package must have the hash below: another version is taken by changing both, on purpose.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

VERSION = "0.69.0"
SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
"""Of dist/niivue.umd.js in the package."""
BUNDLED = (
    "@lukeed/uuid@2.0.1",
    "@ungap/structured-clone@1.4.0",
    "array-equal@1.0.2",
    "fflate@0.8.3",
    "gl-matrix@3.4.4",
    "nifti-reader-js@0.8.0",
    "zarrita@0.5.4",
)
"""What NiiVue's build contains; their licences go along."""
TARGET = Path(__file__).resolve().parent.parent / "src" / "smallvessel" / "report" / "vendor"


def fetch(package: str, folder: Path) -> dict[str, bytes]:
    """The files of an npm package by their path in it."""
    done = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True)
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        files = {member.name.removeprefix("package/"): archive.extractfile(member) for member in archive.getmembers() if member.isfile()}
        return {name: file.read() for name, file in files.items() if file}


def main() -> None:
    """Fetch, check and write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = fetch(f"@niivue/niivue@{VERSION}", folder)["dist/niivue.umd.js"]
        found = hashlib.sha256(script).hexdigest()
        if found != SHA256:
            raise SystemExit(f"niivue {VERSION} has the SHA-256 {found}, expected {SHA256}: look at what changed, then change it here")
        licences = []
        for package in BUNDLED:
            files = fetch(package, folder)
            text = next(content for path, content in files.items() if path.lower().startswith("license"))
            licences.append(f"{package}\n{'-' * len(package)}\n\n{text.decode().strip()}\n")
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "niivue.umd.js").write_bytes(script)
    (TARGET / "bundled-licences.txt").write_text("\n\n".join(licences), encoding="utf-8")
    about = {"name": "@niivue/niivue", "version": VERSION, "license": "BSD-2-Clause", "file": "dist/niivue.umd.js", "sha256": found}
    (TARGET / "niivue.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

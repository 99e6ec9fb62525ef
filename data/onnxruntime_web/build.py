"""Take the files of ONNX Runtime Web that the drawing pad needs from its npm package. For maintainers: needs npm.

    python data/onnxruntime_web/build.py [VERSION]

The two files run a network in one thread of a web page. Another version must still load as one module from a page
opened from its file, and paint what onnxruntime paints in Python: tests/browser/test_drawing_page.py looks at both.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from gancomp_core import files  # noqa: E402  (the checkout need not be installed)

VERSION = "1.24.3"
NEEDED = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", default=VERSION, help="of the npm package; default: %(default)s")
    version = parser.parse_args().version
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(f"npm pack --silent onnxruntime-web@{version}", shell=True, check=True, cwd=folder)
        tarball = Path(folder) / f"onnxruntime-web-{version}.tgz"
        with tarfile.open(tarball) as package:
            for name in NEEDED:
                member = package.extractfile(f"package/dist/{name}")
                assert member is not None
                (HERE / f"{name}.gz").write_bytes(gzip.compress(member.read(), 9, mtime=0))
        source = {"source": f"npm onnxruntime-web {version}", "sha256": files.sha256(tarball)}
    packed = [HERE / f"{name}.gz" for name in NEEDED]
    manifest = {
        "name": "ONNX Runtime Web: the WebAssembly build for one thread, and its JavaScript",
        "package": "onnxruntime-web",
        "version": version,
        "licence": "MIT (LICENSE beside this file)",
        "inputs": {f"onnxruntime-web-{version}.tgz": source},
        "outputs": {path.name: files.sha256(path) for path in packed},
    }
    (HERE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

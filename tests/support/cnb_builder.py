"""A builder for Cloud Native Buildpacks made here: the real lifecycle and one small buildpack, and
the image that what it builds stands on.
"""

import os
import subprocess
from pathlib import Path

from bex_stack.embedded import binaries, images, oci_layout, toolchain

LIFECYCLE = binaries.TOOLS / "lifecycle"
BUILDPACK = Path(__file__).parents[1] / "languages" / "site_buildpack"
PROGRAMS = tuple(
    f"github.com/buildpacks/lifecycle/cmd/{each}" for each in ("lifecycle", "launcher")
)
PHASES = ("analyzer", "detector", "restorer", "builder", "exporter")
USER = "1001:1000"
PASSWD = "cnb:x:1001:1000::/:/\n"
"""A kubelet takes the user from an image, and the group from there."""
ENVIRONMENT = {"CNB_USER_ID": "1001", "CNB_GROUP_ID": "1000"}
COMPILE_SECONDS = 1200
ORDER = '[[order]]\n[[order.group]]\nid = "example/site"\nversion = "1.0.0"\n'
DESCRIBED = """api = "0.10"

[buildpack]
id = "example/site"
version = "1.0.0"

[[targets]]
os = "linux"
"""


def push(folder: Path, endpoint: str) -> tuple[str, str]:
    """Push builder and run image to the registry at *endpoint*; name both there, by digest."""
    tools = toolchain.ensure(["crane"])
    run = oci_layout.Image(files={"/etc/passwd": PASSWD.encode()}, user=USER)
    oci_layout.write(run, folder / "run")
    root = folder / "root"
    _lay_out(root, tools)
    layer = oci_layout.pack_tree(root, folder / "layer.tar.gz")
    builder = oci_layout.Image(
        files={}, below=(layer,), user=USER, folder="/layers", environment=ENVIRONMENT
    )
    oci_layout.write(builder, folder / "builder")
    names = {each: f"bex/cnb-{each}" for each in ("builder", "run")}
    digests = {
        each: images.push(folder / each, f"{endpoint}/{name}:1", toolchain=tools)
        for each, name in names.items()
    }
    return f"{names['builder']}@{digests['builder']}", f"{names['run']}@{digests['run']}"


def _lay_out(root: Path, tools: toolchain.Toolchain) -> None:
    lifecycle, buildpack = root / "cnb/lifecycle", root / "cnb/buildpacks/example_site/1.0.0"
    lifecycle.mkdir(parents=True)
    (buildpack / "bin").mkdir(parents=True)
    _compile(tools, LIFECYCLE, lifecycle, *PROGRAMS)
    for phase in PHASES:
        (lifecycle / phase).symlink_to("lifecycle")
    _compile(tools, BUILDPACK, buildpack / "bin" / "build", ".")
    (buildpack / "bin" / "detect").symlink_to("build")
    (buildpack / "buildpack.toml").write_text(DESCRIBED)
    (root / "cnb/order.toml").write_text(ORDER)
    (root / "cnb/run.toml").write_text('[[images]]\nimage = "example.com/not/asked:for"\n')
    (root / "layers").mkdir()
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text(PASSWD)


def _compile(tools: toolchain.Toolchain, source: Path, into: Path, *packages: str) -> None:
    go = tools.go()
    folder = f"{into}/" if into.is_dir() else str(into)
    subprocess.run(
        [str(go.program), "build", "-ldflags", binaries.LINK_FLAGS, "-o", folder, *packages],
        cwd=source,
        env=go.environment(os.environ, cgo=False),
        check=True,
        timeout=COMPILE_SECONDS,
    )

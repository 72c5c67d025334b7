"""Forms as shared libraries for the live plugin, in a cache that is the user's alone."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from adac_jax.errors import AdacError
from adac_jax.host import c_source
from adac_jax.live.channel import MOST, folder, private
from adac_jax.live.wire import Form
from adac_jax.plugin.building import FLAGS, HIDDEN, LINK
from adac_jax.plugin.tools import find_tools
from emitters.faust.live import GROUP
from emitters.plugin import beside, dense, live_form, quick
from emitters.plugin.live_form import CLASS, LiveForm, live_form_source
from emitters.plugin.live_plugin import FOLDER

LIMIT_SECONDS = 300.0
KEPT = 200
"""Forms in the cache; those that were not used for longest are removed."""


def compiled(form: Form, settle: int = 0) -> bytes:
    """Has a form compiled, unless it was before.

    Args:
        form: What to compile.
        settle: Samples after which all of its knobs have arrived.

    Returns:
        SHA-256 of the library, which is its name in the cache. Training begins somewhere else each
        time, and the numbers of a form are data: it is the same library.

    Raises:
        AdacError: there is no compiler, it fails, the form is too large, or the cache is not
            private.
    """
    if form.count > MOST:
        raise AdacError(
            f"The live plugin plays forms of up to {MOST} numbers, and {form.name!r} has "
            f"{form.count}."
        )
    cc = find_tools(("c",)).cc
    cache = private(private(folder()) / "forms")
    number = rf'(nentry\("h:{GROUP}/\d+", )[^,]+'
    source = re.sub(number, r"\g<1>0.0", form.source)
    rate = round(form.sample_rate)
    name = f"{CLASS} {rate} {settle} {form.latency}\n"
    known = [name, cc, *FLAGS, source, (FOLDER / "live_form.h").read_text("utf-8")]
    known += map(inspect.getsource, (beside, dense, live_form, quick))
    known += map(repr, form.knobs)
    key = hashlib.sha256("\0".join(known).encode()).hexdigest()
    index = cache / f"{key}.is"
    try:
        found = index.read_text("ascii").strip()
        path = cache / f"{found}.so"
        if _is_whole(path, found):
            os.utime(path)
            return bytes.fromhex(found)
    except (OSError, ValueError):
        pass
    text = c_source(source, class_name=CLASS, sample_rate=rate)
    live = LiveForm(
        text, form.inputs, form.outputs, form.count, float(rate), settle, form.latency, form.knobs
    )
    with tempfile.TemporaryDirectory(prefix=".making-", dir=cache) as place:
        made = Path(place)
        (made / "form.c").write_text(live_form_source(live), "utf-8")
        _compile(cc, made)
        digest = hashlib.sha256((made / "form.so").read_bytes()).hexdigest()
        (made / "form.so").chmod(0o500)
        (made / "form.is").write_text(digest, "ascii")
        (made / "form.is").chmod(0o600)
        os.replace(made / "form.so", cache / f"{digest}.so")
        os.replace(made / "form.is", index)
    _forget(cache)
    return bytes.fromhex(digest)


def _is_whole(path: Path, digest: str) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _compile(cc: str, place: Path) -> None:
    command = [cc, "-std=c11", *FLAGS, *HIDDEN, f"-I{FOLDER}", *LINK, "-o", "form.so", "form.c"]
    try:
        done = subprocess.run(
            [*command, "-lm"], cwd=place, capture_output=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise AdacError(
            f"The compiler did not finish the plugin's form within {LIMIT_SECONDS:g} s."
        ) from None
    except OSError as error:
        raise AdacError(f"The compiler {cc} cannot be run: {error.strerror or error}.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason"]
        raise AdacError(f"The compiler {cc} refuses the plugin's form: {said[0][:300]}")


def _forget(cache: Path) -> None:
    """Removes what was used longest ago, and what an end by force has left."""
    forms = sorted(cache.glob("*.so"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in forms[KEPT:]:
        path.unlink(missing_ok=True)
    newest = forms[0].stat().st_mtime if forms else 0
    for path in cache.glob(".making-*"):
        if path.stat().st_mtime < newest - 2 * LIMIT_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


__all__ = ["KEPT", "compiled"]

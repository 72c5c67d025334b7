"""What plugins are called, what is written for them, and what is refused: no compiler is needed."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
import subprocess

import numpy as np
import plugin_model
import pytest
from plugin_model import KNOBS, LATENCY, twin_comb, version

import adac_jax
import ir
from adac_jax import exporting
from adac_jax.cli import main
from adac_jax.errors import AdacError
from adac_jax.host import HostError, c_source
from adac_jax.plugin import Plugins, metadata_of, tools, wanted
from adac_jax.plugin.arguments import from_arguments
from adac_jax.plugin.building import FLAGS, LINK
from adac_jax.plugin.forms import Origin, forms_of, versions
from adac_jax.rates import RateError
from emitters import plugin
from emitters.plugin import KINDS, Form, Metadata, Preset, identifiers, sources, tables, turtle
from ir.errors import IRError

SETTINGS = Plugins(("c",), (48000, 44100), maker="Test & Co", presets={"Dark": {"tone": 300.0}})


@pytest.fixture(scope="module")
def written():
    """All sources of the small model, and its metadata."""
    found = [version(twin_comb(rate)) for rate in (48000, 44100)]
    metadata = metadata_of(found[0].program, SETTINGS, "single")
    return sources(metadata, forms_of(metadata, found)), metadata


def test_identifiers_are_these_for_ever():
    """Sessions hold them: a change here makes every plugin that was ever exported another one."""
    metadata = Metadata("Twin Comb", 2, 2, maker="Test & Co")
    assert metadata.uri == "urn:adac-jax:test-co:twin-comb"
    assert metadata.clap_id == "adac-jax.test-co.twin-comb"
    assert metadata.prefix == "twin_comb"
    assert metadata.vst3_id == "2046504473616C63" + "272212302E6A969A"
    assert identifiers.parameter_ids(["mix", "tone"]) == (317569673, 818865103)


def test_identifiers_follow_name_and_maker_alone():
    def ids(**changes):
        metadata = Metadata(**({"name": "a", "inputs": 1, "outputs": 1} | changes))
        return metadata.uri, metadata.clap_id, metadata.vst3_id

    assert ids() == ids(inputs=2, outputs=6, description="else", kind="reverb", version=(2, 0, 0))
    others = [ids(name="b"), ids(maker="x"), ids(name="Größe"), ids(name="Grüße"), ids(name="殿堂")]
    assert len({ids(), *others}) == 6


def test_symbols_are_unlike_each_other_and_other_ports():
    names = ["pre-delay", "pre_delay", "in_1", "latency", "125 Hz", "Größe"]
    found = identifiers.symbols(names)
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_]\w*", symbol, re.ASCII) for symbol in found)
    assert not set(found) & {"latency", "in_1"}
    ids = identifiers.parameter_ids(found)
    assert len(set(ids)) == len(names)
    assert all(0 <= number < 2**31 for number in ids)


def test_sources_are_the_same_each_time_and_of_no_machine(written):
    found, metadata = written
    again = [version(twin_comb(rate)) for rate in (48000, 44100)]
    assert sources(metadata, forms_of(metadata, again)) == found
    for name, text in found.items():
        assert "/tmp" not in text
        assert "/home" not in text
        left = set(re.findall(r"@\w+@", text)) - {"@library@"}
        assert not left, (name, left)
    assert {"twin_comb.h", "twin_comb.c", "twin_comb_44100.c", "CMakeLists.txt"} <= set(found)


def test_all_templates_are_used():
    assert {p.name for p in plugin.sources.__globals__["TEMPLATES"].iterdir()} == {
        "plugin.h", "plugin.c", "form.h", "lv2.c", "clap.c", "vst3.cpp", "DistrhoPluginInfo.h",
        "CMakeLists.txt", "Info.plist",
    }  # fmt: skip


@pytest.mark.parametrize("text", ['say "x"', "back\\slash", "??/ trigraph", "Größe", "a\u2028b"])
def test_text_becomes_literals(text):
    literal = tables.text(text)
    assert literal.isascii()
    assert "??" not in literal
    plain = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), literal[1:-1])
    assert plain.encode("latin-1").decode() == text
    turtles = turtle.text(text)
    assert turtles[1:-1].replace('\\"', '"').replace("\\\\", "\\") == text
    assert "*/" not in tables.comment(f"{text}*/")


def test_lv2s_description_has_all_ports_in_order(written):
    found, _ = written
    text = found["twin_comb.ttl"]
    assert re.findall(r"lv2:index (\d+)", text) == [str(k) for k in range(8)]
    symbols = re.findall(r'lv2:symbol "(\w+)"', text)
    assert symbols == ["in_1", "in_2", "out_1", "out_2", "pre_gain", "tone", "mix", "latency"]
    assert "pprops:logarithmic" in text
    assert "units:unit units:db" in text
    assert "requiredFeature" not in text
    assert "inPlaceBroken" not in text


def test_compilers_keep_the_sums_and_the_hosts_bits():
    for flag in (*FLAGS, *LINK):
        assert flag not in ("-Ofast", "-ffast-math", "-march=native")


def test_c_source_names_what_is_wrong():
    with pytest.raises(HostError, match="does not compile"):
        c_source("process = nonsense;", class_name="x")
    with pytest.raises(HostError, match="C identifier"):
        c_source("process = _;", class_name="two words")
    with pytest.raises(HostError, match="precision"):
        c_source("process = _;", class_name="x", precision="half")  # type: ignore[arg-type]
    assert "computemade(" in c_source("process = _;", class_name="made")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "`name`"),
        ({"name": "two\nlines"}, "`name`"),
        ({"maker": "x" * 101}, "`maker`"),
        ({"description": "a\0b"}, "`description`"),
        ({"kind": "toaster"}, "must be one of effect, reverb"),
        ({"version": (1, 0, 256)}, "`version`"),
        ({"outputs": 0}, "no outputs"),
        ({"presets": (Preset("a", {"nothing": 1.0}),)}, "turns 'nothing'"),
        ({"presets": (Preset("a", {}), Preset("a", {}))}, "different names"),
    ],
)
def test_what_hosts_cannot_be_told_is_refused(changes, said):
    with pytest.raises(IRError, match=said):
        Metadata(**({"name": "a", "inputs": 1, "outputs": 1} | changes))


def test_presets_stay_in_the_range():
    settings = dataclasses.replace(SETTINGS, presets={"Loud": {"mix": 1.5}})
    with pytest.raises(IRError, match=r"'Loud' turns 'mix' to 1\.5; it must lie in 0 to 1"):
        metadata_of(twin_comb(48000), settings, "single")


def test_sources_need_forms_of_different_rates():
    metadata = Metadata("a", 1, 1)
    for forms in ([], [Form(48000, ""), Form(48000, "")]):
        with pytest.raises(IRError, match="different rates"):
            sources(metadata, forms)


def test_formats_are_said_in_several_ways():
    assert wanted(None) is None
    assert wanted("lv2, VST3").formats == ("lv2", "vst3")  # type: ignore[union-attr]
    assert wanted(["clap", "clap"]).formats == ("clap",)  # type: ignore[union-attr]
    assert wanted(SETTINGS) is SETTINGS
    for bad in ("au", "", ()):
        with pytest.raises(AdacError, match="c, lv2, vst3, clap"):
            wanted(bad)


@pytest.mark.parametrize("rates", [(), (48000, 48000), (100,), (48000.5,)])
def test_rates_are_whole_numbers_that_differ(rates):
    with pytest.raises(AdacError, match="plugin rate"):
        Plugins(("c",), rates)


def test_arguments():
    found = from_arguments(
        "lv2",
        "44100, 48000",
        ["Dark:tone=300,mix=0.5"],
        title=None,
        maker="Me",
        kind=None,
        description=None,
    )
    assert found == Plugins(
        ("lv2",), (44100, 48000), maker="Me", presets={"Dark": {"tone": 300.0, "mix": 0.5}}
    )
    none = {"title": None, "maker": None, "kind": None, "description": None}
    assert from_arguments(None, None, [], **none) is None
    with pytest.raises(AdacError, match="--maker"):
        from_arguments(None, None, [], **(none | {"maker": "x"}))
    with pytest.raises(AdacError, match="whole number"):
        from_arguments("lv2", "44.1k", [], **none)
    for bad in ("Dark", "Dark:", ":mix=1", "Dark:mix", "Dark:mix=loud", "Dark:mix=nan"):
        with pytest.raises(AdacError, match="NAME:KNOB=POSITION"):
            from_arguments("lv2", None, [bad], **none)


def test_what_is_missing_is_named_with_the_command(monkeypatch, tmp_path):
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    with pytest.raises(AdacError, match=r"needs a C compiler: apt install gcc\.$"):
        tools.find_tools(["c"])
    with pytest.raises(AdacError, match=r"a C compiler and a C\+\+ compiler"):
        tools.find_tools(["lv2", "vst3"])
    monkeypatch.undo()
    monkeypatch.setenv("DPF_PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_command", lambda variable, names: "cc")
    monkeypatch.setattr(tools, "_has_header", lambda cc, header: False)
    with pytest.raises(AdacError, match=r"apt install lv2-dev dpf-source\.$"):
        tools.find_tools(["lv2", "clap"])
    monkeypatch.setattr(tools.sys, "platform", "darwin")
    with pytest.raises(AdacError, match=r"built on Linux only"):
        tools.find_tools(["c"])


def test_nothing_is_traced_where_tools_are_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    assert main(["--plugin", "c", "--out", str(tmp_path / "out")]) == 1
    assert "apt install gcc" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def unstable(x):
    return adac_jax.feedback(lambda u: 1.1 * adac_jax.delay(u, 40), x)


def test_there_is_no_plugin_without_a_certificate(monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "find_tools", lambda formats: tools.Tools("cc"))
    for uncertified in (False, True):
        with pytest.raises(adac_jax.CertificateError, match="unstable"):
            adac_jax.export(
                unstable, tmp_path / "out", inputs=1, plugin="c", uncertified=uncertified
            )
    assert not (tmp_path / "out").exists()


def origin(found):
    return Origin(None, remake=lambda rate: found[round(rate)])


def test_versions_are_made_for_all_rates():
    own = version(twin_comb(48000))
    compared = []

    def compare(program, traced, source):
        compared.append(program.graph.sample_rate)
        return own.report

    made = {rate: twin_comb(rate) for rate in (44100, 88200, 96000)}
    found = versions(own, origin(made), Plugins(("c",)), "single", compare)
    assert [v.rate for v in found] == [48000, 44100, 88200, 96000]
    assert compared == [44100, 88200, 96000]
    asked = Plugins(("c",), (96000,))
    assert [v.rate for v in versions(own, origin(made), asked, "single", compare)] == [96000]


def test_a_model_that_cannot_be_derived_runs_at_its_own_rate():
    own = version(twin_comb(48000))
    said: list[str] = []
    program = Origin(own.program)  # as it came, as IR: coefficients only
    found = versions(
        own, program, Plugins(("c",)), "single", lambda *_: own.report, warn=said.append
    )
    assert found == (own,)
    assert said[0].startswith("The plugin runs at 48000 Hz only. ")
    with pytest.raises(RateError, match="coefficients"):
        versions(own, program, SETTINGS, "single", lambda *_: own.report)


def test_a_version_that_is_not_stable_is_refused():
    own = version(twin_comb(48000))
    louder = twin_comb(44100)
    louder = ir.Program(louder.graph, {"A": 2 * louder.coefficients["A"]})
    with pytest.raises(adac_jax.CertificateError):
        versions(own, origin({44100: louder}), SETTINGS, "single", lambda *_: own.report)


def test_knobs_must_be_the_same_at_each_rate():
    own = version(twin_comb(48000))
    builder = ir.Builder(plugin_model.NAME, 44100.0)
    x = builder.add("input", index=0, shape=(2,), kind="real", name="x")
    gain = builder.control("mix", 0.5, 0.0, 2.0, step=0.001)
    other = version(ir.Program(builder.build([builder.add("mul", x, gain)])))
    metadata = metadata_of(own.program, SETTINGS, "single")
    with pytest.raises(AdacError, match=r"other knobs .* 'mix' \(0 to 2\)"):
        forms_of(metadata, [own, other])


def test_tails_come_from_the_certificate():
    own = version(twin_comb(48000))
    decay = own.certificate.decay_seconds
    assert decay is not None
    memory = (round(0.0113 * 48000), round(0.0171 * 48000))
    assert own.tail == pytest.approx((sum((max(memory), 1, LATENCY)) / 48000) + 2 * decay)
    for changes in ({"decay_seconds": None}, {"verdict": "lossless"}):
        certificate = dataclasses.replace(own.certificate, **changes)
        assert math.isinf(dataclasses.replace(own, certificate=certificate).tail)
    metadata = metadata_of(own.program, SETTINGS, "single")
    endless = sources(metadata, [Form(48000, "")])
    assert "0, -1.0, form_create" in endless["twin_comb_48000.c"]


def test_kinds_are_of_all_formats(written):
    found, _ = written
    assert '#define TWIN_COMB_VST3_CATEGORIES "Fx|Stereo"' in found["twin_comb_tables.h"]
    generator = sources(Metadata("g", 0, 1, kind="generator"), [Form(48000, "")])
    assert '"instrument", "utility", "mono"' in generator["g_tables.h"]
    assert "lv2:GeneratorPlugin" in generator["g.ttl"]
    assert all(re.fullmatch(r"\w+", kind.lv2) for kind in KINDS.values())


def test_numbers_survive():
    rng = np.random.default_rng(0)
    for value in (*rng.standard_normal(50), 1e-30, 1e30, 0.1, -0.0):
        assert float(tables.number(value)) == value
        assert float(turtle.number(value)) == value
    assert dict.fromkeys(KNOBS) == dict.fromkeys(["pre-gain", "tone", "mix"])


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("name", ["double", "16 lines", "tanh", "殿堂", "time", "_x"])
def test_any_name_compiles(name, tmp_path):
    metadata = Metadata(name, 1, 1)
    source = c_source("process = _;", class_name=metadata.form_name(8000))
    for file, text in sources(metadata, [Form(8000, source)]).items():
        (tmp_path / file).write_text(text)
    p = metadata.prefix
    command = ["cc", "-std=c11", "-Wall", "-Werror", "-fsyntax-only", f"{p}.c", f"{p}_8000.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_headers_stand_by_themselves(written, tmp_path):
    """The interface, in strict C and in C++."""
    found, _ = written
    (tmp_path / "twin_comb.h").write_text(found["twin_comb.h"])
    for language in ("c", "c++"):
        command = ["cc", "-x", language, "-pedantic", "-Wall", "-Werror", "-fsyntax-only", "-"]
        source = '#include "twin_comb.h"\nint main(void) { return TWIN_COMB_OK; }\n'
        done = subprocess.run(command, input=source, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

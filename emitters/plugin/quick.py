"""FAUST's C, changed so that C compilers make as much of it as FAUST's own does.

- Dense matrices become products that work on several rows at once; see `dense`.
- The filters of delay lines become loops that work on several lines at once; see `beside`.
- `compute` is compiled twice, for any processor and for those with AVX2, and the processor decides;
  both give the same numbers to the bit, since no sum's order changes.
- Delay lines, whose lengths are powers of two, are moved apart: all of them would otherwise be
  written to at the same place of the processor's cache.
- In the open form, all numbers stand in one array, those of a matrix in the order of its product.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from emitters.plugin.beside import Beside, beside
from emitters.plugin.dense import LANES, Group, groups_of, rewritten

LONG = 1024
"""Numbers of a delay line that is moved apart from the next …"""
APART = 16
"""… by so many: a line of the cache, in single precision."""
PRELUDE = """\
/* Matrix times vector: y_i = a_i0 s_0 + a_i1 s_1 + ..., added in this order on every processor.
 * Columns follow each other in memory; heights are multiples of 8. */
#if defined(__GNUC__)
#define ADAC_INLINE static inline __attribute__((always_inline, unused))
#define ADAC_APART __attribute__((aligned(32)))
/* On Windows, GCC does not align the stack for AVX. */
#if (defined(__x86_64__) || defined(__i386__)) && !defined(_WIN32) && !defined(ADAC_ANY)
#define ADAC_AVX2 __attribute__((target("avx2")))
#endif
typedef @real@ adac_narrow
    __attribute__((vector_size(16), aligned(sizeof(@real@)), may_alias));
typedef @real@ adac_wide __attribute__((vector_size(32), aligned(sizeof(@real@)), may_alias));
#define ADAC_PRODUCT(lanes)                                                                   \\
    ADAC_INLINE void lanes##_rows(const @real@ *a, const @real@ *s, @real@ *y, int columns,     \\
                                  int height, int count)                                      \\
    {                                                                                         \\
        enum { SIZE = sizeof(lanes) / sizeof(@real@) };                                        \\
        lanes sum[8];                                                                         \\
        int j, k;                                                                             \\
        for (k = 0; k < count; k++)                                                           \\
            sum[k] = s[0] * *(const lanes *)(a + SIZE * k);                                   \\
        for (j = 1; j < columns; j++)                                                         \\
            for (k = 0; k < count; k++)                                                       \\
                sum[k] += s[j] * *(const lanes *)(a + j * height + SIZE * k);                 \\
        for (k = 0; k < count; k++)                                                           \\
            *(lanes *)(y + SIZE * k) = sum[k];                                                \\
    }                                                                                         \\
    ADAC_INLINE void lanes##_product(const @real@ *a, const @real@ *s, @real@ *y, int columns,  \\
                                     int height)                                              \\
    {                                                                                         \\
        enum { SIZE = sizeof(lanes) / sizeof(@real@) };                                        \\
        int i, left = height % (8 * SIZE);                                                    \\
        for (i = 0; i + 8 * SIZE <= height; i += 8 * SIZE)                                    \\
            lanes##_rows(a + i, s, y + i, columns, height, 8);                                \\
        if (left & (4 * SIZE)) {                                                              \\
            lanes##_rows(a + i, s, y + i, columns, height, 4);                                \\
            i += 4 * SIZE;                                                                    \\
        }                                                                                     \\
        if (left & (2 * SIZE)) {                                                              \\
            lanes##_rows(a + i, s, y + i, columns, height, 2);                                \\
            i += 2 * SIZE;                                                                    \\
        }                                                                                     \\
        if (left & SIZE)                                                                      \\
            lanes##_rows(a + i, s, y + i, columns, height, 1);                                \\
    }
ADAC_PRODUCT(adac_narrow)
ADAC_PRODUCT(adac_wide)
ADAC_INLINE void adac_product(const @real@ *a, const @real@ *s, @real@ *y, int columns, int height,
                              int is_wide)
{
    if (is_wide)
        adac_wide_product(a, s, y, columns, height);
    else
        adac_narrow_product(a, s, y, columns, height);
}
#else
#define ADAC_INLINE static
#define ADAC_APART
static void adac_product(const @real@ *a, const @real@ *s, @real@ *y, int columns, int height,
                         int is_wide)
{
    int i, j;
    (void)is_wide;
    for (i = 0; i < height; i++)
        y[i] = s[0] * a[i];
    for (j = 1; j < columns; j++)
        for (i = 0; i < height; i++)
            y[i] += s[j] * a[j * height + i];
}
#endif

"""
TWICE = """
#ifdef ADAC_AVX2
ADAC_AVX2 static void wide@class@(@arguments@)
{
    body@class@(dsp, count, inputs, outputs, 1);
}
#endif
void compute@class@(@arguments@)
{
#ifdef ADAC_AVX2
    if (__builtin_cpu_supports("avx2")) {
        wide@class@(dsp, count, inputs, outputs);
        return;
    }
#endif
    body@class@(dsp, count, inputs, outputs, 0);
}
"""
ENTRY = re.compile(r'\t*ui_interface->addNumEntry\([^,]*, "(\d+)", &dsp->(fEntry\d+),.*\n')
CLEARED = (
    r"\t/\* C99 loop \*/\n\t\{\n\t\tint (\w+);\n\t\tfor .*\n"
    r"\t\t\tdsp->@name@\[\1\] = .*\n\t\t\}\n\t\}\n"
)
SLOW = re.compile(r"\t*(?:float|double) (fSlow\d+) = \((?:float|double)\)\(dsp->(fEntry\d+)\);\n")


@dataclass(frozen=True, slots=True)
class Open:
    """FAUST's C of an open form, whose numbers are the array `fData` of its struct.

    Attributes:
        source: The C text.
        size: Numbers of the array.
        places: Where each number of the data is in it; `size` for those that change nothing.
    """

    source: str
    size: int
    places: tuple[int, ...]


def quick(source: str, name: str, real: str) -> str:
    """The C of a closed form.

    Args:
        source: FAUST's C.
        name: Its class.
        real: "float" or "double".
    """
    if f"\nvoid compute{name}(" not in source:
        return source
    before, compute, after = _parts(source, name)
    tables: list[str] = []

    def table(words: Sequence[str]) -> str | None:
        if any(word.startswith("fSlow") for word in words):
            return None
        head = f"static const {real} adac_c{len(tables)}[{_filled(len(words))}] ADAC_APART"
        tables.append(f"{head} = {{\n{_lines(words)}}};\n")
        return f"adac_c{len(tables) - 1}[l]"

    together = beside(compute, real, table)
    if together is None:
        tables = []
    else:
        before, compute = _with_fields(before, name, together, real), together.compute
    groups = groups_of(compute, lambda c: re.match(r"-?[\d.]", c) is not None)
    matrices = []
    for g, group in enumerate(groups):
        numbers = ["0"] * group.size
        for i, row in enumerate(group.rows):
            for j, signal in enumerate(group.signals):
                numbers[group.place(i, j)] = row.terms[signal]
        text = _lines(numbers)
        matrices.append(f"static const {real} adac_a{g}[{group.size}] ADAC_APART = {{\n{text}}};\n")
    if groups or together is not None:
        places = [f"adac_a{g}" for g in range(len(groups))]
        compute = "".join((*tables, *matrices, _twice(compute, name, groups, places, real)))
    prelude = PRELUDE.replace("@real@", real) if groups or together is not None else ""
    return prelude + _apart(before, name) + compute + after


def quick_open(source: str, name: str, count: int) -> Open:
    """The C of an open form in single precision.

    Args:
        source: FAUST's C.
        name: Its class.
        count: Numbers of its data.
    """
    before, compute, after = _parts(source, name)
    labels = {entry: int(label) for label, entry in ENTRY.findall(before)}
    slow = dict(SLOW.findall(compute))
    place: dict[str, int] = {}
    size = 0

    def array(words: Sequence[str]) -> str | None:
        nonlocal size
        entries = [slow.get(word, "") for word in words]
        if any(e in place or not e for e in entries) or len(set(entries)) < len(entries):
            return None
        start, size = size, size + _filled(len(words))
        place.update((entry, start + k) for k, entry in enumerate(entries))
        return f"dsp->fData[{start} + l]"

    together = beside(compute, "float", array)
    if together is None:
        place, size = {}, 0
    else:
        before, compute = _with_fields(before, name, together, "float"), together.compute
    uses = Counter(re.findall(r"\bfSlow\d+\b", compute))
    # Once, and where it is made.
    groups = groups_of(compute, lambda c: c in slow and uses[c] == 2 and slow[c] not in place)
    starts = []
    for group in groups:
        starts.append(size)
        for i, row in enumerate(group.rows):
            for j, signal in enumerate(group.signals):
                place[slow[row.terms[signal]]] = size + group.place(i, j)
        size += group.size
    for entry in labels:
        if entry not in place:
            place[entry] = size
            size += 1

    def there(match: re.Match[str]) -> str:
        return f"dsp->fData[{place[match[1]]}]"

    if groups or together is not None:
        matrices = [f"dsp->fData + {start}" for start in starts]
        compute = _twice(compute, name, groups, matrices, "float")
    compute = SLOW.sub("", compute)
    known = {word: f"dsp->{entry}" for word, entry in slow.items()}
    compute = re.sub(r"\bfSlow\d+\b", lambda m: known.get(m[0], m[0]), compute)
    compute = re.sub(r"dsp->(fEntry\d+)\b", there, compute)
    before = ENTRY.sub("", before)
    before = re.sub(r"\t*(?:ui_interface->declare\([^,]*, &)?dsp->fEntry\d+\b.*\n", "", before)
    before = re.sub(r"\tFAUSTFLOAT fEntry\d+;\n", "", before)
    before = before.replace(
        "typedef struct {\n", f"typedef struct {{\n\tfloat fData[{size + 1}];\n", 1
    )
    places = [size] * count
    for entry, label in labels.items():
        places[label] = place[entry]
    text = PRELUDE.replace("@real@", "float") + _apart(before, name) + compute + after
    return Open(text, size, tuple(places))


def _parts(source: str, name: str) -> tuple[str, str, str]:
    """What is before `compute`, that function, and what is behind it."""
    start = source.index(f"\nvoid compute{name}(") + 1
    end = source.index("\n}\n", start) + 3
    return source[:start], source[start:end], source[end:]


def _twice(
    compute: str, name: str, groups: Sequence[Group], matrices: Sequence[str], real: str
) -> str:
    """`compute` with products of matrices, for two kinds of processors."""
    text = rewritten(compute, groups, matrices, real, "is_wide")
    arguments = text[text.index("(") + 1 : text.index(")")]
    head = f"void compute{name}("
    body = text.replace(head, f"ADAC_INLINE void body{name}(", 1)
    body = body.replace(arguments, f"{arguments}, int is_wide", 1)
    return body + TWICE.replace("@class@", name).replace("@arguments@", arguments)


def _with_fields(text: str, name: str, together: Beside, real: str) -> str:
    """The struct and the functions that clear it, with arrays for what runs side by side."""
    for gone in together.gone:
        text = re.sub(rf"\t(?:float|double) {gone}\[\d+\];\n", "", text)
        text = re.sub(CLEARED.replace("@name@", gone), "", text)
    start, _ = _struct(text, name)
    fields = "".join(f"\n\t{real} {field}[{count}];" for field, count in together.fields)
    text = f"{text[:start]}{fields}{text[start:]}"
    head = re.search(rf"void instanceClear{name}\(.*\) \{{\s*\n", text)
    assert head is not None
    zeros = "".join(
        f"\t{{ int l; for (l = 0; l < {count}; l++) dsp->{field}[l] = 0; }}\n"
        for field, count in together.fields
    )
    return f"{text[: head.end()]}{zeros}{text[head.end() :]}"


def _filled(count: int) -> int:
    return -(-count // LANES) * LANES


def _apart(text: str, name: str) -> str:
    """The struct with room between delay lines."""
    start, end = _struct(text, name)

    def with_room(match: re.Match[str]) -> str:
        if int(match[2]) < LONG:
            return match[0]
        return f"{match[0]}\tfloat f{match[1]}Apart[{APART}];\n"

    lines = re.sub(r"\t(?:float|double) f(\w+)\[(\d+)\];\n", with_room, text[start:end])
    return text[:start] + lines + text[end:]


def _struct(text: str, name: str) -> tuple[int, int]:
    """Where the fields of the class are."""
    end = text.index(f"}} {name};")
    head = "typedef struct {"
    return text.rindex(head, 0, end) + len(head), end


def _lines(words: Sequence[str]) -> str:
    rows = [", ".join(words[k : k + 8]) for k in range(0, len(words), 8)]
    return "".join(f"    {row},\n" for row in rows)


__all__ = ["Open", "quick", "quick_open"]

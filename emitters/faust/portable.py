"""The same text for compilers that lack functions of the C library, such as FAUST's WebAssembly."""

from __future__ import annotations

import re

PORTABLE = {
    # e^x - 1 = tanh(x/2) (e^x + 1)
    "expm1": "expm1(x) = ma_tanh(x/2)*(exp(x) + 1);",
    # log(1 + x) = 2 atanh(x / (2 + x)), which near zero loses nothing.
    "log1p": "log1p(x) = select2(abs(x) < 0.5, log(1 + x), 2*ma_atanh(x/(2 + x)));",
    "cbrt": "cbrt(x) = select2(x < 0, r, 0 - r)\nwith { r = pow(abs(x), 1.0/3); };",
    # Near zero the power series; beyond, 1 - erfc.
    "erf": "erf(x) = select2(abs(x) < 0.5, far, near)\n"
    "with {\n"
    "    y = x*x;\n"
    "    near = 1.1283791670955126*x*(1 - y*(1.0/3 - y*(0.1 - y*(1.0/42 - y*(1.0/216\n"
    "        - y*(1.0/1320 - y/9360))))));\n"
    "    far = select2(x < 0, 1 - ma_erfc(abs(x)), ma_erfc(abs(x)) - 1);\n"
    "};",
    "erfc": "erfc(x) = select2(x < 0, ma_erfc(abs(x)), 2 - ma_erfc(abs(x)));",
}
"""Definitions that are exact, or as exact as single precision."""
HELPERS = {
    "ma_tanh": 'ma_tanh = ffunction(float tanhf|tanh|tanhl(float), <math.h>, "");',
    "ma_atanh": 'ma_atanh = ffunction(float atanhf|atanh|atanhl(float), <math.h>, "");',
    # W. H. Press et al., "Numerical Recipes", erfcc: within 1.2e-7 of each value.
    "ma_erfc": "ma_erfc(z) = t*exp(0 - z*z - 1.26551223 + t*(1.00002368 + t*(0.37409196\n"
    "    + t*(0.09678418 + t*(-0.18628806 + t*(0.27886807 + t*(-1.13520398 + t*(1.48851587\n"
    "    + t*(-0.82215223 + t*0.17087277)))))))))\n"
    "with { t = 1/(1 + 0.5*z); };",
}
FOREIGN = re.compile(r"^(\w+) = ffunction\(.*\);$", re.MULTILINE)


def portable(text: str) -> str:
    """Text in which functions of the C library that not all compilers have are written out.

    In single precision it computes the same, up to a rounding or two; `erf` and `erfc` are within
    1.2e-7 of themselves.

    Args:
        text: As `emit` writes it.
    """
    wanted: dict[str, None] = {}

    def written(match: re.Match[str]) -> str:
        definition = PORTABLE.get(match[1])
        if definition is None:
            return match[0]
        wanted.update(dict.fromkeys(name for name in HELPERS if name in definition))
        return definition

    changed = FOREIGN.sub(written, text)
    return "\n".join([*(HELPERS[name] for name in wanted), changed])


__all__ = ["portable"]

# `make demo` and `make test` do all their own set-up, in .venv, with python3 (3.11 or later).
#
#   make demo               export the built-in reverb to out/demo
#   make demo WAV=dry.wav   and play a sound file through it
#   make test               tests of seconds, compiled in a hurry;  make test-slow: those of minutes
#   make lint               ruff and pyright;  make format: put files into shape

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= out/demo
# Two workers: most of the time goes into compilers that use one core.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: demo test test-slow lint format clean setup

demo: $(READY)
	$(BIN)/python -m adac_jax.export --name hall --out "$(OUT)" $(if $(WAV),--listen "$(WAV)")
	@echo
	@echo "FAUST, IR, report and figure are in $(OUT)."

test: $(READY)
	$(PYTEST) --hurried -m "not slow"

test-slow: $(READY)
	$(PYTEST) -m "slow or optimised"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

# Made anew where pyproject.toml has changed since.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, not " + sys.version.split()[0] + ": make PYTHON=python3.12 …") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -c 'import dawdreamer' || { echo "DawDreamer needs OpenGL: apt install libgl1"; exit 1; }
	@touch $(READY)

clean:
	rm -rf $(VENV) out build dist
